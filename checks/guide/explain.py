"""``invoke doctor --explain``: find the troubleshooting entry for an error message."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import BinaryIO

from checks.core import files
from checks.core.errors import Exit, WrongUsage
from checks.core.lines import lines_of
from checks.core.paths import GUIDE
from checks.core.terminal import say, say_text
from checks.guide import catalogue, log_text, own_messages, records
from checks.guide.catalogue import Entry, FactsOfLines, Match, wrap
from checks.guide.facts import Kind
from checks.guide.log_text import LogText

_LINK = re.compile(r"\[([^]]+)\]\(#[^)]*\)")
_ERROR_WORDS = ("error: ", "fatal: ", "permission denied", "no such file")
_ERROR = re.compile("|".join(map(re.escape, _ERROR_WORDS)), re.I)
_MAX_END = 4 * 2**20  # bytes to read of each end of a long log
_MAX_READ = 2**30  # bytes; what is longer may never end
_MAX_PATH = 1000  # characters
_MAX_QUOTED = 160  # characters of a match to print


def find_matches(text: str, entries: Mapping[str, Entry]) -> Sequence[Match]:
    """Find the entries for the messages in a text: the first cause first, and warnings last."""
    log = LogText(text)
    facts = FactsOfLines()
    found = [match for entry in entries.values() if (match := entry.find(log, facts))]
    found += own_messages.find(log, entries, {match.entry.id for match in found})
    if all(match.entry.harmless for match in found) and _has_error(log, {match.line.number for match in found}):
        return ()  # a harmless warning does not explain it
    causes = {match.line.number for match in found if match.kind is Kind.CAUSE}
    return sorted(
        (match for match in found if match.kind is not Kind.GENERIC or match.line.number not in causes),
        key=lambda match: match.rank,
    )


def _has_error(log: LogText, apart_from: Set[int]) -> bool:
    """Whether a line reports an error, apart from some lines."""
    return any(line.number not in apart_from and _ERROR.search(line.text) for line in log.possible(_ERROR_WORDS))


def find_entries(text: str, entries: Mapping[str, Entry]) -> Sequence[Entry]:
    """The entries of ``find_matches``."""
    return [match.entry for match in find_matches(text, entries)]


def explain(text: str | bool, json_file: str = "") -> Exit:
    """Print the entry for an error message; True and “-” read standard input. CASE_FAILED without an entry.

    ``json_file``: a file for the entries as JSON.
    """
    if text is False or text == "":
        raise WrongUsage("--explain needs an error text or a file: --explain 'TEXT', or --explain alone to read a log.")
    text = _read_stdin() if text is True or text == "-" else _read_file(str(text)) or str(text)
    if not text.strip():
        raise WrongUsage("The text to explain is empty.")
    entries = catalogue.load()
    matches = find_matches(text, entries)
    reproduced = {
        id_: [str(record.place) for record in several] for id_, several in records.load(entries).items()
    } if matches else {}  # fmt: skip
    if json_file:
        values = [_values(match, reproduced.get(match.entry.id, [])) for match in matches]
        files.replace_json(Path(json_file), {"entries": values})
    if not matches:
        say("No troubleshooting entry matches that text.")
        return Exit.CASE_FAILED
    first, *others = matches
    say_text("\n".join(_described(first, reproduced.get(first.entry.id, []))))
    for other in others:
        say(f"\nThe text also matches: {other.entry.title}")
        say(f"  {_place(other)}")
        say(f"  {GUIDE}#{other.entry.id}")
    return Exit.OK


def _read_stdin() -> str:
    """Standard input; of a long log only the beginning and the end, with a warning."""
    if sys.stdin.isatty():
        say("Paste the text, then press Ctrl-D on an empty line.", error=True)
    return _both_ends(sys.stdin.buffer)


def _both_ends(stream: BinaryIO) -> str:
    text, skipped = read_log(stream)
    if skipped:
        read = f"the first {_MAX_END // 2**20} MB and the last {_MAX_END // 2**20} MB"
        say(f"The log is long. Searched {read}; skipped {skipped / 2**20:.1f} MB between them.", error=True)
        say("To search the rest, filter the log: grep -i error LOG | invoke doctor --explain", error=True)
    return text


def _read_file(text: str) -> str:
    """The log in a file, if the text is the path of one; else empty. Raises WrongUsage if it can't be read."""
    path = Path(text)
    try:
        if len(text) > _MAX_PATH or not _there(path):
            return ""
        if not (path.is_file() or path.is_fifo()):
            raise WrongUsage(f"--explain: {text} is neither a file nor a pipe.", "Name a file, or paste the text.")
        with path.open("rb") as stream:
            return _both_ends(stream) or " "
    except ValueError:  # a NUL
        return ""
    except OSError as error:
        raise WrongUsage(f"--explain: {text} can't be read: {error.strerror}.") from error


def _there(path: Path) -> bool:
    """Whether a path exists. Raises ValueError for a NUL, and OSError for a word that can't be looked at."""
    try:
        path.stat()
    except OSError as error:
        # A pasted error often begins with a path: “/root/x: permission denied”.
        if error.errno == errno.EACCES and " " not in str(path):
            raise
        return False
    return True


def read_log(stream: BinaryIO) -> tuple[str, int]:
    """A log, or both ends of a long one, and the number of bytes between them."""
    head, tail, skipped = _ends(stream)
    encoding = log_text.encoding_of(head)
    if encoding != "utf-8" and (len(head) + skipped) % 2:
        tail = tail[1:]  # begin with a complete character
    return f"{log_text.decode(head, encoding)}{chr(10) if skipped else ''}{log_text.decode(tail, encoding)}", skipped


def _ends(stream: BinaryIO) -> tuple[bytes, bytes, int]:
    """The first ``_MAX_END`` bytes of a stream, its last ``_MAX_END`` bytes, and the number of bytes between them."""
    head = bytearray()
    while len(head) < _MAX_END and (piece := stream.read(_MAX_END - len(head))):
        head += piece
    tail, skipped = bytearray(), 0
    if stream.seekable() and (left := stream.seek(0, os.SEEK_END) - len(head)) >= 0:
        skipped = max(0, left - _MAX_END)
        stream.seek(len(head) + skipped)
    read = 0
    while piece := stream.read(2**20):
        if (read := read + len(piece)) > _MAX_READ:
            raise WrongUsage(f"The log does not end within {_MAX_READ // 2**30} GB.", "Filter it: grep -i error LOG")
        tail += piece
        excess = max(0, len(tail) - _MAX_END)
        skipped += excess
        del tail[:excess]
    return bytes(head), bytes(tail), skipped


def _described(match: Match, reproduced: Sequence[str]) -> list[str]:
    entry = match.entry
    lines = [entry.title, "", _place(match), "", f"Fix: {entry.quick_fix}"]
    for step in entry.fix:
        text = wrap(plain(step.introduction))
        lines += ["", *lines_of(text), *(f"    {line}" for line in lines_of(step.block))]
    return [*lines, "", _seen(entry, reproduced), f"More: {GUIDE}#{entry.id}"]


def plain(prose: str) -> str:
    """Prose of an entry without the addresses of its links."""
    return _LINK.sub(r"\1", prose)


def _place(match: Match) -> str:
    kind = {Kind.CAUSE: "Matched", Kind.GENERIC: "Matched, but other problems have it too", Kind.WARNING: "Warning"}
    quoted = match.text if len(match.text) <= _MAX_QUOTED else f"{match.text[:_MAX_QUOTED]}…"
    return f"{kind[match.kind]}, line {match.line.number}: {quoted}"


def _seen(entry: Entry, reproduced: Sequence[str]) -> str:
    if reproduced:
        return f"Reproduced on {', '.join(reproduced)}."
    observed = dict.fromkeys(str(place) for error in entry.errors for place in error.observed)
    if observed:
        return f"Observed on {', '.join(observed)}; not reproduced."
    return entry.why_not_reproduced


def _values(match: Match, reproduced: Sequence[str]) -> dict[str, object]:
    return {
        "id": match.entry.id,
        "title": match.entry.title,
        "kind": match.kind.value,
        "line": match.line.number,
        "matched": match.text,
        "quick_fix": match.entry.quick_fix,
        "link": f"{GUIDE}#{match.entry.id}",
        "reproduced": list(reproduced),
    }
