"""What proves that a flag bites: which attacks, in which containers, and what their ends say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from checks.engine.flags import Flag, Hardening
from checks.hardening import enforcement
from checks.hardening.attacks import ATTACKS, ROOT_USER, AttackAttempt, AttackOutcome, AttackResult


class Enforcement(StrEnum):
    """What an attack, tried without a flag and with it, says of the flag."""

    BITES = "bites"
    NOT_ENFORCED = "accepted, not enforced"
    VACUOUS = "vacuous"
    UNTRIED = "could not be tried"


@dataclass(frozen=True)
class Proof:
    """Attacks that a flag is to stop."""

    attacks: tuple[tuple[str, str], ...]
    """Ids, each with its value."""
    smaller: tuple[str, ...] = ()
    """Options in place of the flag's own, where its own value is out of an attack's reach on an ordinary machine."""


def proof(flag: Flag) -> Proof:
    """What is to prove the flag; no attack at all for one that takes a protection away."""
    return _PROOFS[flag.id](flag)


def _fill(flag: Flag) -> Proof:
    return Proof((("fill-tmp", str((enforcement.tmpfs_size(flag) >> 20) + 16)),))


def _fork(flag: Flag) -> Proof:
    return Proof((("fork-bomb", str(int(enforcement.value(flag.options[0])) + 50)),))


def _always(*attacks: str, smaller: Sequence[str] = (), value: str = "-") -> Callable[[Flag], Proof]:
    return lambda _: Proof(tuple((attack, value) for attack in attacks), tuple(smaller))


_PROOFS: Mapping[str, Callable[[Flag], Proof]] = {
    "read-only": _always("write-etc", "replace-program"),
    "tmpfs": _fill,
    "cap-drop": _always("chown", "become", "mount", "mknod", "raw-socket"),
    "no-new-privileges": _always("setuid-su"),
    "cpus": _always("busy-loops", smaller=["--cpus=0.5"]),
    "memory": _always("allocate", smaller=["--memory=64m"], value="256"),
    "pids-limit": _fork,
    "seccomp-unconfined": _always(),
}


@dataclass(frozen=True)
class ContainerSpec:
    """A container to try attacks in: what tells it from others."""

    options: tuple[str, ...]
    user: str


class Plan:
    """Which containers a proof of some flags takes, and which attacks go into each: as few as can be, since a container
    costs more than an attack."""

    def __init__(self, hardening: Hardening) -> None:
        self._hardening = hardening
        self.cells: dict[ContainerSpec, dict[str, str]] = {}

    def alone(self, flag: Flag) -> None:
        """Try this flag without and with it, nothing else being set but what it needs."""
        self._both(flag, self._without(flag), tuple(self._hardening.options(flag)))

    def among(self, flag: Flag, options: Sequence[str]) -> None:
        """Try this flag without anything but what it needs, and as one of these options."""
        self._both(flag, self._without(flag), tuple(options))

    def bites(
        self, flag: Flag, options: Sequence[str], trials: Mapping[ContainerSpec, AttackResult]
    ) -> list[AttackComparison]:
        """What the trials say of the flag, as one of these options."""
        found = []
        for attack, _ in proof(flag).attacks:
            user = ATTACKS[attack].user
            without = trials[ContainerSpec(self._without(flag), user)].tried[attack]
            under = trials[ContainerSpec(_under(flag, options), user)].tried[attack]
            found.append(AttackComparison(without, under, judged(without, under)))
        return found

    def in_force(
        self, flag: Flag, options: Sequence[str], trials: Mapping[ContainerSpec, AttackResult]
    ) -> tuple[str, str]:
        """What of the flag is not in force in the container that has these options, and why there is no such container;
        both empty where all is well."""
        trial = trials[ContainerSpec(tuple(options), _reader(flag))]
        if trial.inside is None:
            return "", trial.trouble
        if not proof(flag).attacks:
            before = trials[ContainerSpec(self._without(flag), _reader(flag))].inside
            if before and not enforcement.missing(flag, before, self._without(flag)):
                return "it is so without the flag, too", ""
        return enforcement.missing(flag, trial.inside, options), ""

    def _without(self, flag: Flag) -> tuple[str, ...]:
        return tuple(word for needed in flag.needs for word in self._hardening.flag(needed).options)

    def _both(self, flag: Flag, without: tuple[str, ...], options: tuple[str, ...]) -> None:
        self.cells.setdefault(ContainerSpec(options, _reader(flag)), {})
        if not proof(flag).attacks:  # all that can prove it is a difference in what is read
            self.cells.setdefault(ContainerSpec(without, _reader(flag)), {})
        for attack, value in proof(flag).attacks:
            for words in (without, _under(flag, options)):
                self.cells.setdefault(ContainerSpec(words, ATTACKS[attack].user), {})[attack] = value


def _reader(flag: Flag) -> str:
    """Who reads what is in force: whoever attacks anyway, so that it takes no container of its own."""
    attacks = proof(flag).attacks
    return ATTACKS[attacks[0][0]].user if attacks else ROOT_USER


def _under(flag: Flag, options: Sequence[str]) -> tuple[str, ...]:
    """The options under which the flag's attacks are tried: where it has a smaller value for that, the smaller value
    comes last, which is the one that counts."""
    smaller = proof(flag).smaller
    kept = [word for word in options if word not in flag.options] if smaller else options
    return (*kept, *smaller)


@dataclass(frozen=True)
class AttackComparison:
    """An attack, tried twice."""

    without: AttackAttempt
    under: AttackAttempt
    bite: Enforcement


def judged(without: AttackAttempt, under: AttackAttempt) -> Enforcement:
    """What an attack's two ends say of a flag."""
    if under.outcome is AttackOutcome.SUCCEEDED:
        return Enforcement.NOT_ENFORCED
    if without.outcome is AttackOutcome.REFUSED and under.outcome is AttackOutcome.REFUSED:
        return Enforcement.VACUOUS
    if without.outcome is AttackOutcome.SUCCEEDED and under.outcome is AttackOutcome.REFUSED:
        return Enforcement.BITES
    return Enforcement.UNTRIED


def verdict(bitten: Sequence[AttackComparison]) -> Enforcement:
    """What the attacks say of a flag taken together: one that gets through is enough against it, one that is stopped
    and was not before is enough for it."""
    found = {each.bite for each in bitten}
    for bite in (Enforcement.NOT_ENFORCED, Enforcement.BITES, Enforcement.UNTRIED):
        if bite in found:
            return bite
    return Enforcement.VACUOUS
