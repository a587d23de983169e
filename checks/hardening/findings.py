"""The results of ``invoke harden`` for other programs, each with an id that a user can accept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from checks.engine.flags import Flag
from checks.evidence.checklist import Result, State
from checks.hardening.browser import BrowserResults, in_words, works
from checks.hardening.results import CombinedResult, FlagCombination, FlagResult, RemovedFlagResult, smallest_failing

_AGENT, _SET_BROWSER, _CASES = "set-agent", "set-browser", "set-cases"
_BROWSER, _COMBINATIONS = "browser", "combinations"


def known_ids(flags: Sequence[Flag]) -> Collection[str]:
    """The ids of all results that a run with these flags can have."""
    of_flags = [f"{kind}{flag.id}" for flag in flags for kind in ("", "set-", "removed-")]
    return {*of_flags, _AGENT, _SET_BROWSER, _CASES, _COMBINATIONS, _BROWSER}


def of_flags(found: Sequence[FlagResult], *, within: str = "") -> list[Result]:
    """Each flag alone; ``within`` is the prefix of the ids of flags within the set."""
    return [
        Result(
            id=f"{within}{each.flag.id}",
            title=f"{each.flag.text} within the set" if within else each.flag.text,
            state="fine" if each.ok else "degrades" if within or each.answers else "blocks",
            observed="; ".join(each.remarks) or f"enforced: {each.enforcement_in_words}",
        )
        for each in found
    ]


def of_set(found: CombinedResult) -> list[Result]:
    """The recommended set: each flag of it, an agent, its browser, and the cases."""
    smoke, start = found.smoke, found.browser[0] if found.browser else None
    answers = bool(smoke and smoke.passed)
    starts = bool(start and works(start))
    return [
        *of_flags(found.flags, within="set-"),
        _one(_AGENT, "An agent under the recommended set", answers, smoke.failure if smoke else "not started"),
        _one(_SET_BROWSER, "Chromium under the recommended set", starts, in_words(start) if start else "not started"),
        _one(_CASES, "The cases under the recommended set", not found.failed, f"failed: {'; '.join(found.failed)}"),
    ]


def of_browsers(found: Sequence[BrowserResults]) -> list[Result]:
    """Chromium under each set-up that it must work in."""
    required = [each for each in found if each.setup.required]
    failed = [f"{each.setup.name}: {in_words(each.starts[0])}" for each in required if not each.ok]
    return [_one(_BROWSER, "Chromium under every flag", not failed, "; ".join(failed))]


def of_combinations(found: Sequence[FlagCombination]) -> list[Result]:
    """The combinations together: the smallest ones that fail."""
    failing = [" + ".join(sorted(ids)) for ids in smallest_failing(found, lambda each: not each.ok)]
    return [_one(_COMBINATIONS, "Combinations of flags", not failing, f"the smallest that fail: {'; '.join(failing)}")]


def of_removed(found: Sequence[RemovedFlagResult]) -> list[Result]:
    """Each flag that was removed, and whether exactly its check failed."""
    return [
        _one(
            f"removed-{each.flag.id}", f"{each.flag.text}, removed", each.detected, f"failed: {', '.join(each.failed)}"
        )
        for each in found
    ]


def accepted(found: Sequence[Result], reasons: Mapping[str, str]) -> list[Result]:
    """The results, with the failures that are accepted as such."""
    return [
        msgspec.structs.replace(each, state="accepted", accepted=reasons[each.id])
        if each.state in ("blocks", "degrades") and each.id in reasons
        else each
        for each in found
    ]


def _one(id_: str, title: str, good: bool, failure: str) -> Result:
    state: State = "fine" if good else "blocks"
    return Result(id=id_, title=title, state=state, observed="" if good else failure)
