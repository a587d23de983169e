"""The flags that harden an agent's container, as fixtures/hardening.toml has them, and the set that they make up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES
from checks.core.tables import StrictTable

FILE = FIXTURES / "hardening.toml"


class Subject(StrEnum):
    """What a flag may break, and a work-around mend."""

    AGENT = "agent"
    BROWSER = "browser"


@dataclass(frozen=True)
class Workaround:
    """What makes up for what a flag breaks."""

    id: str
    subject: Subject
    options: tuple[str, ...]
    """What it adds to ``docker run``."""
    because: str


@dataclass(frozen=True)
class Flag:
    """One flag: a word or two of a ``docker run`` command line, with its purpose."""

    id: str
    options: tuple[str, ...]
    needs: tuple[str, ...]
    """The ids of flags that are set with it."""
    purpose: str
    documented: bool
    """Whether it is tried and written up only, and no part of the recommended set."""
    workarounds: tuple[Workaround, ...]

    @property
    def text(self) -> str:
        """The flag as one types it."""
        return " ".join(self.options)

    def mending(self, subject: Subject) -> Sequence[Workaround]:
        """Its work-arounds for that subject, the preferred one first."""
        return [each for each in self.workarounds if each.subject is subject]


@dataclass(frozen=True)
class Hardening:
    """All flags, in the order of the command line."""

    flags: tuple[Flag, ...]

    def flag(self, wanted: str) -> Flag:
        """The flag with that id. Raises WrongUsage where there is none."""
        for flag in self.flags:
            if flag.id == wanted:
                return flag
        raise WrongUsage(f"There is no flag “{wanted}”.", f"Known: {', '.join(each.id for each in self.flags)}.")

    @property
    def enabled(self) -> Sequence[Flag]:
        """The flags of the recommended set."""
        return [flag for flag in self.flags if not flag.documented]

    def options(self, flag: Flag) -> list[str]:
        """What sets this flag alone: the options of those that it needs, and its own; no work-arounds."""
        return [word for needed in flag.needs for word in self.flag(needed).options] + list(flag.options)

    def together(self, flags: Sequence[Flag]) -> list[str]:
        """What sets these flags, and nothing else."""
        return [word for flag in flags for word in flag.options]

    def workarounds(self, flags: Sequence[Flag]) -> list[Workaround]:
        """The preferred work-arounds of these flags: one for each subject that one of them breaks."""
        return [found for flag in flags for subject in Subject for found in flag.mending(subject)[:1]]

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


def load(file: Path = FILE) -> Hardening:
    """Read the flags. Raises WrongUsage, with file and key, where something in there is wrong."""
    whole = StrictTable.of_file(file)
    flags = tuple(_flag(table) for table in whole.tables("flag"))
    whole.end()
    if not flags:
        raise whole.wrong("flag", "is missing: there is no flag to try")
    seen: set[str] = set()
    for flag in flags:
        if flag.id in seen:
            raise whole.wrong("flag", f"has the id {flag.id} twice")
        if unknown := set(flag.needs) - seen:
            raise whole.wrong("needs", f"of {flag.id} names {min(unknown)}, which is no flag before it")
        seen.add(flag.id)
    return Hardening(flags)


def _flag(table: StrictTable) -> Flag:
    flag = Flag(
        id=table.text("id"),
        options=_options(table),
        needs=table.texts("needs"),
        purpose=table.text("purpose"),
        documented=table.flag("documented"),
        workarounds=tuple(_workarounds(table)),
    )
    table.end()
    return flag


def _workarounds(table: StrictTable) -> Iterator[Workaround]:
    for each in table.tables("workaround"):
        yield Workaround(
            id=each.text("id"),
            subject=Subject(each.choice("for", list(Subject))),
            options=_options(each),
            because=each.text("because"),
        )
        each.end()


def _options(table: StrictTable) -> tuple[str, ...]:
    options = table.texts("options")
    if not options or not options[0].startswith("-"):
        raise table.wrong("options", "must be options of docker run, the first word one that starts with -")
    return options
