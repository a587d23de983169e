"""How a throwaway host is broken on purpose, and how it is told that it is broken and that it is mended: as an entry's
file has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from checks.core.tables import StrictTable
from checks.hosts import recipe


class Who(StrEnum):
    """Who types a command."""

    ACCOUNT = "account"
    """The account that runs nanoclaw."""
    ROOT = "root"
    WINDOWS = "windows"
    """The user of Windows, in PowerShell: no host of ours can run that."""


@dataclass(frozen=True)
class Commands:
    """Commands, in order, run exactly as they are printed: as one script of a login shell."""

    who: Who
    run: tuple[str, ...]

    @property
    def script(self) -> str:
        """The lines as they are printed, and as they are run."""
        return "\n".join(self.run)


@dataclass(frozen=True)
class Sign:
    """What a command shows: how it ends, and what it says on its way, on either output."""

    status: int
    pattern: re.Pattern[str]

    def shown(self, status: int, output: str) -> bool:
        """Whether this is seen in how a command ended and what it said."""
        return status == self.status and self.pattern.search(output) is not None


@dataclass(frozen=True)
class Symptom:
    """What must be seen on a broken host, and be gone on a mended one."""

    commands: Commands
    sign: Sign


@dataclass(frozen=True)
class Reproduction:
    """How a throwaway host is broken on purpose, told to be broken, and told to be mended."""

    host: str
    """Where it is run unless another is asked for."""
    profile: str
    variables: Mapping[str, str]
    """What a reader has to set before the commands of the fix, besides ``$account``: here, its values on the host."""
    breaking: tuple[Commands, ...]
    """None where the host has the fault by itself; then there is no unbroken host to look at first."""
    given: tuple[Commands, ...]
    """What is done each time before the symptom is looked for, as part of it."""
    symptom: Symptom
    mended: Sign
    """What the symptom's own command must show on a mended host."""
    unmended: str
    """Why a run only sees the symptom, where its fix can't be carried out on a throwaway host."""
    unseen: str
    """Why the doctor can't see it, though it can tell of the entry elsewhere."""
    undo: tuple[Commands, ...]
    """What takes back breaking and fix, so that another entry may have the same guest. None: it is thrown away."""


def commands(table: StrictTable) -> Commands:
    """Who runs what, of a table that may have more."""
    return Commands(Who(table.choice("who", list(Who), Who.ACCOUNT)), table.texts("run"))


def reproduction(table: StrictTable) -> Reproduction:
    """The table ``reproduce`` of an entry. Raises WrongUsage that names file, key and reason."""
    known = recipe.known()
    symptom = table.table("symptom")
    sign = Sign(symptom.number("status", 0, 255), symptom.pattern("pattern"))
    read = Reproduction(
        host=table.choice("host", known),
        profile=table.choice("profile", ("recommended", "stock"), "recommended"),
        variables=table.table("variables").all_texts() if table.has("variables") else {},
        breaking=_several(table, "break"),
        given=_several(table, "given"),
        symptom=Symptom(_on_a_host(symptom), sign),
        mended=_mended(table),
        unmended=table.text("unmended", ""),
        unseen=table.text("unseen", ""),
        undo=_several(table, "undo"),
    )
    table.end()
    return read


def _several(table: StrictTable, key: str) -> tuple[Commands, ...]:
    return tuple(_on_a_host(each) for each in table.tables(key))


def _on_a_host(table: StrictTable) -> Commands:
    read = commands(table)
    table.end()
    if not read.run:
        raise table.wrong("run", "is missing")
    if read.who is Who.WINDOWS:
        raise table.wrong("who", "is windows, which no host of ours is")
    return read


def _mended(table: StrictTable) -> Sign:
    if not table.has("mended"):
        return Sign(0, re.compile(""))
    mended = table.table("mended")
    pattern = mended.pattern("pattern") if mended.has("pattern") else re.compile("")
    sign = Sign(mended.number("status", 0, 255, 0), pattern)
    mended.end()
    return sign
