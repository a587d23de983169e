"""Finds docker command lines in TypeScript and shell sources, without running them."""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tree_sitter import Node

from checks.core.errors import WrongUsage
from checks.nanoclaw.checkout import read, walk
from checks.nanoclaw.discovery.invocation import Shape
from checks.nanoclaw.discovery.names import Project, Source
from checks.nanoclaw.discovery.places import Calls, Given
from checks.nanoclaw.discovery.runners import Takes, takes
from checks.nanoclaw.discovery.shell import in_shell, leads_to_docker, of_words
from checks.nanoclaw.discovery.syntax import FUNCTIONS, arguments, bare, literal, parts, text, typescript
from checks.nanoclaw.discovery.values import Values, reads_only
from checks.nanoclaw.discovery.words import UNKNOWN, Lines, concatenated, is_unknown, marks_in, unknown

_SKIPPED = {"node_modules", "dist", ".git", ".claude", "skills"}
"""Directories without running code: installed, built, or recipes that change the source once applied."""

_NO_ARRAYS = FUNCTIONS | {
    "false", "null", "number", "object", "regex", "string", "template_string", "true", "undefined",
}  # fmt: skip
_CALLERS = 5
"""So many calls lead to a command at most: where they don't tell what it is, neither will those that lead to them."""
_QUESTIONS = 2_000
"""So many ways to one command are looked at, lest a source in which everything calls everything keeps us forever."""

_LARGEST = 512 << 10
"""Bytes of a source: ten times what nanoclaw's largest has."""
_TIMEOUT = 20.0
"""Seconds of processor time for a checkout: a source can be written so that following its values never ends."""


@dataclass(frozen=True)
class Found:
    """A docker command in a source."""

    file: str
    """Relative to the checkout."""
    line: int
    shape: Shape

    @property
    def hot(self) -> bool:
        """Whether it is nanoclaw itself that runs it, not its set-up or a script beside it."""
        return self.file.startswith("src/")


def discover(checkout: Path) -> list[Found]:
    """Every docker command in a checkout's TypeScript and shell sources, tests left out.

    It is said to be where it is written: where a function is told by its callers what to run, that is with them.
    Raises WrongUsage for sources that are too large, or take too long to follow.
    """
    with _processor_time(_TIMEOUT):
        return _discover(checkout)


@contextlib.contextmanager
def _processor_time(seconds: float) -> Iterator[None]:
    """Raise WrongUsage in the block once it has used that much processor time. Only in the main thread."""

    def out_of_time(_: int, __: FrameType | None) -> None:
        raise WrongUsage(
            f"The docker commands of this checkout were not found within {seconds:g} s of processor time.",
            "Is it nanoclaw's source?",
        )

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, out_of_time)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _discover(checkout: Path) -> list[Found]:
    paths = [
        path for path in walk(checkout) if not path.is_symlink() and path.is_file() and not _skipped(path, checkout)
    ]
    sources = [
        Source(str(path.relative_to(checkout)), typescript(read(path, checkout, _LARGEST)))
        for path in paths
        if path.suffix in {".ts", ".mts", ".cts"}
    ]
    finder = _Finder(Project(sources))
    found = [each for source in sources for call in source.calls for each in finder.commands(call)]
    for path in paths:
        if path.suffix == ".sh":
            file = str(path.relative_to(checkout))
            found += [Found(file, line + 1, shape) for line, shape in in_shell(read(path, checkout, _LARGEST))]
    return sorted(set(found), key=lambda each: (each.file, each.line, each.shape.text))


def _skipped(path: Path, checkout: Path) -> bool:
    return bool(_SKIPPED & set(path.relative_to(checkout).parts)) or ".test." in path.name


class _Finder:
    """Finds what the calls in a project start."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._values = Values(project, lambda call: takes(call, project) is not None)
        self._open = False
        """Whether what the last call starts depends on something that is not known."""
        self._asked = 0

    def commands(self, call: Node, calls: Calls = (), written: Node | None = None) -> list[Found]:
        """The docker commands that a call starts, when ``calls`` led to it, the last of them ``written``."""
        self._values.begin(call)
        self._open, self._asked = False, self._asked + 1 if calls else 0
        shapes = list(self._shapes(call, calls))
        at = written or call
        here = [Found(self._project.source_of(at).file, at.start_point[0] + 1, shape) for shape in shapes]
        if (
            len(calls) < _CALLERS
            and self._asked < _QUESTIONS
            and (self._open or any(shape.unfollowed for shape in shapes))
        ):
            for function in dict.fromkeys(self._values.wanted):
                told = self._told(call, calls, function)
                if told and {each.shape for each in told} != set(shapes):
                    return told
        return here

    def _told(self, call: Node, calls: Calls, function: Node) -> list[Found]:
        """What a call starts, by what the callers of a function around it say."""
        return [
            each
            for caller in self._project.callers(function)
            for each in self.commands(call, (*calls, Given(function, tuple(arguments(caller)))), caller)
        ]

    def _shapes(self, call: Node, calls: Calls) -> Iterator[Shape]:
        how, given = takes(call, self._project), arguments(call)
        template = call.child_by_field_name("arguments")
        match how:
            case Takes.TEMPLATE if template:
                yield from self._of_texts(self._tagged(template, calls))
            case Takes.TEXT if given:
                yield from self._of_texts(self._values.texts(given[0], calls))
            case Takes.LIST if given:
                yield from self._of_list(given[0], calls)
            case Takes.WORDS if given:
                yield from self._of_words(given, calls)
            case None if len(given) > 1 and bare(given[1]).type not in _NO_ARRAYS and not reads_only(call):
                # run('docker', ['ps']), whatever run may be
                programs = [each for each in self._values.texts(given[0], calls) if leads_to_docker(each)]
                lines = self._arguments(given[1:], calls) if programs else []
                yield from self._of_lines([(each, *words) for each in programs for words in lines])

    def _of_words(self, given: Sequence[Node], calls: Calls) -> Iterator[Shape]:
        """Of a program and an array of its arguments; the program may be a command line already."""
        programs = self._values.texts(given[0], calls)
        if all(map(is_unknown, programs)):
            yield from self._of_list(given[0], calls)
        lines = self._arguments(given[1:], calls)
        whole = [program for program in programs if " " in program.strip()]
        yield from self._of_texts([f"{line} {shlex.join(words)}" for line in whole for words in lines])
        yield from self._of_lines([(each, *words) for each in programs if each not in whole for words in lines])

    def _of_list(self, node: Node, calls: Calls) -> Iterator[Shape]:
        """Of an array that begins with the program, or of the options that have it."""
        place = self._values.property(node, "cmd", calls) or (node, calls)
        yield from self._of_lines(self._values.lines(*place))

    def _of_texts(self, texts: Sequence[str]) -> Iterator[Shape]:
        for each in texts:
            shapes = [shape for _, shape in in_shell(each)]
            self._open |= not shapes and UNKNOWN in each
            yield from shapes

    def _of_lines(self, lines: Lines) -> Iterator[Shape]:
        for words in lines:
            self._open |= UNKNOWN in words[0] if words else False
            yield from of_words(words)

    def _arguments(self, given: Sequence[Node], calls: Calls) -> Lines:
        """The arguments of a program; where there are none, what follows its name is options, or a callback."""
        first = bare(given[0]) if given else None
        if first is None or first.type in _NO_ARRAYS or self._values.object(first, calls):
            return [()]
        callback = first.type == "identifier" and self._project.function(first)
        return [()] if callback else self._values.lines(first, calls)

    def _tagged(self, template: Node, calls: Calls) -> list[str]:
        """The command line of a tagged template. What is put into it is quoted: an array is as many words as it has."""
        pieces = []
        for part in parts(template):
            if part.type != "template_substitution":
                pieces.append([literal(part)])
                continue
            inner = parts(part)[0]
            lines = self._values.lines(inner, calls)
            if any(marks_in(word) for line in lines for word in line):
                lines = [(unknown(text(inner)),)]
            pieces.append([shlex.join(line) for line in lines])
        return concatenated(pieces)
