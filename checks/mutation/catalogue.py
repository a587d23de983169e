"""The sabotages of fixtures/sabotage/*.toml: each one way for docker to misbehave, and the cases that see it.

A file is a list of ``[[sabotage]]`` tables:

    name        unique; also its directory's name on the host
    does        one line: what docker does wrong
    cases       the ids of the cases that can see it (``invoke verify --list``); each of them has to
    flags       the subcommands' options that it tampers with, e.g. ``run --rm``
    tells       a regular expression that the failure's own words match: a case may fail for some other reason
    percent     of the cases' time limits, for a fault that is seen by waiting (default 100)
    equivalent  why it is no fault; its cases must pass
    script      POSIX sh, after fixtures/sabotage/lib.sh: stands before the real docker
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES
from checks.core.tables import StrictTable

DIRECTORY = FIXTURES / "sabotage"
LIBRARY = DIRECTORY / "lib.sh"

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_ANY = re.compile("")


@dataclass(frozen=True)
class Mutation:
    """One way for docker to misbehave."""

    name: str
    does: str
    cases: tuple[str, ...]
    flags: tuple[str, ...]
    tells: re.Pattern[str]
    factor: float
    equivalent: str
    script: str

    @property
    def digest(self) -> str:
        """Of what is run: another one is another sabotage."""
        return hashlib.sha256(f"{LIBRARY.read_text()}\n{self.script}".encode()).hexdigest()[:16]

    @property
    def names(self) -> Sequence[str]:
        """What ``--only`` is matched against."""
        return (self.name, self.does, *self.cases)


FAULTLESS = Mutation(
    "faultless", "Takes every command apart and puts it together again", (), (), _ANY, 1.0, "nothing is changed",
    'edit "$1" "$@"\n',
)  # fmt: skip
"""No sabotage at all, and all the same a wrapper: what fails under it fails without a fault."""


def load(directory: Path = DIRECTORY) -> list[Mutation]:
    """All sabotages, in the files' order. Raises WrongUsage, with file and key, where something there is wrong."""
    found: list[Mutation] = []
    for file in sorted(directory.glob("*.toml")):
        whole = StrictTable.of_file(file)
        for table in whole.tables("sabotage"):
            sabotage = _sabotage(table)
            if sabotage.name in {FAULTLESS.name, *(each.name for each in found)}:
                raise table.wrong("name", f"is {sabotage.name}, which another sabotage has")
            found.append(sabotage)
        whole.end()
    if not found:
        raise WrongUsage(f"{directory} has no sabotages.")
    return found


def unknown_cases(sabotages: Sequence[Mutation], known: Sequence[str]) -> Iterator[str]:
    """What is said of cases that no such case has the id of."""
    for sabotage in sabotages:
        for case in sabotage.cases:
            if case not in known:
                yield f"The sabotage {sabotage.name} names the case {case}, and there is none."


def _sabotage(table: StrictTable) -> Mutation:
    name = table.text("name")
    if not _NAME.fullmatch(name):
        raise table.wrong("name", "must be of small letters, digits and hyphens")
    equivalent = table.text("equivalent", "")
    sabotage = Mutation(
        name=name,
        does=table.text("does"),
        cases=table.texts("cases"),
        flags=table.texts("flags"),
        tells=_ANY if equivalent else table.pattern("tells"),
        factor=table.number("percent", 10, 100, 100) / 100,
        equivalent=equivalent,
        script=table.text("script") + "\n",
    )
    table.end()
    if not sabotage.cases:
        raise table.wrong("cases", "must name the cases that see it")
    return sabotage
