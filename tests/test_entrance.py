"""How programs of this project start and end, as processes: whatever goes wrong, status 1 is a failed case alone."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from checks.cli.tasks import TASKS
from checks.core.errors import Exit
from checks.core.outcome import run_and_report
from checks.core.paths import ROOT
from tests.patience import PATIENCE

OWN = (sys.executable, str(ROOT / "tasks.py"))
"""What .venv/bin/invoke runs."""
PLAIN = (sys.executable, "-m", "invoke", "--search-root", str(ROOT))
"""Invoke as it is installed, which loads tasks.py."""
SMOKE = (sys.executable, "-P", "-m", "checks.nanoclaw")


def run(tmp_path: Path, argv: Sequence[str | bytes], **settings: str | None) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    for key, value in settings.items():
        environment.pop(key, None)
        if value is not None:
            environment[key] = value
    return subprocess.run(
        argv, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip


MISTYPED: list[list[str | bytes]] = [
    ["verify", "--no-such-option"], ["no-such-task"], ["verify", "--host"], ["verify", "debian-13"],
    ["compare", "one"], ["verify", "--host", "a", "--host", "b"], ["verify", "--only", ""],
    ["verify", "--only"], ["verify", "--only", "a", "--list", "--only"], ["--list", "--list-format=bad"],
    ["verify", "--list", "--nanoclaw", "~nosuchuser/x"],
    ["verify", "--", "x"],
    ["--dry", "clean"], ["clean", "--cache=1"], ["verify", b"--only", b"\xff"], ["--help", "dance"],
    ["nanoclaw", "fetch", "--ref", ".."], ["matrix", "--host", "local"], ["verify", "--json", "-"],
    ["wslconfig", "--containers", "1", "--host-memory", "32GB", "--host-cpus", "8", "--output", "-"],
    ["verify", "--list", "--host", ".."], ["matrix", "--timeout-factor", "nan"],
]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "typed"), [*((PLAIN, typed) for typed in MISTYPED), *((OWN, typed) for typed in MISTYPED[:4])], ids=str
)
def test_what_was_mistyped_is_one_line_and_2(program: Sequence[str], typed: Sequence[str], tmp_path: Path) -> None:
    done = run(tmp_path, [*program, *typed])
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Wrong usage: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread"), OSError(24, "x")], ids=str)
def test_a_machine_without_memory_processes_or_descriptors_is_3(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> Exit:
        raise error

    assert run_and_report(run, print) is Exit.HOST_UNUSABLE
    assert "can’t be used" in capsys.readouterr().out


@pytest.mark.parametrize(
    "typed",
    [["--list-depth", "x"], ["-f", "/nope", "hosts"], ["--search-root"], ["--command-timeout", "soon"], ["-T"]],
    ids=str,
)
def test_what_invoke_itself_can_not_read_is_2(typed: Sequence[str], tmp_path: Path) -> None:
    assert run(tmp_path, [*OWN, *typed]).returncode == 2


@pytest.mark.parametrize(
    "typed",
    [
        ["--host"],
        ["--host", ""],
        ["--host", "a", "--host=b"],
        ["word"],
        ["--read-only", "--host", "local"],
        ["--host", "x"],
    ],
    ids=str,
)
def test_what_was_mistyped_for_the_smoke_test_is_2(typed: Sequence[str], tmp_path: Path) -> None:
    done = run(tmp_path, [*SMOKE, *typed])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_the_version_is_the_projects(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert run(tmp_path, [*OWN, "--version"]).stdout == f"{project['name']} {project['version']}\n"


def test_tasks_are_found_from_any_directory_and_files_are_named_from_there(tmp_path: Path) -> None:
    assert "docker build" in run(tmp_path, [*OWN, "verify", "--list"]).stdout
    typed = ["wslconfig", "--containers", "1", "--host-memory", "32GB", "--host-cpus", "8", "--output", "here"]
    assert run(tmp_path, [*OWN, *typed]).returncode == 0
    assert (tmp_path / "here").is_file()


@pytest.mark.parametrize("program", [OWN, PLAIN], ids=["own", "plain"])
@pytest.mark.parametrize(
    "typed", ["inv ver", "invoke verify --list cl", "/clone/.venv/bin/invoke ", "inv verify --list", ""]
)
def test_a_completion_prints_the_names_of_all_tasks(program: Sequence[str], typed: str, tmp_path: Path) -> None:
    done = run(tmp_path, [*program, "--complete", "--", *typed.split()])
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == sorted(TASKS)


@pytest.mark.parametrize("program", [OWN, PLAIN], ids=["own", "plain"])
@pytest.mark.parametrize(
    ("typed", "completed", "not_completed"),
    [
        ("inv verify --ho", "--host", "--cache"), ("inv verify --only a clean --", "--cache", "--host"),
        ("./.venv/bin/inv clean --ca", "--cache", "--host"), ("inv --li", "--list", "--cache"),
        ("inv render trust security --c", "--check", "--cache"),
    ],
)  # fmt: skip
def test_a_completion_prints_the_options_of_the_task(
    program: Sequence[str], typed: str, completed: str, not_completed: str, tmp_path: Path
) -> None:
    done = run(tmp_path, [*program, "--complete", "--", *typed.split()])
    assert (done.returncode, done.stderr) == (0, "")
    assert completed in done.stdout.split()
    assert not_completed not in done.stdout.split()


@pytest.mark.parametrize(
    "typed",
    [
        "inv verify --only 'a", 'inv verify --only "', "inv verify --host", "inv --list-depth x --", "inv nonsense --x",
        "inv verify -- --", "inv verify \\", "inv verify --only \udcff --", "--", "- -", "inv clean --cache=1 --",
    ],
)  # fmt: skip
def test_a_completion_of_any_command_line_is_0_without_a_message(typed: str, tmp_path: Path) -> None:
    done = run(tmp_path, [*OWN, "--complete", "--", *typed.split()])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_tasks_and_options_with_the_script_that_invoke_prints(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "invoke").write_text(f'#!/bin/sh\nexec {shlex.join(OWN)} "$@"\n')
    (tmp_path / "bin" / "invoke").chmod(0o755)
    script = """
        eval "$(invoke --print-completion-script bash)"
        for words in "inv ver" "inv verify --hos"; do
            COMP_WORDS=($words) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _complete_invoke inv "${words##* }" && printf '%s\\n' "${COMPREPLY[*]}"
        done
    """
    done = run(tmp_path, ["bash", "-c", script], PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "verify\n--host\n", "")


def test_several_tasks_run_one_after_the_other_until_one_fails(tmp_path: Path) -> None:
    done = run(tmp_path, [*OWN, "clean", "compare", "a", "b", "hosts"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "Host" in run(tmp_path, [*OWN, "clean", "hosts"]).stdout


@pytest.mark.parametrize(
    "settings",
    [
        {"HOME": "/nonexistent"}, {"HOME": ""}, {"HOME": None}, {"HOME": "/dev/null"}, {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"}, {"LC_ALL": "C", "PYTHONUTF8": "1", "PYTHONCOERCECLOCALE": "0"},
        {"XDG_CACHE_HOME": "cache"}, {"INVOKE_RUN_ECHO": "x", "INVOKE_TASKS": "y"}, {"TERM": None}, {"COLUMNS": "0"},
    ],
    ids=str,
)  # fmt: skip
def test_an_odd_environment_changes_no_status(settings: dict[str, str | None], tmp_path: Path) -> None:
    (tmp_path / ".invoke.yaml").write_text("]: not yaml")
    for typed, status in ((["verify", "--list"], 0), (["verify", "--host", "→"], 2)):
        done = run(tmp_path, [*OWN, *typed], **settings)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_a_home_that_can_not_be_read_is_status_3_or_no_matter(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root, to become another account")
    (tmp_path / ".invoke.yaml").touch()
    tmp_path.chmod(0o700)
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run(
        [*other, *OWN, "doctor"], cwd="/", env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "can't open file" in done.stderr or not os.access(ROOT, os.X_OK):
        pytest.skip("another account can't read the project here")
    assert done.returncode == 3
    assert "can't be made: Permission denied" in done.stderr


@pytest.mark.parametrize(
    ("redirected", "statuses"),
    [
        ("| head -1 >/dev/null; exit $(cat status)", {0, 130}), ("2>&1 | true; exit $(cat status)", {0, 130}),
        (">&-; exit $(cat status)", {0}), ("<&- >&- 2>&-; exit $(cat status)", {0}),
        (">/dev/full; exit $(cat status)", {3}), (">/dev/full 2>/dev/full; exit $(cat status)", {3}),
        ("2>/dev/full >/dev/null; exit $(cat status)", {0}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("program", [OWN, PLAIN], ids=["own", "plain"])
def test_an_output_that_can_not_be_written_is_never_a_failed_case(
    redirected: str, statuses: set[int], program: Sequence[str], tmp_path: Path
) -> None:
    script = f"""{{ "$@" verify --list; echo $? >status; }} {redirected}"""
    done = run(tmp_path, ["sh", "-c", script, "sh", *program])
    assert done.returncode in statuses, done.stderr
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize("program", [OWN, PLAIN], ids=["own", "plain"])
@pytest.mark.parametrize("after", [0.3, 0.8])
def test_ctrl_c_while_it_starts_is_130(program: Sequence[str], after: float, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*program, "verify", "--list"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(after)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    # Before this project's code is loaded the signal kills, which is 130 to a shell, or Invoke ends with 1 and no word.
    # After the last line the signal is too late.
    assert child.returncode in (130, -signal.SIGINT, 0) or (child.returncode == 1 and program == PLAIN and not err), err


@pytest.mark.parametrize("after", [0.01, 0.03, 0.06])
def test_ctrl_c_waits_until_python_has_started(after: float) -> None:
    """As scripts/lib.sh starts it: Python itself would exit with status 1. Before it is blocked the signal kills."""
    assert "exec env --block-signal=INT" in (ROOT / "scripts" / "lib.sh").read_text()
    child = subprocess.Popen(
        ["env", "--default-signal=INT", "--block-signal=INT", *OWN, "verify", "--list"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(after)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert (child.returncode, err.count("\n")) in ((130, 1), (-signal.SIGINT, 0)), err


def test_a_bug_in_a_task_or_in_its_module_is_70(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__"))
    settings = {"PYTHONPATH": str(copy)}
    hosts = copy / "checks" / "hosts" / "table.py"
    hosts.write_text(hosts.read_text().replace("    rows = [_local()]", "    rows = [{}['x']]"))
    for program in (OWN, PLAIN):
        typed = [word.replace(str(ROOT), str(copy)) for word in program]
        done = run(tmp_path, [*typed, "hosts"], **settings)
        assert (done.returncode, done.stderr.count("\n")) == (70, 1), done.stderr
        assert "KeyError: 'x' Traceback: " in done.stderr
    hosts.write_text("import nothing_of_that_name\n")
    for program in (OWN, PLAIN):
        typed = [word.replace(str(ROOT), str(copy)) for word in program]
        done = run(tmp_path, [*typed, "hosts"], **settings)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert "“nothing_of_that_name” is not installed" in done.stderr
