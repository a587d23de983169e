"""``invoke doctor --fix`` and ``--undo``, on this machine with programs of the tests' own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from checks.core.errors import Exit, HostProblem
from checks.engine.placement import PART_SUFFIX, File
from checks.guide import catalogue, doctor, findings, fix, fix_plan, snapshot
from checks.guide.diagnosis import diagnose
from checks.hosts.local import LocalHost
from tests.injection import snapshot as everything
from tests.test_doctor import HEALTHY, changed, taken

ENTRIES = catalogue.load()
KEEP_ID = "permission-denied-in-the-workspace"
LINGER = "agents-stop-when-the-user-logs-out"
DROP_IN = ".config/containers/containers.conf.d/50-nanoclaw.conf"
CONF = "conf:/home/me/.config/containers/containers.conf"


def planned(*lines: str, **present: bytes) -> fix_plan.Plan:
    host = taken(changed(*lines))
    there = {f"/home/me/{DROP_IN}": present.get("drop_in")}
    return fix_plan.plan(host, diagnose(host, ENTRIES), ENTRIES, there)


def test_the_file_is_the_one_that_the_entrys_own_commands_write() -> None:
    [action] = planned("conf=").actions
    assert action.files == [File(f"/home/me/{DROP_IN}", b'[containers]\nuserns = "keep-id"\n', 0o644)]


def test_a_file_that_another_process_puts_beside_it_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    make = subprocess.run

    def made_by_two(argv: list[str], *, env: dict[str, str], **options: Any) -> None:
        make(argv, env=env, **options)
        planted = Path(env["HOME"]) / ".ssh" / "authorized_keys"
        planted.parent.mkdir()
        planted.write_text("a key\n")

    monkeypatch.setattr("checks.guide.fix_plan.subprocess.run", made_by_two)
    [action] = planned("conf=").actions
    assert [file.path for file in action.files] == [f"/home/me/{DROP_IN}"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            [CONF.replace("conf:", "conf=", 1), f"{CONF}=[containers]", f'{CONF}=userns = "auto"'],
            "sets userns = 'auto'",
        ),
        (["conf=", "env=PODMAN_USERNS=host"], "PODMAN_USERNS is host"),
        (["conf=", "docker_version=podman version 3.0.1", "slirp4netns=/x"], "Podman 3 ignores|not set to keep-id"),
    ],
)
def test_a_file_that_conflicts_or_would_not_help_is_not_written(lines: list[str], reason: str) -> None:
    made = planned(*lines)
    assert not made.files
    [left] = [each for each in made.left if each.entry.id == KEEP_ID]
    assert any(part in left.reason for part in reason.split("|")), left.reason


def test_another_file_at_the_path_is_a_conflict() -> None:
    made = planned("conf=", drop_in=b"# mine\n")
    assert not made.files
    assert "exists and has other content" in made.left[0].reason
    assert made.left[0].reason.endswith('Add to it: [containers] / userns = "keep-id"')
    assert not made.left[0].steps, "a command would replace it"


def test_a_fix_that_removes_images_is_never_run() -> None:
    made = planned('info={"store": {"graphDriverName": "vfs"}}')
    assert not made.actions
    lines = fix.remaining(made.left, taken(HEALTHY))
    assert any("removes all images" in line for line in lines)
    assert "    podman system reset --force" in lines


def test_commands_for_root_are_complete() -> None:
    made = planned("subuid=", "docker_version=Docker version 26.1.5, build a72d7cd")
    lines = fix.remaining(made.left, taken(HEALTHY))
    assert "    usermod --add-subuids 100000-165535 --add-subgids 100000-165535 me" in lines
    assert "    mv /usr/bin/docker /usr/bin/docker.not-podman" in lines
    assert lines.index("  As root:") < lines.index("    mv /usr/bin/docker /usr/bin/docker.not-podman")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, on a machine with lingering off and without keep-id, whose programs report a plain account."""
    directory = tmp_path / "a home"
    (directory / ".config" / "containers").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name, script in {
        "id": 'case "$*" in -u) echo 1500 ;; *) echo me ;; esac',
        "stat": """case "$*" in "-L -c %u %U "*) echo 1500 me ;; *) exec /usr/bin/stat "$@" ;; esac""",
        "loginctl": f'echo "$*" >>"{tmp_path}/loginctl"; [ ! -e "{tmp_path}/refuse" ]',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    probes = iter([fix._Probe(wrote=False, error=""), fix._Probe(wrote=True, error="")])
    monkeypatch.setattr(fix, "_probe", lambda _: next(probes))

    def take(_: object) -> snapshot.HostSnapshot:
        file, log = directory / DROP_IN, tmp_path / "loginctl"
        last = log.read_text().splitlines()[-1] if log.exists() else ""
        on = last.startswith("enable") and not any((tmp_path / name).exists() for name in ("refuse", "ignore"))
        written = file.read_text().splitlines() if file.exists() else []
        lines = [f"conf={file}", *(f"conf:{file}={line}" for line in written)] if written else ["conf="]
        return taken(changed(f"home={directory}", *lines, f"linger={'yes' * on}"))

    monkeypatch.setattr(snapshot, "take", take)
    return directory


def test_fix_writes_and_undo_restores_everything(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(home)
    assert doctor.doctor(fix=True, yes=True) is Exit.OK
    assert (home / DROP_IN).read_text() == '[containers]\nuserns = "keep-id"\n'
    assert "Fixed: Permission denied in the workspace; a container wrote" in capsys.readouterr().out
    assert (home.parent / "loginctl").read_text() == "enable-linger me\n"
    assert doctor.doctor(undo=True) is Exit.OK
    assert everything(home) == before
    assert (home.parent / "loginctl").read_text().endswith("disable-linger me\n")
    assert doctor.doctor(undo=True) is Exit.OK
    assert "Nothing to undo" in capsys.readouterr().out


@pytest.mark.parametrize("spelt", ["{}/", "{}/../a home", "{}/../link"])
def test_undo_knows_the_home_however_it_is_spelt(home: Path, spelt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(home)
    assert doctor.doctor(fix=True, yes=True) is Exit.OK
    (home.parent / "link").symlink_to(home)
    monkeypatch.setenv("HOME", spelt.format(home))
    assert doctor.doctor(undo=True) is Exit.OK
    assert everything(home) == before


def test_a_home_that_is_not_utf_8_is_refused_and_no_other_directory_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = home.parent / os.fsdecode(b"h\xff")
    odd.mkdir()
    monkeypatch.setenv("HOME", str(odd))
    assert doctor.doctor(fix=True, yes=True) is Exit.HOST_UNUSABLE
    assert sorted(path.name for path in home.parent.iterdir() if path.is_dir()) == ["a home", "bin", "cache", odd.name]
    assert list(odd.iterdir()) == []


def test_nothing_is_changed_without_an_answer(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(home)
    assert doctor.doctor(fix=True) is Exit.CASE_FAILED
    assert "Nothing was changed: standard input is not a terminal" in capsys.readouterr().out
    assert everything(home) == before


def test_a_command_without_its_effect_has_fixed_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home.parent / "ignore").touch()
    assert doctor.doctor(fix=True, yes=True) is Exit.CASE_FAILED
    out = capsys.readouterr().out
    assert "Fixed: Agents stop" not in out
    assert "Not fixed: the doctor still finds it after the command." in out
    assert len(json.loads((home / fix.RECORD).read_text())["undo"]) == 1


def test_a_command_that_is_refused_is_left_to_root(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home.parent / "refuse").touch()
    assert doctor.doctor(fix=True, yes=True) is Exit.CASE_FAILED
    out = capsys.readouterr().out
    assert "Fixed: Agents stop" not in out
    assert "  As root:\n    loginctl enable-linger me\n" in out
    assert json.loads((home / fix.RECORD).read_text())["undo"] == []


def test_a_file_without_its_effect_is_rolled_back(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(home)
    monkeypatch.setattr(fix, "_probe", lambda _: fix._Probe(wrote=False, error=""))
    assert doctor.doctor(fix=True, yes=True) is Exit.HOST_UNUSABLE
    assert "a container still can't write" in capsys.readouterr().err
    assert everything(home) == before


def test_an_edited_file_is_not_removed(home: Path) -> None:
    doctor.doctor(fix=True, yes=True)
    (home / DROP_IN).write_text("# mine\n")
    assert doctor.doctor(undo=True) is Exit.CASE_FAILED
    assert (home / DROP_IN).read_text() == "# mine\n"


@pytest.mark.parametrize(
    "text", ["{", '{"files": {"/etc/passwd": "x"}, "directories": [], "undo": []}', '{"files": 5}', "\\xff"]
)
def test_a_record_that_is_not_ours_removes_nothing(home: Path, text: str) -> None:
    record = home / fix.RECORD
    record.parent.mkdir(parents=True)
    record.write_text(text)
    with pytest.raises(HostProblem, match="Move it away"):
        fix.undo(LocalHost())
    assert record.exists()


@pytest.mark.parametrize("text", ["", "{", '{"files"'])
def test_a_record_that_was_not_written_to_its_end_is_removed(home: Path, text: str) -> None:
    part = home / f"{fix.RECORD}{PART_SUFFIX}"
    part.parent.mkdir(parents=True)
    part.write_text(text)
    assert fix.undo(LocalHost()) is Exit.OK
    assert not part.exists()


@pytest.mark.parametrize("part", ["files", "directories", "undo"])
def test_an_edited_record_names_nothing_outside_and_runs_nothing_of_its_own(home: Path, part: str) -> None:
    outside = home.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    digest = hashlib.sha256(b"x").hexdigest()
    edited = {
        "files": {f"{home}/../outside/kept": digest},
        "directories": [f"{home}/.config/../../outside"],
        "undo": [f"rm -r {outside}"],
    }
    record = home / fix.RECORD
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"files": {}, "directories": [], "undo": [], part: edited[part]}))
    with pytest.raises(HostProblem, match="Move it away"):
        fix.undo(LocalHost())
    assert (outside / "kept").exists()


@pytest.mark.parametrize(
    "options",
    [{"yes": True}, {"undo": True, "json": "x"}, {"fix": True, "host": "debian-13"}, {"explain": "x", "fix": True}],
)
def test_wrong_combinations_are_wrong_usage(options: dict[str, object]) -> None:
    assert doctor.doctor(**options) is Exit.WRONG_USAGE  # type: ignore[arg-type]


def test_without_systemd_no_command_of_systemd_is_a_fix() -> None:
    host = taken(changed("init=sh", "bus=", "controllers=memory"))
    found = diagnose(host, ENTRIES)
    assert {each.entry.id for each in found} >= {"there-is-no-systemd-user-session"}
    said = "\n".join(fix.remaining(fix_plan.plan(host, found, ENTRIES, {}).left, host))
    assert "By hand: Start systemd first (in WSL: `systemd=true` under `[boot]`" in said
    assert "systemctl" not in said
    fixes = {each.id: each.fix for each in findings.results(host, found, ENTRIES, {})}
    assert fixes["there-is-no-systemd-user-session"].startswith("Start systemd first")
    assert not fix_plan.plan(host, found, ENTRIES, {}).actions


def test_settings_of_pasta_are_no_fix_where_podman_does_not_use_it() -> None:
    lines = ["gateway=127.0.0.1:10255", "slirp4netns=/usr/bin/slirp4netns"]
    for version, said in (("4.3.1", False), ("5.4.2", True)):
        host = taken(changed(*lines, f"docker_version=podman version {version}"))
        made = fix_plan.plan(host, diagnose(host, ENTRIES), ENTRIES, {})
        files = [file.data for action in made.actions for file in action.files]
        text = "\n".join(fix.remaining(made.left, host)) + repr(files)
        assert ("pasta_options" in text) == said, text
