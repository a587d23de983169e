"""The command as a user types it, where no host is needed."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from checks.core.errors import Exit
from checks.core.polling import poll
from checks.engine.docker import Record
from checks.evidence.run import CRASHED, CaseResult
from checks.runner import verify as command
from checks.runner.collection import all_cases
from tests.fakes import PODMAN
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[1]
SHIM = 'case "$1" in --version) echo podman version 5.4.2 ;; *) exit 125 ;; esac'

VERIFY = ("invoke", "--search-root", str(ROOT), "verify")
SMOKE = ("checks.nanoclaw",)


def verify(
    tmp_path: Path,
    *args: str,
    programs: dict[str, str] | None = None,
    wait: bool = True,
    module: Sequence[str] = VERIFY,
) -> subprocess.Popen[str]:
    directory = tmp_path / "programs"
    directory.mkdir()
    for name, script in (programs or {}).items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    env = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": f"{directory}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", *module, *args],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path,
    )  # fmt: skip
    if wait:
        child.wait(60)
    return child


def result(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = child.communicate(timeout=PATIENCE)
    return child.returncode, out, err


def left_behind(tmp_path: Path) -> list[str]:
    runs = tmp_path / "cache" / "nanoclaw-verify" / "runs"
    return [entry.name for entry in runs.iterdir()] if runs.is_dir() else []


@pytest.mark.parametrize(
    ("args", "status", "line"),
    [
        (["--host", "nonsense"], 2, "There is no host “nonsense”."),
        (["--host", "ssh://"], 2, "“ssh://” is not a valid ssh host."),
        (["--host", "debian-13", "--profile", "nonsense"], 2, "debian-13 has no profile “nonsense”."),
        (["--only", "nonsense"], 2, "No case matches “nonsense”."),
        (["--only", "nonsense", "--list"], 2, "No case matches “nonsense”."),
        (["--timeout-factor", "0"], 2, "--timeout-factor is 0"),
        (["--timeout-factor", "x"], 2, "--timeout-factor"),
        (["--json", "/no/such/directory/x.json"], 2, "--json: the directory /no/such/directory does not exist."),
        (["--host", "ssh://nobody@127.0.0.1:1"], 3, "ssh://nobody@127.0.0.1:1 can't be reached"),
    ],
)
def test_bad_input_is_one_clear_line_and_its_status(tmp_path: Path, args: list[str], status: int, line: str) -> None:
    got, _, err = result(verify(tmp_path, *args))
    assert got == status
    assert line in err
    assert "Traceback" not in err
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("text", ["5", "[" * 9999, '{"a": 1}', ""])
def test_a_damaged_memory_of_failed_cases_is_an_empty_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cache" / "nanoclaw-verify" / "last-failed" / "auto.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    status, out, err = result(verify(tmp_path, "--list", "--last-failed"))
    assert (status, err) == (0, "")
    assert "Bind mounts" not in out


@pytest.mark.parametrize(
    ("more", "listed"),
    [
        (["--accept", "user"], ["docker info", "docker run --name"]),  # accepts a case that is not run again
        (["--only", "docker info"], ["docker info"]),
        (["--only", "docker --version"], []),
    ],
)
def test_what_failed_last_is_listed_and_nothing_else(tmp_path: Path, more: list[str], listed: list[str]) -> None:
    file = tmp_path / "cache" / "nanoclaw-verify" / "last-failed" / "auto.json"
    file.parent.mkdir(parents=True)
    file.write_text('["info", "run-name"]')
    status, out, _ = result(verify(tmp_path, "--list", "--last-failed", *more))
    assert status == 0
    assert [line.split("  ")[-1] for line in out.splitlines()[2:]] == listed


@pytest.mark.parametrize("columns", ["0", "00", "²", "-1", ""])
def test_a_screen_of_no_columns_shows_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    status, out, err = result(verify(tmp_path, "--list"))
    assert (status, err) == (0, "")
    assert "docker run with stdin piping" in out


def test_the_list_has_every_group_and_needs_no_host(tmp_path: Path) -> None:
    status, out, err = result(verify(tmp_path, "--list"))
    assert (status, err) == (0, "")
    assert "Image operations" in out
    assert "docker run with stdin piping" in out


@pytest.mark.parametrize("directory", ["/nonexistent", "relative"])
def test_a_directory_for_temporary_files_that_can_not_be_used_is_status_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    monkeypatch.setenv("TMPDIR", directory)
    programs = {"docker": SHIM, "podman": PODMAN, "id": "echo 1500"}
    status, _, err = result(verify(tmp_path, "--host", "local", programs=programs))
    assert (status, f"TMPDIR is “{directory}”" in err) == (3, True), err


def test_a_runtime_directory_that_is_relative_is_status_3_and_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    programs = {"docker": SHIM, "podman": PODMAN, "id": "echo 1500"}
    status, _, err = result(verify(tmp_path, "--host", "local", programs=programs))
    assert (status, "XDG_RUNTIME_DIR is “relative”" in err) == (3, True), err


def test_the_list_shows_what_only_would_run(tmp_path: Path) -> None:
    status, out, _ = result(verify(tmp_path, "--list", "--only", "bind mounts", "--only", "!dev-null"))
    assert status == 0
    assert "read-only" in out
    assert "docker build" not in out
    assert "dev-null-over-file" not in out


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({"docker": "echo Docker version 28.2.2", "podman": PODMAN}, "Docker's client"),
        ({"docker": "sleep 60", "podman": PODMAN}, "“docker --version” timed out"),
        ({"docker": SHIM, "podman": "echo no subuids >&2; exit 125"}, "“podman info” fails: no subuids"),
        (
            {"docker": SHIM, "podman": f'[ "$1" != build ] || {{ echo no space >&2; exit 125; }}; {PODMAN}'},
            "no space",
        ),
    ],
    ids=["Docker's client", "a docker that hangs", "a podman that fails", "a podman that can't build"],
)
def test_a_machine_that_can_not_be_tested_is_status_3(tmp_path: Path, programs: dict[str, str], reason: str) -> None:
    programs["pgrep"] = "echo 1 nanoclaw-verify-look"  # the real one knows no processes of that made-up account
    programs["id"] = 'if [ "$1" = -u ]; then echo 1500; else exec /usr/bin/id "$@"; fi'
    junit = tmp_path / "verify.xml"
    status, out, err = result(verify(tmp_path, "--host", "local", "--junit", str(junit), programs=programs))
    assert status == 3
    assert reason in err
    errors = ElementTree.parse(junit).getroot().findall(".//error")  # noqa: S314 - our own
    assert [reason in each.get("message", "") for each in errors] == [True]
    assert "[FAIL]" not in out
    assert "Traceback" not in err
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("module", "number"), [(VERIFY, signal.SIGTERM), (VERIFY, signal.SIGINT), (SMOKE, signal.SIGTERM)]
)
def test_a_signal_ends_the_run_and_leaves_nothing(
    tmp_path: Path, module: Sequence[str], number: signal.Signals
) -> None:
    asked = tmp_path / "asked"
    hangs = {"docker": f": >'{asked}'; sleep 50", "podman": PODMAN}
    junit = tmp_path / "verify.xml"
    reported = ["--junit", str(junit)] if module is VERIFY else []
    child = verify(tmp_path, "--host", "local", *reported, programs=hangs, wait=False, module=module)
    assert poll(asked.exists, timeout=PATIENCE, interval=0.05), "no run has begun"
    child.send_signal(number)
    got, _, err = result(child)
    assert got == 130
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert left_behind(tmp_path) == []
    if reported:
        assert 'errors="1"' in junit.read_text()


def test_what_a_parent_has_done_to_signals_changes_no_exit_status(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
os.umask(0o777)
os.execv(sys.executable, [sys.executable, "-m", *{VERIFY!r}, "--host", "local", "--at-once", "1"])
"""
    (tmp_path / "bin").mkdir()
    programs = {
        "docker": SHIM,
        "podman": "echo broken >&2; exit 125",
        "id": 'if [ "$1" = -u ]; then echo 1500; else exec /usr/bin/id "$@"; fi',
    }
    for name, script in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, "“podman info” fails: broken" in done.stderr) == (3, True), done.stderr


def test_what_a_shell_wants_of_pytest_changes_no_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = [case.id for case in all_cases()]
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k test_version --no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    assert [case.id for case in all_cases()] == everything
    assert os.environ["PYTEST_ADDOPTS"] == "-k test_version --no-such-option"


def test_the_json_of_an_earlier_run_is_not_that_of_one_that_failed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"cases": "passed"}')
    assert result(verify(tmp_path, "--host", "ssh://nobody@127.0.0.1:9", "--json", "a.json"))[0] == 3
    assert "did not reach its end" in (tmp_path / "a.json").read_text()


def test_a_fault_of_this_project_alone_is_no_failed_case() -> None:
    crashed = CaseResult("a", "g", "l", "failed", 1.0, Record(), expected=CRASHED, got="KeyError")
    failed = dataclasses.replace(crashed, expected="exit status 0", got="exit status 1")
    passed = dataclasses.replace(crashed, outcome="passed")
    assert command._status([passed]) is Exit.OK
    assert command._status([passed, crashed]) is Exit.OWN_FAULT
    assert command._status([crashed, failed]) is Exit.CASE_FAILED


def test_a_run_whose_cases_were_all_skipped_has_tested_nothing() -> None:
    skipped = CaseResult("a", "g", "l", "skipped", 1.0, Record(), reason="no such account")
    passed = dataclasses.replace(skipped, outcome="passed")
    assert command._status([skipped, skipped]) is Exit.NOT_TESTED
    assert command._status([skipped, passed]) is Exit.OK
