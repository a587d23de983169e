"""The workers of a host, one an account; each gets the next task that its account can run."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from checks.core.children import Children
from checks.core.errors import HostProblem
from checks.core.outcome import reported
from checks.engine.prepared_host import PreparedHost
from checks.hosts.ssh import SshHost
from checks.mutation.worker import PASSED, Account, OwnRun, Task, TaskOutcome
from checks.nanoclaw.provider import AgentProvider

_END_TIMEOUT = 3.0  # seconds

Suits = Callable[[Task, int], bool]
"""Whether an account of that uid can run a task."""


class Pool:
    """Running workers, each with the uid of its account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children = Children()
        self._workers: list[tuple[int, subprocess.Popen[str]]] = []

    def start(self, accounts: Sequence[tuple[int, Account | OwnRun]]) -> None:
        """Start a worker for each account, given with its uid."""
        for uid, _ in accounts:
            self._workers.append((uid, self._children.start("checks.mutation.worker", stdin=subprocess.PIPE)))
        for worker, (_, account) in zip(self._workers, accounts, strict=True):
            _tell(worker, account)
        for worker in self._workers:  # afterwards, so that they start in parallel
            if (answer := _answer(worker)).outcome != PASSED:
                raise reported(worker[1].wait(), answer.got)

    def run(self, tasks: Sequence[Task], suits: Suits, finished: Callable[[Task, TaskOutcome], None]) -> None:
        """Run all tasks, in their order; ``finished`` is called for each. Raises HostProblem where a worker died."""
        left = list(tasks)

        def next_for(uid: int) -> Task | None:
            with self._lock:
                at = next((at for at, task in enumerate(left) if suits(task, uid)), None)
                return None if at is None else left.pop(at)

        def work(worker: tuple[int, subprocess.Popen[str]]) -> None:
            while task := next_for(worker[0]):
                _tell(worker, task)
                answer = _answer(worker)
                with self._lock:
                    finished(task, answer)

        with ThreadPoolExecutor(len(self._workers)) as pool:
            started = [pool.submit(work, worker) for worker in self._workers]
            try:
                for each in started:
                    each.result()
            except BaseException:
                left.clear()
                self.end()
                raise

    def end(self) -> None:
        """End the workers: an idle one removes what it made, a busy one is interrupted, and does so then."""
        for _, worker in self._workers:
            assert worker.stdin
            with contextlib.suppress(OSError):
                worker.stdin.close()
        end = time.monotonic() + _END_TIMEOUT
        for _, worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(max(0, end - time.monotonic()))
        self._children.close()


def _tell(worker: tuple[int, subprocess.Popen[str]], request: Account | OwnRun | Task) -> None:
    _, process = worker
    assert process.stdin
    with contextlib.suppress(OSError, ValueError):  # its pipe is broken or closed: there will be no answer
        process.stdin.write(f"{msgspec.json.encode(request).decode()}\n")
        process.stdin.flush()


def _answer(worker: tuple[int, subprocess.Popen[str]]) -> TaskOutcome:
    uid, process = worker
    assert process.stdout
    line = ""
    with contextlib.suppress(OSError, ValueError):
        line = process.stdout.readline()
    if not line:
        raise HostProblem(f"The worker of the account {uid} ended with status {process.wait()}.")
    return msgspec.json.decode(line, type=TaskOutcome)


@contextlib.contextmanager
def workers(
    prepared: PreparedHost, wrappers: Mapping[int, str], *, nanoclaw: str, slow: bool, provider: AgentProvider | None
) -> Iterator[Pool]:
    """Workers for every account of a throwaway host. ``wrappers``: what ``upload`` returned, by uid."""
    images = [(context, uid, name) for (context, uid), name in (provider.images if provider else {}).items()]
    accounts: list[tuple[int, Account | OwnRun]] = []
    for host in prepared.accounts:
        assert isinstance(host, SshHost)
        assert host.port
        facts = host.facts()
        account = Account(
            destination=host.destination, port=host.port, options=list(host.options),
            sockets=str(prepared.run.scratch / f"w{facts.uid}"), host=host.name, slowness=host.slowness, facts=facts,
            profile=prepared.profile, run=prepared.run.id, exclusive=prepared.exclusive, nanoclaw=nanoclaw, slow=slow,
            wrappers=wrappers[facts.uid], images=images,
            environment=list(prepared.guest.accelerator.shared_environment) if prepared.guest else [],
        )  # fmt: skip
        accounts.append((facts.uid, account))
    with _started(accounts) as pool:
        yield pool


def own_workers(host: str, uid: int, number: int) -> contextlib.AbstractContextManager[Pool]:
    """Some workers for one account of a host that is not thrown away, each with a run of its own."""
    return _started([(uid, OwnRun(host))] * number)


@contextlib.contextmanager
def _started(accounts: Sequence[tuple[int, Account | OwnRun]]) -> Iterator[Pool]:
    pool = Pool()
    try:
        pool.start(accounts)
        yield pool
    finally:
        pool.end()
