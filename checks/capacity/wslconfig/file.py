"""A .wslconfig file: its path, encoding and line ends, and how WSL parses its lines.

WSL's syntax (fixtures/wslconfig.toml, “syntax”) differs from common INI files. Only “#” begins a comment, also after a
value. Quotes protect spaces and “#”. A backslash escapes a character, and at the end of a line joins the next line.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from checks.capacity.wslconfig.catalogue import catalogue
from checks.core import files
from checks.core.bounded import TooLarge, read
from checks.core.errors import HostProblem, Problem, WrongUsage
from checks.core.paths import expanded

MOUNTS = Path("/mnt")
"""Where WSL mounts Windows' drives by default, each by its letter."""

_DRIVE = re.compile(r"([A-Za-z]):[\\/](.*)")
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_MAX_SIZE = 2**16  # bytes; a real file has a few hundred
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_REMEDY = "WSL reads the file as UTF-8: save it as UTF-8."

_NAME = r"[A-Za-z][A-Za-z0-9]*"
_HEADER = re.compile(rf"\[({_NAME})\][ \t]*(?:#.*)?")
_KEY = re.compile(rf"[ \t]*({_NAME})[ \t]*=[ \t]*")
_PIECE = re.compile(r'(?P<escape>\\(?:\r?\n|[^\r\n])?)|(?P<mark>["#])|(?P<plain>[^\\"#\r\n]+)')
_ESCAPES = {"\\": "\\", '"': '"', "b": "\b", "n": "\n", "t": "\t"}


@dataclass(frozen=True)
class Remark:
    """A remark about a complete file."""

    message: str
    harmless: bool


@dataclass(frozen=True)
class ConfigText:
    """A decoded file."""

    text: str
    encoding: str
    bom: bytes
    remarks: tuple[Remark, ...] = ()
    readable: bool = True
    """Whether WSL can read any line. If not, the text is empty."""

    @property
    def complete(self) -> bool:
        """Whether the text is the complete content, so that it can be written back."""
        return all(remark.harmless for remark in self.remarks)

    def encode(self, text: str) -> bytes:
        """Encode a text like this file."""
        return self.bom + text.encode(self.encoding)


def decode(data: bytes) -> ConfigText:
    """Decode a file, with remarks about its encoding.

    Microsoft does not document the encoding of .wslconfig. This follows WSL's source and the documentation of
    Microsoft's C runtime (fixtures/wslconfig.toml, “encoding”).
    """
    bom = next((bom for bom in _BOMS if data.startswith(bom)), b"")
    encoding = _BOMS.get(bom, "utf-8")
    version = catalogue().sources["code"].version
    if not bom and b"\0" in data:
        return _unreadable("the file contains zero bytes, like UTF-16 without a byte order mark")
    if bom == codecs.BOM_UTF16_BE:
        return _unreadable("the file is big-endian UTF-16")
    remarks = []
    if bom == codecs.BOM_UTF8:
        note = f"the file begins with a byte order mark. WSL {version} skips it, but a WSL of 2020 did not."
        remarks.append(Remark(note, harmless=True))
    elif bom:
        remarks.append(Remark(f"the file is UTF-16. WSL {version} reads it, but expects UTF-8.", harmless=True))
    data = data.removeprefix(bom)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        text = data.decode(encoding, errors="replace")
        line = data[: error.start].count(b"\n") + 1
        wrong = f"the file is not valid {encoding.upper()}: line {line} has the first invalid byte. {_REMEDY}"
        remarks.append(Remark(wrong, harmless=False))
    return ConfigText(text, encoding, bom, tuple(remarks))


def _unreadable(reason: str) -> ConfigText:
    return ConfigText("", "utf-8", b"", (Remark(f"{reason}. {_REMEDY}", harmless=False),), readable=False)


def resolve(option: str, name: str) -> Path:
    """The path that a user typed, also a Windows path. Raises WrongUsage if only Windows can resolve it."""
    if name == "-":
        raise WrongUsage(f"{option} - is not supported.", "Pass the path of a file.")
    drive = _DRIVE.fullmatch(name)
    if os.name == "nt":
        return Path(name)
    if drive:
        mount = MOUNTS / drive[1].lower()
        if mount.is_dir():
            return mount / drive[2].replace("\\", "/")
        raise WrongUsage(
            f"{option} is “{name}”, a Windows path, but {mount} does not exist here.",
            "Pass the file's path on this machine.",
        )
    if name.startswith(("%", "\\\\")):
        raise WrongUsage(
            f"{option} is “{name}”, which only Windows can resolve.",
            f"Pass the file's path on this machine; in WSL {MOUNTS}/c/Users/YOU/.wslconfig.",
        )
    return expanded(name)


def line_end(path: Path) -> str:
    """The line end of a new file: CRLF on Windows' drives, LF elsewhere."""
    if os.name == "nt" or re.match(rf"{re.escape(str(MOUNTS.resolve()))}/[A-Za-z](?:/|$)", str(path.resolve())):
        return "\r\n"
    return "\n"


def load(path: Path) -> ConfigText:
    """Read a file. Raises WrongUsage if it can't be read."""
    try:
        return decode(read(path, _MAX_SIZE))
    except FileNotFoundError as error:
        near = sorted(each for each in _names(path.parent) if "wslc" in each.lower())
        remedy = f"WSL reads only this name. Rename {path.parent / near[0]} to it." if near else ""
        raise WrongUsage(f"{path} can't be read: {error.strerror}.", remedy) from error
    except OSError as error:
        raise WrongUsage(f"{path} can't be read: {error.strerror}.") from error
    except TooLarge as error:
        raise WrongUsage(f"{path} is not a .wslconfig: {error}.") from error


def _names(directory: Path) -> list[str]:
    try:
        return [each.name for each in directory.iterdir()]
    except OSError:
        return []


def create(path: Path, data: bytes) -> None:
    """Create a file. Raises WrongUsage if it exists or can't be written, HostProblem if the disk is full or fails."""
    try:
        files.create(path, data)
    except FileExistsError as error:
        raise WrongUsage(
            f"{path} exists and was not changed.",
            "--update changes memory, swap and processors and keeps the rest; --force overwrites the file.",
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> Problem:
    problem = HostProblem if error.errno in _OF_THE_DISK else WrongUsage
    return problem(f"{path} can't be written: {error.strerror}.")


def replace(path: Path, data: bytes) -> None:
    """Write a file atomically, whether it exists or not. Raises as ``create``."""
    try:
        files.replace(path, data)
    except OSError as error:
        raise _unwritable(path, error) from error


@dataclass(frozen=True)
class Section:
    """A section header."""

    line: int
    """Line numbers start at 1."""
    name: str


@dataclass(frozen=True)
class Setting:
    """A key and its value."""

    line: int
    key: str
    value: str
    """The value that WSL reads: without quotes, with escapes resolved."""
    start: int
    end: int
    """The position of the raw value in the text."""
    controls: str = ""
    """The letters of escapes that became control characters: b, n, t."""
    joined: bool = False
    """Whether a backslash at the end of a line joined the next line."""


@dataclass(frozen=True)
class Unreadable:
    """A line that WSL ignores."""

    line: int
    text: str
    reason: Literal["header", "comment", "name", "equals", "escape", "quote"]
    escape: str = ""
    """The letter of an escape that WSL does not support."""


Line = Section | Setting | Unreadable


def parse(text: str) -> Iterator[Line]:
    """Parse the sections, settings and unreadable lines in order. Empty lines and comments are omitted."""
    at, number = 0, 1
    while at < len(text):
        line, after = _line(text, at, number)
        if line:
            yield line
        number += text.count("\n", at, after)
        at = after


def _line(text: str, at: int, number: int) -> tuple[Line | None, int]:
    """The line at that position, and the position of the next one."""
    after = _next_line(text, at)
    stripped = text[at:after].strip(" \t\r\n")
    if not stripped or stripped.startswith("#"):
        return None, after
    if stripped.startswith("["):
        header = _HEADER.fullmatch(stripped)
        return (Section(number, header[1]) if header else Unreadable(number, stripped, "header")), after
    key = _KEY.match(text, at, after)
    if key:
        return _setting(text, key, number, stripped)
    if stripped.startswith((";", "//")):
        return Unreadable(number, stripped, "comment"), after
    return Unreadable(number, stripped, "name" if "=" in stripped else "equals"), after


def _setting(text: str, key: re.Match[str], number: int, stripped: str) -> tuple[Line, int]:
    value, kept, controls = "", 0, ""
    quoted, joined = False, False
    at = end = key.end()
    while (piece := _PIECE.match(text, at)) and (piece["mark"] != "#" or quoted):
        at = piece.end()
        raw = piece[0]
        if raw == '"':
            quoted = not quoted
        elif piece["escape"]:
            letter = raw[1:]
            if letter.endswith("\n"):
                joined = True
            elif letter not in _ESCAPES:
                return Unreadable(number, stripped, "escape", letter), _next_line(text, at)
            value += _ESCAPES.get(letter, "")
            controls += letter if letter in "bnt" else ""
        else:
            value += raw
        # Trailing spaces are not part of the value, unless a closing quote follows.
        trailing = len(raw) - len(raw.rstrip(" \t")) if piece["plain"] else 0
        if trailing < len(raw):
            kept, end = len(value) - trailing, at - trailing
    if quoted:
        return Unreadable(number, stripped, "quote"), _next_line(text, at)
    return Setting(number, key[1], value[:kept], key.end(), end, controls, joined), _next_line(text, at)


def _next_line(text: str, at: int) -> int:
    return text.find("\n", at) + 1 or len(text)
