"""What WSL makes of the lines of a .wslconfig: sections, settings, and lines that it can't read.

As WSL's own source has it (fixtures/wslconfig.toml, “syntax”), which is no common INI: only “#” begins a comment, also
behind a value; quotes hold a value together; a backslash escapes, and at the end of a line joins the next one to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAME = r"[A-Za-z][A-Za-z0-9]*"
_HEADER = re.compile(rf"\[({_NAME})\][ \t]*(?:#.*)?")
_KEY = re.compile(rf"[ \t]*({_NAME})[ \t]*=[ \t]*")
_PIECE = re.compile(r'(?P<escape>\\(?:\r?\n|[^\r\n])?)|(?P<mark>["#])|(?P<plain>[^\\"#\r\n]+)')
_ESCAPES = {"\\": "\\", '"': '"', "b": "\b", "n": "\n", "t": "\t"}


@dataclass(frozen=True)
class Section:
    """The header of a section."""

    line: int
    """From 1, as everywhere here."""
    name: str


@dataclass(frozen=True)
class Setting:
    """A key with its value."""

    line: int
    key: str
    value: str
    """As WSL reads it: without quotes, escapes resolved."""
    start: int
    end: int
    """Where the value is in the text, as it is written there."""
    controls: str = ""
    """The letters of the escapes that came out as control characters: b, n, t."""
    joined: bool = False
    """Whether a backslash at the end of a line joined the next one to it."""


@dataclass(frozen=True)
class Unreadable:
    """A line that WSL drops."""

    line: int
    text: str
    why: str
    """header, comment, name, equals, escape or quote."""
    detail: str = ""
    """The letter of an escape that WSL does not know; else ""."""


Line = Section | Setting | Unreadable


def read(text: str) -> Iterator[Line]:
    """The sections, settings and unreadable lines, in their order. Empty lines and comments are left out."""
    at, number = 0, 1
    while at < len(text):
        found, after = _line(text, at, number)
        if found:
            yield found
        number += text.count("\n", at, after)
        at = after


def _line(text: str, at: int, number: int) -> tuple[Line | None, int]:
    """What begins there, and where the line after it begins."""
    after = _next_line(text, at)
    whole = text[at:after].strip(" \t\r\n")
    if not whole or whole.startswith("#"):
        return None, after
    if whole.startswith("["):
        header = _HEADER.fullmatch(whole)
        return (Section(number, header[1]) if header else Unreadable(number, whole, "header")), after
    key = _KEY.match(text, at, after)
    if key:
        return _setting(text, key, number, whole)
    if whole.startswith((";", "//")):
        return Unreadable(number, whole, "comment"), after
    return Unreadable(number, whole, "name" if "=" in whole else "equals"), after


def _setting(text: str, key: re.Match[str], number: int, whole: str) -> tuple[Line, int]:
    value, kept, controls = "", 0, ""
    quoted, joined = False, False
    at = end = key.end()
    while (piece := _PIECE.match(text, at)) and (piece["mark"] != "#" or quoted):
        at = piece.end()
        taken = piece[0]
        if taken == '"':
            quoted = not quoted
        elif piece["escape"]:
            letter = taken[1:]
            if letter.endswith("\n"):
                joined = True
            elif letter not in _ESCAPES:
                return Unreadable(number, whole, "escape", letter), _next_line(text, at)
            value += _ESCAPES.get(letter, "")
            controls += letter if letter in "bnt" else ""
        else:
            value += taken
        # Spaces at the end of a value don't count. Those before a closing quote do: the quote is no space.
        trailing = len(taken) - len(taken.rstrip(" \t")) if piece["plain"] else 0
        if trailing < len(taken):
            kept, end = len(value) - trailing, at - trailing
    if quoted:
        return Unreadable(number, whole, "quote"), _next_line(text, at)
    return Setting(number, key[1], value[:kept], key.end(), end, controls, joined), _next_line(text, at)


def _next_line(text: str, at: int) -> int:
    return text.find("\n", at) + 1 or len(text)
