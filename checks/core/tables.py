"""Tables of a TOML file, read strictly: what is missing, misspelt or of another type is told by file and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from checks.core.bounded import read_text
from checks.core.errors import WrongUsage
from checks.core.log_patterns import Pattern, Unbounded, compiled, pattern


class StrictTable:
    """A table whose keys are taken one by one. What nobody has taken at the end is not a key of it."""

    def __init__(self, values: dict[str, Any], source: str) -> None:
        self._values = dict(values)
        self.source = source

    @classmethod
    def of_file(cls, path: Path) -> StrictTable:
        """The whole of a file. Raises WrongUsage where it can't be read or is no TOML."""
        try:
            return cls(tomllib.loads(read_text(path)), str(path))
        except (OSError, ValueError, RecursionError) as error:
            raise WrongUsage(f"{path} can't be read: {error}.") from error

    def wrong(self, key: str, reason: str) -> WrongUsage:
        """What to raise of a key."""
        return WrongUsage(f"{self.source}: “{key}” {reason}.")

    def has(self, key: str) -> bool:
        """Whether the key is there and was not taken yet."""
        return key in self._values

    def text(self, key: str, default: str | None = None) -> str:
        """A text, without the line breaks around it. Required unless there is a default."""
        if key not in self._values:
            if default is None:
                raise self.wrong(key, "is missing")
            return default
        value = self._values.pop(key)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, "must be a text that is not empty")
        return value.strip()

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of some words."""
        value = self.text(key, default)
        if value not in choices:
            raise self.wrong(key, f"is “{value}”; it must be one of {', '.join(choices)}")
        return value

    def number(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number within bounds."""
        value = self._values.pop(key, default)
        if value is None:
            raise self.wrong(key, "is missing")
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(key, f"must be a whole number from {least} to {most}")
        return value

    def flag(self, key: str) -> bool:
        """True or false; false where the key is not there."""
        value = self._values.pop(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where the key is not there."""
        value = self._values.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) and each.strip() for each in value):
            raise self.wrong(key, "must be a list of texts")
        return tuple(value)

    def all_texts(self) -> dict[str, str]:
        """All its keys, each with a text."""
        return {key: self.text(key) for key in list(self._values)}

    def pattern(self, key: str) -> re.Pattern[str]:
        """A regular expression, case aside."""
        return self._compiled(key, self.text(key))

    def patterns(self, key: str) -> tuple[Pattern, ...]:
        """A list of regular expressions, case aside, that can be looked for in long texts."""
        for each in (found := self.texts(key)):
            self._compiled(key, each)
        try:
            return tuple(pattern(each) for each in found)
        except Unbounded as error:
            raise self.wrong(key, f"has a pattern that can't be used: {error}") from error

    def table(self, key: str) -> StrictTable:
        """A table within this one."""
        value = self._values.pop(key, None)
        if not isinstance(value, dict):
            raise self.wrong(key, "must be a table")
        return StrictTable(value, f"{self.source}, {key}")

    def tables(self, key: str) -> Iterator[StrictTable]:
        """A list of tables; empty where the key is not there."""
        value = self._values.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.wrong(key, "must be a list of tables")
        return (StrictTable(each, f"{self.source}, {key} {at}") for at, each in enumerate(value, 1))

    def end(self) -> None:
        """Raise WrongUsage where a key is left that nobody asked for."""
        if self._values:
            raise self.wrong(min(self._values), "is not a key here")

    def _compiled(self, key: str, text: str) -> re.Pattern[str]:
        try:
            expression = compiled(text)
        except (re.error, RecursionError) as error:
            raise self.wrong(key, f"has “{text}”, which is no regular expression: {error}") from error
        except Unbounded as error:
            raise self.wrong(key, f"has “{text}”, which could take for ever: {error}") from error
        if expression.search(""):
            raise self.wrong(key, f"has “{text}”, which matches any text")
        return expression
