"""Secrets that no output may show. What a program prints is redacted where it is collected, in every common spelling.

A secret is masked by as many asterisks, so that binary formats keep their layout. Parts of it are masked as well:
output may be cut, or broken into lines.
"""

from __future__ import annotations

import base64
import html
import urllib.parse
from collections.abc import Callable, Iterator, Sequence

SHORTEST = 16
"""Characters that a secret must have: a shorter one could not be told from ordinary words."""

_BLOCK = 8  # bytes: data is looked through in steps of that many
_PART = 2 * _BLOCK - 1  # bytes: a part of that length has a block that begins at one of the steps
_HELD = 6  # bytes of a secret, at the end of what has been read, that are worth waiting for the rest


class _Protected:
    """The secrets of this process, in all their spellings, in lower case."""

    def __init__(self) -> None:
        self.spellings: tuple[bytes, ...] = ()
        self.all = b""
        self.blocks: dict[bytes, list[tuple[bytes, int]]] = {}
        """Every block of every spelling: where it is, a spelling and an offset."""

    def add(self, secret: str) -> None:
        self.spellings = tuple(dict.fromkeys([*self.spellings, *_spellings(secret)]))
        self.all = b"\0".join(self.spellings)
        self.blocks = {}
        for spelling in self.spellings:
            for at in _starts(spelling, _BLOCK):
                self.blocks.setdefault(spelling[at : at + _BLOCK], []).append((spelling, at))

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]


_protected = _Protected()


def protect(secret: str) -> None:
    """Mask this secret in all that this process collects, prints and writes, until the process ends.

    Raises ValueError where it has fewer than ``SHORTEST`` characters.
    """
    if len(secret) < SHORTEST:
        raise ValueError(f"a secret needs at least {SHORTEST} characters")
    _protected.add(secret)


def protecting() -> bool:
    """Whether there is a secret to mask."""
    return bool(_protected.spellings)


def forget() -> None:
    """Mask nothing any more; for tests."""
    _protected.clear()


def redacted(data: bytes) -> bytes:
    """The data with every secret masked, and every part of one that has at least 15 bytes."""
    return _masked(data, _spans(data.lower())) if _protected.spellings else data


def redacted_text(text: str) -> str:
    """The text, masked likewise."""
    if not _protected.spellings:
        return text
    return redacted(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


class Redactor:
    """Redacts a stream that is read piece by piece.

    Only what may be the beginning of a secret is held back, so that a prompt without a line's end is passed on at once.
    """

    def __init__(self) -> None:
        self._held = b""
        self._hidden = 0  # leading bytes of what is held that belong to a match that was passed on

    def feed(self, piece: bytes) -> bytes:
        """What can be passed on, after this piece."""
        if not _protected.spellings and not self._held:
            return piece
        data = self._held + piece
        low = data.lower()
        spans = [(0, self._hidden), *_spans(low)]
        at = len(data) - _unfinished(low)
        self._held = data[at:]
        self._hidden = max(0, max(end for _, end in spans) - at)
        return _masked(data, spans)[:at]

    def end(self) -> bytes:
        """What was held back when the stream ended."""
        rest = _masked(self._held, [(0, self._hidden), *_spans(self._held.lower())])
        self._held, self._hidden = b"", 0
        return rest


def _spellings(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    spelled: list[str | bytes] = [raw, raw[::-1], secret.encode("utf-16-le")]
    spelled += [" ".join(secret), "   ".join(secret), html.escape(secret), urllib.parse.quote(secret, safe="")]
    # As xxd and od have it: bytes apart, or in pairs that begin at any of them.
    spelled += [raw.hex(), raw.hex(" "), raw.hex(":"), raw.hex(" ", -2), raw[1:].hex(" ", -2)]
    ways: list[Callable[[int], str]] = [
        lambda code: f"%{code:02x}",
        lambda code: f"\\u{code:04x}",
        lambda code: f"\\x{code:02x}",
        lambda code: f"&#{code};",
        lambda code: f"&#x{code:x};",
        lambda code: f"\\{chr(code)}",
    ]
    for way in ways:  # of what is no letter and no digit, and of everything
        spelled.append("".join(each if each.isalnum() else way(ord(each)) for each in secret))
        spelled.append("".join(way(ord(each)) for each in secret))
    for shift in range(3):  # by where in a longer text it begins
        encoded = base64.b64encode(b"\0" * shift + raw)
        own = encoded[(0, 2, 3)[shift] : len(encoded) - (0, 3, 2)[(shift + len(raw)) % 3]]
        spelled += [own, own.replace(b"+", b"-").replace(b"/", b"_")]
    for each in spelled:
        yield (each.encode() if isinstance(each, str) else each).lower()


def _starts(spelling: bytes, length: int) -> range:
    return range(len(spelling) - length + 1)


def _spans(low: bytes) -> list[tuple[int, int]]:
    """Where secrets and their parts are in data that is in lower case."""
    blocks = _protected.blocks
    spans: list[tuple[int, int]] = []
    for found in [at for at in range(0, len(low) - _BLOCK + 1, _BLOCK) if low[at : at + _BLOCK] in blocks]:
        if spans and found + _BLOCK <= spans[-1][1]:
            continue  # the middle of what was just found
        for spelling, at in blocks[low[found : found + _BLOCK]]:
            start, end = _extended(low, found, spelling, at)
            if end - start >= _PART:
                spans.append((start, end))
    return spans


def _extended(low: bytes, found: int, spelling: bytes, at: int) -> tuple[int, int]:
    """How far the data is the spelling's text, around one of its blocks."""
    before = 0
    while before < min(found, at) and low[found - before - 1] == spelling[at - before - 1]:
        before += 1
    after = _BLOCK
    while after < min(len(low) - found, len(spelling) - at) and low[found + after] == spelling[at + after]:
        after += 1
    return found - before, found + after


def _masked(data: bytes, spans: Sequence[tuple[int, int]]) -> bytes:
    if not spans:
        return data
    masked = bytearray(data)
    for start, end in spans:
        masked[start:end] = b"*" * (end - start)
    return bytes(masked)


def _unfinished(low: bytes) -> int:
    """How many bytes at the end may be a part of a secret whose rest has not been read."""
    length = _HELD
    if len(low) < length or low[-length:] not in _protected.all:
        return 0
    while length < len(low) and low[-length - 1 :] in _protected.all:
        length += 1
    return length
