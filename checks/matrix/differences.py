"""Where two engines part, case by case, and which of it is explained."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES
from checks.evidence.stored import Stored
from checks.matrix import normal
from checks.matrix.expectations import Expectations

FILE = FIXTURES / "differences.toml"

_KEYS = {"cases", "field", "a", "b", "because", "entry"}
_MEASURED = re.compile(r"seconds|share|bytes|forked|lost")
"""Observations that are figures of one run, and differ between any two."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same."""

    case: str
    label: str
    field: str
    """``outcome`` (with what came, of a failure), ``commands``, ``status``, ``stdout``, ``stderr``, ``effect NAME``."""
    command: str
    """The command, where it is one's."""
    a: str
    b: str


@dataclass(frozen=True)
class Reason:
    """Why two engines differ."""

    because: str
    entry: str
    """The anchor of the troubleshooting entry."""


@dataclass(frozen=True)
class Explanation:
    """Differences that are known, and why."""

    reason: Reason
    cases: tuple[str, ...]
    """The cases that it is about; empty for all."""
    field: re.Pattern[str]
    a: re.Pattern[str]
    b: re.Pattern[str]

    def explains(self, difference: Difference) -> bool:
        """Whether this is that difference."""
        return (
            (not self.cases or difference.case in self.cases)
            and self.field.fullmatch(difference.field) is not None
            and self.a.search(difference.a) is not None
            and self.b.search(difference.b) is not None
        )


def between(a: Stored, b: Stored) -> list[Difference]:
    """All differences of the cases that ran on both."""
    found: list[Difference] = []
    for case in a.cases:
        other = b.case(case["id"])
        if other is not None:
            found += _of_case(case, other)
    return found


def only_on_one(a: Stored, b: Stored) -> list[str]:
    """The cases that ran on one of the two alone, or were skipped there: nothing can be said of them."""
    ran = [{case["id"] for case in each.cases if case["outcome"] != "skipped"} for each in (a, b)]
    return sorted(ran[0] ^ ran[1])


def _of_case(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    def differ(field: str, left: Any, right: Any, command: str = "") -> Iterator[Difference]:
        if left != right:
            yield Difference(a["id"], a["label"], field, command, str(left), str(right))

    if "skipped" in (a["outcome"], b["outcome"]):
        return
    yield from differ("outcome", _outcome(a), _outcome(b))
    if a["outcome"] != b["outcome"]:
        return  # where one went on and the other stopped, the rest says nothing
    for left, right in zip_longest(a["commands"], b["commands"]):
        if left is None or right is None or _asked(left) != _asked(right):
            yield from differ("commands", _asked(left), _asked(right))
            break
        one, two = normal.command(left), normal.command(right)
        for field in ("status", "stdout", "stderr"):
            yield from differ(field, one[field], two[field], _asked(left))
    for name in sorted({*a["observations"], *b["observations"]}):
        if not _MEASURED.search(name):
            yield from differ(
                f"effect {name}",
                normal.observation(a["observations"].get(name)),
                normal.observation(b["observations"].get(name)),
            )


def _outcome(case: Mapping[str, Any]) -> str:
    return f"failed: {normal.text(case['got'])}" if case["outcome"] == "failed" else str(case["outcome"])


def _asked(command: Mapping[str, Any] | None) -> str:
    return "nothing" if command is None else " ".join(normal.argv(command["argv"]))


def explanations(path: Path = FILE) -> list[Explanation]:
    """The known differences. Raises WrongUsage that names the file, the key and what is wrong with it."""
    try:
        tables: Sequence[dict[str, Any]] = tomllib.loads(path.read_text()).get("difference", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise WrongUsage(f"{path} can't be read: {error}.") from error
    return [_explanation(table, f"{path}, entry {at}") for at, table in enumerate(tables, 1)]


def _explanation(table: dict[str, Any], source: str) -> Explanation:
    if unknown := sorted(set(table) - _KEYS):
        raise WrongUsage(f"{source}: “{unknown[0]}” is not a key of a difference.")
    for key in ("because", "entry", "field"):
        if not table.get(key):
            raise WrongUsage(f"{source}: “{key}” is missing.")
    try:
        patterns = {key: re.compile(table.get(key, ""), re.DOTALL) for key in ("field", "a", "b")}
    except re.error as error:
        raise WrongUsage(f"{source}: {error}.") from error
    return Explanation(Reason(table["because"], table["entry"]), tuple(table.get("cases", ())), **patterns)


def reason(
    difference: Difference, a: Stored, b: Stored, known: Sequence[Explanation], expected: Expectations
) -> Reason | None:
    """Why ``a`` and ``b`` differ there: an expected failure of one of them, else the first explanation that fits."""
    if difference.field == "outcome":
        for each in (a, b):
            case = each.case(difference.case)
            failure = expected.of(difference.case, each.host)
            if failure and case and case["outcome"] == "failed":
                return Reason(failure.because, failure.entry)
    return next((each.reason for each in known if each.explains(difference)), None)
