"""How two runs of the same cases differ, and which differences fixtures/differences.toml explains."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from checks.core import strict_toml
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text
from checks.evidence.model import Case, Command, Output, Verification
from checks.matrix.expectations import Expectations

FILE = FIXTURES / "differences.toml"

_MEASURED = re.compile(r"seconds|share|bytes|forked|lost")
"""Observations that are measurements, which differ between any two runs."""
_BEGINNING = 1800  # characters; a banner and a few ids less than the evidence keeps
_LARGEST = 16_384
"""Characters of a word or a text that are compared: the evidence of a case has fewer, a file may have any number."""
_BANNER = re.compile(r"^Emulate Docker CLI using podman\..*\n?", re.MULTILINE)
_REPLACED = (
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]"), ""),
    # mktemp's suffix ends the name. In file-attributes-HRWdwVQS6S, “attributes” has ten characters too.
    (re.compile(r"/var/tmp/nanoclaw-verify-[0-9a-f]+-([a-z0-9-]+?)-[A-Za-z0-9]{10}(?![\w-])"), r"<directory>/\1"),  # noqa: S108 - read
    # In evidence of earlier runs: one directory for all cases.
    (re.compile(r"/var/tmp/nanoclaw-verify-[0-9a-f]+-work-\d+"), "<directory>"),  # noqa: S108 - read
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d)?( [A-Z]{3,4})?"), "<time>"),
    (re.compile(r"\bsha256:[0-9a-f]{12,64}\b"), "<id>"),
    # Names and secrets of a run: eight hexadecimal digits or more, with a decimal digit among them. A process's
    # capabilities have sixteen, and must not be replaced.
    (re.compile(r"(?<!Cap(?:Inh|Prm|Eff|Bnd|Amb):\t)\b(?=[a-f]*\d)[0-9a-f]{8,64}\b"), "<id>"),
    # The suffix of an image's name and tag that a case makes.
    (re.compile(r"\b(agent|packages)-[0-9a-f]{6}\b"), r"\1-<id>"),
    (
        re.compile(r"\b(\d+(\.\d+)?(ms|s| seconds?| minutes?| hours?)|Less than a second|About an? (minute|hour))\b"),
        "<time>",
    ),
    # The inode number of a file on a bind mount, before its time.
    (re.compile(r"^(\./(container|host)-\S+( \S+){4}) \d+(?= <id>$)", re.MULTILINE), r"\1 <inode>"),
    (re.compile(r"(?<=host\.docker\.internal )\d{4,5}\b"), "<port>"),
)
_LOOPBACK = 'if [ -n "${2:-}" ]; then\n'
_ANYTHING = ".*"
_LAST_WORDS = re.compile(r"(?<=/secret) \d{5} <id>$")
"""Parts of command lines that evidence of earlier runs lacks: the isolation script tries the host's loopback."""
_NOT_OF_NANOCLAW = {("docker", "info", "--format", "{{.Store.GraphRoot}}")}
"""Commands in the evidence of earlier runs that a case ran for its own use, and that are no longer recorded."""


@dataclass(frozen=True)
class Difference:
    """One difference between two runs of a case."""

    case: str
    label: str
    field: str
    """``outcome`` (with what a failed case got), ``commands``, ``status``, ``stdout``, ``stderr``, ``effect NAME``."""
    command: str
    """The command line, if the difference is in a command."""
    a: str
    b: str


@dataclass(frozen=True)
class Reason:
    """Why two engines differ, with the anchor of the troubleshooting entry."""

    because: str
    entry: str


class Explanation(Table, frozen=True):
    """Differences that are known: those of ``cases`` (empty: of all) whose field, command and sides match."""

    field: Text
    because: Text
    entry: Text
    cases: tuple[Text, ...] = ()
    command: str = ""
    a: str = ""
    b: str = ""

    def __post_init__(self) -> None:
        for key in ("field", "command", "a", "b"):
            try:
                _pieces(getattr(self, key))
            except re.error as error:
                raise ValueError(f"“{key}” is not a regular expression: {error}; .* can't be in parentheses") from error

    @property
    def reason(self) -> Reason:
        """The reason."""
        return Reason(self.because, self.entry)

    def explains(self, difference: Difference) -> bool:
        """Whether it describes that difference."""
        return (
            (not self.cases or difference.case in self.cases)
            and re.fullmatch(self.field, difference.field, re.DOTALL) is not None
            and _matches(self.command, difference.command)
            and _matches(self.a, difference.a)
            and _matches(self.b, difference.b)
        )


@functools.cache
def _pieces(pattern: str) -> Sequence[re.Pattern[str]]:
    """What is between the ``.*`` of a pattern. Raises re.error if one is no regular expression."""
    return [re.compile(piece, re.DOTALL) for piece in pattern.split(_ANYTHING)]


def _matches(pattern: str, text: str) -> bool:
    """Whether a pattern occurs in a text. Each of its pieces is sought once: evidence may come from anyone."""
    at = 0
    for piece in _pieces(pattern):
        found = piece.search(text, at)
        if found is None:
            return False
        at = found.end()
    return True


class _File(Table, frozen=True):
    difference: tuple[Explanation, ...]


def explanations(path: Path = FILE) -> Sequence[Explanation]:
    """Load the known differences. Raises WrongUsage that names the file, the key and the mistake."""
    return strict_toml.load(path, _File).difference


def between(a: Verification, b: Verification) -> list[Difference]:
    """All differences between the cases that ran on both."""
    return [each for case in a.cases if (other := b.case(case.id)) for each in _of_case(case, other)]


def ran(run: Verification) -> set[str]:
    """The cases that were not skipped."""
    return {case.id for case in run.cases if case.outcome != "skipped"}


def only_on_one(a: Verification, b: Verification) -> list[str]:
    """The cases that ran on one of the two alone."""
    return sorted(ran(a) ^ ran(b))


def reason(
    difference: Difference, a: Verification, b: Verification, known: Sequence[Explanation], expected: Expectations
) -> Reason | None:
    """Why ``a`` and ``b`` differ: an expected failure of one of them, else the first explanation that matches."""
    if difference.field == "outcome":
        for each in (a, b):
            case = each.case(difference.case)
            failure = expected.of(difference.case, each.host)
            if failure and case and case.outcome == "failed":
                return Reason(failure.because, failure.entry)
    return next((each.reason for each in known if each.explains(difference)), None)


def by_reason(
    a: Verification, b: Verification, known: Sequence[Explanation], expected: Expectations
) -> dict[Reason | None, list[Difference]]:
    """The differences between two runs by their reason, in the order of the cases; under None those without one."""
    found: dict[Reason | None, list[Difference]] = {}
    for each in between(a, b):
        found.setdefault(reason(each, a, b, known, expected), []).append(each)
    return found


def normalized(text: str) -> str:
    """A text without the shim's banner, a run's ids, names, times and directories, and white space at line ends.

    What is longer than _LARGEST is cut there.
    """
    text = _BANNER.sub("", text[:_LARGEST])
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n")).strip("\n")


def _of_case(a: Case, b: Case) -> Iterator[Difference]:
    def differ(field: str, left: Any, right: Any, command: str = "") -> Iterator[Difference]:
        if left != right:
            yield Difference(a.id, a.label, field, command, str(left), str(right))

    if "skipped" in (a.outcome, b.outcome):
        return
    yield from differ("outcome", _outcome(a), _outcome(b))
    if a.outcome != b.outcome:
        return  # one of them stopped there: its later commands are missing
    for one, two in zip_longest(_of_nanoclaw(a), _of_nanoclaw(b)):
        asked = _command_line(one)
        if one is None or two is None or asked != _command_line(two):
            yield from differ("commands", asked, _command_line(two))
            break
        yield from differ("status", one.status, two.status, asked)
        yield from differ("stdout", _printed(one.stdout), _printed(two.stdout), asked)
        yield from differ("stderr", _printed(one.stderr), _printed(two.stderr), asked)
    for name in sorted({*a.observations, *b.observations}):
        if not _MEASURED.search(name):
            left, right = (_observed(each.observations.get(name)) for each in (a, b))
            yield from differ(f"effect {name}", left, right)


def _outcome(case: Case) -> str:
    return f"failed: {normalized(case.got or '')}" if case.outcome == "failed" else case.outcome


def _of_nanoclaw(case: Case) -> list[Command]:
    return [each for each in case.commands if tuple(each.argv) not in _NOT_OF_NANOCLAW]


def _command_line(command: Command | None) -> str:
    if command is None:
        return "nothing"
    line = " ".join(_word(word) for word in command.argv)
    return _LAST_WORDS.sub("", line)


def _word(word: str) -> str:
    before, found, rest = normalized(word).partition(_LOOPBACK)
    return before + rest.partition("\nfi\n")[2] if found else before


def _printed(output: Output) -> str:
    """An output; where the evidence has its beginning alone, as much of it as is there with a banner or without."""
    complete = output.bytes == len(output.text.encode())
    return normalized(output.text) if complete else normalized(output.text)[:_BEGINNING]


def _observed(value: Any) -> Any:
    return normalized(value) if isinstance(value, str) else value
