"""Expected failures: an unexpected pass fails a run like an unexpected failure, as pytest's strict xfail does."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Meta
from packaging.version import InvalidVersion, Version

from checks.core import strict_toml
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text
from checks.core.version import comparable
from checks.evidence.model import Case, Host

FILE = FIXTURES / "expectations.toml"

_FACTS = ("engine", "profile", "cgroups", "init")


class ExpectedFailure(Table, frozen=True):
    """Cases that fail on the hosts with these facts, and why. A fact that is not given is any."""

    cases: Annotated[tuple[Text, ...], Meta(min_length=1)]
    because: Text
    entry: Text
    """The anchor of the troubleshooting entry."""
    host: Text | None = None
    engine: Text | None = None
    profile: Text | None = None
    cgroups: Text | None = None
    init: Text | None = None
    below: Text | None = None
    """The first version of the engine on which the cases pass."""
    since: Text | None = None
    """The first version of the engine on which the cases fail."""

    def __post_init__(self) -> None:
        for key in ("below", "since"):
            try:
                Version(getattr(self, key) or "0")
            except InvalidVersion as error:
                raise ValueError(f"“{key}” is not a version") from error

    def applies(self, host: Host) -> bool:
        """Whether it applies to that host."""
        version = comparable(host.version)
        return (
            self.host in (None, host.name)
            and all(getattr(self, key) in (None, getattr(host, key)) for key in _FACTS)
            and (self.below is None or version < Version(self.below))
            and (self.since is None or version >= Version(self.since))
        )


class Verdict(StrEnum):
    """A case's outcome, compared with what is expected of it."""

    PASSED = "passed"
    SKIPPED = "skipped"
    EXPECTED_FAILURE = "expected failure"
    FAILED = "failed"
    UNEXPECTED_PASS = "unexpected pass"  # noqa: S105 - not a password

    @property
    def good(self) -> bool:
        """Whether it is as expected."""
        return self not in (Verdict.FAILED, Verdict.UNEXPECTED_PASS)


class Expectations(Table, frozen=True):
    """All expected failures."""

    expected_failure: tuple[ExpectedFailure, ...] = ()

    def of(self, case: str, host: Host) -> ExpectedFailure | None:
        """The expected failure of that case on that host."""
        return next((each for each in self.expected_failure if case in each.cases and each.applies(host)), None)

    def judge(self, case: Case, host: Host) -> Verdict:
        """The verdict on one case."""
        expected = self.of(case.id, host)
        if case.outcome == "skipped":
            return Verdict.SKIPPED
        if case.outcome == "failed":
            return Verdict.EXPECTED_FAILURE if expected else Verdict.FAILED
        return Verdict.UNEXPECTED_PASS if expected else Verdict.PASSED


def load(path: Path = FILE) -> Expectations:
    """Load the expectations. Raises WrongUsage that names the file, the key and the mistake."""
    return strict_toml.load(path, Expectations)
