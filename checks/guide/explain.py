"""``invoke doctor --explain``: the entry of the guide on an error message."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from checks.core.errors import Exit, WrongUsage
from checks.core.paths import GUIDE
from checks.core.terminal import say
from checks.guide import catalogue
from checks.guide.catalogue import Entry, Lines
from checks.guide.printing import filled, steps

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LINK = re.compile(r"\[([^]]+)\]\(#[^)]*\)")
_LONGEST = 4000  # characters of a line that are looked at: no message is longer, and an agent's output may be
_END = 4 * 2**20  # bytes of each end of a long log that are read
_PASTED = 4000  # characters up to which a text is taken for one message, perhaps broken into lines by a terminal


def found(text: str, entries: Mapping[str, Entry]) -> Sequence[Entry]:
    """The entries on the messages of a text, best first; those on mere warnings last.

    The best is the one whose pattern matches the most characters: it is the most specific.
    """
    lines = Lines(_lines(text))
    matched = [(entry.matched(lines), entry) for entry in entries.values()]
    hits = [(length, entry) for length, entry in matched if length]
    return [entry for _, entry in sorted(hits, key=lambda hit: (hit[1].warning, -hit[0], hit[1].rank))]


def explain(text: str | bool) -> Exit:
    """Do what ``--explain`` asks for; True is the option without a text. Raises WrongUsage where there is no text."""
    if text is False or text == "":
        raise WrongUsage("The text of an error is needed: --explain 'TEXT', or --explain alone to read a log.")
    return _explain(_read() if text is True or text == "-" else str(text))


def _read() -> str:
    """Standard input; of a long log its beginning and its end, which is said."""
    if sys.stdin.isatty():
        say("Paste the text, then press Ctrl-D on a line of its own.", error=True)
    head, tail, more = _ends(sys.stdin.buffer)
    if more:
        read = f"the first {len(head) // 2**20} MB and the last {len(tail) // 2**20} MB"
        say(f"The log is long: {read} were read, {more / 2**20:.1f} MB between them were not.", error=True)
        say("For the rest, hand on a part of it: grep -i error LOG | invoke doctor --explain", error=True)
    return f"{head.decode(errors='replace')}{chr(10) if more else ''}{tail.decode(errors='replace')}"


def _ends(stream: BinaryIO) -> tuple[bytes, bytes, int]:
    """The first ``_END`` bytes of a stream, its last ``_END`` after them, and how many are between the two."""
    head = bytearray()
    while len(head) < _END and (piece := stream.read(_END - len(head))):
        head += piece
    tail, more = bytearray(), 0
    while piece := stream.read(2**20):
        tail += piece
        if len(tail) > 2 * _END:
            more += len(tail) - _END
            del tail[:-_END]
    if len(tail) > _END:
        more += len(tail) - _END
        del tail[:-_END]
    return bytes(head), bytes(tail), more


def _explain(text: str) -> Exit:
    """Print the entry on an error message. CASE_FAILED where there is none."""
    if not text.strip():
        raise WrongUsage("There is no text to explain.")
    entries = found(text, catalogue.load())
    if not entries:
        say("There is no entry on that text.")
        return Exit.CASE_FAILED
    say("\n".join(_told(entries[0])))
    for other in entries[1:]:
        say(f"\nThe text also has: {other.title}\n  {GUIDE}#{other.id}")
    return Exit.OK


def _told(entry: Entry) -> list[str]:
    lines = [entry.title, "", f"Fix: {entry.quick}"]
    for step in steps(entry):
        lines += [
            "",
            *filled(_LINK.sub(r"\1", step.text)).splitlines(),
            *(f"    {line}" for line in step.block.splitlines()),
        ]
    return [*lines, "", f"More: {GUIDE}#{entry.id}"]


def _lines(text: str) -> list[str]:
    """Its lines, plain; and all of a short text as one, since a terminal may have broken a message in the middle."""
    plain = _COLOURS.sub("", text)
    lines = [" ".join(line[:_LONGEST].split()) for line in plain.splitlines()]
    whole = [" ".join(plain.split())] if len(lines) > 1 and len(plain) <= _PASTED else []
    return [line for line in dict.fromkeys([*lines, *whole]) if line]
