"""What a case's end under a sabotage means: caught or missed, and what the whole comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from checks.core.errors import Exit
from checks.mutation.catalogue import Sabotage
from checks.mutation.worker import BROKEN, FAILED, PASSED, SKIPPED, UNUSABLE, Came


class Verdict(StrEnum):
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
        return self in (Verdict.CAUGHT, Verdict.TOLERATED, Verdict.NOT_RUN)


@dataclass(frozen=True)
class Pair:
    """A sabotage and a case that is to see it, with what came."""

    sabotage: Sabotage
    case: str
    label: str
    verdict: Verdict
    expected: str = ""
    came: str = ""
    """What the case said; of one that was not run, why."""
    seconds: float = 0.0


def judge(sabotage: Sabotage, case: str, label: str, came: Came, faultless: Came) -> Pair:
    """The verdict on a case that was run under a sabotage and, before, under a wrapper without a fault."""
    if faultless.outcome == SKIPPED:
        return Pair(sabotage, case, label, Verdict.NOT_RUN, came=faultless.came)
    if faultless.outcome != PASSED:
        return Pair(sabotage, case, label, Verdict.FAILS_ANYWAY, faultless.expected, faultless.came)
    if sabotage.equivalent:
        verdict = Verdict.TOLERATED if came.outcome == PASSED else Verdict.REFUSED
    else:
        verdict = {
            FAILED: Verdict.CAUGHT if sabotage.tells.search(came.words) else Verdict.OTHERWISE,
            PASSED: Verdict.MISSED,
            SKIPPED: Verdict.MISSED,  # it was not skipped without the fault
            BROKEN: Verdict.BROKEN,
            UNUSABLE: Verdict.HOST,
        }[came.outcome]
    return Pair(sabotage, case, label, verdict, came.expected, came.came, came.seconds)


def score(pairs: Sequence[Pair]) -> str:
    """How many were caught, of those that were run and are faults."""
    ran = [pair for pair in pairs if not pair.sabotage.equivalent and pair.verdict is not Verdict.NOT_RUN]
    caught = sum(pair.verdict is Verdict.CAUGHT for pair in ran)
    names = {pair.sabotage.name for pair in ran}
    whole = names - {pair.sabotage.name for pair in ran if pair.verdict is not Verdict.CAUGHT}
    return f"caught {len(whole)}/{len(names)} sabotages ({caught}/{len(ran)} by case)"


def status(pairs: Sequence[Pair]) -> Exit:
    """What all of it comes to: a host that was held for unusable weighs less than what was missed."""
    bad = [pair.verdict for pair in pairs if not pair.verdict.good]
    if any(verdict is not Verdict.HOST for verdict in bad):
        return Exit.CASE_FAILED
    return Exit.HOST_UNUSABLE if bad else Exit.OK
