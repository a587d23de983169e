"""The form of a command line: runtime, subcommand and options, without the values that differ between runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import PurePosixPath

from checks.nanoclaw.discovery.rules import rules

_HOLE, _REST = "…", "--…"
_GROUPS = {"builder", "buildx", "compose", "container", "image", "manifest", "network", "system", "volume"}
_MEANINGFUL = {"--format", "--add-host", "--cap-drop", "--security-opt"}
"""Options whose value decides what is asked for."""
_LAST = {"run", "create", "exec", "compose run", "compose exec"}
"""Subcommands with a command line of the container's behind their first operand."""
_WITHOUT = {"ps", "info", "images", "version"}
"""Subcommands without operands: a word that is not known may be an option."""
_FLAGS = re.compile(r"-[adfilqtP]{2,}")
_WHOLE = re.compile(rf"(?:{_HOLE}[\w.@*+]*{_HOLE})+")
_RESTS = re.compile(rf"{_REST}[\w.@*+]*")

NO_MARKS = str.maketrans("⟦⟧", "[]")
"""Takes what marks a parameter from the text of a source."""


def hole(name: str, *, loose: bool = False) -> str:
    """The mark for a word, or a part of one, that is only known at run time. A shell may split a loose one."""
    return f"{_HOLE}{'+' * loose}{_clean(name)}{_HOLE}"


def rest(name: str) -> str:
    """The mark for any number of words that are only known at run time."""
    return _REST + _clean(name)


def is_hole(word: str) -> bool:
    """Whether nothing of a word is known."""
    return _WHOLE.fullmatch(word) is not None


def has_rest(word: str) -> bool:
    """Whether a word stands for any number of words."""
    return _REST in word


def _clean(name: str) -> str:
    return re.sub(r"[^\w.@*]", "", name)[:40] or "expression"


@dataclass(frozen=True, order=True)
class Form:
    """What is asked of a container runtime."""

    runtime: str
    subcommand: str
    options: tuple[str, ...] = ()
    """Sorted, without their values except where the value decides what is asked for."""

    @property
    def text(self) -> str:
        """The form as one would type it."""
        return " ".join(filter(None, [self.runtime, self.subcommand, *self.options]))

    @property
    def unknown(self) -> frozenset[str]:
        """What computes words that may be options or the subcommand, and that could not be followed."""
        marks = {each.removeprefix(_REST) for each in self.options if each.startswith(_REST)}
        return frozenset(marks | ({_named(self.subcommand)} if is_hole(self.subcommand) else set()))

    def covers(self, other: Form) -> bool:
        """Whether a proof of this form is one of the other, too."""
        return (self.runtime, self.subcommand) == (other.runtime, other.subcommand) and set(other.options) <= set(
            self.options
        )

    def completed(self, what: str, adds: Sequence[str]) -> Form:
        """The form with known options in place of words that could not be followed."""
        added = set(form_of([self.runtime, self.subcommand, *adds]).options)
        return replace(self, options=tuple(sorted((set(self.options) - {rest(what)}) | added)))


def form_of(words: Sequence[str]) -> Form:
    """The form of a command line that begins with the runtime."""
    runtime, ahead = PurePosixPath(words[0]).name, list(words[1:])
    options: set[str] = set()
    subcommand = _subcommand(ahead, options)
    valued = rules().values.get("run" if subcommand == "create" else subcommand, ())
    while ahead:
        word = ahead.pop(0)
        if not word.startswith("-") or has_rest(word):
            options |= _doubtful(word, subcommand, bool(ahead))
            if subcommand in _LAST and not has_rest(word) and not (_doubtful(word, subcommand, bool(ahead))):
                break
            continue
        name, given, value = word.partition("=")
        if not given and name in valued and ahead and not has_rest(ahead[0]):
            value = ahead.pop(0)
        options |= {
            _option(each, value) for each in ([f"-{flag}" for flag in word[1:]] if _FLAGS.fullmatch(word) else [name])
        }
    return Form(runtime, subcommand, tuple(sorted(options)))


def _subcommand(ahead: list[str], options: set[str]) -> str:
    """Take the subcommand, of one word or two, from the start of ``ahead``, and what is given before it."""
    found: list[str] = []
    while ahead and len(found) < (2 if found and found[0] in _GROUPS else 1):
        word = ahead.pop(0)
        if has_rest(word):
            options |= set(_RESTS.findall(word))
        elif not word.startswith("-") or (not found and word in {"--version", "-v", "--help"}):
            found.append(word)
        else:
            name, given, value = word.partition("=")
            if not given and ahead and name in rules().values.get(found[0] if found else "*", ()):
                value = ahead.pop(0)
            options.add(_option(name, value))
    return " ".join(found)


def _doubtful(word: str, subcommand: str, more: bool) -> set[str]:
    """The marks for an operand that may be options: any number of words, or one in the place of the image."""
    if has_rest(word):
        return set(_RESTS.findall(word))
    image = subcommand in {"run", "create"} and more and "image" not in word.lower()
    if is_hole(word) and (word[1] == "+" or image or subcommand in _WITHOUT):
        return {rest(_named(word))}
    return set()


def _named(word: str) -> str:
    return word.replace("+", "").strip(_HOLE).replace(_HOLE * 2, ".")


def _option(name: str, value: str) -> str:
    name = rules().short.get(name, name)
    key, given, wanted = value.partition("=")
    if name in {"--filter", "-f"} and given:
        return f"--filter {key}={wanted if key in {'status', 'type'} else ''}"
    if name == "-v" and value.endswith(":ro"):
        return "-v :ro"
    if name == "--add-host":
        return f"{name} {value.replace('=', ':')}"
    return f"{name} {value}" if name in _MEANINGFUL else name


Lines = list[tuple[str, ...]]
"""What a command line may be: alternatives."""
MAX, _LARGEST = 24, 16_384
"""The number of alternatives, and of their characters together, that are told apart."""


def distinct(lines: Iterable[tuple[str, ...]]) -> Lines:
    """Each line once; where there is too much of them, the start that all have."""
    found: dict[tuple[str, ...], None] = {}
    room = _LARGEST
    ahead = iter(lines)
    for line in ahead:
        if line not in found:
            room -= sum(map(len, line)) + len(line)
            found[line] = None
        if (room < 0 and (len(found) > 1 or len(line) > 1)) or len(found) > MAX:
            starts = zip(*(each[:8] for each in (*found, *ahead)), strict=False)
            same = takewhile(lambda words: len(set(words)) == 1, starts)
            return [(*(words[0] for words in same), rest("alternatives"))]
    return list(found)


def combined(parts: Iterable[Lines]) -> Lines:
    """The parts one after the other, in all combinations of their alternatives."""
    lines: Lines = [()]
    for part in parts:
        lines = distinct((*before, *behind) for before in lines for behind in part or [()])
    return lines


def concatenated(parts: Iterable[Sequence[str]]) -> list[str]:
    """The same for the pieces of one word."""
    return ["".join(line) for line in combined([(piece,) for piece in part] for part in parts)]
