"""``invoke clean`` claims what it has seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.core import run_directories
from checks.core.errors import Exit
from checks.runner import cleanup
from checks.runner.cleanup import clean


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(run_directories, "_SHARED", tmp_path)
    return run_directories.cache()


def kept(host: str) -> run_directories.Run:
    with run_directories.new_run() as run:
        run.keep(host)
    return run


def test_what_was_kept_and_built_is_removed(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = kept("debian-13")
    (own_cache / "images" / "one").mkdir(parents=True)
    assert clean(cache=True) == Exit.OK
    output = capsys.readouterr().err
    assert f"Removed run {run.id}." in output
    assert f"Removed {own_cache / 'images'}." in output
    assert not run.directory.exists()
    assert not (own_cache / "images").exists()


def test_a_run_whose_objects_stay_is_not_called_removed_and_stays_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = kept("local")
    monkeypatch.setattr(cleanup, "remove_objects", lambda host, run: False)
    assert clean(cache=False) == Exit.HOST_UNUSABLE
    output = capsys.readouterr().err
    assert "Removed" not in output
    assert f"Not removed: containers, images or directories of run {run.id}." in output
    assert [each.id for each, _ in run_directories.kept_runs()] == [run.id]


def test_a_directory_that_stays_is_not_called_removed(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_cache / "images").mkdir()
    monkeypatch.setattr(run_directories, "remove_tree", lambda directory: None)
    assert clean(cache=True) == Exit.HOST_UNUSABLE
    output = capsys.readouterr().err
    assert f"Removed {own_cache / 'images'}" not in output
    assert f"Not removed: directory {own_cache / 'images'}." in output
