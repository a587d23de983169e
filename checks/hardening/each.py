"""Every flag alone: enabled, an agent asked, the operation that broke found, a work-around tried, its bite proved."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from checks.hardening.browser import NO_SANDBOX, Sight
from checks.hardening.flags import Flag, Hardening, Subject, Workaround
from checks.hardening.ground import Ground, Smoke
from checks.hardening.proofs import Plan
from checks.hardening.rows import Row


def each_alone(ground: Ground, hardening: Hardening, flags: Sequence[Flag]) -> list[Row]:
    """Try each flag with nothing else set, but for what it needs."""
    rows = attacked(ground, hardening, flags)
    bare = _Bare(ground)
    with ground.progress.step("Asking agents, and looking at their browser"):
        ground.at_once(lambda row: _use(ground, hardening, row, bare), [row for row in rows if not row.flag.documented])
    return rows


def attacked(ground: Ground, hardening: Hardening, flags: Sequence[Flag]) -> list[Row]:
    """Each flag alone, by its attacks and by what is read inside; no agent is asked."""
    plan = Plan(hardening)
    for flag in flags:
        plan.alone(flag)
    trials = ground.attack(plan.cells)
    rows = []
    for flag in flags:
        options = hardening.options(flag)
        row = Row(flag, tuple(options))
        row.bitten = plan.bites(flag, options, trials)
        row.missing, row.trouble = plan.in_force(flag, options, trials)
        rows.append(row)
    return rows


class _Bare:
    """The agent without any flag, asked once and only where it has to be."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._lock = threading.Lock()
        self._smoke: Smoke | None = None

    def smoke(self) -> Smoke:
        with self._lock:
            self._smoke = self._smoke or self._ground.ask([], [])
            return self._smoke


def _use(ground: Ground, hardening: Hardening, row: Row, bare: _Bare) -> None:
    """An agent and its browser under the flag; then with one work-around after another until they work."""
    flags = [*(hardening.flag(each) for each in row.flag.needs), row.flag]
    for workaround, options in _ways(row, flags, Subject.AGENT):
        smoke = ground.ask(flags, options)
        row.smokes.append((workaround, smoke))
        ground.progress.say(f"  {' '.join(options)}: {'the agent answers' if smoke.passed else 'no answer'}")
        if smoke.passed:
            break
    else:
        row.without = bare.smoke()
    # The browser is the agent's: it gets what the agent took, and on top of that what is for itself.
    taken = row.smokes[-1][0] if row.answers else None
    for workaround, options in _ways(row, flags, Subject.BROWSER, taken):
        # Without its sandbox as well, where nothing but the flag is set: it tells whether the sandbox is what breaks.
        sight, *unsandboxed = ground.browse(options, [[]] if workaround else [[], [NO_SANDBOX]])
        row.sights.append((workaround, sight))
        row.unsandboxed += unsandboxed
        ground.progress.say(f"  {' '.join(options)}: {in_words(sight)}")
        if sight.works:
            break


def _ways(
    row: Row, flags: Sequence[Flag], subject: Subject, taken: Workaround | None = None
) -> Iterator[tuple[Workaround | None, list[str]]]:
    """The flag alone; then with the work-around that was ``taken`` already; then with each that there is for what the
    flag breaks, on top of that one."""
    yield None, list(row.options)
    options = [*row.options, *(taken.options if taken else ())]
    if taken:
        yield taken, options
    for flag in flags:
        for each in flag.mending(subject):
            yield each, [*options, *each.options]


def in_words(sight: Sight) -> str:
    """What came of a start of Chromium, in a line."""
    how = "Chromium with --no-sandbox" if NO_SANDBOX in sight.arguments else "Chromium"
    return f"{how} renders, sandbox {sight.sandbox}" if sight.rendered else f"{how} fails: {sight.failure}"
