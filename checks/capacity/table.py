"""What was measured, for people: in tables, and what it says of the largest number of agents that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

_MIB = 1 << 20
UNKNOWN = "not counted"

ALONE = ("In its container", "Seconds", "Memory", "of which in use", "Processes and threads")
AT_ONCE = (
    "Agents at once",
    "Answered",
    "Seconds to the last answer",
    "Memory of all",
    "of which in use",
    "Least available on the host",
    "Fit",
)


def alone(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """A row for one agent's turn, and one for a browser: what its container took at most."""
    rows: list[Sequence[str]] = []
    single = next((step for step in found["steps"] if step["agents"] == 1), None)
    if single and single["turns"]:
        [turn] = single["turns"]
        what = "an agent's turn" + (f", which failed: {turn['failure']}" if "failure" in turn else "")
        rows.append((what, f"{turn['seconds']:.0f}", *_taken(turn["container"])))
    browser = found["browser"]
    what = "Chromium with one page" + (f", which failed: {browser['failure']}" if "failure" in browser else "")
    rows.append((what, f"{browser['seconds']:.0f}", *_taken(browser["container"])))
    return rows


def at_once(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """A row for each number of agents that were asked at the same time."""
    return [
        (
            str(step["agents"]),
            str(step["answered"]),
            f"{step['seconds']:.0f}" if step["answered"] else "–",
            size(step["host"].get("together")),
            size(step["host"].get("together_used")),
            size(step["host"]["least_available"]),
            "yes" if step["fits"] else f"no: {why_not(step)}",
        )
        for step in found["steps"]
    ]


def why_not(step: Mapping[str, Any]) -> str:
    """Why a number of agents does not fit."""
    reasons = []
    if "trouble" in step:
        reasons.append("the host itself stopped answering")
    if killed := step["host"]["out_of_memory"]:
        reasons.append(f"the kernel killed {killed} {'process' if killed == 1 else 'processes'} for want of memory")
    if failed := [turn["failure"] for turn in step["turns"] if "failure" in turn]:
        reasons.append(f"of one it was seen that {' '.join(failed[0].split())}")
    return "; ".join(reasons)


def largest(found: Mapping[str, Any]) -> int:
    """The largest number of agents that fitted; 0 where not even one did."""
    return max((int(step["agents"]) for step in found["steps"] if step["fits"]), default=0)


def least_too_many(found: Mapping[str, Any]) -> int:
    """The smallest number of agents that did not fit; 0 where every one that was tried did."""
    return min((int(step["agents"]) for step in found["steps"] if not step["fits"]), default=0)


def sentence(step: Mapping[str, Any]) -> str:
    """What came of one step, in a line."""
    number = step["agents"]
    who = "1 agent" if number == 1 else f"{number} agents at once"
    if not step["fits"]:
        return f"{who}: {step['answered']} answered; {why_not(step)}"
    return f"{who}: answered in {step['seconds']:.0f} s, {size(step['host']['least_available'])} left on the host"


def text(found: Mapping[str, Any]) -> str:
    """All of it, for a terminal."""
    most, over = largest(found), least_too_many(found)
    verdict = f"The most that fitted: {most}" + (f"; {over} do not." if over else "; more were not tried.")
    return "\n\n".join(
        [
            tabulate(alone(found), headers=ALONE),
            tabulate(at_once(found), headers=AT_ONCE, disable_numparse=True),
            verdict,
        ]
    )


def size(count: int | None) -> str:
    """Bytes as a person reads them."""
    return UNKNOWN if count is None else f"{count / _MIB:.0f} MiB"


def _taken(container: Mapping[str, Any]) -> tuple[str, str, str]:
    return size(container.get("memory")), size(container.get("used")), str(container.get("tasks", UNKNOWN))
