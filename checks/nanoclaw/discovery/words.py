"""Command lines as words, and the marks that stand in them for what could not be known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

UNKNOWN = "…"
"""Encloses the name of one word, or of a piece of one, that a source computes at run time."""
LOOSE = "+"
"""Behind the first UNKNOWN: a shell may yet split what stands there into several words."""
REST = "--…"
"""Leads the name of arguments that could not be followed: none, one or many words. No case proves such an option."""

Lines = list[tuple[str, ...]]
"""What a command line may be: alternatives."""

_MOST = 48
"""So many alternatives are told apart; real command lines have a handful."""
_LARGEST = 16_384
"""So many characters all alternatives of a command line may have together: a variable may be made of itself again and
again, and twice as long each time."""
_WHOLE = re.compile(rf"(?:{UNKNOWN}\{LOOSE}?[\w.@*]*{UNKNOWN})+")
_MARKED = re.compile(rf"{REST}([\w.@*]*)")


def unknown(what: str, *, loose: bool = False) -> str:
    """The mark for a word that is computed by ``what``."""
    return f"{UNKNOWN}{LOOSE if loose else ''}{_name(what)}{UNKNOWN}"


def rest(what: str) -> str:
    """The mark for arguments that come out of ``what``, which could not be followed."""
    return f"{REST}{_name(what)}"


def is_unknown(word: str) -> bool:
    """Whether nothing of a word is known."""
    return _WHOLE.fullmatch(word) is not None


def is_loose(word: str) -> bool:
    """Whether a word, of which nothing is known, may be several."""
    return is_unknown(word) and UNKNOWN + LOOSE in word


def name_of(word: str) -> str:
    """What an unknown word is computed by."""
    return word.replace(LOOSE, "").strip(UNKNOWN).replace(UNKNOWN * 2, ".")


def marks_in(word: str) -> set[str]:
    """The options that stand for arguments that could not be followed."""
    return {REST + name for name in _MARKED.findall(word)}


def joined(parts: Iterable[Lines]) -> Lines:
    """The parts behind each other, in all combinations of their alternatives."""
    lines: Lines = [()]
    for part in parts:
        lines = distinct([*before, *behind] for before in lines for behind in part or [()])
        if len(lines) > _MOST:
            lines = [(*lines[0], rest("alternatives"))]
    return lines


def cut(line: Sequence[str], which: slice) -> tuple[str, ...]:
    """A part of a line; the whole of one in which it is not known which word is where."""
    return tuple(line if any(marks_in(word) for word in line) else line[which])


def concatenated(pieces: Iterable[Sequence[str]]) -> list[str]:
    """The pieces of a text behind each other, in all combinations of their alternatives."""
    found = [""]
    for piece in pieces:
        found = list(dict.fromkeys(before + behind for before in found for behind in piece))
        if len(found) > _MOST or sum(map(len, found)) > max(_LARGEST, *map(len, piece or [""])):
            found = [f"{found[0]} {rest('alternatives')} "]
    return found


def either(*branches: Lines) -> Lines:
    """One of the branches. One that adds nothing is left out: what another adds is there under a condition."""
    lines = distinct(line for branch in branches for line in branch)
    return [line for line in lines if any(line)] or [()]


def distinct(lines: Iterable[Iterable[str]]) -> Lines:
    """Each line once, in order; one that says nothing in place of more than ``_LARGEST`` characters."""
    found: dict[tuple[str, ...], None] = {}
    room = _LARGEST
    for line in map(tuple, lines):
        if line not in found:
            room -= sum(map(len, line)) + len(line)
            found[line] = None
        if room < 0 and (len(found) > 1 or len(line) > 1):
            return [(rest("alternatives"),)]
    return list(found)


def _name(what: str) -> str:
    """A name that is one word in every shell, whatever expression it names."""
    return re.sub(r"[^\w.@*]", "", what)[:40]
