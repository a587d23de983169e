"""The flags that harden an agent's container, one file each in fixtures/hardening/flags, and the recommended set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated

import msgspec

from checks.core import strict_toml
from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text

DIRECTORY = FIXTURES / "hardening" / "flags"

Id = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]+$")]
Words = Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]

HELPERS = r"""
own=$(grep '^0::' /proc/self/cgroup); own=${own#0::} # not / where the container sees the host's control groups
status() { grep "^$1:" /proc/1/status | cut -f 2; } # of the first process: "exec" may give its own something else
mounted() { grep -E "^([^ ]+ ){4}$1 " /proc/self/mountinfo | tail -n 1 | cut -d ' ' -f 6-; }
cgroup() {
    cat "/sys/fs/cgroup$own/$1" 2>/dev/null || cat "/sys/fs/cgroup/$1" 2>/dev/null || echo "no $1: no control group"
}
"""
"""Shell functions for the scripts of a flag's file; the template explains them."""


class Subject(StrEnum):
    """What a flag may break, and a work-around repair."""

    AGENT = "agent"
    BROWSER = "browser"


class User(StrEnum):
    """Who attacks. Root is the default: a flag must hold even against the container's root."""

    ROOT = "root"
    NODE = "node"

    @property
    def option(self) -> str:
        """The value of docker's ``--user``."""
        return "0:0" if self is User.ROOT else "1000:1000"


class Reading(Table, frozen=True):
    """What the container's own view must show where a flag is in force."""

    expected: Text
    script: Text
    matches: Text
    example: Text
    counterexample: Text
    unless: str = ""
    """The id of a work-around of the flag; where that is set, this does not apply."""

    def __post_init__(self) -> None:
        """Check the pattern against its examples."""
        _check_pattern("matches", self.matches, self.example, self.counterexample, re.NOFLAG)

    def failure(self, output: str) -> str:
        """What the script's output lacks; empty where it matches."""
        output = output.strip()
        return "" if re.search(self.matches, output) else f"expected {self.expected}, got {output or 'nothing'}"


class Workaround(Table, frozen=True):
    """What makes up for what a flag breaks."""

    id: Id
    subject: Subject = msgspec.field(name="for")
    options: Words
    because: Text
    enforced: tuple[Reading, ...] = ()

    def __post_init__(self) -> None:
        """Check the options."""
        _check_options("options", self.options)


class Attack(Table, frozen=True):
    """What an attacker does in a container. The script's status 0 means success."""

    id: Id
    tries: Text
    script: Text
    refused: Text
    """A regular expression for the output of an attack that the flag stopped."""
    example: Text
    counterexample: Text
    """The output of one that failed for another reason."""
    user: User = User.ROOT
    alone: bool = False
    """Whether no other container may run meanwhile."""
    last: bool = False
    """Whether its container is unusable afterwards."""

    def __post_init__(self) -> None:
        """Check the pattern against its examples."""
        _check_pattern("refused", self.refused, self.example, self.counterexample)


class Flag(Table, frozen=True):
    """One flag: a word or two of a ``docker run`` command line, and everything that is known of it."""

    id: Id
    options: Words
    purpose: Text
    manual: Annotated[str, msgspec.Meta(pattern="^https://")]
    recommended: bool
    hook: bool
    """Whether the hook of ``invoke inject`` sets it."""
    enforced: Annotated[tuple[Reading, ...], msgspec.Meta(min_length=1)]
    needs: tuple[str, ...] = ()
    """The ids of flags that are set with it."""
    attack_options: tuple[str, ...] = ()
    """Options in place of its own while attacks run, where its own value is out of reach on an ordinary machine."""
    workarounds: tuple[Workaround, ...] = msgspec.field(name="workaround", default=())
    attacks: tuple[Attack, ...] = msgspec.field(name="attack", default=())

    def __post_init__(self) -> None:
        """Check what a single key's type can't."""
        _check_options("options", self.options)
        if self.attack_options:
            _check_options("attack_options", self.attack_options)
        if self.recommended and not self.attacks:
            raise ValueError("“attack” is missing: a recommended flag needs at least one")
        known = {each.id for each in self.workarounds}
        for reading in self.enforced:
            if reading.unless and reading.unless not in known:
                raise ValueError(f"“unless” is “{reading.unless}”, which is not the id of a work-around of this flag")

    @property
    def text(self) -> str:
        """The flag as one types it."""
        return " ".join(self.options)

    def workarounds_for(self, subject: Subject) -> Sequence[Workaround]:
        """Its work-arounds for that subject, the preferred one first."""
        return [each for each in self.workarounds if each.subject is subject]

    def readings(self, options: Sequence[str]) -> Iterator[Reading]:
        """What applies in a container with these options: the flag's own, and those of the work-arounds among them."""
        active = [each for each in self.workarounds if set(each.options) <= set(options)]
        ids = {each.id for each in active}
        yield from (each for each in self.enforced if each.unless not in ids)
        yield from (reading for each in active for reading in each.enforced)

    def unenforced(self, outputs: Mapping[str, str], options: Sequence[str]) -> str:
        """What of the flag is not in force in a container with these options; empty where all of it is.

        ``outputs`` has what each script printed there.
        """
        failures = (reading.failure(outputs[reading.script]) for reading in self.readings(options))
        return next(filter(None, failures), "")


@dataclass(frozen=True)
class Hardening:
    """All flags, in the order of the command line."""

    flags: tuple[Flag, ...]

    def flag(self, wanted: str) -> Flag:
        """The flag with that id. Raises WrongUsage for an unknown one."""
        for flag in self.flags:
            if flag.id == wanted:
                return flag
        raise WrongUsage(f"There is no flag “{wanted}”.", f"Known: {', '.join(each.id for each in self.flags)}.")

    @property
    def enabled(self) -> Sequence[Flag]:
        """The flags of the recommended set."""
        return [flag for flag in self.flags if flag.recommended]

    @cached_property
    def attacks(self) -> Mapping[str, Attack]:
        """The attacks of all flags, by id."""
        return {attack.id: attack for flag in self.flags for attack in flag.attacks}

    @property
    def scripts(self) -> Sequence[str]:
        """The scripts of all readings, each once."""
        every = (
            reading
            for flag in self.flags
            for readings in (flag.enforced, *(each.enforced for each in flag.workarounds))
            for reading in readings
        )
        return list(dict.fromkeys(reading.script for reading in every))

    def options(self, flag: Flag) -> list[str]:
        """What sets this flag alone: the options of those that it needs, and its own; no work-arounds."""
        return [word for needed in flag.needs for word in self.flag(needed).options] + list(flag.options)

    def workarounds(self, flags: Sequence[Flag]) -> list[Workaround]:
        """The preferred work-arounds of these flags: one for each subject that one of them breaks."""
        return [found for flag in flags for subject in Subject for found in flag.workarounds_for(subject)[:1]]

    def recommended(self) -> list[str]:
        """The recommended set, as options of ``docker run``: every enabled flag with its preferred work-arounds."""
        return self.hardened(self.enabled)

    def hardened(self, flags: Sequence[Flag]) -> list[str]:
        """What sets these flags, each with its preferred work-arounds."""
        return [
            word
            for flag in flags
            for words in (flag.options, *(each.options for each in self.workarounds([flag])))
            for word in words
        ]


def load(directory: Path = DIRECTORY) -> Hardening:
    """Read every flag, in the order of the file names. Raises WrongUsage that names the file and the key."""
    files: dict[str, Path] = {}
    attacks: dict[str, Path] = {}
    flags = []
    for file in sorted(directory.glob("*.toml")):
        flag = strict_toml.load(file, Flag)
        if flag.id in files:
            raise WrongUsage(f"{file}: “id” is “{flag.id}”, the id of {files[flag.id].name} too.")
        if file.stem.partition("-")[2] != flag.id:
            raise WrongUsage(f"{file}: “id” is “{flag.id}”; the name of the file must be a number and the id.")
        if unknown := set(flag.needs) - set(files):
            raise WrongUsage(f"{file}: “needs” names {min(unknown)}, which is not a flag of an earlier file.")
        for attack in flag.attacks:
            if attack.id in attacks:
                raise WrongUsage(f"{file}, attack: “id” is “{attack.id}”, an attack of {attacks[attack.id].name} too.")
            attacks[attack.id] = file
        files[flag.id] = file
        flags.append(flag)
    if not flags:
        raise WrongUsage(f"{directory} has no file of a flag.", "Copy fixtures/hardening/flag-template.toml there.")
    return Hardening(tuple(flags))


def _check_options(key: str, options: Sequence[str]) -> None:
    if not re.match("--[a-z]|-[a-zA-Z]$", options[0]):
        raise ValueError(f"“{key}” must be options of docker run, the first word one like --name or -n")


def _check_pattern(
    key: str, pattern: str, example: str, counterexample: str, mode: re.RegexFlag = re.MULTILINE
) -> None:
    try:
        expression = re.compile(pattern, mode)
    except re.error as error:
        raise ValueError(f"“{key}” has “{pattern}”, which is not a regular expression: {error}") from error
    if not expression.search(example):
        raise ValueError(f"“{key}” does not match “example”")
    if expression.search(counterexample):
        raise ValueError(f"“{key}” matches “counterexample”")
