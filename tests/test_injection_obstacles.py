"""What stands in the way of the installation: it is named, and nothing is installed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.paths import FIXTURES
from checks.core.polling import poll
from checks.engine import placement
from checks.engine.docker import shell
from checks.hardening.injection import configuration, install, state
from checks.hardening.injection.configuration import (
    DROP_IN,
    HOOK,
)
from checks.hardening.injection.state import conflicts, problems, read_account, require_account
from checks.hosts.local import LocalHost
from tests.fakes import FakeHost
from tests.injection import here, plain, settings, snapshot, tree, write
from tests.patience import AT_ONCE, DEFAULT_SIGNALS, PATIENCE


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
@pytest.mark.parametrize(("name", "mode"), [(DROP_IN, 0), ("containers.conf.d", 0o311), ("nanoclaw-hardening", 0o311)])
def test_what_can_not_be_read_is_not_taken_for_nothing(home: Path, name: str, mode: int) -> None:
    install.install(LocalHost(), dry_run=False)
    before, was = tree(home), (settings(home) / name).stat().st_mode
    (settings(home) / name).chmod(mode)
    try:
        with pytest.raises(HostProblem, match="can't be read"):
            install.uninstall(LocalHost(), dry_run=False)
    finally:
        (settings(home) / name).chmod(was)
    assert tree(home) == before


def test_what_the_account_can_not_read_is_a_problem_of_the_host(home: Path) -> None:
    """Root can read everything: the shell's answer is made up."""
    settings(home).mkdir(parents=True)
    script = state._LOOK.replace('[ -r "$directory" ]', "false", 1)
    answer = LocalHost().run(shell(script, str(placement.LARGEST), configuration.PYTHON)).stdout
    with pytest.raises(HostProblem, match="can't be read by this account"):
        state.account_in(answer, "local")


@pytest.mark.parametrize(
    ("text", "conflict"),
    [
        ("[engine]\nhooks_dir = ['/x']\n", "sets hooks_dir"),
        ("[ENGINE]\nHooks_Dir = ['/x']\n", "sets hooks_dir"),
        ("[containers]\nUserNS = 'auto'\n", "sets userns"),
        ("[containers]\nuserns = 'host'\n", "sets userns"),
    ],
)
def test_a_conflicting_file_prevents_the_installation(home: Path, text: str, conflict: str) -> None:
    mine = settings(home) / "containers.conf.d" / "99-mine.conf"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(text.encode("latin-1"))
    assert install.install(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert mine.read_bytes() == text.encode("latin-1")
    assert not (settings(home) / HOOK).exists()
    assert any(conflict in each for each in conflicts(here()))
    assert any(conflict in each for each in problems(here()))


def test_a_pipe_among_the_settings_is_named_at_once(home: Path) -> None:
    settings = home / ".config" / "containers" / "containers.conf.d"
    settings.mkdir(parents=True)
    os.mkfifo(settings / "90-pipe.conf")
    begun = time.monotonic()
    with pytest.raises(HostProblem, match=r"90-pipe\.conf is a pipe"):
        read_account(LocalHost())
    assert time.monotonic() - begun < AT_ONCE


def test_a_device_among_the_settings_is_named_unless_it_is_empty(home: Path) -> None:
    file = settings(home) / "containers.conf"
    file.parent.mkdir(parents=True)
    file.symlink_to("/dev/null")
    assert read_account(LocalHost()).files[str(file)] == b""
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(HostProblem, match=r"containers\.conf is a pipe, a socket or a device"):
        read_account(LocalHost())


def test_a_settings_file_without_end_is_not_read_to_its_end(home: Path) -> None:
    settings = home / ".config" / "containers"
    settings.mkdir(parents=True)
    with (settings / "containers.conf").open("wb") as file:
        file.truncate(1 << 33)  # 8 GiB, none of it on the disk
    with pytest.raises(HostProblem, match=r"containers\.conf has more than \d+ bytes"):
        read_account(LocalHost())


@pytest.mark.parametrize("python", ["", "3.8", "2.7"])
def test_without_a_python_for_the_hook_nothing_is_installed(
    home: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setattr(install, "read_account", lambda host: here(python=python))
    with pytest.raises(HostProblem, match=r"/usr/bin/python3 is .* Nothing was installed"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) <= {".config", ".config/containers"}
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK


def test_a_podman_that_fails_is_quoted_and_not_called_missing(home: Path, tmp_path: Path) -> None:
    directory = tmp_path / "programs"
    directory.mkdir()
    broken = 'echo "Error: XDG_RUNTIME_DIR must be an absolute path" >&2; exit 125'
    with pytest.raises(HostProblem, match="fails: Error: XDG_RUNTIME_DIR must be"):
        require_account(plain(read_account(FakeHost(directory, {"podman": broken})), version=""))


def test_root_is_refused(home: Path) -> None:
    with pytest.raises(WrongUsage, match="You are root"):
        require_account(here(uid=0))


def test_a_home_that_no_file_can_name_is_refused(home: Path) -> None:
    with pytest.raises(HostProblem, match="has characters that"):
        require_account(dataclasses.replace(here(), home="/home/m\udcfcller"))


def test_another_users_home_is_refused(home: Path) -> None:
    with pytest.raises(WrongUsage, match="belongs to other, not to someone"):
        require_account(here(owner="1600 other"))


def test_a_home_that_is_not_there_is_refused(home: Path) -> None:
    with pytest.raises(HostProblem, match="does not exist"):
        require_account(here(owner=""))


def test_another_directory_of_settings_is_refused(home: Path) -> None:
    with pytest.raises(WrongUsage, match="XDG_CONFIG_HOME"):
        require_account(here(xdg_directory="/elsewhere/containers"))


def test_a_directory_that_can_not_be_written_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "read_account", lambda host: here(locked=str(home)))
    for dry_run in (True, False):
        with pytest.raises(HostProblem, match="nothing was installed"):
            install.install(LocalHost(), dry_run=dry_run)
    assert tree(home) == set()


def test_a_file_in_place_of_a_directory_is_named(home: Path) -> None:
    """Also where only the drop-in's directory is in the way. A read-only one is the same to a plain user."""
    write(home, "containers.conf.d", "")
    before = snapshot(home)
    for dry_run in (True, False):
        with pytest.raises(HostProblem, match=r"containers.conf.d is not a directory"):
            install.install(LocalHost(), dry_run=dry_run)
    assert snapshot(home) == before


@pytest.mark.parametrize("text", ["a = " + "[" * 3000, "a = " + "1" * 5000], ids=["deep", "long"])
def test_a_hostile_file_is_no_bug_of_this_project(home: Path, text: str) -> None:
    write(home, "containers.conf.d/99-later.conf", text.encode())
    with pytest.raises(HostProblem):
        install.install(LocalHost(), dry_run=False)


def test_a_copy_that_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "settings.conf"
    file.write_text("mine\n")
    cp = tmp_path / "bin" / "cp"
    cp.parent.mkdir()
    cp.write_text('#!/bin/sh\nfor last; do :; done\n: >"$last"\nexit 1\n')  # as on a full disk
    cp.chmod(0o755)
    script = str(FIXTURES / "placement.sh")
    part = f"{file}.nanoclaw-part"
    Path(part).write_text("new\n")
    archive = subprocess.run(["tar", "-cPf", "-", part], check=True, capture_output=True).stdout
    path = {**os.environ, "PATH": f"{cp.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", script, "place", "0", str(file)], input=archive, env=path, check=False)
    assert done.returncode == 1
    assert file.read_text() == "mine\n"
    assert not [each for each in tmp_path.iterdir() if "nanoclaw" in each.name]


_SLOW_MV = """#!/bin/sh
here=${0%/*}
if [ -e "$here/second" ]; then
    : >"$here/restoring"
    sleep 0.5
elif [ -e "$here/first" ]; then
    : >"$here/second"
    sleep 600
fi
: >"$here/first"
exec /bin/mv "$@"
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_comes_twice_leaves_everything_as_it_was(tmp_path: Path, ending: signal.Signals) -> None:
    """timeout, under which each script runs, passes a signal of its group on to the whole group once more."""
    files = [tmp_path / name for name in ("a.conf", "b.conf")]
    for file in files:
        file.write_text(f"mine {file.name}\n")
        Path(f"{file}.nanoclaw-part").write_text("new\n")
    parts = [f"{file}.nanoclaw-part" for file in files]
    archive = subprocess.run(["tar", "-cPf", "-", *parts], check=True, capture_output=True).stdout
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mv").write_text(_SLOW_MV)
    (programs / "mv").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    command = [*DEFAULT_SIGNALS, "sh", str(FIXTURES / "placement.sh"), "place", "0", *map(str, files)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin
        process.stdin.write(archive)
        process.stdin.close()
        try:
            assert poll((programs / "second").exists, timeout=PATIENCE, interval=0.05)
            assert files[0].read_text() == "new\n"
            os.killpg(process.pid, ending)
            assert poll((programs / "restoring").exists, timeout=PATIENCE, interval=0.05)
            os.killpg(process.pid, ending)
            assert process.wait(PATIENCE) == 130
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert [file.read_text() for file in files] == ["mine a.conf\n", "mine b.conf\n"]
    assert not list(tmp_path.glob("*nanoclaw*"))
