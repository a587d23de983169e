"""Every flag alone: enabled, an agent asked, the operation that broke found, a work-around tried, its bite proved."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from checks.engine.flags import Flag, Hardening, Subject, Workaround
from checks.hardening.flag_results import FlagResult
from checks.hardening.proofs import Plan
from checks.hardening.session import HardeningSession, Smoke


def run_individually(session: HardeningSession, hardening: Hardening, flags: Sequence[Flag]) -> list[FlagResult]:
    """Try each flag with nothing else set, but for what it needs."""
    rows = attacked(session, hardening, flags)
    bare = _Bare(session)
    with session.progress.step("Asking agents"):
        session.at_once(
            lambda row: _ask(session, hardening, row, bare), [row for row in rows if not row.flag.documented]
        )
    return rows


def attacked(session: HardeningSession, hardening: Hardening, flags: Sequence[Flag]) -> list[FlagResult]:
    """Each flag alone, by its attacks and by what is read inside; no agent is asked."""
    plan = Plan(hardening)
    for flag in flags:
        plan.alone(flag)
    trials = session.attack(plan.cells)
    rows = []
    for flag in flags:
        options = hardening.options(flag)
        row = FlagResult(flag, tuple(options))
        row.bitten = plan.bites(flag, options, trials)
        row.missing, row.trouble = plan.in_force(flag, options, trials)
        rows.append(row)
    return rows


class _Bare:
    """The agent without any flag, asked once and only where it has to be."""

    def __init__(self, session: HardeningSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._smoke: Smoke | None = None

    def smoke(self) -> Smoke:
        with self._lock:
            self._smoke = self._smoke or self._session.ask([], [])
            return self._smoke


def _ask(session: HardeningSession, hardening: Hardening, row: FlagResult, bare: _Bare) -> None:
    """An agent under the flag alone; then with one work-around after another until it answers."""
    flags = [*(hardening.flag(each) for each in row.flag.needs), row.flag]
    for workaround, options in _ways(row, flags):
        smoke = session.ask(flags, options)
        row.smokes.append((workaround, smoke))
        session.progress.say(f"  {' '.join(options)}: {'the agent answers' if smoke.passed else 'no answer'}")
        if smoke.passed:
            return
    row.without = bare.smoke()


def _ways(row: FlagResult, flags: Sequence[Flag]) -> Iterator[tuple[Workaround | None, list[str]]]:
    yield None, list(row.options)
    for flag in flags:
        for each in flag.mending(Subject.AGENT):
            yield each, [*row.options, *each.options]
