"""The load: one browser start, and several agents at once, each in its own container."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from checks.capacity.sampling import Sampler, Samples, sampling
from checks.core.errors import HostProblem
from checks.core.process import TimedOut
from checks.core.progress import Progress
from checks.engine.case_context import CaseContext
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost
from checks.evidence.capacity_model import Browser, CapacityStep, Container, Turn
from checks.hardening.browser import browse
from checks.nanoclaw import contract
from checks.nanoclaw.provider import AgentHandle
from checks.nanoclaw.running import ANSWER_TIMEOUT, RunningAgent
from checks.nanoclaw.smoke import smoke

_BROWSER_TIMEOUT = 120.0  # seconds on ordinary hardware, more than the browser's own timeout
_RECOVERY_TIMEOUT = 60.0  # seconds on ordinary hardware, until an overloaded host responds again


@dataclass
class LoadSession:
    """A prepared host, an agent, and the options of every container."""

    prepared: PreparedHost
    handle: AgentHandle
    progress: Progress
    flags: Sequence[str]
    factor: float = 1.0
    """The factor of nanoclaw's own timeout. The host's ones have it already."""

    @property
    def timeout(self) -> float:
        """Seconds that an agent has to answer: nanoclaw's own timeout, whatever the host's speed."""
        return contract.TIMEOUT * self.factor

    def prepare(self) -> None:
        """Provide the agent's image and find its service. Raises Mismatch if that fails."""
        ctx = self._context("prepare")
        with self.progress.step("Preparing the agent's image"):
            self.handle.image(ctx)
            self.handle.url(ctx)

    def browser(self) -> Browser:
        """Start Chromium once."""
        ctx = self._context("browser")
        with self.progress.step("Starting a browser"), sampling(ctx, _BROWSER_TIMEOUT) as sampler:
            [result] = browse(ctx, self.handle.image(ctx), [*self.flags, *sampler.options("browser")])
            container = sampler.samples().containers.get("browser", Container())
        return Browser(
            rendered=result.rendered, failure=result.failure, seconds=round(result.seconds, 1), container=container
        )

    def agents(self, number: int) -> CapacityStep:
        """Ask so many agents at the same time. All keep running until each has answered or failed.

        Raises HostProblem if the host stops responding and does not recover.
        """
        ctx = self._context(f"{number}-agents")
        text = f"Asking {number} {'agent' if number == 1 else 'agents at once'}"
        with self.progress.step(text), sampling(ctx, 2 * self.timeout / ctx.host.slowness) as sampler:
            turns, samples, host_error = self._all_turns(ctx, number, sampler)
        if host_error:
            ctx.host.run_checked(["true"], timeout=_RECOVERY_TIMEOUT, doing="checking whether it responds again")
        answered = sum(not turn.failure for turn in turns)
        return CapacityStep(
            agents=number,
            answered=answered,
            fits=answered == number and not samples.host.oom_kills,
            timeout=round(self.timeout),
            seconds=max(turn.seconds for turn in turns),
            host_error=host_error,
            host=samples.host,
            turns=turns,
        )

    def _all_turns(self, ctx: CaseContext, number: int, sampler: Sampler) -> tuple[list[Turn], Samples, str]:
        """The turns of all agents, the samples, and the error if the host stopped responding."""
        done = [threading.Event() for _ in range(number)]
        release = threading.Event()
        pool = ThreadPoolExecutor(number)
        try:
            futures = [
                pool.submit(self._turn, f"{ctx.case}-{each}", sampler.options(str(each)), done[each], release)
                for each in range(number)
            ]
            for event in done:
                event.wait()
            samples = sampler.wait_for_sample()
            release.set()
            outcomes = [future.result() for future in futures]
        except BaseException:
            release.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        for name, (turn, _) in enumerate(outcomes):
            turn.container = samples.containers.get(str(name), Container())
        return [turn for turn, _ in outcomes], samples, next((error for _, error in outcomes if error), "")

    def _turn(
        self, case: str, options: Sequence[str], done: threading.Event, release: threading.Event
    ) -> tuple[Turn, str]:
        """Ask one agent. ``done`` is set once it has answered or failed; it ends after ``release``.

        Returns the turn, and the error if the host stopped responding.
        """
        answered: list[float] = []
        started = time.monotonic()

        def wait(agent: RunningAgent) -> None:
            answered.append(time.monotonic() - agent.began)
            done.set()
            release.wait()

        failure = host_error = ""
        # An agent's timeouts grow with its host's slowness, but nanoclaw's own timeout does not.
        factor = self.timeout / (ANSWER_TIMEOUT * self.prepared.host.slowness)
        try:
            smoke(self.prepared, self.handle, [*self.flags, *options], case=case, factor=factor, inspect=wait)
        except (Mismatch, TimedOut) as error:
            failure = str(error)
        except HostProblem as error:
            failure = host_error = str(error)
        finally:
            done.set()
        seconds = answered[0] if answered else 0.0 if host_error else time.monotonic() - started
        return Turn(seconds=round(seconds, 1), failure=failure, container=Container()), host_error

    def _context(self, case: str) -> CaseContext:
        return CaseContext(self.prepared.host, self.prepared.owner, f"parallel-{case}", Record())


def climb(maximum: int, fits: Callable[[int], bool]) -> Iterator[int]:
    """Yield the numbers to try, from 1 to ``maximum``, until the largest that fits is known: doubled, then bisected.

    ``fits`` is called with a number after that number was yielded.
    """
    good, bad, number = 0, maximum + 1, 1
    while bad - good > 1:
        yield number
        if fits(number):
            good = number
        else:
            bad = number
        number = min(2 * good, maximum) if bad > maximum else (good + bad) // 2
