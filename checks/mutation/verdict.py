"""What a case's end under a sabotage means: caught or missed, and what the whole comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from checks.core.errors import Exit
from checks.mutation.catalogue import Mutation
from checks.mutation.worker import BROKEN, FAILED, PASSED, SKIPPED, UNUSABLE, TaskOutcome


class MutationStatus(StrEnum):
    """How a case did against a sabotage."""

    CAUGHT = "caught"
    MISSED = "missed"
    TOLERATED = "tolerated"
    """No fault, and the case passed."""
    REFUSED = "refused"
    """No fault, and the case failed: the reason given is wrong, or the case is."""
    OTHERWISE = "failed for another reason"
    BROKEN = "broke"
    """The case itself broke on it: it told nothing."""
    HOST = "host held for unusable"
    FAILS_ANYWAY = "fails without a fault"
    """So that nothing is known of the sabotage."""
    NOT_RUN = "not run"

    @property
    def good(self) -> bool:
        """Whether a project can be content with it."""
        return self in (MutationStatus.CAUGHT, MutationStatus.TOLERATED, MutationStatus.NOT_RUN)


@dataclass(frozen=True)
class Pair:
    """A sabotage and a case that is to see it, with what came."""

    sabotage: Mutation
    case: str
    label: str
    verdict: MutationStatus
    expected: str = ""
    got: str = ""
    """What the case said; of one that was not run, why."""
    seconds: float = 0.0


def judge(sabotage: Mutation, case: str, label: str, got: TaskOutcome, faultless: TaskOutcome) -> Pair:
    """The verdict on a case that was run under a sabotage and, before, under a wrapper without a fault."""
    if faultless.outcome == SKIPPED:
        return Pair(sabotage, case, label, MutationStatus.NOT_RUN, got=faultless.got)
    if faultless.outcome != PASSED:
        return Pair(sabotage, case, label, MutationStatus.FAILS_ANYWAY, faultless.expected, faultless.got)
    if sabotage.equivalent:
        verdict = MutationStatus.TOLERATED if got.outcome == PASSED else MutationStatus.REFUSED
    else:
        verdict = {
            FAILED: MutationStatus.CAUGHT if sabotage.tells.search(got.words) else MutationStatus.OTHERWISE,
            PASSED: MutationStatus.MISSED,
            SKIPPED: MutationStatus.MISSED,  # it was not skipped without the fault
            BROKEN: MutationStatus.BROKEN,
            UNUSABLE: MutationStatus.HOST,
        }[got.outcome]
    return Pair(sabotage, case, label, verdict, got.expected, got.got, got.seconds)


def score(pairs: Sequence[Pair]) -> str:
    """How many were caught, of those that were run and are faults."""
    ran = [pair for pair in pairs if not pair.sabotage.equivalent and pair.verdict is not MutationStatus.NOT_RUN]
    caught = sum(pair.verdict is MutationStatus.CAUGHT for pair in ran)
    names = {pair.sabotage.name for pair in ran}
    whole = names - {pair.sabotage.name for pair in ran if pair.verdict is not MutationStatus.CAUGHT}
    return f"caught {len(whole)}/{len(names)} sabotages ({caught}/{len(ran)} by case)"


def status(pairs: Sequence[Pair]) -> Exit:
    """What all of it comes to: a host that was held for unusable weighs less than what was missed."""
    bad = [pair.verdict for pair in pairs if not pair.verdict.good]
    if any(verdict is not MutationStatus.HOST for verdict in bad):
        return Exit.CASE_FAILED
    return Exit.HOST_UNUSABLE if bad else Exit.OK
