"""A host on which hardening is tried: attacks in containers, agents asked for an answer, Chromium started."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from checks.core.errors import Interrupted
from checks.core.process import TimedOut
from checks.core.progress import Progress
from checks.engine import probe_image
from checks.engine.case_context import CaseContext
from checks.engine.docker import Record, shell
from checks.engine.expect import Mismatch
from checks.engine.flags import Attack, Flag, Hardening
from checks.engine.prepared_host import PreparedHost
from checks.evidence.hardening_model import BrowserStart, Smoke
from checks.hardening import attacks, browser
from checks.hardening.attacks import AttackResult
from checks.hardening.enforcement import ContainerSpec
from checks.nanoclaw.provider import AgentHandle
from checks.nanoclaw.running import RunningAgent
from checks.nanoclaw.smoke import smoke

PARALLEL = 2
"""How many containers run at a time: a host for agents has two processors or more."""

# The attackers' program: a su with the setuid bit, in an image whose root has no password.
_ATTACK_IMAGE = """
FROM {base}
USER 0:0
RUN mkdir -p /probe/setuid && cp /bin/busybox /probe/setuid/su && chmod 4755 /probe/setuid/su && \\
    sed -i 's/^root:[^:]*:/root::/' /etc/passwd
"""

S = TypeVar("S")
T = TypeVar("T")


class HardeningSession:
    """A prepared host, an agent and the flags. Its methods may be called from several threads."""

    def __init__(self, prepared: PreparedHost, handle: AgentHandle, hardening: Hardening, progress: Progress) -> None:
        self.prepared = prepared
        self.handle = handle
        self.hardening = hardening
        self.progress = progress
        self._named = 0
        self._attack_image = ""
        self._over = False

    def on(self, prepared: PreparedHost) -> HardeningSession:
        """The same session, on another view of the same host."""
        other = HardeningSession(prepared, self.handle, self.hardening, self.progress)
        other._named, other._attack_image = self._named + 1000, self._attack_image
        return other

    def context(self, case: str) -> CaseContext:
        """A context of its own for one trial."""
        if self._over:
            raise Interrupted("the run is over")
        self._named += 1
        name = f"harden-{case}-{self._named}"
        return CaseContext(self.prepared.host, self.prepared.owner, name, Record())

    def parallel(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Apply ``work`` to the items, some at a time; the results in the order of the items.

        The first error, such as an interrupt, is raised at once. Work that still runs then is not awaited and starts
        nothing more.
        """
        pool = ThreadPoolExecutor(PARALLEL)
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
        """Build the attackers' image and the agent's. Raises Mismatch if the agent's can't be built."""
        ctx = self.context("prepare")
        self._attack_image = f"{probe_image.repository(self.prepared.run.id)}:attackers"
        with self.progress.step("Building the attackers' image"):
            label = f"{probe_image.LABEL}={self.prepared.run.id}"
            ctx.host.run_checked(
                ctx.engine_command("build", "-q", "--label", label, "-t", self._attack_image, "-"),
                stdin=_ATTACK_IMAGE.format(base=ctx.probe).encode(), timeout=60, doing="building the attackers' image",
            )  # fmt: skip
        if not agent:
            return
        with self.progress.step("Preparing the agent's image"):
            self.handle.image(ctx)
            self.handle.url(ctx)

    def attack(self, containers: Mapping[ContainerSpec, Mapping[str, Attack]]) -> dict[ContainerSpec, AttackResult]:
        """Try the attacks of each container."""
        scripts = self.hardening.scripts

        def one(spec: ContainerSpec) -> AttackResult:
            ctx, tried = self.context("attack"), list(containers[spec].values())
            return attacks.attempt(ctx, self._attack_image, scripts, tried, spec.options, spec.user)

        alone = [spec for spec, tried in containers.items() if any(attack.alone for attack in tried.values())]
        with self.progress.step(f"Trying attacks in {len(containers)} containers"):
            found = {spec: one(spec) for spec in alone}
            others = [spec for spec in containers if spec not in found]
            return {**found, **dict(zip(others, self.parallel(one, others), strict=True))}

    def ask(self, flags: Sequence[Flag], options: Sequence[str]) -> Smoke:
        """Ask an agent that has these options, and read in its container whether these flags are in force."""
        ctx = self.context("smoke")
        unenforced: dict[str, str] = {}
        scripts = self.hardening.scripts

        def read_state(agent: RunningAgent) -> None:
            argv = [agent.ctx.facts.engine, "exec", agent.name, *shell(attacks.reading_script(scripts))]
            done = agent.ctx.host.run(argv, timeout=30)
            try:
                outputs = attacks.parse_readings(done.stdout, scripts)
            except ValueError as error:
                raise Mismatch("to read what is in force in the agent's container", f"{error} {done.stderr}") from error
            unenforced.update({flag.id: lack for flag in flags if (lack := flag.unenforced(outputs, options))})

        began, failure = time.monotonic(), ""
        try:
            smoke(self.prepared, self.handle, options, case=ctx.case, inspect=read_state)
        except (Mismatch, TimedOut) as error:
            failure = str(error)
        seconds = round(time.monotonic() - began, 1)
        return Smoke(options=list(options), passed=not failure, seconds=seconds, failure=failure, unenforced=unenforced)

    def browse(self, options: Sequence[str], starts: Sequence[Sequence[str]] = ((),)) -> list[BrowserStart]:
        """Start Chromium in a container with these options, once for each of ``starts``, which are its own options."""
        ctx = self.context("browser")
        return browser.browse(ctx, self.handle.image(ctx), options, starts)
