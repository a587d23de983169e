"""How fast and how precise ``invoke doctor --explain`` is.

python -m benchmarks.explain                   # 11 MB of unrelated logs, and the texts of tests/explain_texts
python -m benchmarks.explain /var/log/*.log    # this machine's logs as well
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from checks.core.errors import Exit
from checks.core.paths import ROOT
from checks.core.terminal import say
from checks.guide import catalogue, log_text
from checks.guide.catalogue import Entry
from checks.guide.explain import find_matches, read_log

UNRELATED = Path(__file__).with_name("unrelated.log.xz")
"""Lines of npm, Chromium, apt, dpkg and a kernel without any fault, at most three of one kind."""
TEXTS = ROOT / "tests" / "explain_texts"

GOAL = 2.0  # seconds for a log of _SIZE
_SIZE = 11 * 2**20  # bytes
_PASTED = 40  # lines; as many as people paste, and few enough to be read as one message that a terminal broke
_LARGEST = 64 * 2**20  # bytes to read of a log of this machine


def main(arguments: Sequence[str] | None = None) -> Exit:
    """Print the figures. CASE_FAILED if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="*", type=Path, help="other logs without a fault that the guide knows")
    logs = parser.parse_args(arguments).logs
    began = time.perf_counter()
    entries = catalogue.load()
    loaded = time.perf_counter() - began
    unrelated = lzma.decompress(UNRELATED.read_bytes())
    seconds = explained(unrelated, entries)
    say(f"Loading the catalogue: {loaded:.2f} s. Explaining {_SIZE >> 20} MB: {seconds:.2f} s (goal: {GOAL:g} s).")
    wrong = 0
    for name, data in [(UNRELATED.name, unrelated), *_read(logs)]:
        lines = log_text.decode(data).splitlines()
        found = list(false_positives(lines, entries))
        wrong += len(found)
        say(f"{name}: {len(found)} false positives in {len(lines)} lines.")
        for each in found[:20]:
            say(f"  {each}")
    right, total = texts(entries)
    say(f"{TEXTS.relative_to(ROOT)}: {right} of {total} texts find the right entry first.")
    return Exit.OK if not wrong and right == total and seconds < GOAL else Exit.CASE_FAILED


def explained(unrelated: bytes, entries: Mapping[str, Entry]) -> float:
    """The seconds that it takes to read and search a long log with one error at its end."""
    error = b"Error: OCI runtime error: crun: unknown version specified\n"
    log = (unrelated * (_SIZE // len(unrelated) + 1))[:_SIZE] + b"\n" + error
    began = time.perf_counter()
    text, _ = read_log(io.BytesIO(log))
    found = find_matches(text, entries)
    seconds = time.perf_counter() - began
    assert [match.entry.id for match in found] == ["crun-does-not-know-the-version-of-the-specification"]
    return seconds


def false_positives(lines: Sequence[str], entries: Mapping[str, Entry]) -> Iterator[str]:
    """The matches in a log without a fault: in all of it, and in each part as someone would paste it."""
    parts = ["\n".join(lines[at : at + _PASTED]) for at in range(0, len(lines), _PASTED)]
    for text in ["\n".join(lines), *parts]:
        for match in find_matches(text, entries):
            yield f"{match.entry.id}: {match.text[:160]}"


def texts(entries: Mapping[str, Entry]) -> tuple[int, int]:
    """How many of the committed texts find a right entry first, and how many there are."""
    rows = [
        line.split("\t")
        for path in sorted(TEXTS.glob("*.tsv"))
        for line in path.read_text().splitlines()
        if not line.startswith("#")
    ]
    first = [[match.entry.id for match in find_matches(json.loads(f'"{row[2]}"'), entries)][:1] for row in rows]
    right = sum((found or ["none"])[0] in row[1].split("|") for found, row in zip(first, rows, strict=True))
    return right, len(rows)


def _read(logs: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for path in logs:
        with path.open("rb") as file:
            yield str(path), file.read(_LARGEST)


if __name__ == "__main__":
    sys.exit(main())
