"""The rules of the discovery: fixtures/discovery/rules.toml."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache
from pathlib import PurePosixPath

from checks.core import strict_toml
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text


class FileRule(Table, frozen=True):
    """How the files that match a glob are read."""

    globs: tuple[Text, ...]
    read_as: Text


class Functions(Table, frozen=True):
    """Names of functions that start a program, and of some that don't."""

    text: tuple[Text, ...]
    words: tuple[Text, ...]
    list: tuple[Text, ...]
    each: tuple[Text, ...]
    template: tuple[Text, ...]
    anywhere: tuple[Text, ...]
    same: tuple[Text, ...]
    readers: tuple[Text, ...]


class Rules(Table, frozen=True):
    """The content of the file."""

    runtimes: tuple[Text, ...]
    apple: tuple[Text, ...]
    skipped: tuple[Text, ...]
    tests: tuple[Text, ...]
    file: tuple[FileRule, ...]
    functions: Functions
    harmless: tuple[Text, ...]
    wrappers: dict[str, tuple[Text, ...]]
    short: dict[str, Text]
    values: dict[str, tuple[Text, ...]]


@cache
def rules() -> Rules:
    """The rules, read once."""
    return strict_toml.load(FIXTURES / "discovery" / "rules.toml", Rules)


def is_runtime(program: str) -> bool:
    """Whether a program, perhaps with its directory, starts containers."""
    return PurePosixPath(program).name in rules().runtimes


def named_runtime(text: str) -> re.Match[str] | None:
    """The first name of a runtime in a text. Apple's `container` is too common a word."""
    return _named().search(text)


@cache
def _named() -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in rules().runtimes if name != "container")
    return re.compile(rf"(?<![\w.-])(?:{names})(?![\w.-])")


def among(name: str, globs: tuple[str, ...]) -> bool:
    """Whether a name matches one of the globs; ``*`` matches ``/`` too."""
    return any(fnmatchcase(name, glob) for glob in globs)
