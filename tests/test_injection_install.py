"""Installing and taking away, on this machine's own files: nothing of the user's is lost, nothing of ours is left."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import subprocess
import threading
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.paths import FIXTURES
from checks.documents import examples
from checks.hardening.injection import configuration, effect, install, state
from checks.hardening.injection.configuration import DROP_IN, HOOK, HOOK_JSON, OLD_FILE, REFUSAL, Author, author_of
from checks.hardening.injection.state import Account, conflicts, problems, read_account, require_account
from checks.hosts.local import LocalHost
from tests import podman
from tests.fakes import FakeHost


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose user is no root, has Podman 5 and all controllers, whoever runs the tests on whatever machine."""
    directory = tmp_path / 'a "home" of CORP\\user'
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    for name in ("XDG_CONFIG_HOME", "CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE", "PODMAN_USERNS", "FAKE_PODMAN"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    podman.install(programs)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(install, "read_account", lambda host: plain(read_account(host)))
    return directory


def plain(found: Account, **more: object) -> Account:
    ours = {path: data for path, data in found.files.items() if path.startswith(found.home)}
    usual = {"uid": 1500, "user": "someone", "owner": "1500 someone", "version": "5.4.2", "services": None}
    values = {**usual, "controllers": ("cpu", "memory", "pids"), "files": ours, **more}
    return dataclasses.replace(found, **values)  # type: ignore[arg-type]


def here(**more: object) -> Account:
    return plain(read_account(LocalHost()), **more)


def tree(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*")}


def settings(home: Path) -> Path:
    return home / ".config" / "containers"


def snapshot(home: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a home: names, modes, contents."""
    return {
        str(path.relative_to(home)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in home.rglob("*")
    }


def write(home: Path, name: str, text: str | bytes) -> Path:
    path = settings(home) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("latin-1") if isinstance(text, str) else text)
    return path


def test_it_is_installed_once_and_removed_without_a_trace(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert tree(settings(home)) == {
        "containers.conf.d", DROP_IN, "nanoclaw-hardening", HOOK, HOOK_JSON,
    }  # fmt: skip
    assert (settings(home) / HOOK).stat().st_mode & 0o777 == 0o755
    assert problems(here()) == []
    capsys.readouterr()
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert "Already installed" in capsys.readouterr().out
    (settings(home) / REFUSAL).write_text("nanoclaw hardening: the container was not started: x.\n")
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert tree(home) == {".config"}
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK


def test_a_dry_run_prints_exactly_what_would_be_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install.install(LocalHost(), dry_run=True) == Exit.OK
    printed = capsys.readouterr().out
    assert tree(home) == set()
    for file in here().required:
        assert f"==> {file.path} (mode {file.mode:o})\n{file.data.decode()}" in printed
    assert "In force" not in printed
    install.install(LocalHost(), dry_run=False)
    before = tree(home)
    assert install.uninstall(LocalHost(), dry_run=True) == Exit.OK
    assert tree(home) == before


@pytest.mark.parametrize("name", [DROP_IN, HOOK, HOOK_JSON])
def test_a_file_of_the_users_is_never_overwritten(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = settings(home) / name
    file.parent.mkdir(parents=True)
    file.write_text("# mine\n")
    before = tree(home)
    assert install.install(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert f"{file} already exists and is not ours" in capsys.readouterr().out
    assert (tree(home), file.read_text()) == (before, "# mine\n")
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert file.read_text() == "# mine\n"


def test_a_file_of_ours_that_was_changed_is_the_users(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    file = settings(home) / HOOK
    file.write_text(file.read_text().replace("pids='256'", "pids='512'"))
    before = tree(home)
    assert install.install(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert tree(home) == before
    assert "pids='512'" in file.read_text()
    assert any("was edited" in each for each in problems(here()))


def test_an_older_file_of_ours_is_brought_up_to_date(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    older = configuration.files(str(settings(home)), "5.4.2", here().settings.within(["pids"]))[0]
    (settings(home) / HOOK).write_bytes(older.data)
    assert any("another version" in each for each in problems(here()))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert problems(here()) == []


@pytest.mark.parametrize("name", [DROP_IN, HOOK, HOOK_JSON])
def test_whatever_is_missing_is_noticed(home: Path, name: str) -> None:
    install.install(LocalHost(), dry_run=False)
    (settings(home) / name).unlink()
    assert [each for each in problems(here()) if f"{name} is missing" in each]
    assert here().installed


def test_the_users_other_files_stay(home: Path) -> None:
    mine = settings(home) / "containers.conf.d" / "50-mine.conf"
    mine.parent.mkdir(parents=True)
    mine.write_text("[containers]\nuserns = 'keep-id'\n")
    extra = settings(home) / "nanoclaw-hardening" / "notes"
    install.install(LocalHost(), dry_run=False)
    extra.write_text("x")
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert mine.is_file()
    assert extra.is_file()


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


def test_containers_conf_in_the_environment_is_a_problem(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    assert any("CONTAINERS_CONF is set" in each for each in problems(here(own=("CONTAINERS_CONF=/x.conf",))))
    assert any("CONTAINERS_CONF is set" in each for each in problems(here(services=("CONTAINERS_CONF=/x.conf",))))


def test_before_podman_4_the_drop_in_is_the_only_file_that_is_read(home: Path) -> None:
    paths = [file.path for file in here(version="3.0.1").required]
    assert paths[-1] == f"{settings(home)}/{OLD_FILE}"


# What only Podman can tell.

NOT_APPLIED = {
    "a later file without hooks": ("containers.conf.d/99-local.conf", "[engine]\nhooks_dir = []\n", "capabilities"),
    "a later file without userns": ("containers.conf.d/99-local.conf", "[containers]\nuserns = ''\n", "user namespace"),
    "another user is kept": (
        "containers.conf.d/99-local.conf", "[containers]\nuserns = 'keep-id:uid=1000,gid=1000'\n", "user namespace",
    ),
    "keys of another case": ("containers.conf.d/zz.conf", "[Engine]\nHOOKS_DIR = []\n", "read-only root"),
    "no table": ("containers.conf", "engine = 'x'\n", "reading system config"),
    "no TOML": ("containers.conf", "[engine\n", "reading system config"),
    "no UTF-8": ("containers.conf", "\xff", "reading system config"),
    "a byte order mark": ("containers.conf", "\xef\xbb\xbf[engine]\n", "reading system config"),
    "a table twice": ("containers.conf", "[engine]\n[engine]\n", "reading system config"),
}  # fmt: skip


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("why", NOT_APPLIED)
def test_what_podman_does_not_apply_is_not_installed(home: Path, why: str, dry_run: bool) -> None:
    name, text, message = NOT_APPLIED[why]
    file = write(home, name, text)
    before = snapshot(home)
    with pytest.raises(HostProblem) as problem:
        install.install(LocalHost(), dry_run=dry_run)
    assert message in str(problem.value)
    assert str(file) in str(problem.value)
    assert "/tmp.conf" not in str(problem.value)
    assert snapshot(home) == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_directory_in_place_of_a_file_is_podmans_to_judge(home: Path, dry_run: bool) -> None:
    (settings(home) / "containers.conf").mkdir(parents=True)
    before = snapshot(home)
    with pytest.raises(HostProblem, match="Is a directory"):
        install.install(LocalHost(), dry_run=dry_run)
    assert snapshot(home) == before


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("variable", ["CONTAINERS_CONF_OVERRIDE", "PODMAN_USERNS"])
def test_a_variable_that_overrides_it_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, dry_run: bool
) -> None:
    override = tmp_path / "override.conf"
    override.write_text("[engine]\nhooks_dir = []\n")
    monkeypatch.setenv(variable, str(override) if variable.endswith("OVERRIDE") else "host")
    with pytest.raises(HostProblem, match=f"Also set by: {variable}"):
        install.install(LocalHost(), dry_run=dry_run)
    assert tree(home) == set()


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("variable", ["CONTAINERS_CONF_OVERRIDE", "PODMAN_USERNS"])
def test_what_only_a_variable_of_this_shell_sets_is_not_installed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, dry_run: bool
) -> None:
    """nanoclaw's service has no such variable: it would run its agents by what the files set."""
    write(home, "containers.conf.d/99-mine.conf", "[containers]\nuserns = ''\n")
    override = tmp_path / "override.conf"
    override.write_text("[containers]\nuserns = 'keep-id'\n")
    monkeypatch.setenv(variable, str(override) if variable.endswith("OVERRIDE") else "keep-id")
    before = snapshot(home)
    with pytest.raises(HostProblem, match=f"without {variable} of this environment: not in force: user namespace"):
        install.install(LocalHost(), dry_run=dry_run)
    assert snapshot(home) == before


def test_a_file_that_is_read_earlier_is_no_obstacle(home: Path) -> None:
    write(home, "containers.conf.d/10-mine.conf", "[engine]\nhooks_dir = []\n[containers]\nuserns = ''\n")
    assert install.install(LocalHost(), dry_run=False) == Exit.OK


@pytest.mark.parametrize("older", [False, True])
def test_what_has_no_effect_once_it_is_in_place_is_taken_back(
    home: Path, monkeypatch: pytest.MonkeyPatch, older: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the byte: an older version of ours, its mode and the user's own files are there again, and nothing else is."""
    write(home, "containers.conf.d/50-mine.conf", "[containers]\nuserns = 'keep-id'\n")
    if older:
        for file in configuration.files(str(settings(home)), "5.4.2", here().settings.within(["pids"])):
            write(home, file.path.removeprefix(f"{settings(home)}/"), file.data).chmod(0o700)
    before = snapshot(home)
    monkeypatch.setenv("FAKE_PODMAN", "only-copies")
    with pytest.raises(HostProblem, match=r"no-new-privileges \(NoNewPrivs 0\).*previous files were restored"):
        install.install(LocalHost(), dry_run=False)
    assert snapshot(home) == before
    assert "In force" not in capsys.readouterr().out


def replace_docker(home: Path, script: str) -> None:
    (home.parent / "bin" / "docker").write_text(f"#!/bin/sh\n{script}\n")


def test_a_docker_that_reads_another_configuration_is_not_in_force(home: Path, tmp_path: Path) -> None:
    replace_docker(home, f'XDG_CONFIG_HOME={tmp_path} exec "${{0%/*}}/podman" "$@"')
    with pytest.raises(HostProblem, match=r"through .*/docker"):
        install.install(LocalHost(), dry_run=False)
    assert not list(settings(home).rglob("*.conf"))


def test_another_docker_is_not_claimed_to_be_hardened(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace_docker(home, 'echo "Docker version 26.1.5"')
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    output = capsys.readouterr().out
    assert "Not checked through docker, which nanoclaw calls" in output
    assert "In force from the next container of podman on" in output


def test_installed_and_no_longer_in_force_is_not_reported_as_in_force(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert re.search("In force from the next container of .*/docker on", capsys.readouterr().out)
    write(home, "containers.conf.d/99-mine.conf", "[engine]\nhooks_dir = []\n")
    for dry_run in (True, False):
        with pytest.raises(HostProblem, match="left unchanged"):
            install.install(LocalHost(), dry_run=dry_run)
    assert "In force" not in capsys.readouterr().out


def test_hardening_that_lets_no_container_start_is_not_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PODMAN", "no-hardened")
    with pytest.raises(HostProblem, match="no container starts: Error: crun: nothing starts here"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()


def test_where_no_container_starts_anyway_the_runtimes_configuration_tells(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_PODMAN", "no-runtime")
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    printed = capsys.readouterr().out
    assert "No container starts on this host" in printed
    assert "capabilities: CapBnd 0000000000000000" in printed
    assert "Not seen in force" in printed
    write(home, "containers.conf.d/99-mine.conf", "[engine]\nhooks_dir = []\n")
    with pytest.raises(HostProblem, match="not in force: capabilities"):
        install.install(LocalHost(), dry_run=False)


def test_the_environment_of_services_is_asked_too(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nanoclaw's service is started by the user's systemd, which may have variables that no terminal has."""
    runner = tmp_path / "bin" / "systemd-run"
    runner.write_text('#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nPODMAN_USERNS=host exec "$@"\n')
    runner.chmod(0o755)
    with_services = lambda host: plain(read_account(host), services=("PODMAN_USERNS=host",))  # noqa: E731
    monkeypatch.setattr(install, "read_account", with_services)
    with pytest.raises(HostProblem, match="as a service of the user's systemd: not in force: user namespace"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_the_host_has_no_means_for_must_be_accepted(
    home: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "read_account", lambda host: here(controllers=("pids",)))
    with pytest.raises(HostProblem, match=r"memory, cpus can't be set.*--accept-missing"):
        install.install(LocalHost(), dry_run=dry_run)
    assert tree(home) == set()
    assert install.install(LocalHost(), dry_run=dry_run, accept_missing=True) == Exit.OK
    assert "Not set: memory" in capsys.readouterr().out


def test_a_limit_that_is_not_enforced_must_be_accepted(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_PODMAN", "no-limits")
    with pytest.raises(HostProblem, match=r"pids \(pids.max max\).*--accept-missing"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()
    assert install.install(LocalHost(), dry_run=False, accept_missing=True) == Exit.OK
    assert "Not set: memory. Podman accepts the limit" in capsys.readouterr().out


@pytest.mark.parametrize(
    "printed", ["error\\tA\\n", "created\\teWVzCg==\\nerror\\tabcde\\n", "started\\t=\\303\\251\\n"]
)
def test_what_the_probe_printed_and_can_not_be_decoded_is_the_hosts_problem(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    fixtures = tmp_path / "fixtures"
    (fixtures / "injection").mkdir(parents=True)
    (fixtures / "injection" / "effect.sh").write_text(f"printf '{printed}'\n")
    monkeypatch.setattr(effect, "FIXTURES", fixtures)
    with pytest.raises(HostProblem, match="asking Podman what it applies printed something unexpected"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()


@pytest.mark.parametrize("name", ["CORP\\bob", "CORP\\user", 'a"b', "a'b", "a]b#", "ü$(x)`y`", "a\tb"])
def test_the_drop_in_names_the_hooks_directory_whatever_the_home_is_called(name: str) -> None:
    directory = f"/home/{name}/.config/containers"
    conf = tomllib.loads(configuration.drop_in(directory).decode())
    assert conf == {"containers": {"userns": "keep-id"}, "engine": {"hooks_dir": [f"{directory}/nanoclaw-hardening"]}}


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "\udcff"])
def test_a_home_that_no_file_can_name_is_refused(home: Path, name: str) -> None:
    with pytest.raises(HostProblem, match="can't contain"):
        require_account(here(home=f"/home/{name}"))


@pytest.mark.parametrize("length", [48, 49])
def test_a_directory_that_is_too_long_for_podman_is_named(length: int) -> None:
    directory = "/" + "d" * (length - 1)
    script = FIXTURES / "injection" / "effect.sh"
    done = subprocess.run(["sh", str(script), directory, "", "true"], capture_output=True, text=True, check=False)
    assert done.returncode == 1  # neither exists
    assert ("more than 48 characters" in done.stderr) == (length == 49)


# Several at a time, and broken off.


def test_installs_at_once_wait_for_each_other(home: Path) -> None:
    ends: list[Exit] = []
    threads = [
        threading.Thread(target=lambda: ends.append(install.install(LocalHost(), dry_run=False))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [Exit.OK] * 4
    assert problems(here()) == []
    assert not here().leftovers


def test_a_lock_is_given_up_by_whoever_dies(home: Path) -> None:
    with pytest.raises(KeyboardInterrupt), install.locked(LocalHost()):
        raise KeyboardInterrupt
    with install.locked(LocalHost()):
        pass
    assert tree(home) == set()


def test_another_account_that_can_read_the_home_cannot_hold_the_lock(home: Path) -> None:
    descriptor = os.open(home, os.O_RDONLY)  # all that another account can get of a home that is not its own
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        begun = time.monotonic()
        with install.locked(LocalHost()):
            assert [path.stat().st_mode & 0o077 for path in home.iterdir()] == [0]
    finally:
        os.close(descriptor)
    assert time.monotonic() - begun < 20
    assert tree(home) == set()


def test_a_lock_of_an_older_version_is_closed_to_other_accounts(home: Path) -> None:
    lock = home / ".nanoclaw-verify.lock"
    lock.touch(0o644)
    with install.locked(LocalHost()):
        assert lock.stat().st_mode & 0o777 == 0o600
    assert tree(home) == set()


def test_a_pipe_among_the_settings_is_named_at_once(home: Path) -> None:
    settings = home / ".config" / "containers" / "containers.conf.d"
    settings.mkdir(parents=True)
    os.mkfifo(settings / "90-pipe.conf")
    begun = time.monotonic()
    with pytest.raises(HostProblem, match=r"90-pipe\.conf is a pipe"):
        read_account(LocalHost())
    assert time.monotonic() - begun < 10


def test_a_settings_file_without_end_is_not_read_to_its_end(home: Path) -> None:
    settings = home / ".config" / "containers"
    settings.mkdir(parents=True)
    with (settings / "containers.conf").open("wb") as file:
        file.truncate(1 << 33)  # 8 GiB, none of it on the disk
    with pytest.raises(HostProblem, match=r"containers\.conf has more than \d+ bytes"):
        read_account(LocalHost())


@pytest.mark.parametrize("name", [HOOK, HOOK_JSON, DROP_IN])
@pytest.mark.parametrize("suffix", [configuration.PART_SUFFIX, configuration.BACKUP_SUFFIX])
@pytest.mark.parametrize("act", ["install", "uninstall"])
def test_what_a_killed_write_left_is_cleaned(home: Path, name: str, suffix: str, act: str) -> None:
    half = next(file for file in here().required if file.path.endswith(name)).data[:200]
    left = write(home, f"{name}{suffix}", half)
    if act == "install":
        assert install.install(LocalHost(), dry_run=False) == Exit.OK
        assert problems(here()) == []
    else:
        assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
        assert tree(home) == {".config"}
    assert not left.exists()


def test_removed_is_printed_of_what_is_gone(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    capsys.readouterr()

    def half(host: LocalHost, found: Account, paths: Sequence[str]) -> str:
        (settings(home) / DROP_IN).unlink()
        raise HostProblem("the connection is gone")

    monkeypatch.setattr(install, "remove", half)
    with pytest.raises(HostProblem, match="connection"):
        install.uninstall(LocalHost(), dry_run=False)
    assert capsys.readouterr().out == f"Removed {settings(home) / DROP_IN}.\n"


def test_a_write_that_fails_leaves_everything_as_it_was(home: Path) -> None:
    """A directory stands where the last of the files belongs: those before it are taken back."""
    older = configuration.files(str(settings(home)), "5.4.2", here().settings.within(["pids"]))
    write(home, HOOK, older[0].data)
    (settings(home) / HOOK_JSON / "x").mkdir(parents=True)
    before = snapshot(home)
    files = here().required
    with pytest.raises(HostProblem, match="writing the configuration"):
        install.place(LocalHost(), [files[0], files[2], dataclasses.replace(files[1], path=f"{files[1].path}/x")])
    assert snapshot(home) == before


def test_what_was_installed_under_podman_3_goes_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "read_account", lambda host: here(version="3.0.1"))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    monkeypatch.setattr(install, "read_account", lambda host: here(version="4.3.1"))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert problems(here()) == []
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert tree(home) == {".config"}


def test_root_is_refused(home: Path) -> None:
    with pytest.raises(WrongUsage, match="You are root"):
        require_account(here(uid=0))


def test_another_users_home_is_refused(home: Path) -> None:
    with pytest.raises(WrongUsage, match=r"belongs to other not to someone"):
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


def test_an_interrupted_write_leaves_no_half_of_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive ends in the middle of the last file: none of them takes its place."""
    files = here().required
    real = LocalHost.ask

    def cut(self: LocalHost, argv: list[str], parse: Any, *, stdin: bytes = b"", doing: str = "") -> object:
        return real(self, argv, parse, stdin=stdin[: len(stdin) // 3], doing=doing)

    monkeypatch.setattr(LocalHost, "ask", cut)
    with pytest.raises(HostProblem, match="writing the configuration"):
        install.place(LocalHost(), files)
    assert not [name for name in tree(home) if (home / name).is_file()]


def test_a_digest_tells_whose_a_file_is(home: Path) -> None:
    for file in here().required:
        assert author_of(file.data) is Author.OURS
        assert author_of(file.data + b"\n") is Author.EDITED
    assert author_of(b"") is Author.USER
    assert state.read_account(LocalHost()).home == str(home)


def test_the_shipped_examples_are_what_is_installed() -> None:
    for name, text in examples.rendered().items():
        assert (examples.DIRECTORY / name).read_text() == text, f"{name} is out of date. Run: invoke render injection"


def test_the_patch_of_a_fork_puts_the_options_before_the_image(tmp_path: Path) -> None:
    runner = tmp_path / "src" / "container-runner.ts"
    runner.parent.mkdir()
    body = "  args.push('-e', `TZ=${TIMEZONE}`);\n\n  args.push(CONTAINER_IMAGE);\n\n  return args;\n}\n"
    runner.write_text(
        f"import fs from 'fs';\n\nfunction buildContainerArgs() {{\n  const args = ['run'];\n{body}// end\n"
    )
    patch = examples.DIRECTORY / "container-runner.patch"
    done = subprocess.run(["git", "apply", str(patch)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = runner.read_text()
    assert text.index("TZ=") < text.index("'--cap-drop=ALL'") < text.index("CONTAINER_IMAGE")


def test_the_version_is_known_whatever_podman_thinks_of_a_broken_file(home: Path, tmp_path: Path) -> None:
    directory = tmp_path / "programs"
    directory.mkdir()
    broken = '[ "$CONTAINERS_CONF" = /dev/null ] && echo podman version 5.4.2 || exit 1'
    assert read_account(FakeHost(directory, {"podman": broken})).version == "5.4.2"


@pytest.mark.parametrize("name", ["registries.conf.nanoclaw-before", "containers.conf.nanoclaw-part"])
def test_a_backup_of_the_users_own_stays(home: Path, name: str) -> None:
    backup = write(home, name, b"mine")
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert backup.read_bytes() == b"mine"


def test_what_a_killed_write_left_stays_where_nothing_is_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = write(home, f"{DROP_IN}{configuration.PART_SUFFIX}", b"half")
    monkeypatch.setenv("FAKE_PODMAN", "no-hardened")
    with pytest.raises(HostProblem, match="Nothing was installed"):
        install.install(LocalHost(), dry_run=False)
    assert left.exists()


def test_a_variable_of_the_shell_does_not_stand_for_a_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "containers.conf.d/99-later.conf", b'[containers]\nuserns = ""\n')
    monkeypatch.setenv("PODMAN_USERNS", "keep-id")
    with pytest.raises(HostProblem, match="without PODMAN_USERNS of this environment: not in force: user"):
        install.install(LocalHost(), dry_run=False)


@pytest.mark.parametrize("text", ["a = " + "[" * 3000, "a = " + "1" * 5000], ids=["deep", "long"])
def test_a_hostile_file_is_no_bug_of_this_project(home: Path, text: str) -> None:
    write(home, "containers.conf.d/99-later.conf", text.encode())
    with pytest.raises(HostProblem):
        install.install(LocalHost(), dry_run=False)
