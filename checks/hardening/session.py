"""What a hardening run stands on (a stage, an agent's kit, the attackers' image), and what is done on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from checks.core.errors import Interrupted
from checks.core.progress import Progress
from checks.engine import container_state, probe_image
from checks.engine.case_context import CaseContext
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.engine.flags import Flag
from checks.engine.prepared_host import PreparedHost
from checks.hardening import attacks, browser, enforcement
from checks.hardening.attacks import AttackResult
from checks.hardening.browser import BrowserResult
from checks.hardening.proofs import ContainerSpec
from checks.hosts.process import TimedOut
from checks.nanoclaw.provider import AgentHandle
from checks.nanoclaw.running import RunningAgent
from checks.nanoclaw.smoke import smoke

AT_ONCE = 2
"""How many containers run at a time: a host for agents has two processors or more."""

# The attackers' program: a su with the setuid bit, in an image whose root has no password.
_ATTACKERS = """
FROM {base}
USER 0:0
RUN mkdir -p /probe/setuid && cp /bin/busybox /probe/setuid/su && chmod 4755 /probe/setuid/su && \\
    sed -i 's/^root:[^:]*:/root::/' /etc/passwd
"""

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Smoke:
    """What came of one agent that was asked under some flags."""

    options: tuple[str, ...]
    passed: bool
    failure: str
    """Why no answer came: what was expected, what came, and the operation that broke as far as it was found."""
    missing: Mapping[str, str]
    """What of a flag, by its id, was not in force in the running agent's container."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """It as evidence stores it."""
        optional: dict[str, Any] = {"failure": self.failure, "missing": dict(self.missing)}
        return {
            "options": list(self.options),
            "passed": self.passed,
            **{key: value for key, value in optional.items() if value},
            "seconds": round(self.seconds, 1),
        }


class HardeningSession:
    """A host to harden agents on. Its methods may be called from several threads."""

    def __init__(self, prepared: PreparedHost, handle: AgentHandle, progress: Progress, factor: float) -> None:
        self.prepared = prepared
        self.handle = handle
        self.progress = progress
        self.factor = factor
        self._named = 0
        self._attackers = ""
        self._over = False

    def on(self, prepared: PreparedHost) -> HardeningSession:
        """The same, on another view of the same host."""
        other = HardeningSession(prepared, self.handle, self.progress, self.factor)
        other._named, other._attackers = self._named + 1000, self._attackers
        return other

    def ctx(self, case: str) -> CaseContext:
        """A bench of its own for one thing that is done."""
        if self._over:
            raise Interrupted("the run is over")
        self._named += 1
        name = f"harden-{case}-{self._named}"
        return CaseContext(self.prepared.host, self.prepared.owner, name, Record(), factor=self.factor)

    def at_once(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """What ``work`` makes of the items, in their order, some at a time.

        The first error, an interrupt above all, is raised at once: what still runs then is not waited for, and starts
        nothing more.
        """
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            started = [pool.submit(work, item) for item in items]
            done = [each.result() for each in started]
        except BaseException:
            self._over = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        return done

    def prepare(self, *, agent: bool = True) -> None:
        """Make the attackers' image and bring the agent's. Raises Mismatch where the agent's can't be had."""
        ctx = self.ctx("prepare")
        self._attackers = f"{probe_image.repository(self.prepared.run.id)}:attackers"
        with self.progress.step("Making the attackers' image"):
            ctx.host.run_checked(
                [ctx.facts.engine, "build", "-q", "--label", f"{probe_image.LABEL}={self.prepared.run.id}",
                 "-t", self._attackers, "-"],
                stdin=_ATTACKERS.format(base=ctx.probe).encode(), timeout=60, doing="building the attackers' image",
            )  # fmt: skip
        if not agent:
            return
        with self.progress.step("Bringing the agent's image"):
            self.handle.image(ctx)
            self.handle.url(ctx)

    def attack(self, cells: Mapping[ContainerSpec, Mapping[str, str]]) -> dict[ContainerSpec, AttackResult]:
        """Try the attacks of each container."""

        def one(cell: ContainerSpec) -> AttackResult:
            return attacks.attempt(
                self.ctx("attack"), self._attackers, list(cells[cell].items()), cell.options, cell.user
            )

        # Those that measure processors are not to share them with others.
        alone = [cell for cell, tried in cells.items() if "busy-loops" in tried]
        with self.progress.step(f"Trying attacks in {len(cells)} containers"):
            found = {cell: one(cell) for cell in alone}
            others = [cell for cell in cells if cell not in found]
            return {**found, **dict(zip(others, self.at_once(one, others), strict=True))}

    def ask(self, flags: Sequence[Flag], options: Sequence[str]) -> Smoke:
        """Ask an agent that has these options, and read in its container whether these flags are in force."""
        ctx = self.ctx("smoke")
        missing: dict[str, str] = {}

        def look(agent: RunningAgent) -> None:
            argv = [agent.ctx.facts.engine, "exec", agent.name, *container_state.argv()]
            done = agent.ctx.host.run(argv, timeout=30)
            try:
                seen = container_state.parse(done.stdout)
            except ValueError as error:
                raise Mismatch("to read in the agent's container what is in force", f"{error} {done.stderr}") from error
            missing.update({flag.id: lack for flag in flags if (lack := enforcement.missing(flag, seen, options))})

        began, failure = time.monotonic(), ""
        try:
            smoke(self.prepared, self.handle, options, case=ctx.case, factor=self.factor, look=look)
        except (Mismatch, TimedOut) as wrong:
            failure = str(wrong)
        return Smoke(tuple(options), not failure, failure, missing, time.monotonic() - began)

    def browse(self, options: Sequence[str], starts: Sequence[Sequence[str]] = ((),)) -> list[BrowserResult]:
        """Start Chromium in a container that has these options, once for each of ``starts``: its own options."""
        ctx = self.ctx("browser")
        return browser.browse(ctx, self.handle.image(ctx), options, starts)
