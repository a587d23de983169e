"""Messages that people paste find the right entry first, and similar texts find none."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from checks.core.errors import Exit, WrongUsage
from checks.guide import catalogue, log_text
from checks.guide import explain as explain_module
from checks.guide.explain import explain, find_entries

DIRECTORY = Path(__file__).parent / "explain_texts"
ENTRIES = catalogue.load()


def read(path: Path) -> list[tuple[str, str, str]]:
    """The source, the right entries and the text of each line."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("#"):
            try:
                rows.append(_row(line))
            except ValueError as error:
                error.add_note(f"{path}:{number}: expected a source, an entry, and a text with JSON's escapes")
                raise
    return rows


def _row(line: str) -> tuple[str, str, str]:
    source, wanted, text = line.split("\t")
    if unknown := {*wanted.split("|")} - {*ENTRIES, "none"}:
        raise ValueError(f"no such entry in fixtures/troubleshooting: {', '.join(unknown)}")
    return source, wanted, json.loads(f'"{text}"')


TEXTS = [(path.stem, *row) for path in sorted(DIRECTORY.glob("*.tsv")) for row in read(path)]


@pytest.mark.parametrize(
    ("wanted", "text"), [row[2:] for row in TEXTS], ids=[f"{at}-{row[0]}-{row[1]}" for at, row in enumerate(TEXTS)]
)
def test_a_pasted_text_finds_the_right_entry_first(wanted: str, text: str) -> None:
    found = find_entries(text, ENTRIES)
    assert (found[0].id if found else "none") in wanted.split("|")


def test_a_log_that_powershell_wrote_is_read() -> None:
    data = "\ufeffwsl: Unknown key 'wsl2.pageReporting' in C:\\Users\\me\\.wslconfig:4\r\n".encode("utf-16-le")
    assert [each.id for each in find_entries(log_text.decode(data), ENTRIES)] == ["a-line-of-wslconfig-has-no-effect"]


WITH_AN_ERROR = (
    "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.\nError: something unknown\n"
)


@pytest.mark.parametrize(
    ("text", "found"), [(WITH_AN_ERROR, []), (WITH_AN_ERROR.split("\n", maxsplit=1)[0], ["a note"])]
)
def test_a_harmless_note_does_not_explain_an_unknown_error(text: str, found: list[str]) -> None:
    assert len(find_entries(text, ENTRIES)) == len(found)


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("a log.txt", b"Error: short-name resolution enforced but cannot prompt without a TTY", Exit.OK),
        ("utf16", "Error: short-name resolution enforced but cannot prompt without a TTY".encode("utf-16"), Exit.OK),
        ("empty", b"", Exit.CASE_FAILED),
    ],
)
def test_the_path_of_a_file_stands_for_its_text(tmp_path: Path, name: str, content: bytes, status: Exit) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    try:
        assert explain(str(file)) is status
    except WrongUsage:
        assert not content


def test_a_pipe_is_read_and_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", 'echo "sh: 1: docker: not found" >"$1"', "sh", pipe]):
        assert explain(str(pipe)) is Exit.OK
    for other in (tmp_path, Path("/dev/zero")):
        with pytest.raises(WrongUsage, match="neither a file nor a pipe"):
            explain(str(other))


@pytest.mark.parametrize("text", ["/no/such/file", "a\0b", "x" * 300, "x" * 5000])
def test_what_is_no_file_is_a_text(text: str) -> None:
    assert explain(text) is Exit.CASE_FAILED


@pytest.mark.parametrize("is_text", [True, False])
def test_a_path_that_can_not_be_looked_at_is_a_text_if_it_has_words(
    monkeypatch: pytest.MonkeyPatch, is_text: bool
) -> None:
    def denied(path: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", denied)
    if is_text:
        assert explain_module._read_file("/root/log: no such thing") == ""
    else:
        with pytest.raises(WrongUsage, match="can't be read"):
            explain_module._read_file("/root/log")


def test_a_log_that_does_not_end_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_module, "_MAX_READ", 64 * 2**20)
    with Path("/dev/zero").open("rb") as zeros, pytest.raises(WrongUsage, match="does not end"):
        explain_module.read_log(zeros)
