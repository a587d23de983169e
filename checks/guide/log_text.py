"""Plain lines from a pasted message or a log, whatever shell, wrapper, terminal or encoding it went through.

The text is brought into one form: no escape sequences or invisible characters, one kind of quote, JSON strings decoded,
and a message that a terminal broke joined again. Everything that compares texts uses this form.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

_MAX_LINE = 4000  # characters to read of each end of a line; an agent's output may have longer lines, a message has not
_MAX_PASTED = 8000  # characters; a shorter text may be one message that a terminal broke into lines
_MAX_TITLE = 100  # characters of a line that may be a title
_MAX_JOINED = 100  # lines of one message that a terminal broke

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Control sequences of a terminal: also as written by JSON, `cat -v` and rsyslog.
_ESCAPE = r"(?:\x1b|\^\[|#033|\\x1b|\\e|\\033|\\u001[bB])"
_SEQUENCES = re.compile(
    rf"{_ESCAPE}\](?:[^\x07\x1b\n^#\\]|(?!{_ESCAPE})[\^#\\]){{0,2000}}?"
    rf"(?:\x07|\^G|\\u0007|\\a|{_ESCAPE}(?:\\\\|\\))"  # OSC: links, titles
    # CSI: colours, erasing; a carriage return beside it, as written by JSON, belongs to the erasing
    rf"|(?:\\{{1,8}}r)?(?:{_ESCAPE}\[|\x9b)[0-?]{{0,40}}[ -/]{{0,4}}[@-~](?:\\{{1,8}}r(?!'?: ))?"
    rf"|\x1b[PX^_][^\x1b\n]{{0,2000}}\x1b\\|\x1b[ -/]{{0,4}}[0-~]"
)
_ESCAPED = "\x1b", "\x9b", "^[", "#033", "\\x1b", "\\e[", "\\033", "\\u001"
_UNICODE = re.compile(r"(\\{1,16})u([0-9a-fA-F]{4})")
_BACKSLASHED = re.compile(r"\\{1,64}(?=['/])")
_CARRIAGE_RETURN = re.compile("\r(?=['\u2019]{0,1}: )")
"""In the name of an interpreter: a script with Windows line ends. It is no end of a line."""
_LINE_END = re.compile(r"\\{1,8}r\\{1,8}n|\\{1,8}n")
_SPACE = re.compile(" {2,}")
_LETTERS = bytes(code if code > 127 or chr(code).isalpha() else ord(" ") for code in range(256))
"""For ``bytes.translate``: every ASCII character but letters becomes a space."""
_DRIVE = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\")
_INVISIBLE = (
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069\ufeff\x00"
)
_QUOTES = (
    '"`\u00b4\u2018\u2019\u201a\u201b\u2032\u201c\u201d\u201e\u201f\u2033\u2039\u203a\u00ab\u00bb'
    "\u300c\u300d\uff02\uff07"
)
_SPACES = "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_FORMS = str.maketrans({**dict.fromkeys(_INVISIBLE), **dict.fromkeys(_QUOTES, "'"), **dict.fromkeys(_SPACES, " ")})
_ASCII_FORMS = str.maketrans({'"': "'", "`": "'", "\t": " "})
_FANCY = re.compile(f"[{re.escape(_INVISIBLE + _QUOTES + _SPACES)}]+")
_ENTITIES = {
    "&quot;": "'",
    "&#34;": "'",
    "&#39;": "'",
    "&#x27;": "'",
    "&apos;": "'",
    "&lt;": "<",
    "&gt;": ">",
    "&amp;": "&",
}
_ADVICE = re.compile(r"(?:^|[\s|])npm warn ", re.IGNORECASE)
"""npm's warnings repeat the words of its errors, and are never the fault."""
_DETAIL = re.compile(r"[\s|]*'?(?:errno|code|syscall|path|dest|spawnargs)'?: [^ ]{1,300},?(?: \})?")
"""A property of an error that Node.js prints below its message: alone, it says nothing."""


def decode(data: bytes, encoding: str = "") -> str:
    """Decode a log: UTF-16 as PowerShell writes it, UTF-8, and single bytes of Windows-1252 in it."""
    return data.decode(encoding or encoding_of(data), errors="guide-single-bytes")


def encoding_of(data: bytes) -> str:
    """The encoding of a log, by its first bytes."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return encoding
    start = data[:400]
    if len(start) > 3 and start[1::2].count(0) > len(start) * 0.3 and not start[::2].count(0):
        return "utf-16-le"  # what wsl.exe writes into a pipe, without a mark
    if len(start) > 3 and start[::2].count(0) > len(start) * 0.3 and not start[1::2].count(0):
        return "utf-16-be"
    return "utf-8"


def _single_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    if error.encoding.replace("_", "-").startswith("utf-16"):
        return "\ufffd", error.end
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("guide-single-bytes", _single_bytes)


def one_form(text: str) -> str:
    """The text without escape sequences and invisible characters, with ' for each quote and JSON's escapes decoded."""
    return _unescaped(_as_shown(text))


def _as_shown(text: str) -> str:
    """The form of a text in which each line is as wide as a terminal showed it: escaped quotes are still escaped."""
    text = text.replace("\0", "")
    if "\r" in text:
        text = _CARRIAGE_RETURN.sub(r"\\r", text)
    if "\\u" in text:
        text = _UNICODE.sub(_character, text)
    if any(each in text for each in _ESCAPED):
        text = _SEQUENCES.sub("", text)
    if "&" in text:
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    if text.isascii():
        text = text.translate(_ASCII_FORMS)
    else:
        text = _FANCY.sub(lambda found: found[0].translate(_FORMS), text)
    return text


def _character(found: re.Match[str]) -> str:
    """The character that JSON wrote as backslashes, u and its number, and the backslashes that are not part of it.

    JSON doubles backslashes each time it writes a string: its escape has 1, 2, 4 or 8, and others before it have more.
    """
    count = len(found[1])
    return "\\" * (count - (count & -count)) + chr(int(found[2], 16))


def _unescaped(text: str) -> str:
    return _BACKSLASHED.sub("", text) if "\\" in text else text


@dataclass(frozen=True)
class Line:
    """A line, or a message of several lines, in one form."""

    number: int
    """The line of the source, from 1."""
    text: str
    joined: bool = False
    """Whether it was broken into lines: a space may be missing or in a wrong place."""
    whole: bool = False
    """Whether it is all lines of the text, read as one message."""

    @cached_property
    def lowered(self) -> str:
        return self.text.lower()


class LogText:
    """The lines of a text, prepared once for the search with every entry."""

    def __init__(self, text: str) -> None:
        shown = _as_shown(text)
        formed = _unescaped(shown)
        lines = (_SPACE.sub(" ", formed) if "  " in formed else formed).splitlines()
        self._numbers: list[int] = []
        self._texts: list[str] = []
        if "\\n" not in formed and max(map(len, lines), default=0) <= 2 * _MAX_LINE:
            self._texts, self._numbers = lines, list(range(1, len(lines) + 1))
        else:
            for number, raw in enumerate(lines, 1):
                pieces = _pieces(raw) if "\\n" in raw or len(raw) > 2 * _MAX_LINE else [raw]
                self._texts += pieces
                self._numbers += [number] * len(pieces)
        self.joined = list(_joined(shown.splitlines(), self._texts)) if len(text) <= _MAX_PASTED else []

    def _line(self, at: int) -> Line | None:
        """A line; None for one that only repeats or explains others."""
        if at not in self._made:
            text = self._texts[at].strip()
            self._made[at] = None if _noise(text) else Line(self._numbers[at], text)
        return self._made[at]

    @cached_property
    def _made(self) -> dict[int, Line | None]:
        return {}

    @cached_property
    def lowered(self) -> str:
        return "\n".join(self._texts).lower()

    @cached_property
    def _lowered_lines(self) -> Sequence[str]:
        return self.lowered.split("\n")

    @cached_property
    def _starts(self) -> Sequence[int]:
        return [0, *accumulate(len(line) + 1 for line in self._lowered_lines)]

    @cached_property
    def _ascii(self) -> bool:
        return self.lowered.isascii()

    def equal(self, texts: Set[str], ignored: str) -> Iterator[Line]:
        """The lines that are one of these texts in lower case, besides some ignored characters at their ends."""
        for at, lowered in enumerate(self._lowered_lines):
            if len(lowered) < _MAX_TITLE and lowered.strip(ignored) in texts and (line := self._line(at)):
                yield line

    def possible(self, *groups: Sequence[str]) -> Iterator[Line]:
        """The lines with a string of each group, in order; then the joined ones. The strings are in lower case."""
        found: set[int] | None = None
        if all(any(self._may_have(literal) for literal in group) for group in groups):
            for group in sorted(groups, key=self._cost):
                lines = {line for literal in group for line in self._lines_with(literal)}
                found = lines if found is None else found & lines
                if not found:
                    break
        for at in sorted(found or ()):
            if line := self._line(at):
                yield line
        yield from self.joined

    def _cost(self, literals: Sequence[str]) -> tuple[int, int]:
        """The number of strings to search for; among equals, long strings are rarer."""
        unknown = sum(literal not in self._found and self._may_have(literal) for literal in literals)
        return unknown, -min(map(len, literals))

    def _lines_with(self, literal: str) -> Sequence[int]:
        known = self._found.get(literal)
        if known is None:
            known = self._found[literal] = list(self._search(literal))
        return known

    @cached_property
    def _found(self) -> dict[str, Sequence[int]]:
        return {}

    @cached_property
    def _words(self) -> bytes:
        """The different words of the text. They are far fewer than lines, and rule out most literals at once."""
        return b"\n".join(set(_words(self.lowered)))

    def _may_have(self, literal: str) -> bool:
        known = self._possible.get(literal)
        if known is None:
            known = self._possible[literal] = (not self._ascii or literal.isascii()) and all(
                word in self._words for word in _words(literal)
            )
        return known

    @cached_property
    def _possible(self) -> dict[str, bool]:
        return {}

    def _search(self, literal: str) -> Iterator[int]:
        if not self._may_have(literal):
            return
        at = self.lowered.find(literal)
        while at >= 0:
            line = bisect_right(self._starts, at) - 1
            yield line
            at = self.lowered.find(literal, self._starts[line + 1])


def _words(text: str) -> list[bytes]:
    """The words of a text. Much faster than a regular expression."""
    return text.encode(errors="surrogatepass").translate(_LETTERS).split()


def _noise(line: str) -> bool:
    return bool(_ADVICE.search(line[:80]) or (":" in line[:20] and _DETAIL.fullmatch(line)))


def _pieces(raw: str) -> list[str]:
    """The lines within a line: of a JSON string; of a very long line both ends."""
    if len(raw) > 2 * _MAX_LINE:
        raw = f"{raw[:_MAX_LINE]}\n{raw[-_MAX_LINE:]}"
    if "\\n" in raw and not _DRIVE.search(raw):
        raw = _LINE_END.sub("\n", raw)
    return [" ".join(piece.split()) for piece in raw.split("\n")]


_BEGINS = re.compile(
    r"(ERRO|WARN|INFO|DEBU|FATA)\[\d|(error|fatal|warning|npm \w{3,5}!?):? |time=|\d{4}-\d\d-\d\d|[$#>] ", re.IGNORECASE
)
"""The beginning of a message of its own: the line before was not broken by a terminal."""


def _joined(source: Sequence[str], lines: Sequence[str]) -> Iterator[Line]:
    """The messages that a terminal may have broken: lines as wide as the widest, with what follows; and all lines."""
    if len(source) < 2:
        return
    width = max(len(line) for line in source)
    start: int | None = None
    for at, line in enumerate(source):
        full = len(line) >= width - 1 and at + 1 < len(source) and not _BEGINS.match(source[at + 1])
        if full and start is None:
            start = at
        if not full and start is not None:
            parts = source[start : at + 1][:_MAX_JOINED]
            yield Line(start + 1, " ".join(_unescaped("".join(parts)).split()), joined=True)
            start = None
    kept = [line.strip() for line in lines if not _noise(line.strip())]
    if len(kept) > 1:
        yield Line(1, " ".join(kept).strip(), whole=True)
