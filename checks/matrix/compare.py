"""``invoke compare A B``: the differences between two runs."""

from __future__ import annotations

from typing import Annotated

from checks.core.errors import Exit
from checks.core.outcome import run_and_report
from checks.core.paths import GUIDE
from checks.core.progress import Progress
from checks.core.terminal import say
from checks.evidence import store
from checks.evidence.model import Verification
from checks.hosts.base import TITLES
from checks.matrix import differences, expectations
from checks.matrix.differences import Difference, Reason

_Evidence = Annotated[str, "a host, HOST-PROFILE, or an evidence file"]
_SHOWN = 300  # characters of either side


def compare(a: _Evidence, b: _Evidence) -> Exit:
    """Compare the evidence of two hosts, case by case: `invoke compare docker-engine debian-13`.

    Exit status: 0 every difference is explained; 1 at least one is not; 2 wrong usage.
    """
    return run_and_report(lambda: _compare(store.find(a), store.find(b)), Progress().say)


def _compare(a: Verification, b: Verification) -> Exit:
    known, expected = differences.explanations(), expectations.load()
    explained: dict[Reason, list[str]] = {}
    unexplained: list[Difference] = []
    found = differences.between(a, b)
    for each in found:
        if reason := differences.reason(each, a, b, known, expected):
            cases = explained.setdefault(reason, [])
            cases += [each.case] if each.case not in cases else []
        else:
            unexplained.append(each)
    both = sum(b.case(case.id) is not None for case in a.cases)
    say(f"A: {_title(a)}\nB: {_title(b)}\n{both} cases ran on both.")
    if alone := differences.only_on_one(a, b):
        say(f"Not compared, since they ran on one host only: {', '.join(alone)}.")
    if explained:
        say("\nExplained:")
    for reason, cases in explained.items():
        say(f"  {reason.because} ({GUIDE}#{reason.entry})\n    {', '.join(cases)}")
    if unexplained:
        say("\nUnexplained:")
    for each in unexplained:
        say(f"  {each.label} ({each.case}): {each.field}")
        if each.command:
            say(f"    ran: {each.command[:_SHOWN]}")
        say(f"    A: {_cut(each.a)}\n    B: {_cut(each.b)}")
    counts = f"{len(found) - len(unexplained)} explained, {len(unexplained)} unexplained"
    say(f"\n{len(found)} differences: {counts}.")
    return Exit.CASE_FAILED if unexplained else Exit.OK


def _title(run: Verification) -> str:
    host = run.host
    return f"{host.name} ({host.profile}), {TITLES[host.engine]} {host.version}, {host.distribution}, {run.started}"


def _cut(text: str) -> str:
    shown = text.replace("\n", "\n       ")
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
