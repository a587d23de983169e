"""The workers of a host, one an account; each gets the next task that its account can run."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from checks.core.errors import HostProblem
from checks.core.paths import ROOT
from checks.engine.prepared_host import PreparedHost
from checks.hosts.ssh import SshHost
from checks.mutation.worker import PASSED, Account, Task, TaskOutcome
from checks.nanoclaw.provider import AgentProvider

_END_TIMEOUT = 3.0  # seconds

Suits = Callable[[Task, int], bool]
"""Whether an account of that uid can run a task."""


class Pool:
    """Running workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, accounts: Mapping[int, Account]) -> None:
        """Start a worker for every account, given by uid."""
        for uid in accounts:
            self._workers[uid] = subprocess.Popen(
                [sys.executable, "-m", "checks.mutation.worker"], cwd=ROOT, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        for uid, account in accounts.items():  # afterwards, so that they start in parallel
            if (answer := self._ask(uid, account)).outcome != PASSED:
                raise HostProblem(answer.got)

    def run(self, tasks: Sequence[Task], suits: Suits, finished: Callable[[Task, TaskOutcome], None]) -> None:
        """Run all tasks, in their order; ``finished`` is called for each. Raises HostProblem where a worker died."""
        left = list(tasks)

        def next_for(uid: int) -> Task | None:
            with self._lock:
                at = next((at for at, task in enumerate(left) if suits(task, uid)), None)
                return None if at is None else left.pop(at)

        def work(uid: int) -> None:
            while task := next_for(uid):
                answer = self._ask(uid, task)
                with self._lock:
                    finished(task, answer)

        with ThreadPoolExecutor(len(self._workers)) as pool:
            started = [pool.submit(work, uid) for uid in self._workers]
            try:
                for each in started:
                    each.result()
            except BaseException:
                left.clear()
                self.end()
                raise

    def end(self) -> None:
        """End the workers: an idle one releases what it holds, a busy one is killed."""
        for worker in self._workers.values():
            assert worker.stdin
            with contextlib.suppress(OSError):
                worker.stdin.close()
        for worker in self._workers.values():
            try:
                worker.wait(_END_TIMEOUT)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _ask(self, uid: int, request: Account | Task) -> TaskOutcome:
        worker = self._workers[uid]
        assert worker.stdin
        assert worker.stdout
        line = b""
        with contextlib.suppress(OSError, ValueError):  # its pipe broken, or closed
            worker.stdin.write(msgspec.json.encode(request) + b"\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
        if not line:
            raise HostProblem(f"The worker of the account {uid} ended with status {worker.wait()}.")
        return msgspec.json.decode(line, type=TaskOutcome)


@contextlib.contextmanager
def workers(
    prepared: PreparedHost, wrappers: Mapping[int, str], *, nanoclaw: str, slow: bool, provider: AgentProvider | None
) -> Iterator[Pool]:
    """Workers for every account of a throwaway host. ``wrappers``: what ``upload`` returned, by uid."""
    images = [(context, uid, name) for (context, uid), name in (provider.images if provider else {}).items()]
    accounts = {}
    for host in prepared.accounts:
        assert isinstance(host, SshHost)
        assert host.port
        facts = host.facts()
        accounts[facts.uid] = Account(
            destination=host.destination, port=host.port, options=list(host.options),
            sockets=str(prepared.run.scratch / f"w{facts.uid}"), host=host.name, slowness=host.slowness, facts=facts,
            profile=prepared.profile, run=prepared.run.id, exclusive=prepared.exclusive, nanoclaw=nanoclaw, slow=slow,
            wrappers=wrappers[facts.uid], images=images,
            environment=list(prepared.guest.accelerator.shared_environment) if prepared.guest else [],
        )  # fmt: skip
    pool = Pool()
    try:
        pool.start(accounts)
        yield pool
    finally:
        pool.end()
