from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from checks.cli.program import with_option_names
from checks.cli.tasks import TASKS
from checks.core.errors import Exit, WrongUsage
from checks.core.paths import ROOT
from checks.documents import render


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[Path, str]:
    texts = {tmp_path / "new" / "a.md": "# A\n", tmp_path / "new" / "b": "#!/bin/sh\n"}
    monkeypatch.setattr(render, "DOCUMENTS", {"pair": "", "broken": "no_such_module"})
    found = render.files_of
    monkeypatch.setattr(render, "files_of", lambda name: texts if name == "pair" else found(name))
    return texts


def test_every_file_of_a_document_is_written(files: Mapping[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert render.render(["pair"]) is Exit.OK
    assert {path: path.read_text() for path in files} == files
    assert [path.stat().st_mode & 0o111 for path in files] == [0, 0o111]
    assert capsys.readouterr().out == "".join(f"Wrote {path}.\n" for path in files)


def test_check_writes_nothing_and_names_the_command(
    files: Mapping[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert render.render(["pair"], check=True) is Exit.CASE_FAILED
    assert not any(path.exists() for path in files)
    assert capsys.readouterr().out.endswith("is out of date. Run: invoke render pair\n")
    render.render(["pair"])
    assert render.render(["pair"], check=True) is Exit.OK
    next(iter(files)).write_text("edited by hand")
    assert render.render(["pair"], check=True) is Exit.CASE_FAILED


def test_without_a_name_every_document_is_rendered(files: Mapping[Path, str]) -> None:
    assert render.render() is Exit.OWN_FAULT
    assert all(path.exists() for path in files)


def test_a_script_that_can_not_be_run_is_out_of_date(tmp_path: Path) -> None:
    path, text = tmp_path / "a", "#!/bin/sh\n"
    path.write_text(text)
    assert not render._is_current(path, text)
    path.chmod(0o755)
    assert render._is_current(path, text)


def test_a_mistake_in_the_sources_of_a_document_does_not_keep_the_others_from_being_rendered(
    files: Mapping[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = render.files_of

    def files_of(name: str) -> Mapping[Path, str]:
        if name == "wrong":
            raise WrongUsage("a.toml: “x” is missing.")
        return found(name)

    monkeypatch.setattr(render, "DOCUMENTS", {"wrong": "", "pair": ""})
    monkeypatch.setattr(render, "files_of", files_of)
    assert render.render() == Exit.WRONG_USAGE
    assert all(path.exists() for path in files)
    assert "a.toml: “x” is missing." in capsys.readouterr().err


def test_an_unknown_document_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert render.render(["nope"]) is Exit.WRONG_USAGE
    assert "There is no document “nope”. Known: compatibility, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        (["render", "a", "b", "--check"], ["render", "--name", "a", "--name", "b", "--check"]),
        (["clean", "render", "--check", "parallel"], ["clean", "render", "--check", "--name", "parallel"]),
        (["render", "--name", "a"], ["render", "--name", "a"]),
        (["verify", "--host", "x"], ["verify", "--host", "x"]),
        (
            ["verify", "--list", "--only", "render", "--host", "x"],
            ["verify", "--list", "--only", "render", "--host", "x"],
        ),
        ([], []),
    ],
)
def test_render_takes_several_names(typed: list[str], parsed: list[str]) -> None:
    assert with_option_names(typed) == parsed


def test_every_document_has_a_task_under_its_old_name() -> None:
    assert {f"render-{name}" for name in render.DOCUMENTS} <= TASKS.keys()
    done = subprocess.run(
        [sys.executable, ROOT / "tasks.py", "render-parallel", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "docs/PARALLEL.md is up to date.\n"), done.stderr
