"""What a hardening run prints: a table of the flags, and below it what is to be said of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from checks.hardening.browsing import BrowserResults, in_words
from checks.hardening.combinations import FlagCombination, smallest_failing
from checks.hardening.combined import CombinedResult
from checks.hardening.flag_results import FlagResult, bite_in_words, remarks
from checks.hardening.removed_flags import RemovedFlagResult

_WIDTH = 60  # characters of a cell


def each(rows: Sequence[FlagResult]) -> str:
    """Each flag alone: flag × (smoke, bites, verdict)."""
    cells = [
        (
            " ".join(row.options),
            _smoke(row),
            bite_in_words(row),
            row.verdict if row.ok else f"{row.verdict}: NOT OK",
        )
        for row in rows
    ]
    table = tabulate(cells, headers=("Flag alone", "Smoke", "Bites", "Verdict"), maxcolwidths=_WIDTH)
    return "\n".join([table, *_remarks(rows)])


def together(found: CombinedResult) -> str:
    """The recommended set: flag × bites, then the agent, its browser and the verification."""
    table = tabulate(
        [(row.flag.text, bite_in_words(row)) for row in found.rows], headers=("Flag, of the whole set", "Bites")
    )
    cases = found.verified.cases if found.verified else []
    passed = sum(case.outcome == "passed" for case in cases)
    smoke = found.smoke
    lines = [
        f"The set:       {' '.join(found.options)}",
        f"Agent:         {'answers' if smoke and smoke.passed else f'no answer: {smoke.failure if smoke else str()}'}",
        f"Chromium:      {'; '.join(in_words(sight) for sight in found.sights)}",
        f"Verification:  {passed}/{len(cases)} passed",
        *(f"  skipped:     {case.label}: {case.reason}" for case in cases if case.outcome == "skipped"),
        *(f"  known:       {label}: {because}" for label, because in found.known),
        *(f"  failed:      {label}" for label in found.failed),
        f"Together:      {'compatible, and every flag bites' if found.ok else 'NOT OK'}",
    ]
    return "\n".join([table, *_remarks(found.rows), "", *lines])


def lattice(points: Sequence[FlagCombination]) -> str:
    """The combinations, and the smallest ones that fail."""
    cells = [
        (
            " + ".join(flag.id for flag in point.flags),
            "answers" if point.smoke.passed else "no answer",
            in_words(point.sight),
            "; ".join(f"{flag}: {lack}" for flag, lack in point.smoke.missing.items()) or "all",
        )
        for point in points
    ]
    table = tabulate(
        cells, headers=("Flags, with their work-arounds", "Agent", "Chromium", "In force"), maxcolwidths=60
    )
    failing = smallest_failing(points, lambda point: not point.ok)
    if not failing:
        return f"{table}\n\nNo set of these fails."
    return "\n".join([table, "\nThe smallest failing sets:", *(f"  {' + '.join(sorted(ids))}" for ids in failing)])


def browsing(found: Sequence[BrowserResults]) -> str:
    """Chromium under each set of flags."""
    cells = [
        (each.what, "\n".join(in_words(sight) for sight in each.sights), "" if each.ok else "NOT OK") for each in found
    ]
    return tabulate(cells, headers=("Flags", "Chromium", ""), maxcolwidths=_WIDTH)


def losses(found: Sequence[RemovedFlagResult]) -> str:
    """Which rows turned red behind a docker that loses a flag."""
    cells = [
        (
            loss.flag.text,
            "\n".join(f"{flag}: {said}" for flag, said in loss.red.items()) or "nothing",
            "that one alone" if loss.seen else "NOT that one alone",
        )
        for loss in found
    ]
    return tabulate(cells, headers=("Lost behind our back", "Red", ""), maxcolwidths=_WIDTH)


def _smoke(row: FlagResult) -> str:
    if row.flag.documented:
        return "–"
    if not row.answers:
        return "NO ANSWER"
    return "answers, with a work-around" if row.broke else "answers"


def _remarks(rows: Sequence[FlagResult]) -> Iterator[str]:
    for row in rows:
        for at, remark in enumerate(remarks(row)):
            if at == 0:
                yield f"\n{row.flag.text}"
            first, *others = remark.splitlines()
            yield f"  - {first}"
            yield from (f"    {line}" for line in others)
