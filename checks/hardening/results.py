"""What a hardening run found: of each flag, of all together, of combinations, and of flags that were removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec.structs import replace

from checks.engine.flags import Flag, Workaround
from checks.evidence import hardening_model
from checks.evidence.hardening_model import (
    Attack,
    AttackTrial,
    BrowserStart,
    CombinedCase,
    CombinedFlags,
    FlagRow,
    Smoke,
)
from checks.evidence.run import CaseResult, Evidence
from checks.hardening.attacks import AttackAttempt, AttackOutcome
from checks.hardening.browser import works
from checks.hardening.enforcement import AttackComparison, Enforcement, overall
from checks.matrix import expectations
from checks.matrix.expectations import ExpectedFailure


class FlagVerdict(StrEnum):
    """Whether an agent works under a flag."""

    COMPATIBLE = "compatible"
    WORKAROUND = "compatible with a work-around"
    DROPPED = "dropped"
    UNJUDGED = "not judged"
    DOCUMENTED = "documented, not enabled"


@dataclass
class FlagResult:
    """All that was found of one flag."""

    flag: Flag
    options: tuple[str, ...]
    """What set it, without work-arounds."""
    comparisons: list[AttackComparison] = field(default_factory=list)
    unenforced_in_probe: str = ""
    """What of it was not in force in a container of the probe image."""
    error: str = ""
    """Why no container started with it."""
    smokes: list[tuple[Workaround | None, Smoke]] = field(default_factory=list)
    """The agents that were asked, in order: without a work-around, then with one after another."""
    baseline: Smoke | None = None
    """An agent without any flag, asked only if none answered with the flag."""

    @property
    def workarounds(self) -> list[Workaround]:
        """The work-arounds that it needed."""
        return [each for each, smoke in self.smokes if each and smoke.passed]

    @property
    def answers(self) -> bool:
        """Whether an agent answers under it, with a work-around if need be."""
        return any(smoke.passed for _, smoke in self.smokes)

    @property
    def failure(self) -> str:
        """Why no agent answered under the flag alone."""
        return next((smoke.failure for _, smoke in self.smokes if not smoke.passed), "")

    @property
    def verdict(self) -> FlagVerdict:
        """Compatible or not, by the agent's answer."""
        if not self.flag.recommended:
            return FlagVerdict.DOCUMENTED
        if self.answers:
            return FlagVerdict.WORKAROUND if self.workarounds else FlagVerdict.COMPATIBLE
        return FlagVerdict.DROPPED if self.baseline is None or self.baseline.passed else FlagVerdict.UNJUDGED

    @property
    def enforcement(self) -> Enforcement:
        """Whether it is enforced, by the attacks and by what containers reported, the agent's own included."""
        if self.error:
            return Enforcement.UNTRIED
        if self.unenforced:
            return Enforcement.NOT_ENFORCED
        return overall(self.comparisons)

    @property
    def unenforced(self) -> str:
        """What of it is not in force in some container; empty where all of it is in all of them."""
        return self.unenforced_in_probe or next(
            (smoke.unenforced[self.flag.id] for _, smoke in self.smokes if self.flag.id in smoke.unenforced), ""
        )

    @property
    def enforced(self) -> bool:
        """Whether it is enforced; one without attacks must be in force."""
        if not self.flag.recommended:
            return not self.error and not self.unenforced
        return self.enforcement is Enforcement.ENFORCED

    @property
    def ok(self) -> bool:
        """Whether it is enforced, and an agent answers if the flag is recommended."""
        return self.enforced and (self.answers or not self.flag.recommended)

    @property
    def row(self) -> FlagRow:
        """The form that evidence stores."""
        return FlagRow(
            id=self.flag.id,
            flag=self.flag.text,
            options=list(self.options),
            verdict=self.verdict.value,
            enforcement=self.enforcement.value,
            ok=self.ok,
            unenforced=self.unenforced,
            error=self.error,
            baseline=self.baseline,
            workarounds=[each.id for each in self.workarounds],
            attacks=[
                Attack(
                    id=each.attack,
                    enforcement=each.enforcement.value,
                    without=_trial(each.without),
                    with_=_trial(each.under),
                )
                for each in self.comparisons
            ],
            agent=[replace(smoke, workaround=each.id if each else "") for each, smoke in self.smokes],
        )

    @property
    def enforcement_in_words(self) -> str:
        """A table's cell on its enforcement."""
        if not self.flag.recommended:
            return "not in force" if self.unenforced else "in force"
        if self.enforcement is Enforcement.ENFORCED:
            stopped = [each.attack for each in self.comparisons if each.enforcement is Enforcement.ENFORCED]
            return f"yes ({', '.join(stopped)})"
        return f"NO: {self.enforcement}"

    @property
    def remarks(self) -> list[str]:
        """What the report adds below the table."""
        found = []
        if self.failure:
            found.append(f"broke: {self.failure}")
        found += [f"work-around: {' '.join(each.options)} ({each.because})" for each in self.workarounds]
        if self.error:
            found.append(f"no container starts with it: {self.error}")
        if self.unenforced:
            found.append(f"not in force: {self.unenforced}")
        for each in self.comparisons:
            if each.enforcement is Enforcement.NOT_ENFORCED:
                found.append(f"{each.attack} succeeds with the flag")
            elif each.enforcement is Enforcement.INCONCLUSIVE:
                found.append(f"{each.attack} is inconclusive: it also fails without the flag")
            elif each.enforcement is Enforcement.UNTRIED:
                broken = each.under if each.under.outcome is AttackOutcome.BROKEN else each.without
                found.append(f"{each.attack} could not be tried: {broken.output}")
        if self.verdict is FlagVerdict.UNJUDGED and self.baseline:
            found.append(f"not judged: no agent answers without any flag either: {self.baseline.failure}")
        return found


def _trial(attempt: AttackAttempt) -> AttackTrial:
    return AttackTrial(outcome=attempt.outcome.value, output=attempt.output[-400:])


@dataclass
class CombinedResult:
    """What was found of the recommended set."""

    options: tuple[str, ...]
    flags: list[FlagResult]
    """Each flag of the set, as one of it."""
    smoke: Smoke | None = None
    browser: list[BrowserStart] = field(default_factory=list)
    """Chromium under the set."""
    verified: Evidence | None = None

    @property
    def failed(self) -> list[str]:
        """The labels of the cases that failed with the flags on, and are not expected to fail there without them."""
        return [case.label for case in self._failures() if self._expected(case.id) is None]

    @property
    def expected_failures(self) -> list[tuple[str, str]]:
        """The labels of the cases that are expected to fail there, with flags or without, and why."""
        found = [(case.label, self._expected(case.id)) for case in self._failures()]
        return [(label, expected.because) for label, expected in found if expected]

    def _failures(self) -> list[CaseResult]:
        return [case for case in self.verified.cases if case.outcome == "failed"] if self.verified else []

    def _expected(self, case: str) -> ExpectedFailure | None:
        return expectations.load().of(case, self.verified.described_host) if self.verified else None

    @property
    def ok(self) -> bool:
        """Whether it can be recommended."""
        return bool(
            self.smoke
            and self.smoke.passed
            and not self.smoke.unenforced
            and self.browser
            and works(self.browser[0])
            and self.verified
            and not self.failed
            and all(flag.ok for flag in self.flags)
        )

    @property
    def row(self) -> CombinedFlags:
        """The form that evidence stores."""
        assert self.smoke
        expected = dict(self.expected_failures)
        return CombinedFlags(
            options=list(self.options),
            ok=self.ok,
            flags=[flag.row for flag in self.flags],
            agent=self.smoke,
            browser=self.browser,
            cases=[
                CombinedCase(
                    id=case.id,
                    label=case.label,
                    outcome=case.outcome,
                    seconds=round(case.seconds, 1),
                    reason=case.reason,
                    got=case.got or "",
                    expected_failure=expected.get(case.label, ""),
                )
                for case in (self.verified.cases if self.verified else [])
            ],
        )


@dataclass(frozen=True)
class FlagCombination:
    """Some flags together, each with its work-arounds."""

    flags: tuple[Flag, ...]
    smoke: Smoke
    browser: BrowserStart

    @property
    def ids(self) -> frozenset[str]:
        """The flags by their ids."""
        return frozenset(flag.id for flag in self.flags)

    @property
    def ok(self) -> bool:
        """Whether the agent answers, its browser works, and all of the flags are in force in the agent's container."""
        return self.smoke.passed and not self.smoke.unenforced and works(self.browser)

    @property
    def row(self) -> hardening_model.FlagCombination:
        """The form that evidence stores."""
        return hardening_model.FlagCombination(
            flags=[flag.id for flag in self.flags], ok=self.ok, agent=self.smoke, browser=self.browser
        )


def smallest_failing(
    combinations: Collection[FlagCombination], failed: Callable[[FlagCombination], bool]
) -> list[frozenset[str]]:
    """The sets that fail and contain no other one that fails, by size."""
    failing = {each.ids for each in combinations if failed(each)}
    smallest = [ids for ids in failing if not any(other < ids for other in failing)]
    return sorted(smallest, key=lambda ids: (len(ids), *sorted(ids)))


@dataclass(frozen=True)
class RemovedFlagResult:
    """Which flags' rows failed when docker dropped one flag."""

    flag: Flag
    failed: Mapping[str, str]
    """The reason, by the flag's id."""

    @property
    def detected(self) -> bool:
        """Whether that flag's row failed, and no other one."""
        return set(self.failed) == {self.flag.id}


def removal_reason(row: FlagResult) -> str:
    """Why a row failed."""
    succeeded = [f"{each.attack} succeeds" for each in row.comparisons if each.enforcement is Enforcement.NOT_ENFORCED]
    return "; ".join([*filter(None, (row.error, row.unenforced)), *succeeded])
