"""``invoke clean`` claims what it has seen."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from checks.core import locks, run_directories
from checks.core.errors import Exit
from checks.core.paths import ROOT
from checks.core.progress import Progress
from checks.engine import dead_runs, prepared_host
from checks.engine.leaks import LeakDetector
from checks.hosts.base import Host
from checks.runner.cleanup import clean
from tests.fakes import FACTS, FakeHost


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
    monkeypatch.setattr(dead_runs, "remove_objects", lambda host, run: False)
    assert clean(cache=False) == Exit.HOST_UNUSABLE
    output = capsys.readouterr().err
    assert "Removed" not in output
    assert f"Not removed: containers, images or directories of run {run.id}." in output
    assert [each.id for each, _ in run_directories.kept_runs()] == [run.id]


@pytest.mark.parametrize("gone", [True, False])
def test_the_next_run_forgets_a_dead_one_only_when_its_objects_are_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gone: bool
) -> None:
    run = kept("local")
    run.record_host("local")  # no longer kept: dead
    monkeypatch.setattr(dead_runs, "remove_objects", lambda host, run: gone)
    prepared_host.sweep(Progress())
    assert [each.id for each, _ in run_directories.dead_runs()] == ([] if gone else [run.id])
    assert (f"Not removed: containers, images or directories of run {run.id}" in capsys.readouterr().err) is not gone


def test_a_run_whose_host_is_not_known_is_removed_from_this_machine_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    run = kept("local")
    shutil.rmtree(run.directory)  # the cache, by hand
    asked: list[str] = []

    def remove(host: Host, run: str) -> bool:
        asked.append(run)
        return True

    monkeypatch.setattr(dead_runs, "remove_objects", remove)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert [each.id for each, _ in run_directories.dead_runs()] == [run.id]
    prepared_host.sweep(Progress())
    assert asked == [run.id]
    assert run_directories.dead_runs() == []


@pytest.mark.parametrize("now", ["podman /other/store", "docker /home/u/store"])
def test_a_run_is_not_removed_by_another_engine_or_from_another_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], now: str
) -> None:
    run = kept("local")
    run.record_host("local", "podman /home/u/store")
    monkeypatch.setattr(dead_runs, "store_of", lambda host: now)
    monkeypatch.setattr(dead_runs, "remove_objects", lambda host, run: True)  # it lists nothing
    assert clean(cache=False) == Exit.HOST_UNUSABLE
    assert f"in the store of podman /home/u/store; now it is {now}" in capsys.readouterr().err
    monkeypatch.setattr(dead_runs, "store_of", lambda host: "podman /home/u/store")
    assert clean(cache=False) == Exit.OK


@pytest.mark.parametrize(
    ("name", "machine", "found"),
    [("ssh://me@host", "m1", True), ("ssh://host.example", "m1", True), ("ssh://host.example", "m2", False),
     ("ssh://me@host", "", True), ("ssh://host.example", "", False)],
)  # fmt: skip
def test_a_dead_run_is_found_again_under_another_name_of_its_host(
    tmp_path: Path, name: str, machine: str, found: bool
) -> None:
    account = FakeHost(tmp_path).pretend(replace(FACTS, machine="m1"))
    run = kept("ssh://me@host")
    run.record_host("ssh://me@host", dead_runs.store_of(account))
    account.name = name
    account.pretend(replace(FACTS, machine=machine))
    assert [each.id for each in dead_runs.left_on(account)] == [run.id] * found


def test_the_record_of_a_run_whose_objects_stay_is_all_that_is_left_of_it() -> None:
    with run_directories.new_run() as run:
        run.record_host("local")
        run.unfinished = True
    assert [(each.id, host) for each, host in run_directories.dead_runs()] == [(run.id, "local")]
    assert not run.scratch.exists()


@pytest.mark.parametrize(("age", "dead"), [(3600, True), (0, False)])
def test_a_run_that_was_killed_before_it_had_a_lock_is_removed(own_cache: Path, age: int, dead: bool) -> None:
    directory = own_cache / "runs" / "0123456789"
    directory.mkdir(parents=True)
    os.utime(directory, (time.time() - age,) * 2)
    assert clean(cache=False) == Exit.OK
    assert directory.exists() is not dead


def test_a_cleanup_that_does_not_reach_its_end_leaves_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(host: Host, run: str) -> bool:
        raise BrokenPipeError

    monkeypatch.setattr(prepared_host, "remove_objects", interrupted)
    monkeypatch.setattr(prepared_host, "require_usable", lambda host: None)
    monkeypatch.setattr(prepared_host, "LocalHost", lambda: FakeHost(tmp_path, {"podman": "exit 0"}).pretend())
    monkeypatch.setattr(LeakDetector, "begin", lambda self: None)
    with pytest.raises(BrokenPipeError), run_directories.new_run() as run:  # noqa: SIM117 - the run ends last
        with prepared_host.prepared("local", None, run, Progress()):
            pass
    assert [each.id for each, _ in run_directories.dead_runs()] == [run.id]


def test_the_timeout_factor_reaches_the_hosts_own_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = FakeHost(tmp_path, {"podman": "exit 0"}).pretend()
    monkeypatch.setattr(prepared_host, "remove_objects", lambda host, run: True)
    monkeypatch.setattr(prepared_host, "require_usable", lambda host: None)
    monkeypatch.setattr(prepared_host, "LocalHost", lambda: account)
    monkeypatch.setattr(LeakDetector, "begin", lambda self: None)
    monkeypatch.setattr(LeakDetector, "new", lambda self: [])
    with (
        run_directories.new_run() as run,
        prepared_host.prepared("local", None, run, Progress(), factor=50) as ready,
    ):
        # The parent of a command is the timeout(1) that bounds it.
        bound = ready.host.run(["sh", "-c", "tr '\\0' ' ' < /proc/$PPID/cmdline"], timeout=20).stdout
    assert re.search(r"\b1000\.0 sh ", bound)


def test_a_directory_that_stays_is_not_called_removed(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_cache / "images").mkdir()
    monkeypatch.setattr(run_directories, "remove_tree", lambda directory: None)
    assert clean(cache=True) == Exit.HOST_UNUSABLE
    output = capsys.readouterr().err
    assert f"Removed {own_cache / 'images'}" not in output
    assert f"Not removed: directory {own_cache / 'images'}." in output


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def test_a_lock_is_made_so_that_no_other_account_can_open_it(own_cache: Path) -> None:
    own_cache.chmod(0o755)
    before = os.umask(0)
    try:
        with run_directories.new_run() as run:
            assert mode(run.directory / "lock") == 0o600
        with locks.locked(own_cache / "one.lock", Progress(), "Waiting"):
            assert mode(own_cache / "one.lock") == 0o600
    finally:
        os.umask(before)


def test_a_lock_of_an_older_version_is_corrected(own_cache: Path) -> None:
    (own_cache / "one.lock").touch(0o644)
    with locks.locked(own_cache / "one.lock", Progress(), "Waiting"):
        assert mode(own_cache / "one.lock") == 0o600
    with run_directories.new_run() as run:
        lock = run.directory / "lock"
        lock.chmod(0o644)
        run_directories.dead_runs()
        assert mode(lock) == 0o600


def test_an_active_run_is_named_and_left(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_cache / "images").mkdir()
    with run_directories.new_run() as run:
        run.record_host("debian-13")
        assert clean(cache=False) == Exit.OK
        output = f"Left run {run.id} on debian-13: it is active (process {os.getpid()})."
        assert capsys.readouterr().err == f"{output}\n"
        assert clean(cache=True) == Exit.HOST_UNUSABLE
        assert f"Not removed: directory {own_cache / 'images'} (used by run {run.id} on debian-13)." in " ".join(
            capsys.readouterr().err.split()
        )
        assert (own_cache / "images").is_dir()
        assert run.directory.is_dir()


def test_a_run_whose_lock_another_account_holds_is_not_passed_in_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept("debian-13")
    monkeypatch.setattr(run_directories, "of_another_account", lambda uid: True)
    with locks.opened(run.directory / "lock") as lock:
        locks.take(lock)
        assert clean(cache=False) == Exit.HOST_UNUSABLE
    output = " ".join(capsys.readouterr().err.split())
    assert f"Not removed: run {run.id} on debian-13 (no process of this account holds its lock, " in output
    assert run.directory.is_dir()


@pytest.mark.parametrize("broken", ["missing", "link"])
def test_a_run_whose_lock_can_not_be_opened_is_not_passed_in_silence(
    broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = kept("debian-13")
    (run.directory / "lock").unlink()
    if broken == "link":
        (run.directory / "lock").symlink_to("elsewhere")
    assert clean(cache=False) == Exit.HOST_UNUSABLE
    assert f"Not removed: run {run.id} on debian-13 (its lock, " in " ".join(capsys.readouterr().err.split())


def test_every_lock_in_the_cache_is_one_of_these() -> None:
    taken = [path for path in (ROOT / "checks").rglob("*.py") if re.search(r"\b(flock|lockf)\(", path.read_text())]
    assert [path.name for path in taken] == ["locks.py"]
