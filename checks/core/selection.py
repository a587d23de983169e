"""Which cases run: patterns against names, positive and negative."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from checks.core.errors import WrongUsage


def matches(pattern: str, names: Sequence[str]) -> bool:
    """Whether any of the names has the pattern in it, case aside. ``*``, ``?`` and ``[…]`` are wild cards."""
    wanted = f"*{pattern.casefold()}*"
    return any(fnmatchcase(name.casefold(), wanted) for name in names)


def selected(
    patterns: Sequence[str],
    cases: Sequence[Sequence[str]],
    *,
    kind: str = "case",
    listing: str = "invoke verify --list",
) -> list[bool]:
    """For each case (or what else ``kind`` calls them), given by its names, whether it runs.

    A pattern that starts with ``!`` or ``not `` takes away. Without any positive pattern, all cases are there to take
    away from. Raises WrongUsage where a pattern matches nothing, or nothing is left.
    """
    wanted = [pattern for pattern in patterns if not _negative(pattern)]
    unwanted = [stripped for pattern in patterns if (stripped := _negative(pattern))]
    for pattern in (*wanted, *unwanted):
        if not any(matches(pattern, names) for names in cases):
            raise WrongUsage(f"No {kind} matches “{pattern}”.", f"{listing} shows them all.")
    chosen = [
        (not wanted or any(matches(pattern, names) for pattern in wanted))
        and not any(matches(pattern, names) for pattern in unwanted)
        for names in cases
    ]
    if not any(chosen):
        raise WrongUsage(f"The patterns leave no {kind} to run.", f"{listing} shows them all.")
    return chosen


def _negative(pattern: str) -> str:
    for sign in ("!", "not "):
        if pattern.startswith(sign):
            return pattern.removeprefix(sign).strip()
    return ""
