"""What a hardening run found out, flag by flag, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from checks.engine.flags import Flag, Workaround
from checks.hardening.attacks import AttackOutcome
from checks.hardening.proofs import AttackComparison, Enforcement, verdict
from checks.hardening.session import Smoke


class FlagVerdict(StrEnum):
    """What a flag is to an agent."""

    COMPATIBLE = "compatible"
    WORKAROUND = "compatible with a work-around"
    DROPPED = "dropped"
    UNJUDGED = "not judged"
    DOCUMENTED = "documented, not enabled"


@dataclass
class FlagResult:
    """All that was found out of one flag."""

    flag: Flag
    options: tuple[str, ...]
    """What set it, without work-arounds."""
    bitten: list[AttackComparison] = field(default_factory=list)
    missing: str = ""
    """What of it was not in force in a container of the probe image."""
    trouble: str = ""
    """Why no container started with it, where that is so."""
    smokes: list[tuple[Workaround | None, Smoke]] = field(default_factory=list)
    """The agents that were asked, in their order: without a work-around, then with one after another."""
    without: Smoke | None = None
    """An agent without any flag, where it was needed to tell whose fault a failure is."""

    @property
    def mended(self) -> list[Workaround]:
        """The work-arounds that it took."""
        return [each for each, smoke in self.smokes if each and smoke.passed]

    @property
    def answers(self) -> bool:
        """Whether an agent answers under it, be it with a work-around."""
        return any(smoke.passed for _, smoke in self.smokes)

    @property
    def broke(self) -> str:
        """The operation that broke, where an agent did not answer under the flag alone."""
        return next((smoke.failure for _, smoke in self.smokes if not smoke.passed), "")

    @property
    def verdict(self) -> FlagVerdict:
        """Compatible or not: by the agent's answer."""
        if self.flag.documented:
            return FlagVerdict.DOCUMENTED
        if self.answers:
            return FlagVerdict.WORKAROUND if self.mended else FlagVerdict.COMPATIBLE
        return FlagVerdict.DROPPED if self.without is None or self.without.passed else FlagVerdict.UNJUDGED

    @property
    def bite(self) -> Enforcement:
        """Whether it holds: by the attacks, and by what was read inside, the running agent's container included."""
        if self.trouble:
            return Enforcement.UNTRIED
        if self.lacking:
            return Enforcement.NOT_ENFORCED
        return verdict(self.bitten)

    @property
    def lacking(self) -> str:
        """What of it is not in force, wherever that was read; empty where all of it is everywhere."""
        return self.missing or next(
            (smoke.missing[self.flag.id] for _, smoke in self.smokes if self.flag.id in smoke.missing), ""
        )

    @property
    def ok(self) -> bool:
        """Whether an agent answers, and it bites; one that is only written up has to be in force."""
        if self.flag.documented:
            return not self.trouble and not self.lacking
        return self.answers and self.bite is Enforcement.BITES

    def as_json(self) -> dict[str, Any]:
        """It as evidence stores it."""
        return {
            "id": self.flag.id,
            "flag": self.flag.text,
            "options": list(self.options),
            "verdict": str(self.verdict),
            "bite": str(self.bite),
            "ok": self.ok,
            **({"lacking": self.lacking} if self.lacking else {}),
            **({"trouble": self.trouble} if self.trouble else {}),
            **({"without": self.without.as_json()} if self.without else {}),
            "workarounds": [each.id for each in self.mended],
            "attacks": [attack_json(each) for each in self.bitten],
            "agent": [_with(each, smoke) for each, smoke in self.smokes],
        }


def _with(workaround: Workaround | None, what: Smoke) -> dict[str, Any]:
    return {**({"workaround": workaround.id} if workaround else {}), **what.as_json()}


def attack_json(each: AttackComparison) -> dict[str, Any]:
    """An attack that was tried twice, as evidence stores it."""
    return {
        "id": each.under.attack,
        "bite": str(each.bite),
        "without": {"outcome": str(each.without.outcome), "said": each.without.said[-400:]},
        "with": {"outcome": str(each.under.outcome), "said": each.under.said[-400:]},
    }


def bite_in_words(row: FlagResult) -> str:
    """What a table says of a flag's bite."""
    if row.flag.documented:
        return "in force" if not row.lacking else "not in force"
    if row.bite is Enforcement.BITES:
        stopped = [each for each in row.bitten if each.bite is Enforcement.BITES]
        return f"yes ({', '.join(each.under.attack for each in stopped)})"
    if row.bite is Enforcement.NOT_ENFORCED:
        return "NO: accepted, not enforced"
    return f"NO: {row.bite}"


def remarks(row: FlagResult) -> list[str]:
    """What is to be said of a row beside the table."""
    found = []
    if row.broke:
        found.append(f"broke: {row.broke}")
    found += [f"work-around: {' '.join(each.options)} ({each.because})" for each in row.mended]
    if row.trouble:
        found.append(f"no container starts with it: {row.trouble}")
    if row.lacking:
        found.append(f"not in force: {row.lacking}")
    for each in row.bitten:
        if each.bite is Enforcement.NOT_ENFORCED:
            found.append(f"{each.under.attack} succeeds all the same")
        elif each.bite is Enforcement.VACUOUS:
            found.append(f"{each.under.attack} is vacuous here: it is refused without the flag, too")
        elif each.bite is Enforcement.UNTRIED:
            broken = each.under if each.under.outcome is AttackOutcome.BROKEN else each.without
            found.append(f"{each.under.attack} could not be tried: {broken.said}")
    if row.verdict is FlagVerdict.UNJUDGED and row.without:
        found.append(f"not judged, since no agent answers without any flag either: {row.without.failure}")
    return found
