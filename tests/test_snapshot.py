"""The snapshot that the doctor takes: what a host may do to it, and what it does to the host."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from checks.core.errors import HostProblem
from checks.core.paths import FIXTURES
from checks.guide import snapshot
from checks.guide.diagnosis import diagnose
from checks.guide.snapshot import parse, take
from tests.fakes import FakeHost
from tests.patience import AT_ONCE, PATIENCE
from tests.test_doctor import ENTRIES


def test_the_snapshot_changes_nothing() -> None:
    script = (FIXTURES / "doctor" / "snapshot.sh").read_text()
    assert " >/" not in script.replace(">/dev/null", "")
    assert "mktemp" not in script


PROGRAMS = {
    "docker": "echo podman version 5.4.2",
    "podman": """case $1 in
--version) echo podman version 5.4.2 ;;
info) echo "{}"; echo careful >&2 ;;
esac""",
}


PROCESSES = """\
7 /usr/bin/conmon --api-version 1 -c ID -n nanoclaw-x --exit-dir /x
8 /usr/bin/conmon --api-version 1 -c ID -n nanoclaw-watched --exit-dir /x
9 /usr/bin/podman run -i --rm --name nanoclaw-watched image
12 /usr/bin/podman run -i --rm --name nanoclaw-x-and-more image
10 /usr/bin/conmon --api-version 1 -c ID -n nanoclaw-((((x{1,255}){1,255}){1,255}){1,255}) --exit-dir /x
11 sh -c podman run --name nanoclaw-x
"""


def test_a_snapshot_has_the_hosts_programs_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    drop_ins = home / ".config/containers/containers.conf.d"
    drop_ins.mkdir(parents=True)
    (drop_ins / "50-x.conf").write_text("[engine]\nhooks_dir = [\n  '/no/such/directory',\n  \"/usr\",\n]\n")
    (home / ".local/share/containers/storage").mkdir(parents=True)
    for key, value in {"HOME": str(home), "DOCKER_OPTS": "--x", "HTTPS_PROXY": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(key, value)
    for key in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(key, raising=False)
    watcher = f"cat <<'END'\n{PROCESSES}END\n"
    identity = 'case "$*" in -u) echo 1500 ;; *) echo me ;; esac'
    host = FakeHost(tmp_path, {**PROGRAMS, "id": identity, "pgrep": watcher})
    done = take(host)
    assert done.first("docker").endswith("/bin/docker")
    assert done.version == (5, 4)
    assert (done.paths["/no/such/directory"], done.paths["/usr"]) == ("-", "d")
    assert done.hook_directories() == ["/no/such/directory", "/usr"]
    assert done.setting("engine", "hooks_dir") == ["/no/such/directory", "/usr"]
    assert done.environment["DOCKER_OPTS"] == "--x"
    assert list(done.lines("proxy")) == ["HTTPS_PROXY"]
    assert (done.first("info"), done.first("info_ok"), done.text("info_error")) == ("{}", "yes", "careful")
    assert list(done.lines("unwatched")) == ["nanoclaw-x"]


def test_podman_info_is_skipped_if_the_account_never_used_podman(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    podman = f"echo asked >>{tmp_path}/asked; {PROGRAMS['podman']}"
    host = FakeHost(tmp_path, {"podman": podman, "docker": "echo Docker version 26.1.5", "id": "echo 1500"})
    done = take(host)
    assert "info" not in done.values
    assert (tmp_path / "asked").read_text() == "asked\n"  # only for its version
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "named"), [("/dev/zero", ["is a pipe, a socket or a device"]), ("/dev/null", []), ("", ["is a pipe"])]
)
def test_settings_that_podman_would_read_without_an_end_are_named(
    device: str, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "containers" / "containers.conf"
    file.parent.mkdir()
    if device:
        file.symlink_to(device)
    else:
        os.mkfifo(file)
    found = take(FakeHost(tmp_path, {"podman": "exit 1", "docker": "exit 1"})).unreadable_settings
    assert [each for each in named if found and f"{file} {each}" in found[0]] == named
    assert len(found) == len(named)


@pytest.mark.parametrize("name", [".50-x.conf", ".conf"])
def test_a_hidden_drop_in_counts_as_it_does_for_podman(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    drop_ins = tmp_path / "containers" / "containers.conf.d"
    drop_ins.mkdir(parents=True)
    (drop_ins / name).write_text('[containers]\nuserns = "host"\n')
    found = take(FakeHost(tmp_path, {"podman": "echo podman version 5.4.2", "docker": "exit 1"}))
    assert found.setting("containers", "userns") == "host"


@pytest.mark.parametrize("name", ["99-a.conf=b.conf", "9\nengine=x.conf"])
def test_a_settings_file_whose_name_would_be_taken_for_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "containers" / "containers.conf.d" / name
    file.parent.mkdir(parents=True)
    file.write_text('[containers]\nuserns = "host"\n')
    with pytest.raises(HostProblem, match=r"has “\.conf=” or an end of line in it"):
        take(FakeHost(tmp_path, {"podman": "exit 1", "docker": "exit 1"}))


def test_settings_that_are_too_large_to_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "containers" / "containers.conf"
    file.parent.mkdir()
    host = FakeHost(tmp_path, {"podman": "exit 1", "docker": "exit 1"})
    file.write_bytes(b"#" * 2**18)
    take(host)
    file.write_bytes(b"#" * (2**18 + 1))
    with pytest.raises(HostProblem, match=f"{file} has more than"):
        take(host)


def test_the_last_line_of_settings_counts_without_an_end_of_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "containers" / "containers.conf"
    file.parent.mkdir()
    file.write_text('[containers]\nuserns = "host"')
    found = take(FakeHost(tmp_path, {"podman": "exit 1", "docker": "exit 1"}))
    assert found.setting("containers", "userns") == "host"


def test_a_podman_that_hangs_is_diagnosed_and_does_not_hang_the_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.local/share/containers/storage").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(snapshot, "_PROGRAM_TIMEOUT", 0.5)
    host = FakeHost(tmp_path, {"podman": "exec sleep 600", "docker": "exec sleep 600", "id": "echo 1500"})
    started = time.monotonic()
    found = [each.entry.id for each in diagnose(take(host), ENTRIES)]
    assert time.monotonic() - started < AT_ONCE
    assert "docker-info-fails" in found


@pytest.mark.parametrize(
    ("program", "closed"), [("docker", ""), ("podman", "2>/dev/null"), ("podman", ">/dev/null"), ("node", "")]
)
def test_a_program_that_leaves_a_process_behind_does_not_hang_the_doctor(
    program: str, closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.local/share/containers/storage").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(snapshot, "_PROGRAM_TIMEOUT", 5)
    programs = {**PROGRAMS, "docker": "echo Docker version 26.1.5", "node": "echo v22.1.0", "id": "echo 1500"}
    programs[program] = f"sleep 600 {closed} &\n{programs[program]}"
    started = time.monotonic()
    done = take(FakeHost(tmp_path, programs))
    assert time.monotonic() - started < AT_ONCE
    versions = [done.first(f"{name}_version") for name in ("docker", "podman", "node")]
    assert versions == ["Docker version 26.1.5", "podman version 5.4.2", "v22.1.0"]
    assert (done.first("info"), done.first("info_ok"), done.text("info_error")) == ("{}", "yes", "careful")


def test_a_podman_that_hangs_is_told_from_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home/.local/share/containers/storage").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(snapshot, "_PROGRAM_TIMEOUT", 2)
    done = take(FakeHost(tmp_path, {**PROGRAMS, "id": "echo 1500", "podman": "exec sleep 600"}))
    assert (done.first("info_ok"), done.text("info_error")) == ("", "it has not ended after 2 s")


@pytest.mark.parametrize("where", ["docker --version", "podman --version", "podman info", "podman info >&2", "node"])
def test_no_program_of_the_host_fills_the_memory(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the shell's, which keeps a line and the output of a command substitution."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".local" / "share" / "containers" / "storage").mkdir(parents=True)
    program, _, rest = where.partition(" ")
    flood = f"head -c 300000000 /dev/zero | tr '\\0' x {'>&2' if '>&2' in rest else ''}; exit 1"
    programs = {
        "id": "echo 1500",
        "docker": "echo other",
        "podman": "echo podman version 5.4.2",
        "node": "echo v22.1.0",
    }
    arguments = rest.removesuffix(">&2").strip()
    programs[program] = f'case "$*" in "{arguments}"*) {flood} ;; *) {programs[program]} ;; esac'
    host = FakeHost(tmp_path, programs)
    script = (FIXTURES / "doctor" / "snapshot.sh").read_text()
    limited = ["sh", "-c", 'ulimit -v 200000; exec "$@"', "sh", "sh", "-c", script, "snapshot.sh", "60"]  # KiB
    done = host.run(limited, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-300:]
    assert "info_ok" not in parse(done.stdout) or "info" not in arguments
    assert len(done.stdout_bytes) < 2 << 20


def test_a_name_with_a_newline_forges_nothing(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, {"docker": "echo podman version 5.4.2"})
    (tmp_path / "home" / ".config" / "containers" / "containers.conf.d").mkdir(parents=True)
    script = (FIXTURES / "doctor" / "snapshot.sh").read_text()
    argv = ["env", f"HOME={tmp_path}/home\nforged=yes", "sh", "-c", script, "snapshot.sh", "10"]
    assert "forged" not in parse(host.run(argv).stdout)


def test_ids_of_another_account_are_not_this_accounts(tmp_path: Path) -> None:
    # A name is a word, not a pattern: “first.last” is not “firstxlast”.
    host = FakeHost(
        tmp_path, {"id": 'case "$*" in -un) echo first.last ;; *) echo 4711 ;; esac', "getsubids": "exit 1"}
    )
    (tmp_path / "subuid").write_text("firstxlast:100000:65536\n14711:1:2\n")
    (tmp_path / "subgid").write_text("first.last:100000:65536\n4711:300000:65536\n")
    script = (FIXTURES / "doctor" / "snapshot.sh").read_text().replace("/etc/sub", f"{tmp_path}/sub")
    found = parse(host.run(["sh", "-c", script, "snapshot.sh", "10"]).stdout)
    assert "subuid" not in found
    assert found["subgid"] == ["first.last:100000:65536", "4711:300000:65536"]


def test_a_host_that_can_not_be_inspected_is_reported(tmp_path: Path) -> None:
    with pytest.raises(HostProblem, match=r"ended before it began, with exit status 5\. Check that ~/.profile"):
        take(FakeHost(tmp_path, {"sh": "exit 5"}))


@pytest.mark.parametrize("profile", ["id", "printf '\\033]0;title\\007'", "echo uid=0; echo docker=/x; printf x"])
def test_what_a_profile_prints_is_no_fact(tmp_path: Path, profile: str) -> None:
    done = take(FakeHost(tmp_path, {"sh": f'{profile}\nexec /bin/sh "$@"', "id": "echo 1500"}))
    assert (done.first("uid"), done.first("user")) == ("1500", "1500")
    assert done.first("docker") != "/x"
