"""The tables that a hardening run prints, and the remarks below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from checks.core.lines import lines_of
from checks.core.terminal import one_line
from checks.hardening.browser import BrowserResults, in_words
from checks.hardening.results import (
    CombinedResult,
    FlagCombination,
    FlagResult,
    RemovedFlagResult,
    smallest_failing,
)

_WIDTH = 60  # characters of a cell


def flags_alone(results: Sequence[FlagResult]) -> str:
    """Each flag alone."""
    cells = [
        (
            " ".join(each.options),
            _smoke(each),
            each.enforcement_in_words,
            each.verdict if each.ok else f"{each.verdict}: NOT OK",
        )
        for each in results
    ]
    table = tabulate(cells, headers=("Flag alone", "Agent", "Enforced", "Verdict"), maxcolwidths=_WIDTH)
    return "\n".join([table, *_remarks(results)])


def combined(found: CombinedResult) -> str:
    """The recommended set: each flag of it, then the agent, its browser and the verification."""
    cells = [(each.flag.text, each.enforcement_in_words) for each in found.flags]
    table = tabulate(cells, headers=("Flag of the set", "Enforced"))
    cases = found.verified.cases if found.verified else []
    passed = sum(case.outcome == "passed" for case in cases)
    smoke = found.smoke
    answer = "answers" if smoke and smoke.passed else f"no answer: {one_line(smoke.failure if smoke else '')}"
    lines = [
        f"The set:       {' '.join(found.options)}",
        f"Agent:         {answer}",
        f"Chromium:      {'; '.join(in_words(start) for start in found.browser)}",
        f"Verification:  {passed}/{len(cases)} passed",
        *(f"  skipped:     {case.label}: {case.reason}" for case in cases if case.outcome == "skipped"),
        *(f"  expected failure: {label}: {because}" for label, because in found.expected_failures),
        *(f"  failed:      {label}" for label in found.failed),
        f"Together:      {'compatible, and every flag is enforced' if found.ok else 'NOT OK'}",
    ]
    return "\n".join([table, *_remarks(found.flags), "", *lines])


def combinations(every: Sequence[FlagCombination]) -> str:
    """The combinations, and the smallest ones that fail."""
    cells = [
        (
            " + ".join(flag.id for flag in each.flags),
            "answers" if each.smoke.passed else "no answer",
            in_words(each.browser),
            "; ".join(f"{flag}: {lack}" for flag, lack in each.smoke.unenforced.items()) or "all",
        )
        for each in every
    ]
    headers = ("Flags, with their work-arounds", "Agent", "Chromium", "In force")
    table = tabulate(cells, headers=headers, maxcolwidths=_WIDTH)
    failing = smallest_failing(every, lambda each: not each.ok)
    if not failing:
        return f"{table}\n\nNo combination fails."
    return "\n".join([table, "\nThe smallest failing sets:", *(f"  {' + '.join(sorted(ids))}" for ids in failing)])


def browsers(found: Sequence[BrowserResults]) -> str:
    """Chromium under each set of flags."""
    cells = [
        (each.setup.name, "\n".join(in_words(start) for start in each.starts), "" if each.ok else "NOT OK")
        for each in found
    ]
    return tabulate(cells, headers=("Flags", "Chromium", ""), maxcolwidths=_WIDTH)


def removed_flags(found: Sequence[RemovedFlagResult]) -> str:
    """Which rows failed when docker dropped a flag."""
    cells = [
        (
            each.flag.text,
            "\n".join(f"{flag}: {reason}" for flag, reason in each.failed.items()) or "nothing",
            "that flag alone" if each.detected else "NOT that flag alone",
        )
        for each in found
    ]
    return tabulate(cells, headers=("Dropped by docker", "Failed", ""), maxcolwidths=_WIDTH)


def _smoke(result: FlagResult) -> str:
    if not result.flag.recommended:
        return "–"
    if not result.answers:
        return "NO ANSWER"
    return "answers, with a work-around" if result.failure else "answers"


def _remarks(results: Sequence[FlagResult]) -> Iterator[str]:
    for result in results:
        for at, remark in enumerate(result.remarks):
            if at == 0:
                yield f"\n{result.flag.text}"
            first, *others = lines_of(remark)
            yield f"  - {first}"
            yield from (f"    {line}" for line in others)
