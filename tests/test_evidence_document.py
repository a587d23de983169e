"""docs/EVIDENCE.md, and the age of the pictures of the page."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from checks.core import version
from checks.core.errors import Exit
from checks.documents import evidence, pictures
from checks.documents.render import render
from checks.matrix import minimum
from checks.matrix.details import short
from checks.matrix.expectations import Expectations
from checks.matrix.overview import overview
from tests.evidence import DEBIAN_12, case, stored


def test_the_document_is_one_page_with_verdicts_first() -> None:
    text = evidence.DOCUMENT.read_text()
    assert text.count("\n") <= 120
    assert re.findall("^## (.*)", text, re.MULTILINE)[0] == "Verdicts"
    assert 'userns = "keep-id"' in text
    assert "invoke inject --install --driver" in text
    for pin in minimum.pins():
        assert pin.commit in text


def test_the_document_has_each_failure_and_each_file_of_evidence() -> None:
    content = evidence.committed()
    text = evidence.text(content)
    assert content.failures
    for each in content.failures:
        assert evidence.code(short(each.got)) in text
        assert each.fix in text
        assert f"TROUBLESHOOTING.md#{each.entry}" in text
    for run in content.runs:
        commit = run.project.commit if run.project else "not recorded"
        assert re.search(rf"^\| {run.name} \| {run.profile} \|.*{run.started[:10]}.*{commit}", text, re.MULTILINE)
    assert re.search(r"^\| ubuntu-24.04 \| recommended \| – \| not tested", text, re.MULTILINE)


def test_what_evidence_quotes_is_no_markup() -> None:
    got = "a | `b` <IP>\n```\n| c"
    run = stored("debian-12", case("a", "failed", got=got), facts=DEBIAN_12)
    text = evidence.text(overview([run], [], Expectations(), {}))
    row = next(line for line in text.split("\n") if line.startswith("| ✗ "))
    assert "(unexpected)" in row
    assert r"```` a \| `b` <IP> ⏎ ``` ⏎ \| c ````" in row


def test_a_long_text_is_cut_and_the_shim_is_left_out() -> None:
    banner = "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg."
    assert short(f"status 1: {banner}\nno") == "status 1: no"
    assert short(f"'status 1: {banner}\\nno'") == "'status 1: no'"
    assert short("x" * 200) == "x" * 149 + "…"


def test_the_pictures_are_of_this_version() -> None:
    assert list(pictures.outdated()) == []


@pytest.mark.parametrize(
    ("key", "reason"), [("project", "the pictures are of version 0.0.1"), ("templates", "the templates of the page")]
)
def test_pictures_of_another_version_are_outdated(tmp_path: Path, key: str, reason: str) -> None:
    record = json.loads(pictures.RECORD.read_text())
    assert record["project"] == version.number()
    (tmp_path / pictures.RECORD.name).write_text(json.dumps({**record, key: "0.0.1"}))
    for name in pictures.NAMES:
        shutil.copy(pictures.DIRECTORY / name, tmp_path)
    (found,) = pictures.outdated(tmp_path)
    assert found.startswith(reason)


def test_a_picture_that_was_replaced_is_outdated(tmp_path: Path) -> None:
    assert list(pictures.outdated(tmp_path)) == ["pictures.json is missing"]
    (tmp_path / pictures.RECORD.name).write_text("{")
    assert next(pictures.outdated(tmp_path)).startswith("pictures.json is not valid: ")
    shutil.copy(pictures.RECORD, tmp_path)
    for name in pictures.NAMES[1:]:
        shutil.copy(pictures.DIRECTORY / name, tmp_path)
    assert list(pictures.outdated(tmp_path)) == [f"{pictures.NAMES[0]} is not the picture that was taken"]


def test_checking_the_documents_names_outdated_pictures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(["evidence"], check=True) is Exit.OK
    monkeypatch.setattr(pictures, "outdated", lambda: iter(["a reason"]))
    assert render(["evidence"], check=True) is Exit.CASE_FAILED
    assert "docs/images is out of date: a reason. Run: invoke render --pictures\n" in capsys.readouterr().out
    assert render(["parallel"], check=True) is Exit.OK
    assert render(check=True, pictures=True) is Exit.WRONG_USAGE


def test_pictures_without_playwright_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    monkeypatch.delitem(sys.modules, "checks.documents.screenshots", raising=False)
    assert render(["parallel"], pictures=True) is Exit.HOST_UNUSABLE
    assert "The Python package playwright.sync_api is not installed." in capsys.readouterr().err
