"""What is known to go another way on some hosts: an expected failure that passes is as loud as a failure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from packaging.version import Version

from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES

FILE = FIXTURES / "expectations.toml"

_FACTS = ("host", "profile", "engine", "cgroups", "init")
_KEYS = {"cases", "below", "since", "because", "entry", *_FACTS}


@dataclass(frozen=True)
class Known:
    """Cases that fail on some hosts, and why."""

    cases: tuple[str, ...]
    because: str
    entry: str
    """The anchor of the troubleshooting entry."""
    facts: Mapping[str, str]
    """What the evidence's facts must be for it to apply."""
    below: str = ""
    """The first version of the engine on which it no longer holds; empty for all."""
    since: str = ""
    """The first version of the engine on which it holds; empty for all."""

    def applies(self, host: Mapping[str, Any]) -> bool:
        """Whether it applies to a host with these facts."""
        facts = {**host, "host": host["name"]}
        version = Version(str(host["version"]) or "0")
        return (
            all(facts[key] == value for key, value in self.facts.items())
            and (not self.below or version < Version(self.below))
            and (not self.since or version >= Version(self.since))
        )


class Verdict(StrEnum):
    """How an outcome stands to what is known."""

    PASSED = "passed"
    SKIPPED = "skipped"
    KNOWN = "known to fail"
    FAILED = "failed"
    UNEXPECTED_PASS = "passed, and is known to fail"  # noqa: S105 - no password

    @property
    def good(self) -> bool:
        """Whether it is as it should be."""
        return self in (Verdict.PASSED, Verdict.SKIPPED, Verdict.KNOWN)


class Expectations:
    """All that is known."""

    def __init__(self, known: Sequence[Known]) -> None:
        self.known = tuple(known)

    def of(self, case: str, host: Mapping[str, Any]) -> Known | None:
        """What is known of that case on a host with these facts."""
        return next((known for known in self.known if case in known.cases and known.applies(host)), None)

    def judge(self, case: Mapping[str, Any], host: Mapping[str, Any]) -> Verdict:
        """The verdict on one case of some evidence."""
        known, outcome = self.of(case["id"], host), case["outcome"]
        if outcome == "skipped":
            return Verdict.SKIPPED
        if outcome == "failed":
            return Verdict.KNOWN if known else Verdict.FAILED
        return Verdict.UNEXPECTED_PASS if known else Verdict.PASSED


def load(path: Path = FILE) -> Expectations:
    """The expectations of a file. Raises WrongUsage that names the file, the key and what is wrong with it."""
    try:
        tables = tomllib.loads(path.read_text()).get("known", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise WrongUsage(f"{path} can't be read: {error}.") from error
    return Expectations([_known(table, f"{path}, entry {at}") for at, table in enumerate(tables, 1)])


def _known(table: dict[str, Any], source: str) -> Known:
    if unknown := sorted(set(table) - _KEYS):
        raise WrongUsage(f"{source}: “{unknown[0]}” is not a key of an expectation.")
    for key in ("cases", "because", "entry"):
        if not table.get(key):
            raise WrongUsage(f"{source}: “{key}” is missing.")
    return Known(
        cases=tuple(table["cases"]),
        because=table["because"],
        entry=table["entry"],
        facts={key: table[key] for key in _FACTS if key in table},
        below=table.get("below", ""),
        since=table.get("since", ""),
    )
