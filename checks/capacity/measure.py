"""What is measured: a browser's start, and agents that are asked at the same time, each in a container of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from checks.capacity.sampling import Samples, Usage, sampling
from checks.core.errors import HostProblem
from checks.core.progress import Progress
from checks.engine.case_context import CaseContext
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost
from checks.hardening.browser import BrowserResult, browse
from checks.hosts.process import TimedOut
from checks.nanoclaw import contract
from checks.nanoclaw.provider import AgentHandle
from checks.nanoclaw.running import ANSWER_BOUND, RunningAgent
from checks.nanoclaw.smoke import smoke

_BROWSER_BOUND = 120.0  # seconds on ordinary hardware, more than the browser's own bound
_BACK_BOUND = 60.0  # seconds on ordinary hardware, until a host that was overloaded has to answer again


@dataclass(frozen=True)
class Turn:
    """What came of one agent of a step."""

    failure: str
    """Why its answer did not come; empty where it came."""
    seconds: float
    """From the start of its client to its answer, or to its failure."""
    usage: Usage = field(default_factory=Usage)
    """What its container took."""


@dataclass(frozen=True)
class Step:
    """What came of a number of agents that were asked at the same time, and lived until all had answered."""

    agents: int
    bound: float
    """Seconds that each was given to answer."""
    turns: tuple[Turn, ...]
    samples: Samples
    trouble: str = ""
    """Why the host stopped answering meanwhile, where it did."""

    @property
    def answered(self) -> int:
        """How many answered, and with the service's own words."""
        return sum(not turn.failure for turn in self.turns)

    @property
    def fits(self) -> bool:
        """Whether all of them answered and ended, and nothing on the host was killed for want of memory."""
        return self.answered == self.agents and not self.samples.out_of_memory

    def as_json(self) -> dict[str, Any]:
        """It as evidence stores it."""
        return {
            "agents": self.agents,
            "answered": self.answered,
            "fits": self.fits,
            "bound": round(self.bound),
            # Clients start within a second or two of each other.
            "seconds": round(max((turn.seconds for turn in self.turns), default=0), 1),
            **({"trouble": self.trouble} if self.trouble else {}),
            "host": told(self.samples),
            "turns": [
                {
                    "seconds": round(turn.seconds, 1),
                    **({"failure": turn.failure} if turn.failure else {}),
                    "container": told(turn.usage),
                }
                for turn in self.turns
            ],
        }


def told(counts: Samples | Usage) -> dict[str, Any]:
    """Counts as evidence stores them: without those that the host's kernel does not have."""
    known = {key: value for key, value in asdict(counts).items() if value is not None and key != "containers"}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in known.items()}


@dataclass
class LoadSession:
    """A host that is ready, and an agent's kit."""

    prepared: PreparedHost
    handle: AgentHandle
    progress: Progress
    flags: Sequence[str]
    """Options that every container has."""
    factor: float = 1.0
    """What every bound is multiplied by."""

    @property
    def bound(self) -> float:
        """Seconds that an agent is given to answer: as many as nanoclaw gives it, whatever the host's speed."""
        return contract.TIMEOUT * self.factor

    def prepare(self) -> None:
        """Bring the agent's image and find its service. Raises Mismatch where one can't be had."""
        ctx = self._context("prepare")
        with self.progress.step("Bringing the agent's image"):
            self.handle.image(ctx)
            self.handle.url(ctx)

    def browser(self) -> tuple[BrowserResult, Usage]:
        """One start of Chromium, and what its container took."""
        ctx = self._context("browser")
        with self.progress.step("Starting a browser"), sampling(ctx, _BROWSER_BOUND * self.factor) as sampler:
            [sight] = browse(ctx, self.handle.image(ctx), [*self.flags, *sampler.options("browser")])
            seen = sampler.samples().containers.get("browser", Usage())
        return replace(sight, options=tuple(self.flags)), seen

    def agents(self, number: int) -> Step:
        """Ask so many agents at the same time; none is told to end until all have answered, or failed to.

        Raises HostProblem where the host is gone.
        """
        ctx = self._context(f"{number}-agents")
        meeting = _Meeting(number)
        what = f"Asking {number} {'agent' if number == 1 else 'agents at once'}"
        with self.progress.step(what), sampling(ctx, 2 * self.bound / ctx.host.slowness) as sampler:

            def one(at: int) -> Turn:
                return self._turn(meeting, f"{ctx.case}-{at}", at, sampler.options(str(at)))

            pool = ThreadPoolExecutor(number)
            try:
                started = [pool.submit(one, at) for at in range(number)]
                meeting.await_all()
                seen = sampler.another()
                meeting.over.set()
                outcomes = [_outcome(each) for each in started]
            except BaseException:
                meeting.over.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            pool.shutdown()
        turns = [replace(turn, usage=seen.containers.get(str(at), Usage())) for at, (turn, _) in enumerate(outcomes)]
        trouble = next((problem for _, problem in outcomes if problem), "")
        if trouble:
            ctx.host.run_checked(["true"], timeout=_BACK_BOUND, doing="asking whether it is back")
        return Step(number, self.bound, tuple(turns), seen, trouble)

    def _turn(self, meeting: _Meeting, case: str, at: int, options: Sequence[str]) -> Turn:
        answered: list[float] = []
        began = time.monotonic()

        def look(agent: RunningAgent) -> None:
            answered.append(time.monotonic() - agent.began)
            meeting.arrive(at)
            meeting.over.wait()

        failure = ""
        # The bounds of an agent grow with its host's slowness; the one that counts here is nanoclaw's own.
        factor = self.bound / (ANSWER_BOUND * self.prepared.host.slowness)
        try:
            smoke(self.prepared, self.handle, [*self.flags, *options], case=case, factor=factor, inspect=look)
        except (Mismatch, TimedOut) as wrong:
            failure = str(wrong)
        finally:
            meeting.arrive(at)
        return Turn(failure, answered[0] if answered else time.monotonic() - began)

    def _context(self, case: str) -> CaseContext:
        return CaseContext(self.prepared.host, self.prepared.owner, f"parallel-{case}", Record(), factor=self.factor)


class _Meeting:
    """Where agents wait for each other."""

    def __init__(self, number: int) -> None:
        self._missing = set(range(number))
        self._lock = threading.Lock()
        self._all = threading.Event()
        self.over = threading.Event()
        """Set when they may go."""

    def arrive(self, who: int) -> None:
        """Say that one is there, or will never be."""
        with self._lock:
            self._missing.discard(who)
            if not self._missing:
                self._all.set()

    def await_all(self) -> None:
        """Return when all are there."""
        self._all.wait()


def _outcome(turn: Future[Turn]) -> tuple[Turn, str]:
    """An agent's turn; where the host did not answer, a turn that failed, and why."""
    try:
        return turn.result(), ""
    except HostProblem as problem:
        return Turn(str(problem), 0.0), str(problem)


def climb(most: int, fits: Callable[[int], bool]) -> Iterator[int]:
    """The numbers to try, from 1 to ``most``, until the largest that fits is known: doubled, then halved between.

    ``fits`` is asked of a number after it was yielded.
    """
    good, bad, number = 0, most + 1, 1
    while bad - good > 1:
        yield number
        if fits(number):
            good = number
        else:
            bad = number
        number = min(2 * good, most) if bad > most else (good + bad) // 2
