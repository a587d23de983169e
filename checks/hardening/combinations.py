"""The flags in their combinations: single ones, pairs, all, and all but one; which smallest sets fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from checks.engine.flags import Flag, Hardening
from checks.hardening.browser import BrowserResult
from checks.hardening.browsing import in_words
from checks.hardening.session import HardeningSession, Smoke


@dataclass(frozen=True)
class FlagCombination:
    """One combination, each flag with its work-arounds, and what came of it."""

    flags: tuple[Flag, ...]
    smoke: Smoke
    sight: BrowserResult

    @property
    def ids(self) -> frozenset[str]:
        """The flags by their ids."""
        return frozenset(flag.id for flag in self.flags)

    @property
    def ok(self) -> bool:
        """Whether the agent answers, its browser works, and all of the flags are in force in the agent's container."""
        return self.smoke.passed and not self.smoke.missing and self.sight.works

    def as_json(self) -> dict[str, Any]:
        """It as evidence stores it."""
        return {
            "flags": [flag.id for flag in self.flags],
            "ok": self.ok,
            "agent": self.smoke.as_json(),
            "browser": self.sight.as_json(),
        }


def combinations_of(hardening: Hardening, flags: Sequence[Flag]) -> list[tuple[Flag, ...]]:
    """Single flags, pairs, all but one, all; each with what its flags need, and none of them twice."""
    found: dict[tuple[Flag, ...], None] = {}
    for size in (1, 2, len(flags) - 1, len(flags)):
        for some in combinations(flags, max(size, 0)):
            wanted = {flag.id for flag in some} | {needed for flag in some for needed in flag.needs}
            if some:
                found[tuple(flag for flag in hardening.flags if flag.id in wanted)] = None
    return list(found)


def walk(session: HardeningSession, hardening: Hardening, flags: Sequence[Flag]) -> list[FlagCombination]:
    """Try every combination."""
    whole = combinations_of(hardening, flags)

    def one(some: tuple[Flag, ...]) -> FlagCombination:
        options = hardening.hardened(some)
        point = FlagCombination(some, session.ask(some, options), *session.browse(options))
        agent = "the agent answers" if point.smoke.passed else "no answer"
        session.progress.say(f"  {' '.join(flag.id for flag in some)}: {agent}; {in_words(point.sight)}")
        return point

    with session.progress.step(f"Trying {len(whole)} combinations"):
        return session.at_once(one, whole)


def smallest_failing(
    points: Collection[FlagCombination], failed: Callable[[FlagCombination], bool]
) -> list[frozenset[str]]:
    """The sets that fail and have no other one that fails within them, in the order of their size."""
    failing = {point.ids for point in points if failed(point)}
    return list(_smallest(sorted(failing, key=lambda ids: (len(ids), *sorted(ids)))))


def _smallest(failing: Sequence[frozenset[str]]) -> Iterator[frozenset[str]]:
    for ids in failing:
        if not any(other < ids for other in failing):
            yield ids
