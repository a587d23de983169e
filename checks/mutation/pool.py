"""The workers of a host, one an account, each given the next task that suits it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from checks.core.bounded import parsed
from checks.core.errors import HostProblem
from checks.core.paths import ROOT
from checks.engine.prepared_host import PreparedHost
from checks.hosts.ssh import SshHost
from checks.mutation.worker import PASSED, Description, Task, TaskOutcome
from checks.nanoclaw.provider import AgentProvider

_END_BOUND = 3.0  # seconds

Suits = Callable[[Task, int], bool]
"""Whether an account of that uid can run a task."""


class Pool:
    """Workers that run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[int, subprocess.Popen[str]] = {}

    def start(
        self,
        prepared: PreparedHost,
        wrappers: Mapping[int, str],
        *,
        nanoclaw: str,
        slow: bool,
        provider: AgentProvider | None,
    ) -> None:
        """Start a worker for every account of the host. ``wrappers``: what ``upload`` returned, by uid."""
        images = [(context, uid, name) for (context, uid), name in (provider.images if provider else {}).items()]
        described: dict[int, Description] = {}
        for account in prepared.accounts:
            assert isinstance(account, SshHost)
            assert account.port
            facts = account.facts()
            about = Description(
                destination=account.destination, port=account.port, options=account.options,
                sockets=str(prepared.run.scratch / f"w{facts.uid}"), host=account.name, slowness=account.slowness,
                facts=asdict(facts), profile=prepared.profile, run=prepared.run.id, alone=prepared.alone,
                nanoclaw=nanoclaw,
                slow=slow, wrappers=wrappers[facts.uid], images=images,
                settings=list(prepared.guest.accelerator.shared_environment) if prepared.guest else [],
            )  # fmt: skip
            self._workers[facts.uid] = subprocess.Popen(
                [sys.executable, "-m", "checks.mutation.worker"], cwd=ROOT, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            described[facts.uid] = about
        for uid, about in described.items():  # only now: they have started side by side
            if (answer := self._ask(uid, asdict(about))).outcome != PASSED:
                raise HostProblem(answer.got)

    def run(self, tasks: Sequence[Task], suits: Suits, got: Callable[[Task, TaskOutcome], None]) -> None:
        """Run all tasks, in their order; ``got`` is told of each. Raises HostProblem where a worker is gone."""
        left = list(tasks)

        def next_for(uid: int) -> Task | None:
            with self._lock:
                at = next((at for at, task in enumerate(left) if suits(task, uid)), None)
                return None if at is None else left.pop(at)

        def work(uid: int) -> None:
            while task := next_for(uid):
                answer = self._ask(uid, asdict(task))
                with self._lock:
                    got(task, answer)

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
        """End the workers: those that have nothing to do give back what they hold, the others are killed."""
        for worker in self._workers.values():
            assert worker.stdin
            with contextlib.suppress(OSError):
                worker.stdin.close()
        for worker in self._workers.values():
            try:
                worker.wait(_END_BOUND)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _ask(self, uid: int, what: object) -> TaskOutcome:
        worker = self._workers[uid]
        assert worker.stdin
        assert worker.stdout
        line = ""
        with contextlib.suppress(OSError, ValueError):  # its pipe broken, or closed
            worker.stdin.write(json.dumps(what) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
        if not line:
            raise HostProblem(f"The worker of the account {uid} ended with status {worker.wait()}.")
        return TaskOutcome(**parsed(line))


@contextlib.contextmanager
def workers(
    prepared: PreparedHost, wrappers: Mapping[int, str], *, nanoclaw: str, slow: bool, provider: AgentProvider | None
) -> Iterator[Pool]:
    """Workers for every account of a throwaway host, until the block ends."""
    pool = Pool()
    try:
        pool.start(prepared, wrappers, nanoclaw=nanoclaw, slow=slow, provider=provider)
        yield pool
    finally:
        pool.end()
