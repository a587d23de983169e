"""``invoke compare A B``: two hosts held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from checks.core.errors import Exit
from checks.core.outcome import run_and_report
from checks.core.paths import GUIDE
from checks.core.progress import Progress
from checks.core.terminal import say
from checks.evidence import stored
from checks.evidence.stored import Stored
from checks.hosts.base import TITLES
from checks.matrix import differences, expectations
from checks.matrix.differences import Difference, Reason

_Evidence = Annotated[str, "a host, HOST-PROFILE, or an evidence file"]
_SHOWN = 300  # characters of either side


def compare(a: _Evidence, b: _Evidence) -> Exit:
    """Compare the evidence of two hosts, case by case: `invoke compare docker-engine debian-13`.

    Exit status: 0 every difference is explained; 1 at least one is not; 2 wrong usage.
    """
    return run_and_report(lambda: _compare(stored.find(a), stored.find(b)), Progress().say)


def _compare(a: Stored, b: Stored) -> Exit:
    known, expected = differences.explanations(), expectations.load()
    found = [(each, differences.reason(each, a, b, known, expected)) for each in differences.between(a, b)]
    both = sum(b.case(case["id"]) is not None for case in a.cases)
    say(f"A: {_head(a)}\nB: {_head(b)}\n{both} cases ran on both.")
    if alone := differences.only_on_one(a, b):
        say(f"On one of them alone, so that nothing is said of them: {', '.join(alone)}.")
    explained = [(each, why) for each, why in found if why]
    unexplained = [each for each, why in found if not why]
    if explained:
        say("\nExplained:")
        say("\n".join(_explained(explained)))
    if unexplained:
        say("\nUnexplained:")
        for each in unexplained:
            say("\n".join(_shown(each)))
    say(f"\n{len(found)} differences: {len(explained)} explained, {len(unexplained)} unexplained.")
    return Exit.CASE_FAILED if unexplained else Exit.OK


def _head(one: Stored) -> str:
    facts = one.host
    engine = f"{TITLES[facts['engine']]} {facts['version']}"
    return f"{one.name} ({one.profile}), {engine}, {facts['distribution']}, {one.started}"


def _explained(found: Sequence[tuple[Difference, Reason]]) -> list[str]:
    """A line an explanation, with the cases that it is about."""
    cases: dict[Reason, list[str]] = {}
    for each, why in found:
        names = cases.setdefault(why, [])
        if each.case not in names:
            names.append(each.case)
    return [f"  {why.because} ({GUIDE}#{why.entry})\n    {', '.join(names)}" for why, names in cases.items()]


def _shown(each: Difference) -> list[str]:
    lines = [f"  {each.label} ({each.case}): {each.field}"]
    if each.command:
        lines.append(f"    ran: {each.command[:_SHOWN]}")
    return [*lines, f"    A: {_cut(each.a)}", f"    B: {_cut(each.b)}"]


def _cut(text: str) -> str:
    shown = text.replace("\n", "\n       ")
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
