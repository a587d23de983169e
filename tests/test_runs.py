from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from checks.core import files, run_directories, run_processes, signals
from checks.core.errors import HostProblem, Interrupted
from checks.core.polling import poll
from tests.patience import PATIENCE

DIES = """
import os, subprocess, sys
from checks.core import files, run_directories, signals
with run_directories.new_run() as run:
    run.record_host("local")
    print(run.id, flush=True)
    subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def dead_runs() -> list[tuple[run_directories.Run, str]]:
    """Those of the test's own cache: the scratch directories of all caches stand side by side."""
    own = run_directories.cache()
    return [(run, where) for run, where in run_directories.dead_runs() if run.directory.is_relative_to(own)]


def killed_run() -> run_directories.Run:
    done = subprocess.run([sys.executable, "-c", DIES], stdout=subprocess.PIPE, text=True, check=False)
    ((run, where),) = dead_runs()
    assert (run.id, where) == (done.stdout.strip(), "local")
    return run


def test_a_run_takes_its_directories_with_it() -> None:
    with run_directories.new_run() as run:
        assert run.directory.is_dir()
        assert run.sockets.stat().st_mode & 0o777 == 0o700
    assert not run.directory.exists()
    assert not run.scratch.exists()
    assert run_processes.MARK not in os.environ


def test_a_run_that_can_not_begin_leaves_nothing(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace_json", full)
    with pytest.raises(OSError, match="No space left"), run_directories.new_run():
        pass
    assert list((run_directories.cache() / "runs").iterdir()) == []


def test_a_living_run_is_not_dead() -> None:
    with run_directories.new_run():
        assert dead_runs() == []


def test_a_kept_run_stays_and_is_not_dead() -> None:
    with run_directories.new_run() as run:
        run.keep("debian-13")
    assert run.directory.is_dir()
    assert dead_runs() == []
    ((kept, where),) = run_directories.kept_runs()
    assert (kept.id, where) == (run.id, "debian-13")
    run_directories.remove(kept)
    assert not run.directory.exists()


def test_a_killed_run_is_dead_and_removed_with_its_processes_while_others_stay() -> None:
    dead = killed_run()
    bystander = subprocess.Popen(["sleep", "300"], env={**os.environ, run_processes.MARK: "other"})
    with run_directories.new_run() as living:
        assert len(run_processes.processes_of(dead.id)) == 1
        run_directories.remove(dead)
        assert run_processes.processes_of(dead.id) == []
        assert living.directory.is_dir()
    assert not dead.directory.exists()
    assert not dead.scratch.exists()
    assert bystander.poll() is None
    bystander.kill()


def test_what_a_process_of_a_run_has_started_without_the_mark_ends_with_it(tmp_path: Path) -> None:
    """A build's RUN: its parents are killed, and it goes on with an environment of its own."""
    pid = tmp_path / "pid"
    script = 'env -i setsid sh -c "echo \\$\\$ >$0; sleep 78; :" & wait'
    environment = {**os.environ, run_processes.MARK: "run1"}
    with subprocess.Popen(["sh", "-c", script, str(pid)], env=environment) as parent:
        assert poll(lambda: pid.exists() and pid.read_text(), timeout=PATIENCE, interval=0.05)
        grandchild = int(pid.read_text())
        assert poll(lambda: len(run_processes.processes_of("run1")) == 3, timeout=PATIENCE, interval=0.05)
        run_processes.stop("run1")
        assert parent.wait() == -signal.SIGKILL
    assert run_processes.words(grandchild) == []


@pytest.mark.parametrize(
    ("words", "is_the_runs"),
    [
        (["aardvark-dns", "--config", "/run/x"], False),
        (["slirp4netns", "--netns-type=path", "/run/user/1/netns/rootless-netns-1", "tap0"], False),
        (["catatonit", "-P"], False),
        (["slirp4netns", "--netns-type=path", "/run/user/1/netns/netns-1", "tap0"], True),
    ],
)
def test_what_podman_starts_once_for_an_account_is_not_a_runs(
    tmp_path: Path, words: list[str], is_the_runs: bool
) -> None:
    """The user's own containers use it, too."""
    program = tmp_path / words[0]
    program.symlink_to(sys.executable)
    argv = [str(program), "-c", "import sys; print(flush=True); sys.stdin.read()", *words[1:]]
    environment = {**os.environ, run_processes.MARK: "run1"}
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert (process.pid in run_processes.processes_of("run1")) == is_the_runs


def test_a_dead_run_whose_cache_was_removed_is_still_found_and_removed(own_cache: Path) -> None:
    dead = killed_run()
    shutil.rmtree(own_cache / run_directories.PROGRAM)
    ((found, where),) = dead_runs()
    assert (found.id, found.scratch, where) == (dead.id, dead.scratch, "")
    run_directories.remove(found)
    assert not dead.scratch.exists()
    assert run_processes.processes_of(dead.id) == []


def test_a_private_directory_of_a_run_is_counted_and_goes_with_it() -> None:
    private: list[Path] = []
    with run_directories.new_run() as run:
        private.append(Path(tempfile.mkdtemp(prefix=f"nanoclaw-verify-{run.id}-e-", dir=run.scratch.parent)))
    assert not private[0].exists()
    left = Path(tempfile.mkdtemp(prefix=f"nanoclaw-verify-{run.id}-case-", dir=run.scratch.parent))
    assert run_directories.leftovers(run.id, run.directory.parents[1]) == [f"directory {left}"]
    run_directories.remove(run)
    assert not left.exists()


def test_a_directory_of_another_name_is_no_run(own_cache: Path) -> None:
    odd = own_cache / run_directories.PROGRAM / "runs" / "*"
    odd.mkdir(parents=True)
    with run_directories.new_run() as run:
        assert [dead.id for dead, _ in dead_runs() if dead.id == "*"] == []
        assert run.scratch.is_dir()
    assert odd.is_dir()


def test_what_a_run_leaves_is_told_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_directories, "remove", lambda run: None)
        with (
            pytest.raises(HostProblem, match=r"could not remove: directory \S+; directory"),
            run_directories.new_run() as run,
        ):
            pass
    run_directories.remove(run)


def test_a_mount_of_another_account_with_the_runs_id_in_its_name_is_not_the_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with run_directories.new_run() as run:
        mounts = (f"/tmp/planted-{run.id}", f"{run.scratch}/own")
        lines = "".join(f"1 2 0:3 / {mount} rw - fuse x rw\n" for mount in mounts)
        monkeypatch.setattr(run_directories, "_kernels", lambda _: lines)
        left = run_directories.leftovers(run.id, run_directories.cache())
        assert [each for each in left if each.startswith("mount")] == [f"mount {run.scratch}/own"]
        monkeypatch.undo()


def test_mounts_and_processes_may_have_names_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = (
        b"36 35 98:0 / /media/M\xfcll rw - ext4 /dev/x rw\n37 35 98:0 / /nowhere/runs/RUN/\xff rw - ext4 /dev/x rw\n"
    )
    read_text = Path.read_text

    def with_foreign(path: Path, *arguments: Any, **options: Any) -> str:
        if str(path) != "/proc/self/mountinfo":
            return read_text(path, *arguments, **options)
        return foreign.decode(errors=options.get("errors", "strict"))

    monkeypatch.setattr(Path, "read_text", with_foreign)
    assert run_directories.leftovers("RUN", Path("/nowhere")) == ["mount /nowhere/runs/RUN/\ufffd"]
    with subprocess.Popen([b"sh", b"-c", b"sleep 60; true", b"\xff"]) as child:
        found = poll(lambda: run_processes.words(child.pid), timeout=PATIENCE, interval=0.05)
        child.kill()
    assert found[-1] == "\ufffd"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_asked_to_end_does_so_cleanly(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=number.name) as ended, run_directories.new_run() as run:
        os.kill(os.getpid(), number)
    assert not run.directory.exists()
    assert not run.scratch.exists()
    assert signal.getsignal(number) == before
    assert ended.value.__notes__ == ["the run's processes, directories and mounts on this machine were removed"]


def test_a_signal_waits_for_the_end_of_a_cleanup() -> None:
    done = []

    def work() -> None:
        try:
            done.append("work")
        finally:
            with signals.held():
                signal.raise_signal(signal.SIGTERM)
                done.append("cleanup")
        done.append("what comes after it")

    with pytest.raises(Interrupted, match="SIGTERM"), run_directories.new_run():
        work()
    assert done == ["work", "cleanup"]


def test_a_signal_during_the_removal_of_a_run_ends_the_command_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    remove, before = run_directories.remove, signal.getsignal(signal.SIGINT)

    def interrupted(run: run_directories.Run) -> None:
        signal.raise_signal(signal.SIGINT)
        remove(run)

    with monkeypatch.context() as patch:
        patch.setattr(run_directories, "remove", interrupted)
        with pytest.raises(Interrupted, match="SIGINT"), run_directories.new_run() as run:
            pass
    assert not run.directory.exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupted_run_that_leaves_something_does_not_claim_that_it_was_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_directories, "remove", lambda run: None)
        with pytest.raises(HostProblem, match="could not remove"), run_directories.new_run() as run:
            raise KeyboardInterrupt
    run_directories.remove(run)


def test_a_kept_run_that_is_interrupted_claims_nothing() -> None:
    kept: list[run_directories.Run] = []

    def keep() -> None:
        with run_directories.new_run() as run:
            kept.append(run)
            run.keep("debian-13")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as ended:
        keep()
    assert not hasattr(ended.value, "__notes__")
    run_directories.remove(kept[0])


def test_what_a_failed_run_leaves_is_noted_on_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_directories, "remove", lambda run: None)
        with pytest.raises(HostProblem, match="No Podman") as ended, run_directories.new_run() as run:
            raise HostProblem("No Podman.")
    assert "could not remove" in ended.value.__notes__[0]
    run_directories.remove(run)


def test_the_cache_is_the_accounts_alone(own_cache: Path) -> None:
    assert run_directories.cache().stat().st_mode & 0o777 == 0o700


def test_a_cache_that_others_can_write_is_refused(own_cache: Path) -> None:
    run_directories.cache().chmod(0o777)
    with pytest.raises(HostProblem, match="Other accounts can write"):
        run_directories.cache()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of another account")
def test_a_cache_of_another_account_is_refused(own_cache: Path) -> None:
    os.chown(run_directories.cache(), 65534, 65534)
    with pytest.raises(HostProblem, match="belongs to"):
        run_directories.cache()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_a_process_of_another_account_that_bears_a_runs_mark_is_not_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another account has subordinate ids, too, which no account's name stands for."""
    (tmp_path / "subuid").write_text(f"somebody:3000000:65536\n{pwd.getpwuid(0).pw_name}:4000000:65536\n")
    monkeypatch.setattr(run_processes, "_SUBORDINATE", tmp_path / "subuid")
    run_processes._subordinate_ids.cache_clear()
    environment = {**os.environ, run_processes.MARK: "run1"}
    planted = [subprocess.Popen(["sleep", "60"], env=environment, user=uid) for uid in (65534, 3000001)]
    own = [subprocess.Popen(["sleep", "60"], env=environment, user=uid) for uid in (0, 4000001)]
    wanted = sorted(process.pid for process in own)
    try:
        assert poll(lambda: sorted(run_processes.processes_of("run1")) == wanted, timeout=PATIENCE, interval=0.05)
    finally:
        run_processes._subordinate_ids.cache_clear()
        for process in (*planted, *own):
            process.kill()
            process.wait()
