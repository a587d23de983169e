"""The mutations of fixtures/sabotage/*.toml: each one fault of docker, or of its host, that cases must detect.

A file is a list of ``[[mutation]]`` tables; ``Mutation`` has their keys.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from checks.core import strict_toml
from checks.core.errors import WrongUsage
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text
from checks.guide.catalogue import HostCommands

DIRECTORY = FIXTURES / "sabotage"
LIBRARY = DIRECTORY / "lib.sh"


class Mutation(Table, frozen=True):
    """One fault of docker, or of its host."""

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9-]*$")]
    """Unique; also the name of its directory on the host."""
    description: Text
    """What is wrong, in one line."""
    cases: Annotated[tuple[Text, ...], Meta(min_length=1)]
    """The ids of the cases (``invoke verify --list``) that can detect it; each of them must."""
    script: str = 'go "$@"'
    """POSIX sh, run after fixtures/sabotage/lib.sh in place of the real docker."""
    breaking: tuple[HostCommands, ...] = field(default=(), name="break")
    """Commands that change the host, for cases of a whole nanoclaw; ``$account`` is the account's name."""
    undo: tuple[HostCommands, ...] = ()
    """Commands that restore the host."""
    flags: tuple[Text, ...] = ()
    """The subcommands' options that it changes, e.g. ``run --rm``."""
    failure: re.Pattern[str] | None = None
    """Matches the message of a case that detects it: a case may fail for another reason."""
    equivalent: str = ""
    """Why it is not a fault; its cases must pass."""
    alone: bool = False
    """Whether only a throwaway host shows it: elsewhere, others may have made what it leaves."""
    percent: Annotated[int, Meta(ge=10, le=100)] = 100
    """Of the cases' time limits, for a fault that is detected by a timeout."""

    def __post_init__(self) -> None:
        if (self.failure is None) != bool(self.equivalent):
            raise ValueError("it needs either “failure” or “equivalent”")
        if bool(self.breaking) != bool(self.undo):
            raise ValueError("“break” and “undo” must both be present")

    @property
    def digest(self) -> str:
        """Of everything that runs, without comments: with another digest it is another mutation."""
        host = [f"{each.user}\n{each.script}" for each in (*self.breaking, *self.undo)]
        lines = lines_of("\n".join([LIBRARY.read_text(), self.script, *host]))
        code = [line for line in lines if not line.lstrip().startswith("#")]
        return hashlib.sha256("\n".join(code).encode()).hexdigest()[:16]

    @property
    def names(self) -> Sequence[str]:
        """What ``--only`` is matched against."""
        return (self.name, self.description, *self.cases)


NO_FAULT = Mutation(
    name="no-fault",
    description="Takes every command apart and puts it together again",
    script='edit "$1" "$@"',
    cases=("any",),
    equivalent="nothing is changed",
)
"""A wrapper without a fault: a case that fails under it says nothing about a mutation."""


class _File(Table, frozen=True):
    mutation: tuple[Mutation, ...]


def load(directory: Path = DIRECTORY) -> list[Mutation]:
    """Load all mutations, in the files' order. Raises WrongUsage that names the file, the key and the mistake."""
    found = {NO_FAULT.name: NO_FAULT}
    for path in sorted(directory.glob("*.toml")):
        for number, mutation in enumerate(strict_toml.load(path, _File).mutation, 1):
            if mutation.name in found:
                raise WrongUsage(f"{path}, mutation {number}: “name” is {mutation.name}, which another mutation has.")
            found[mutation.name] = mutation
    if len(found) == 1:
        raise WrongUsage(f"{directory} has no mutations.")
    return [each for each in found.values() if each is not NO_FAULT]


def unknown_cases(mutations: Sequence[Mutation], known: Sequence[str]) -> Iterator[str]:
    """A sentence for each case that a mutation names and that does not exist."""
    for mutation in mutations:
        for case in mutation.cases:
            if case not in known:
                where = next(
                    (path for path in sorted(DIRECTORY.glob("*.toml")) if _has(path, mutation.name)), DIRECTORY
                )
                yield f"{where}: the mutation {mutation.name} names the case {case}, which does not exist."


def _has(path: Path, name: str) -> bool:
    return re.search(rf'^name = "{re.escape(name)}"$', path.read_text(), re.MULTILINE) is not None
