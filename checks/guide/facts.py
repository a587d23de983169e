"""What a message says, apart from its wording: the error number, the program, the path, the host name.

An entry describes its problem by such facts, so that it matches every shell's and program's message about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from typing import Annotated

import msgspec

from checks.core import strict_toml
from checks.core.log_patterns import Pattern
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text
from checks.guide.log_text import Line, one_form

DIRECTORY = FIXTURES / "messages"

_NAME = r"([\w.+/-]{1,253})"
_PATH = re.compile(r"(?<![\w.:/-])/{1,3}(?:[^\s'\":,;)\]>|]{1,300})?")
_QUOTED_PATH = re.compile(r"'(/[^']{0,300})'")
_NUMBERS = re.compile(
    r"(?:\[errno -?(\d{1,3})\]|os error (\d{1,3})\)|errno[:= ]{1,2}-?(\d{1,3})\b|error=(\d{1,3}),)", re.I
)
_NAMES = re.compile(r"\bE[A-Z]{3,12}\b")
_EXIT_STATUS = re.compile(r"exit(?:ed)?(?: \(?(?:with )?)?(?:error )?(?:code|status)?['\x22 :=]{1,4}(\d{1,3})\b", re.I)


class Kind(StrEnum):
    """How much a match says about the cause of a failure."""

    CAUSE = "cause"
    GENERIC = "generic"
    """Other problems have the message too: it counts only without a cause in the same line, and after all causes."""
    WARNING = "warning"
    """The program continues. A warning often accompanies another error."""


class _Errno(Table, frozen=True):
    number: int
    texts: tuple[Text, ...]


class _Wordings(Table, frozen=True):
    missing: tuple[Text, ...]
    unresolved: tuple[Text, ...]
    unlocated: tuple[Text, ...]


@dataclass(frozen=True)
class _Errnos:
    by_number: dict[int, str]
    texts: dict[str, tuple[str, ...]]
    """By name: the messages in lower case."""


@cache
def _errnos() -> _Errnos:
    loaded = strict_toml.load(DIRECTORY / "errnos.toml", dict[str, _Errno])
    return _Errnos(
        {each.number: name for name, each in loaded.items()},
        {name: tuple(one_form(text).lower() for text in each.texts) for name, each in loaded.items()},
    )


@cache
def _wordings() -> _Wordings:
    return strict_toml.load(DIRECTORY / "wordings.toml", _Wordings)


@cache
def _alternatives(templates: Sequence[str], loose: bool) -> re.Pattern[str]:
    """One expression for all templates. Those that begin with the name share it: it is read once at each place."""
    after: list[str] = []
    others: list[str] = []
    for template in templates:
        parts = [re.escape(part).replace(r"\ ", " ") for part in one_form(template).lower().split("{}")]
        if not parts[0]:
            after.append(parts[1])
        else:
            edge = r"(?<![\w.-])" if parts[0][0].isalnum() else ""
            others.append(f"{edge}{parts[0]}" + "".join(_NAME + part for part in parts[1:2]) + "".join(parts[2:]))
    text = "|".join([rf"(?<![\w.+/-]){_NAME}(?:{'|'.join(after)})", *others] if after else others)
    return re.compile(text.replace(" ", " ?") if loose else text)


@cache
def _fixed_parts(templates: Sequence[str]) -> tuple[str, ...]:
    """The longest fixed part of each template: a text without any of them can't match."""
    return tuple({max(one_form(each).lower().split("{}"), key=len) for each in templates})


class Facts:
    """The facts of one line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._text = line.lowered if len(line.lowered) == len(line.text) else line.text
        self._loose = line.joined

    def errors(self, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Those of the error numbers that the line has, with their places."""
        return {name: place for name in names if (place := self._error(name))}

    def _error(self, name: str) -> tuple[int, int] | None:
        if name in self._named:
            return self._named[name]
        text = self._text
        for each in _errnos().texts[name]:
            at = text.find(each)
            if at >= 0:
                return at, at + len(each)
            if self._loose and each.replace(" ", "") in self._packed:
                return 0, len(text)
        return None

    @cached_property
    def _packed(self) -> str:
        return self._text.replace(" ", "")

    @cached_property
    def _named(self) -> dict[str, tuple[int, int]]:
        """The error numbers that the line has as a name or a number."""
        found = {hit[0]: hit.span() for hit in _NAMES.finditer(self._line.text)}
        for hit in _NUMBERS.finditer(self._line.text):
            name = _errnos().by_number.get(int(next(filter(None, hit.groups()))))
            if name:
                found.setdefault(name, hit.span())
        return found

    @cached_property
    def missing(self) -> dict[str, tuple[int, int]]:
        """The programs that were not found, with their places."""
        named = self._named_by(_wordings().missing)
        return {program.rpartition("/")[2].removesuffix(".exe").strip("."): at for program, at in named}

    @cached_property
    def unresolved(self) -> dict[str, tuple[int, int]]:
        """The host names without an address, with their places; “?” if the message names none."""
        return {host.strip(".") or "?": at for host, at in self._named_by(_wordings().unresolved)}

    @cached_property
    def unlocated(self) -> dict[str, tuple[int, int]]:
        """The packages that a package manager does not know, with their places."""
        return {package.strip("."): at for package, at in self._named_by(_wordings().unlocated)}

    def _named_by(self, templates: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
        """The names in messages of this form with their places, the last first."""
        if not self._has(templates):
            return []
        found = _overlapping(_alternatives(templates, self._loose), self._text)
        return [(name, at) for at, name in reversed([*found])]

    def _has(self, templates: Sequence[str]) -> bool:
        return self._loose or any(part in self._text for part in _fixed_parts(templates))

    @cached_property
    def paths(self) -> Sequence[tuple[str, tuple[int, int]]]:
        """The absolute paths, with their places."""
        quoted = [(hit[1], hit.span(1)) for hit in _QUOTED_PATH.finditer(self._line.text)]
        return [*quoted, *((hit[0], hit.span()) for hit in _PATH.finditer(self._line.text))]

    @cached_property
    def exit_status(self) -> dict[int, tuple[int, int]]:
        return {int(hit[1]): hit.span() for hit in _EXIT_STATUS.finditer(self._line.text)}


def _overlapping(expression: re.Pattern[str], text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """The matches at any place, also within an earlier one: ``sh: docker: not found``."""
    hit = expression.search(text)
    for _ in range(50):
        if not hit:
            return
        yield hit.span(), next((each for each in hit.groups() if each), "")
        hit = expression.search(text, hit.start() + 1)


class Condition(Table, frozen=True):
    """Facts of one message that are true together. At least one is given."""

    kind: Kind = Kind.CAUSE
    text: tuple[Pattern, ...] = ()
    """Patterns that the line has, each at any place."""
    unless: re.Pattern[str] | None = None
    """A pattern that the line must not have."""
    error: tuple[Text, ...] = ()
    """One of these error numbers, in any wording or language."""
    path: re.Pattern[str] | None = None
    """A pattern for an absolute path in the line."""
    missing: tuple[Text, ...] = ()
    """One of these programs was not found."""
    unresolved: re.Pattern[str] | None = None
    """A pattern for the host name that has no address; “?” stands for a name that the message omits."""
    unlocated: tuple[Text, ...] = ()
    """A package manager does not know one of these packages."""
    exit_status: tuple[Annotated[int, msgspec.Meta(ge=0, le=255)], ...] = ()
    """One of these exit statuses."""

    def __post_init__(self) -> None:
        if not (self.text or self.error or self.missing or self.unresolved or self.unlocated):
            raise ValueError("“text”, “error”, “missing”, “unresolved” or “unlocated” is missing")
        if unknown := set(self.error) - set(_errnos().texts):
            raise ValueError(f"“error” is “{min(unknown)}”, which is not in {DIRECTORY / 'errnos.toml'}")
        if self.path and not self.error and not self.text:
            raise ValueError("“path” needs “error” or “text”")

    @property
    def literals(self) -> Sequence[Sequence[str]]:
        """Groups of strings in lower case: a line that meets the condition has a string of each group."""
        groups: list[Sequence[str]] = [each.literals for each in self.text]
        if self.missing:
            groups += [self.missing, _fixed_parts(_wordings().missing)]
        if self.unlocated:
            groups += [self.unlocated, _fixed_parts(_wordings().unlocated)]
        if self.error:
            groups.append(_error_literals(self.error))
        if self.unresolved:
            groups.append(_fixed_parts(_wordings().unresolved))
        return groups

    def find(self, line: Line, facts: Facts) -> tuple[int, int] | None:
        """The place in the line that meets the condition; None if none does."""
        places: list[tuple[int, int]] = []
        for pattern in self.text:
            hit = pattern.search(line.text, line.lowered, loose=line.joined)
            if not hit:
                return None
            places.append(hit)
        for several in self._of_facts(facts):
            if not several:
                return None
            places += several
        if self.unless and self.unless.search(line.text):
            return None
        return min(start for start, _ in places), max(end for _, end in places)

    def _of_facts(self, facts: Facts) -> Iterator[list[tuple[int, int]]]:
        """For each part of the condition that is about facts: the places that meet it."""
        if self.path:
            yield [place for path, place in facts.paths if self.path.search(path)][:1]
        if self.error:
            yield [place for key, place in facts.errors(self.error).items() if key in self.error]
        if self.missing:
            yield [place for key, place in facts.missing.items() if key in self.missing]
        if self.unlocated:
            yield [place for key, place in facts.unlocated.items() if key in self.unlocated]
        if self.exit_status:
            yield [place for key, place in facts.exit_status.items() if key in self.exit_status]
        if self.unresolved:
            yield [place for host, place in facts.unresolved.items() if self.unresolved.search(host)]


@cache
def _error_literals(names: tuple[str, ...]) -> tuple[str, ...]:
    literals = []
    for name in names:
        numbers = [number for number, each in _errnos().by_number.items() if each == name]
        literals += [name.lower(), *_errnos().texts[name]]
        literals += [
            form
            for number in numbers
            for form in (f"errno {number}", f"errno -{number}", f"os error {number}", f"error={number}")
        ]
    return tuple(literals)
