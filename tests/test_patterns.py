"""The patterns of the troubleshooting catalogue: their cost is bounded, whatever the text."""

from __future__ import annotations

import io
import os
import re
import time
import tomllib
from pathlib import Path

import pytest

from checks.core import log_patterns, strict_toml
from checks.core.errors import Exit, WrongUsage
from checks.core.log_patterns import Unbounded
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table
from checks.guide import catalogue, explain
from checks.guide.explain import find_entries

ENTRIES = catalogue.load()
PATTERNS = [(entry.id, each) for entry in ENTRIES.values() for each in entry.matches]
OTHERS = [
    (entry.id, pattern)
    for entry in ENTRIES.values()
    if entry.reproduce
    for pattern in (entry.reproduce.symptom.pattern, entry.reproduce.fixed.pattern)
    if pattern
]
TIMEOUT = 20.0  # seconds of CPU time; each takes far less than one, but a pattern that backtracks takes hours


class Patterns(Table, frozen=True):
    matches: tuple[log_patterns.Pattern, ...]


@pytest.mark.parametrize(
    "text",
    [
        "a*bcd", "a+bcd", "a{2,}bcd", ".*?bcd", "abc.*", "(ab)+c", "(a{1,3}){1,3}bcd", "(abc|abd){1,9}",
        "(abc){0,9}+d*", ".{0,300}.{0,300}bcd", r"(abc)\1", "((abc){1,2}){1,2}", "(?=.*)abc", "(?:x?){1,50}abc",
        "x?" * 30 + "abc",
    ],
)  # fmt: skip
def test_an_expensive_pattern_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unbounded):
        log_patterns.pattern(text)
    with pytest.raises(WrongUsage, match=r"it-breaks\.toml, matches 1: has"):
        strict_toml.convert({"matches": [text]}, Patterns, str(tmp_path / "it-breaks.toml"))


@pytest.mark.parametrize("text", ["a.b", "(ab|cd)", "x?y?", r"\d{3,9}", "(abc)?"])
def test_a_pattern_without_a_literal_is_refused(text: str) -> None:
    with pytest.raises(Unbounded, match="consecutive characters"):
        log_patterns.pattern(text)


@pytest.mark.parametrize(
    ("text", "literals"),
    [
        ("Permission DENIED", ("permission denied",)),
        ("a (b|c) no such file", (" no such file",)),
        ("(first one|second)x", ("first one", "second")),
        ("(maybe )?surely", ("surely",)),
        (r"x \S{1,9}: gone", (": gone",)),
    ],
)
def test_a_literal_is_in_every_match(text: str, literals: tuple[str, ...]) -> None:
    assert log_patterns.pattern(text).literals == literals


def words(expression: str) -> list[str]:
    """What a text can be made of to keep this pattern busy: its own words, whole and cut short."""
    parts = [part for part in re.split(r"\\.|[\[\](){}|?*+.^$]|\d+,\d*", expression) if part]
    begun = re.sub(r"\\(.)", r"\1", re.split(r"[(\[{]", expression)[0])
    return [*parts, begun, begun[:-1], "".join(parts), "".join(parts)[:-1], f"{''.join(parts)[:-1]} "]


def adversarial(expression: str) -> list[str]:
    every = [word for word in words(expression) if word.strip()]
    texts = [word * (250_000 // len(word)) for word in every]
    texts += ["\n".join((word * 200 + str(line)) for line in range(250)) for word in every]
    return [*texts, "".join(every) * (200_000 // sum(map(len, every))), " " * 250_000, "\\" * 100_000]


@pytest.mark.parametrize(("entry", "pattern"), PATTERNS, ids=[f"{id_}-{at}" for at, (id_, _) in enumerate(PATTERNS)])
def test_no_text_makes_a_pattern_slow(entry: str, pattern: log_patterns.Pattern) -> None:
    began = time.process_time()
    for text in adversarial(pattern.compiled.pattern):
        lines = catalogue.SearchText([text])
        ENTRIES[entry].match_length(lines)
    assert time.process_time() - began < TIMEOUT


@pytest.mark.parametrize(("entry", "expression"), OTHERS, ids=[f"{id_}-{at}" for at, (id_, _) in enumerate(OTHERS)])
def test_no_output_makes_a_symptom_pattern_slow(entry: str, expression: re.Pattern[str]) -> None:
    began = time.process_time()
    for text in adversarial(expression.pattern):
        expression.search(text)
    assert time.process_time() - began < TIMEOUT


def test_every_pattern_of_the_catalogue_is_bounded() -> None:
    for path in (FIXTURES / "troubleshooting").glob("*.toml"):
        for text in tomllib.loads(path.read_text()).get("matches", []):
            log_patterns.pattern(text)


MESSAGES = ("touch: /workspace/", "^[]", "\\x1b]", "\x1b]", "#033]#", "\\e[\\e]", "\x1bP", "\\u001b]")


@pytest.mark.parametrize("line", ["{}", "{}\n"], ids=["one-line", "lines"])
@pytest.mark.parametrize("message", MESSAGES, ids=ascii)
def test_a_megabyte_of_one_message_is_explained_quickly(message: str, line: str) -> None:
    text = line.format(message * 200) * (5_000 // len(message))
    began = time.process_time()
    find_entries(text, ENTRIES)
    assert time.process_time() - began < TIMEOUT


class Stdin:
    """Standard input of a given size, which creates its bytes when they are read."""

    def __init__(self, first: bytes, filler: int, last: bytes) -> None:
        self._first, self._filler, self._last = io.BytesIO(first), filler, io.BytesIO(b"\n" + last)
        self.read_in_one = 0

    @property
    def buffer(self) -> Stdin:
        return self

    def isatty(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def read(self, size: int) -> bytes:
        self.read_in_one = max(self.read_in_one, size)
        if piece := self._first.read(size):
            return piece
        if self._filler:
            piece = (b"nothing to see here, line after line\n" * (size // 37 + 1))[: min(size, self._filler)]
            self._filler -= len(piece)
            return piece
        return self._last.read(size)


@pytest.mark.parametrize("where", ["first", "last"])
def test_of_a_long_log_both_ends_are_searched_with_a_warning(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = b"EACCES: permission denied, mkdir '/home/node/x'\n"
    stdin = Stdin(message if where == "first" else b"", 300_000_000, message if where == "last" else b"")
    monkeypatch.setattr("sys.stdin", stdin)
    began = time.process_time()
    assert explain.explain(True) is Exit.OK
    assert time.process_time() - began < 3 * TIMEOUT
    got = capsys.readouterr()
    assert "A file cannot be written" in got.out or ENTRIES["permission-denied-in-the-workspace"].title in got.out
    assert "Searched the first 4 MB and the last 4 MB; skipped 278." in got.err
    assert stdin.read_in_one <= 4 * 2**20


def test_a_short_log_is_searched_without_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Stdin(b"", 5_000_000, b"ENOSPC: no space left on device, write\n"))
    assert explain.explain("-") is Exit.OK
    assert capsys.readouterr().err == ""


def test_of_a_long_file_the_middle_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stream:
        stream.truncate(50 << 30)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\nEACCES: permission denied, mkdir '/home/node/x'\n")
    began = time.process_time()
    assert explain.explain(str(log)) is Exit.OK
    assert time.process_time() - began < 3 * TIMEOUT
    assert "The log is long. Searched the first 4 MB and the last 4 MB; skipped 51192.0 MB" in capsys.readouterr().err
