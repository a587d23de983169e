"""Chromium under no flag, under each one and under all of them, with its sandbox and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checks.engine.flags import Flag, Hardening, Subject
from checks.hardening.browser import NO_SANDBOX, BrowserResult
from checks.hardening.session import HardeningSession

BARE = "no flags"
SET = "the recommended set"
SET_WITHOUT = "the set without SYS_CHROOT"
SET_UNFILTERED = "the set without SYS_CHROOT and without a seccomp filter"
_ON_AND_OFF: tuple[list[str], ...] = ([], [NO_SANDBOX])


@dataclass(frozen=True)
class BrowserResults:
    """Chromium under some flags."""

    what: str
    """The flags, in words."""
    options: tuple[str, ...]
    needed: bool
    """Whether it has to work, with its sandbox on, for the flags to be recommended."""
    sights: tuple[BrowserResult, ...]
    """One with the sandbox on; one without it, where that was tried."""

    @property
    def ok(self) -> bool:
        """Whether it is as it has to be."""
        return not self.needed or self.sights[0].works

    def as_json(self) -> dict[str, Any]:
        """It as evidence stores it."""
        return {
            "what": self.what,
            "options": list(self.options),
            "needed": self.needed,
            "ok": self.ok,
            "starts": [sight.as_json() for sight in self.sights],
        }


def browse_all(session: HardeningSession, hardening: Hardening, flags: Sequence[Flag]) -> list[BrowserResults]:
    """Start Chromium in all of these ways."""
    ways = ways_of(hardening, flags)

    def one(way: tuple[str, list[str], bool]) -> BrowserResults:
        what, options, needed = way
        found = BrowserResults(what, tuple(options), needed, tuple(session.browse(options, _ON_AND_OFF)))
        for sight in found.sights:
            session.progress.say(f"  {what}: {in_words(sight)}")
        return found

    with session.progress.step(f"Starting Chromium under {len(ways)} sets of flags"):
        return session.at_once(one, ways)


def ways_of(hardening: Hardening, flags: Sequence[Flag]) -> list[tuple[str, list[str], bool]]:
    """Sets of flags, in words and as options, and whether Chromium has to work under them: none, each one alone, each
    with its work-arounds, the recommended set; the set without what is in it for Chromium alone, and that without the
    filter of system calls, which tell what breaks Chromium."""
    found: list[tuple[str, list[str], bool]] = [(BARE, [], True)]
    for flag in flags:
        alone = hardening.options(flag)
        mended = hardening.hardened([*(hardening.flag(each) for each in flag.needs), flag])
        found.append((flag.text, alone, alone == mended and not flag.documented))
        if mended != alone:
            found.append((f"{flag.text}, with its work-arounds", mended, True))
    chosen = hardening.recommended()
    bare = without_lent(hardening)
    documented = [word for flag in hardening.flags if flag.documented for word in flag.options]
    return [
        *found,
        (SET, chosen, True),
        (SET_WITHOUT, bare, False),
        (SET_UNFILTERED, [*bare, *documented], False),
    ]


def without_lent(hardening: Hardening) -> list[str]:
    """The recommended set without what is in it for Chromium alone."""
    lent = [each.options for flag in hardening.enabled for each in flag.mending(Subject.BROWSER)[:1]]
    return [word for word in hardening.recommended() if not any(word in words for words in lent)]


def in_words(sight: BrowserResult) -> str:
    """What came of a start of Chromium, in a line."""
    how = "Chromium with --no-sandbox" if NO_SANDBOX in sight.arguments else "Chromium"
    return f"{how} renders, sandbox {sight.sandbox}" if sight.rendered else f"{how} fails: {sight.failure}"
