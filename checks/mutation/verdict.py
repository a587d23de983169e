"""What a case's outcome under a mutation means, and what all outcomes together mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from checks.core.errors import Exit
from checks.evidence.model import MutationResult, MutationRun
from checks.mutation.catalogue import Mutation
from checks.mutation.worker import BROKEN, FAILED, PASSED, SKIPPED, UNUSABLE, TaskOutcome
from checks.runner.plugin import CaseInfo


class MutationStatus(StrEnum):
    """How a case did under a mutation."""

    CAUGHT = "caught"
    MISSED = "missed"
    TOLERATED = "tolerated"
    """Equivalent, and the case passed."""
    REJECTED = "rejected"
    """Equivalent, and the case failed: the reason given is wrong, or the case is."""
    OTHERWISE = "failed for another reason"
    BROKEN = "error in the case"
    HOST = "host unusable"
    FAILS_ANYWAY = "fails without a fault"
    NOT_RUN = "not run"
    """Left out of the run; ``got`` has the reason."""
    NOT_RUN_YET = "not run yet"
    """The mutation is new, or has changed since the run."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with the case or the mutation."""
        return self in (self.CAUGHT, self.TOLERATED, self.NOT_RUN, self.NOT_RUN_YET)

    @property
    def ran(self) -> bool:
        """Whether the case ran under the mutation."""
        return self not in (self.NOT_RUN, self.NOT_RUN_YET)


@dataclass(frozen=True)
class Trial:
    """A mutation with one of its cases, and the result."""

    mutation: Mutation
    case: str
    label: str
    verdict: MutationStatus
    expected: str = ""
    got: str = ""
    """What the case got; if it did not run, the reason."""
    seconds: float = 0.0


def judge(mutation: Mutation, case: CaseInfo, outcome: TaskOutcome, without_fault: TaskOutcome) -> Trial:
    """Judge a case that ran under a mutation and, before, under a wrapper without a fault."""

    def trial(verdict: MutationStatus, of: TaskOutcome) -> Trial:
        return Trial(mutation, case.id, case.label, verdict, of.expected, of.got, of.seconds)

    if without_fault.outcome == SKIPPED:
        return trial(MutationStatus.NOT_RUN, without_fault)
    if without_fault.outcome != PASSED:
        return trial(MutationStatus.FAILS_ANYWAY, without_fault)
    if mutation.failure is None:
        return trial(MutationStatus.TOLERATED if outcome.outcome == PASSED else MutationStatus.REJECTED, outcome)
    caught = mutation.failure.search(outcome.message)
    verdicts = {
        FAILED: MutationStatus.CAUGHT if caught else MutationStatus.OTHERWISE,
        PASSED: MutationStatus.MISSED,
        SKIPPED: MutationStatus.MISSED,  # it was not skipped without the fault
        BROKEN: MutationStatus.BROKEN,
        UNUSABLE: MutationStatus.HOST,
    }
    return trial(verdicts[outcome.outcome], outcome)


def recorded(runs: Sequence[MutationRun], mutations: Sequence[Mutation], cases: Sequence[CaseInfo]) -> Iterator[Trial]:
    """The trials of a host's runs in the report's order, for the mutations and cases as they are now.

    The later result counts, but not one of a case that was left out.
    """
    results: dict[tuple[str, str], MutationResult] = {}
    for run in sorted(runs, key=lambda each: each.started):
        for each in run.results:
            key = (each.mutation, each.case)
            if key not in results or MutationStatus(each.verdict).ran:
                results[key] = each
    for case in cases:
        for mutation in mutations:
            if case.id in mutation.cases:
                result = results.get((mutation.name, case.id))
                if result is None or result.digest != mutation.digest:
                    yield Trial(mutation, case.id, case.label, MutationStatus.NOT_RUN_YET)
                else:
                    verdict = MutationStatus(result.verdict)
                    yield Trial(mutation, case.id, case.label, verdict, result.expected, result.got, result.seconds)


def results(trials: Sequence[Trial], kept: int = 400) -> list[MutationResult]:
    """The trials as evidence has them. Of a case's message ``kept`` characters of each part are kept."""
    return [
        MutationResult(
            mutation=trial.mutation.name,
            digest=trial.mutation.digest,
            case=trial.case,
            label=trial.label,
            verdict=trial.verdict,
            expected=trial.expected[:kept],
            got=trial.got[:kept],
            seconds=round(trial.seconds, 1),
        )
        for trial in trials
    ]


def score(trials: Sequence[Trial]) -> str:
    """How many mutations were caught, of those that ran and are not equivalent."""
    ran = [trial for trial in trials if not trial.mutation.equivalent and trial.verdict.ran]
    missed = {trial.mutation.name for trial in ran if trial.verdict is not MutationStatus.CAUGHT}
    names = {trial.mutation.name for trial in ran}
    caught = sum(trial.verdict is MutationStatus.CAUGHT for trial in ran)
    return f"caught {len(names - missed)}/{len(names)} mutations ({caught}/{len(ran)} by case)"


def status(trials: Sequence[Trial]) -> Exit:
    """The exit status of all trials: an unusable host weighs less than a missed mutation; NOT_TESTED if none ran."""
    bad = [trial.verdict for trial in trials if not trial.verdict.good]
    if any(verdict is not MutationStatus.HOST for verdict in bad):
        return Exit.CASE_FAILED
    if bad:
        return Exit.HOST_UNUSABLE
    return Exit.OK if any(trial.verdict.ran for trial in trials) else Exit.NOT_TESTED
