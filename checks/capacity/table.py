"""Tables of a capacity measurement."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from checks.evidence.capacity_model import Capacity, CapacityStep, Container

_MIB = 1 << 20
UNKNOWN = "not counted"

SINGLE = ("In its container", "Seconds", "Memory", "Not reclaimable", "Processes and threads")
AT_ONCE = (
    "Agents at once",
    "Answered",
    "Seconds to the last answer",
    "Memory of all",
    "Not reclaimable",
    "Least available on the host",
    "Fit",
)


def single(capacity: Capacity) -> list[Sequence[str]]:
    """The rows for one agent's turn and for a browser."""
    turns = [step.turns[0] for step in capacity.steps if step.agents == 1 and step.turns]
    rows = [_row("an agent's turn", turn.failure, turn.seconds, turn.container) for turn in turns]
    browser = capacity.browser
    return [*rows, _row("Chromium with one page", browser.failure, browser.seconds, browser.container)]


def at_once(capacity: Capacity) -> list[Sequence[str]]:
    """The rows for each number of agents at once."""
    return [
        (
            str(step.agents),
            str(step.answered),
            f"{step.seconds:.0f}" if step.answered else "–",
            size(step.host.containers_memory),
            size(step.host.containers_unreclaimable),
            size(step.host.min_available),
            "yes" if step.fits else f"no: {why_not(step)}",
        )
        for step in capacity.steps
    ]


def why_not(step: CapacityStep) -> str:
    """The reasons why a number of agents does not fit."""
    reasons = []
    if step.host_error:
        reasons.append("the host stopped responding")
    if killed := step.host.oom_kills:
        reasons.append(f"the kernel killed {killed} {'process' if killed == 1 else 'processes'} for lack of memory")
    if failures := [turn.failure for turn in step.turns if turn.failure]:
        reasons.append(f"first failure: {' '.join(failures[0].split())}")
    return "; ".join(reasons)


def largest(capacity: Capacity) -> int:
    """The largest number of agents that fits; 0 if none does."""
    return max((step.agents for step in capacity.steps if step.fits), default=0)


def smallest_too_many(capacity: Capacity) -> int:
    """The smallest number of agents that does not fit; 0 if all do."""
    return min((step.agents for step in capacity.steps if not step.fits), default=0)


def sentence(step: CapacityStep) -> str:
    """One line for the progress output."""
    who = "1 agent" if step.agents == 1 else f"{step.agents} agents at once"
    if not step.fits:
        return f"{who}: {step.answered} answered; {why_not(step)}"
    return f"{who}: answered in {step.seconds:.0f} s, {size(step.host.min_available)} available on the host"


def text(capacity: Capacity) -> str:
    """All tables for a terminal."""
    too_many = smallest_too_many(capacity)
    result = f"{too_many} do not fit." if too_many else "More were not tried."
    return "\n\n".join(
        [
            tabulate(single(capacity), headers=SINGLE),
            tabulate(at_once(capacity), headers=AT_ONCE, disable_numparse=True),
            f"Largest number that fits: {largest(capacity)}. {result}",
        ]
    )


def size(count: int | None) -> str:
    """Bytes in a readable unit."""
    return UNKNOWN if count is None else f"{count / _MIB:.0f} MiB"


def _row(what: str, failure: str, seconds: float, container: Container) -> Sequence[str]:
    tasks = UNKNOWN if container.tasks is None else str(container.tasks)
    return (
        f"{what}, which failed: {failure}" if failure else what,
        f"{seconds:.0f}",
        size(container.memory),
        size(container.unreclaimable),
        tasks,
    )
