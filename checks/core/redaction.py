"""Masking secrets in all output, in every common encoding.

A secret is replaced by asterisks of the same length, so that binary formats keep their layout. Parts of it are masked,
too: output may be truncated or wrapped.
"""

from __future__ import annotations

import base64
import html
import urllib.parse
from collections.abc import Callable, Iterator, Sequence

SHORTEST = 16
"""The minimum length of a secret: a shorter one could be an ordinary word."""

_BLOCK = 8  # bytes: the step of the search
_PART = 2 * _BLOCK - 1  # bytes: a part of that length contains a block at a step
_HELD = 6  # bytes of a secret at the end of a piece that make it wait for the next one

_WORDS: dict[int, Sequence[tuple[str, str]]] = {
    1: [
        ("02x", " "), ("02x", ":"), ("02x", "-"), ("03o", " "), ("3d", " "), ("4d", " "), ("d", " "),
        ("d", ", "), ("d", ","), ("3d", ", "), ("#04x", ", "), ("#04x", ","), ("#04x", " "),
    ],
    2: [
        ("04x", " "), ("04x", "    "), ("06o", " "), ("06o", "  "), ("5d", " "), ("6d", " "), ("05d", "   "),
    ],
    4: [("08x", " "), ("011o", " "), ("10d", " "), ("11d", " ")],
    8: [("016x", " "), ("022o", " "), ("20d", " ")],
}  # fmt: skip
"""How od, hexdump, xxd and lists in source code print words of that many bytes: format and separator."""


class _Protected:
    """The secrets of this process in all their encodings, in lower case."""

    def __init__(self) -> None:
        self.spellings: tuple[bytes, ...] = ()
        self.all = b""
        self.blocks: dict[bytes, list[tuple[bytes, int]]] = {}
        """Every block of every encoding: the encoding and the offset."""

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
    """Mask this secret in everything that this process collects, prints and writes.

    Raises ValueError if it has fewer than ``SHORTEST`` characters.
    """
    if len(secret) < SHORTEST:
        raise ValueError(f"a secret needs at least {SHORTEST} characters")
    _protected.add(secret)


def protecting() -> bool:
    """Whether there is a secret to mask."""
    return bool(_protected.spellings)


def forget() -> None:
    """Forget all secrets; for tests."""
    _protected.clear()


def redacted(data: bytes) -> bytes:
    """The data with secrets masked, and parts of them of at least 15 bytes."""
    return _masked(data, _spans(data.lower())) if _protected.spellings else data


def redacted_text(text: str) -> str:
    """The text, masked in the same way."""
    if not _protected.spellings:
        return text
    return redacted(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


class Redactor:
    """Redacts a stream piece by piece.

    It holds back only a possible beginning of a secret, so that a prompt without a newline is passed on at once.
    """

    def __init__(self) -> None:
        self._held = b""
        self._hidden = 0  # leading held bytes of a match that was passed on

    def feed(self, piece: bytes) -> bytes:
        """Add a piece; return what can be passed on."""
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
        """The held bytes at the end of the stream."""
        rest = _masked(self._held, [(0, self._hidden), *_spans(self._held.lower())])
        self._held, self._hidden = b"", 0
        return rest


def _spellings(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    spelled: list[str | bytes] = [raw, raw[::-1], secret.encode("utf-16-le")]
    spelled += [" ".join(secret), "   ".join(secret), html.escape(secret), urllib.parse.quote(secret, safe="")]
    spelled += [raw.hex(), *_dumps(raw)]
    ways: list[Callable[[int], str]] = [
        lambda code: f"%{code:02x}",
        lambda code: f"\\u{code:04x}",
        lambda code: f"\\u{{{code:x}}}",
        lambda code: f"\\x{code:02x}",
        lambda code: f"\\{code:03o}",
        lambda code: f"&#{code};",
        lambda code: f"&#x{code:x};",
        lambda code: f"\\{chr(code)}",
    ]
    for way in ways:  # only special characters, and all characters
        spelled.append("".join(each if each.isalnum() else way(ord(each)) for each in secret))
        spelled.append("".join(way(ord(each)) for each in secret))
    for shift in range(3):  # by its offset in a longer text
        encoded = base64.b64encode(b"\0" * shift + raw)
        own = encoded[(0, 2, 3)[shift] : len(encoded) - (0, 3, 2)[(shift + len(raw)) % 3]]
        spelled += [own, own.replace(b"+", b"-").replace(b"/", b"_")]
    for each in spelled:
        yield (each.encode() if isinstance(each, str) else each).lower()


def _dumps(raw: bytes) -> Iterator[str]:
    """Dumps of its words, of each size, in both byte orders, at each offset in the first word."""
    for size, ways in _WORDS.items():
        for order in ("little", "big") if size > 1 else ("big",):
            for offset in range(size):
                starts = range(offset, len(raw) - size + 1, size)
                words = [int.from_bytes(raw[at : at + size], order) for at in starts]
                for form, separator in ways:
                    yield separator.join(format(word, form) for word in words)


def _starts(spelling: bytes, length: int) -> range:
    return range(len(spelling) - length + 1)


def _spans(low: bytes) -> list[tuple[int, int]]:
    """Positions of secrets and their parts in lower-case data."""
    blocks = _protected.blocks
    spans: list[tuple[int, int]] = []
    for found in [at for at in range(0, len(low) - _BLOCK + 1, _BLOCK) if low[at : at + _BLOCK] in blocks]:
        if spans and found + _BLOCK <= spans[-1][1]:
            continue  # inside the last match
        for spelling, at in blocks[low[found : found + _BLOCK]]:
            start, end = _extended(low, found, spelling, at)
            if end - start >= _PART:
                spans.append((start, end))
    return spans


def _extended(low: bytes, found: int, spelling: bytes, at: int) -> tuple[int, int]:
    """The extent of a match around one of its blocks."""
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
    """The number of last bytes that may begin a secret."""
    length = _HELD
    if len(low) < length or low[-length:] not in _protected.all:
        return 0
    while length < len(low) and low[-length - 1 :] in _protected.all:
        length += 1
    return length
