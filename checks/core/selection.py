"""Selection of cases by positive and negative patterns."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from checks.core.errors import WrongUsage

_SHOWN = 12  # names in the line that reports a selection


def matches(pattern: str, names: Sequence[str]) -> bool:
    """Whether a name contains the pattern, ignoring case. ``*``, ``?`` and ``[…]`` are wildcards."""
    wanted = f"*{pattern.casefold()}*"
    return any(fnmatchcase(name.casefold(), wanted) for name in names)


def selected(
    patterns: Sequence[str],
    cases: Sequence[Sequence[str]],
    *,
    kind: str = "case",
    listing: str = "invoke verify --list",
) -> list[bool]:
    """For each case (or other ``kind``), given by its names, whether it is selected.

    A pattern that starts with ``!`` or ``not `` excludes. Without positive patterns, all cases are included. Raises
    WrongUsage if a pattern matches nothing, or nothing is left.
    """
    wanted = [pattern for pattern in patterns if not _negative(pattern)]
    unwanted = [stripped for pattern in patterns if (stripped := _negative(pattern))]
    for pattern in (*wanted, *unwanted):
        if not any(matches(pattern, names) for names in cases):
            raise WrongUsage(f"No {kind} matches “{pattern}”.", f"List them with: {listing}")
    chosen = [
        (not wanted or any(matches(pattern, names) for pattern in wanted))
        and not any(matches(pattern, names) for pattern in unwanted)
        for names in cases
    ]
    if not any(chosen):
        raise WrongUsage(f"The patterns exclude every {kind}.", f"List them with: {listing}")
    return chosen


def selection(names: Sequence[str], among: int, *, kind: str) -> str:
    """The line that reports what ``--only`` selected, before anything is started: a pattern may match in any text."""
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"--only selects {len(names)} of {among} {kind}: {shown}{more}."


def _negative(pattern: str) -> str:
    for sign in ("!", "not "):
        if pattern.startswith(sign):
            return pattern.removeprefix(sign).strip()
    return ""
