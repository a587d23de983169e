"""``invoke compare A B``: the differences between two runs."""

from __future__ import annotations

from typing import Annotated

from checks.core.errors import Exit
from checks.core.outcome import run_and_report
from checks.core.paths import GUIDE
from checks.core.progress import Progress
from checks.core.terminal import say, say_text
from checks.evidence import store
from checks.evidence.model import Verification
from checks.hosts.facts import TITLES
from checks.matrix import differences, expectations

_Evidence = Annotated[str, "a host, HOST-PROFILE, or an evidence file"]
_SHOWN = 300  # characters of either side


def compare(a: _Evidence, b: _Evidence) -> Exit:
    """Compare the evidence of two hosts, case by case: `invoke compare docker-engine debian-13`.

    Exit status: 0 every difference is explained; 1 at least one is not; 2 wrong usage.
    """
    return run_and_report(lambda: _compare(store.find(a), store.find(b)), Progress().say)


def _compare(a: Verification, b: Verification) -> Exit:
    explained = differences.by_reason(a, b, differences.explanations(), expectations.load())
    unexplained = explained.pop(None, [])
    number = sum(len(found) for found in explained.values())
    both = len(differences.ran(a) & differences.ran(b))
    say(f"A: {_title(a)}")
    say(f"B: {_title(b)}")
    say(f"{both} cases ran on both.")
    if alone := differences.only_on_one(a, b):
        say(f"Not compared, since they ran on one host only: {', '.join(alone)}.")
    if explained:
        say("\nExplained:")
    for reason, found in explained.items():
        if reason:
            cases = dict.fromkeys(each.case for each in found)
            say(f"  {reason.because} ({GUIDE}#{reason.entry})")
            say(f"    {', '.join(cases)}")
    if unexplained:
        say("\nUnexplained:")
    for each in unexplained:
        say(f"  {each.label} ({each.case}): {each.field}")
        if each.command:
            say(f"    ran: {each.command[:_SHOWN]}")
        say_text(f"    A: {_cut(each.a)}\n    B: {_cut(each.b)}")
    say(f"\n{number + len(unexplained)} differences: {number} explained, {len(unexplained)} unexplained.")
    return Exit.CASE_FAILED if unexplained else Exit.OK


def _title(run: Verification) -> str:
    host = run.host
    return f"{host.name} ({host.profile}), {TITLES[host.engine]} {host.version}, {host.distribution}, {run.started}"


def _cut(text: str) -> str:
    shown = text.replace("\n", "\n       ")
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
