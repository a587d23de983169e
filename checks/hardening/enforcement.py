"""Whether a flag is enforced: which attacks prove it, in which containers, and what their results show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from checks.engine.flags import Attack, Flag, Hardening, User
from checks.hardening.attacks import AttackAttempt, AttackOutcome, AttackResult


class Enforcement(StrEnum):
    """What an attack, tried without a flag and with it, shows of the flag."""

    ENFORCED = "enforced"
    NOT_ENFORCED = "accepted, not enforced"
    INCONCLUSIVE = "inconclusive"
    """The attack also fails without the flag."""
    UNTRIED = "could not be tried"


@dataclass(frozen=True)
class ContainerSpec:
    """A container to try attacks in."""

    options: tuple[str, ...]
    user: User


@dataclass(frozen=True)
class AttackComparison:
    """An attack, tried without a flag and with it."""

    without: AttackAttempt
    under: AttackAttempt

    @property
    def attack(self) -> str:
        """The attack's id."""
        return self.under.attack

    @property
    def enforcement(self) -> Enforcement:
        """What the two results show."""
        match self.without.outcome, self.under.outcome:
            case _, AttackOutcome.SUCCEEDED:
                return Enforcement.NOT_ENFORCED
            case AttackOutcome.REFUSED, AttackOutcome.REFUSED:
                return Enforcement.INCONCLUSIVE
            case AttackOutcome.SUCCEEDED, AttackOutcome.REFUSED:
                return Enforcement.ENFORCED
        return Enforcement.UNTRIED


def overall(comparisons: Sequence[AttackComparison]) -> Enforcement:
    """What all attacks on a flag show: one that succeeds disproves it, one that only the flag stops proves it."""
    found = {each.enforcement for each in comparisons}
    for one in (Enforcement.NOT_ENFORCED, Enforcement.ENFORCED, Enforcement.UNTRIED):
        if one in found:
            return one
    return Enforcement.INCONCLUSIVE


class Plan:
    """Which containers the proof of some flags takes, and which attacks go into each.

    As few containers as possible: a container costs more than an attack.
    """

    def __init__(self, hardening: Hardening) -> None:
        self._hardening = hardening
        self.containers: dict[ContainerSpec, dict[str, Attack]] = {}

    def alone(self, flag: Flag) -> None:
        """Try this flag without and with it, with nothing else set but what it needs."""
        self._add(flag, self._hardening.options(flag))

    def among(self, flag: Flag, options: Sequence[str]) -> None:
        """Try this flag with nothing set but what it needs, and as one of these options."""
        self._add(flag, options)

    def comparisons(
        self, flag: Flag, options: Sequence[str], results: Mapping[ContainerSpec, AttackResult]
    ) -> list[AttackComparison]:
        """Compare the attacks on the flag, as one of these options."""
        return [
            AttackComparison(
                results[ContainerSpec(self._without(flag), attack.user)].attempts[attack.id],
                results[ContainerSpec(_under(flag, options), attack.user)].attempts[attack.id],
            )
            for attack in flag.attacks
        ]

    def unenforced(
        self, flag: Flag, options: Sequence[str], results: Mapping[ContainerSpec, AttackResult]
    ) -> tuple[str, str]:
        """What of the flag is not in force in the container that has these options, and why no container started.

        Both are empty where all of it is in force.
        """
        result = results[ContainerSpec(tuple(options), _reader(flag))]
        if result.outputs is None:
            return "", result.error
        if not flag.attacks:
            before = results[ContainerSpec(self._without(flag), _reader(flag))].outputs
            if before and not flag.unenforced(before, self._without(flag)):
                return "the same without the flag", ""
        return flag.unenforced(result.outputs, options), ""

    def _without(self, flag: Flag) -> tuple[str, ...]:
        return tuple(word for needed in flag.needs for word in self._hardening.flag(needed).options)

    def _add(self, flag: Flag, options: Sequence[str]) -> None:
        without = self._without(flag)
        self.containers.setdefault(ContainerSpec(tuple(options), _reader(flag)), {})
        if not flag.attacks:  # only a difference in what is read can prove it
            self.containers.setdefault(ContainerSpec(without, _reader(flag)), {})
        for attack in flag.attacks:
            for words in (without, _under(flag, options)):
                self.containers.setdefault(ContainerSpec(words, attack.user), {})[attack.id] = attack


def _reader(flag: Flag) -> User:
    """Who reads what is in force: whoever attacks anyway, so that reading needs no container of its own."""
    return flag.attacks[0].user if flag.attacks else User.ROOT


def _under(flag: Flag, options: Sequence[str]) -> tuple[str, ...]:
    """The options while the flag's attacks run: its own are replaced by its attack options, if it has some."""
    own, words = flag.options, tuple(options)
    if not flag.attack_options:
        return words
    at = next((at for at in range(len(words)) if words[at : at + len(own)] == own), len(words))
    return (*words[:at], *words[at + len(own) :], *flag.attack_options)
