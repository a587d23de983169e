"""``invoke doctor --explain``: find the troubleshooting entry for an error message."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from checks.core.errors import Exit, WrongUsage
from checks.core.paths import GUIDE
from checks.core.terminal import say
from checks.guide import catalogue
from checks.guide.catalogue import Entry, SearchText, wrap

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LINK = re.compile(r"\[([^]]+)\]\(#[^)]*\)")
_MAX_LINE = 4000  # characters; an agent's output may have longer lines, an error message has not
_MAX_END = 4 * 2**20  # bytes to read of each end of a long log
_MAX_PASTED = 4000  # characters; a shorter text may be one message that a terminal broke into lines


def find_entries(text: str, entries: Mapping[str, Entry]) -> Sequence[Entry]:
    """Find the entries for the messages in a text, the longest (most specific) match first and warnings last."""
    lines = SearchText(_lines(text))
    matched = [(entry.match_length(lines), entry) for entry in entries.values()]
    hits = [(length, entry) for length, entry in matched if length]
    return [entry for _, entry in sorted(hits, key=lambda hit: (hit[1].warning, -hit[0], hit[1].rank))]


def explain(text: str | bool) -> Exit:
    """Print the entry for an error message; True and “-” read standard input. CASE_FAILED without an entry."""
    if text is False or text == "":
        raise WrongUsage("--explain needs an error text: --explain 'TEXT', or --explain alone to read a log.")
    text = _read_stdin() if text is True or text == "-" else str(text)
    if not text.strip():
        raise WrongUsage("The text to explain is empty.")
    entries = find_entries(text, catalogue.load())
    if not entries:
        say("No troubleshooting entry matches that text.")
        return Exit.CASE_FAILED
    say("\n".join(_described(entries[0])))
    for other in entries[1:]:
        say(f"\nThe text also matches: {other.title}\n  {GUIDE}#{other.id}")
    return Exit.OK


def _read_stdin() -> str:
    """Standard input; of a long log only the beginning and the end, with a warning."""
    if sys.stdin.isatty():
        say("Paste the text, then press Ctrl-D on an empty line.", error=True)
    head, tail, skipped = _ends(sys.stdin.buffer)
    if skipped:
        read = f"the first {len(head) // 2**20} MB and the last {len(tail) // 2**20} MB"
        say(f"The log is long. Searched {read}; skipped {skipped / 2**20:.1f} MB between them.", error=True)
        say("To search the rest, filter the log: grep -i error LOG | invoke doctor --explain", error=True)
    return f"{head.decode(errors='replace')}{chr(10) if skipped else ''}{tail.decode(errors='replace')}"


def _ends(stream: BinaryIO) -> tuple[bytes, bytes, int]:
    """The first ``_MAX_END`` bytes of a stream, its last ``_MAX_END`` bytes, and the number of bytes between them."""
    head = bytearray()
    while len(head) < _MAX_END and (piece := stream.read(_MAX_END - len(head))):
        head += piece
    tail, skipped = bytearray(), 0
    while piece := stream.read(2**20):
        tail += piece
        excess = max(0, len(tail) - _MAX_END)
        skipped += excess
        del tail[:excess]
    return bytes(head), bytes(tail), skipped


def _described(entry: Entry) -> list[str]:
    lines = [entry.title, "", f"Fix: {entry.quick_fix}"]
    for step in entry.fix:
        text = wrap(plain(step.introduction))
        lines += ["", *text.splitlines(), *(f"    {line}" for line in step.block.splitlines())]
    return [*lines, "", f"More: {GUIDE}#{entry.id}"]


def plain(prose: str) -> str:
    """Prose of an entry without the addresses of its links."""
    return _LINK.sub(r"\1", prose)


def _lines(text: str) -> list[str]:
    """The lines without colours; also a short text as one line, as a terminal may have broken a message into lines."""
    plain = _COLOURS.sub("", text)
    lines = [" ".join(line[:_MAX_LINE].split()) for line in plain.splitlines()]
    joined = [" ".join(plain.split())] if len(lines) > 1 and len(plain) <= _MAX_PASTED else []
    return [line for line in dict.fromkeys([*lines, *joined]) if line]
