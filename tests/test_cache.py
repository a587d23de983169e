"""Where the cache is, and when it is refused."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from checks.core import run_directories
from checks.core.errors import HostProblem


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_cache_that_can_not_be_made_is_the_hosts_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    with pytest.raises(HostProblem, match=r"cache directory /dev/null/cache/nanoclaw-verify can't be made"):
        run_directories.cache()


@pytest.mark.parametrize("relative", ["", "cache", "./cache", "../cache"])
def test_a_relative_cache_is_ignored(relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", relative)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run_directories.cache() == tmp_path / ".cache" / "nanoclaw-verify"
    with run_directories.new_run() as run:
        assert run.directory.is_dir()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("home", ["", "here", None])
def test_a_home_that_is_none_is_that_of_the_system(
    home: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", lambda _: type("Entry", (), {"pw_dir": str(tmp_path)}))
    assert run_directories.cache() == tmp_path / ".cache" / "nanoclaw-verify"

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(HostProblem, match="no home directory"):
        run_directories.cache()


def test_a_home_that_does_not_exist_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    with pytest.raises(HostProblem, match="no home directory"):
        run_directories.cache()
    assert not (tmp_path / "none").exists()


def test_a_cache_that_a_group_of_others_can_write_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run_directories.cache().chmod(0o770)
    own = grp.getgrgid(os.getegid())
    members = grp.struct_group((own.gr_name, own.gr_passwd, own.gr_gid, ["somebody-else"]))
    monkeypatch.setattr(grp, "getgrgid", lambda _: members)
    with pytest.raises(HostProblem, match="Other accounts can write"):
        run_directories.cache()


def test_a_cache_below_a_directory_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
    run_directories.cache()
    shared.chmod(0o777)
    with pytest.raises(HostProblem, match=f"Other accounts can write {shared}"):
        run_directories.cache()
    shared.chmod(0o1777)  # as /tmp: each removes its own
    run_directories.cache()


def test_a_cache_behind_a_link_that_others_can_exchange_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "link").symlink_to("../own")
    (tmp_path / "cache").symlink_to(shared / "link")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_directories.cache()
    shared.chmod(0o777)
    with pytest.raises(HostProblem, match=f"Other accounts can write {shared}: the cache"):
        run_directories.cache()
