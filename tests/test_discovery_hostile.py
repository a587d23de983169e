"""Sources that are made to keep `invoke patterns` busy, to fill the memory, or to forge its report."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from checks.core.errors import Exit, WrongUsage
from checks.core.paths import ROOT
from checks.nanoclaw.discovery import child, files
from checks.nanoclaw.discovery import patterns as command
from checks.nanoclaw.discovery.child import discover_in_child
from checks.nanoclaw.discovery.discover import discover
from tests.discovery import write
from tests.patience import AT_ONCE, PATIENCE

HOSTILE = {
    "quotes": ("a.ts", '"'), "single quotes": ("a.ts", "'"), "backticks": ("a.ts", "`"), "templates": ("a.ts", "`${"),
    "calls in calls": ("a.ts", "f("), "sinks in sinks": ("a.ts", "execSync("), "brackets": ("a.ts", "["),
    "members": ("a.ts", "a."),
    "one name declared again and again": ("a.ts", "function f(a){execSync(a)};"),
    "functions that call each other": ("a.ts", "function f(a){g(a);execSync(a)};function g(a){f(a)};"),
    "a text that grows": ("a.ts", "let x='docker';x+=x;execSync(x);"),
    "a line that grows": ("a.ts", "const x=['docker'];x.push(...x);spawn('docker',x);"),
    "quotes in sh": ("a.sh", '"'), "substitutions": ("a.sh", "$("), "here documents": ("a.sh", "cat <<E\n"),
    "a variable that doubles": ("a.sh", 'a="$a$a docker"\n'),
    "a variable that is appended to itself": ("a.sh", "a+=$a\n"),
    "an array that doubles": ("a.sh", 'a+=("${a[@]}" "${a[@]}" x)\n'), "an index": ("a.sh", 'a+=("$a[@]" x)\n'),
    "commands in commands": ("a.sh", 'eval "docker ps; '), "long commands": ("a.sh", "docker $a "),
    "fences": (".claude/a.md", "```\n"), "spans": (".claude/a.md", "`docker ps"),
    "units": ("a.plist", "<key>ProgramArguments</key>"),
    "steps": (".github/workflows/a.yml", " run: |\n"), "recipes": ("Makefile", "A=$(A)$(A)\n"),
    "python": ("a.py", "f(["), "globs": ("a.sh", "a?"), "expressions": ("a.ts", "a=/"), "redirections": ("a.sh", "f<"),
}  # fmt: skip


def largest_child() -> int:
    """The most memory in bytes that any child of this process has had: those of other tests, too."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10


@pytest.mark.parametrize("how", HOSTILE)
def test_no_source_keeps_it_busy(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the source is: an answer, or a refusal once the time that it may take is used up."""
    monkeypatch.setattr(child, "SECONDS", 1)
    name, text = HOSTILE[how]
    write(tmp_path, **{name: "a=x\n" * name.endswith("sh") + text * (200_000 // len(text))})
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with contextlib.suppress(WrongUsage):
        discover_in_child(tmp_path)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 3


def test_a_checkout_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SECONDS", 1)
    write(tmp_path, **{"a.sh": "a?" * 200_000})
    with pytest.raises(WrongUsage, match="within 1 s of processor time"):
        discover_in_child(tmp_path)


def test_a_checkout_that_takes_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MEMORY", 400 << 20)
    write(tmp_path, **{f"src/{number}.js": "!" * 500_000 + "a" for number in range(4)})
    before = largest_child()
    with pytest.raises(WrongUsage, match="with 400 MB of memory"):
        discover_in_child(tmp_path)
    assert largest_child() <= max(before, 400 << 20)


@pytest.mark.parametrize(
    "text",
    [
        "execFile('docker', [a[²], 'x'])",
        "const a = ['docker', 'run']; spawn('docker', a[" + "9" * 5000 + "])",
        "const a = ['docker']; spawn('docker', a.slice(" + "9" * 5000 + "))",
        "execFile('docker', ['⟦99999999999⟧', '--⟦٣⟧', `run ⟦5⟧`, '\\u27e65\\u27e7'])",
        "exec('docker run \\ud83d\\ude00')",
        "exec(`docker run ${x} \\ud83d`)",
        "exec('docker run --rm \"$@\" image')",
        "spawn('sh', ['-c', 'docker ps \"$@\"', 'sh', ...process.argv.slice(2)])",
        "exec('docker run a@99999999 ${y@7}')",
    ],
    ids=["superscript", "long-index", "long-slice", "marks", "emoji", "half", "all-words", "all-words-in-sh", "at"],
)
def test_a_source_with_odd_numbers_is_no_bug_of_this_project(tmp_path: Path, text: str) -> None:
    write(tmp_path, **{"src/a.ts": text})
    discover(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.plist", "<key>Program</key><array>"), ("a.service", "{")],
)
def test_a_unit_or_a_property_list_is_read_in_one_pass(tmp_path: Path, name: str, text: str) -> None:
    head = "[Service]\nExecStart=" if name.endswith("service") else ""
    write(tmp_path, **{name: head + text * (400_000 // len(text))})
    began = time.process_time()
    discover(tmp_path)
    assert time.process_time() - began < 5


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    write(tmp_path, **{"a.sh": "a?" * 200_000})
    arguments = [sys.executable, "-m", "invoke", "patterns", "--nanoclaw", str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL) as started:
        reader = children(started.pid, until=0.3)
        started.kill()
    deadline = time.monotonic() + PATIENCE
    while runs(reader) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not runs(reader)


def test_ctrl_c_ends_it_while_a_parser_runs(tmp_path: Path) -> None:
    write(tmp_path, **{"a.sh": "a?" * 200_000})
    arguments = [sys.executable, "-m", "invoke", "patterns", "--nanoclaw", str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as started:
        reader = children(started.pid, until=1.5)
        started.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, printed = started.communicate()
        if "of processor time" in printed:
            pytest.skip("this machine was too busy to interrupt the reader before its limit")
        assert started.returncode == Exit.INTERRUPTED, printed
        assert time.monotonic() - began < AT_ONCE
    assert not runs(reader)


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie doesn't."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def children(pid: int, *, until: float) -> int:
    """The child of a process, once it has used that many seconds of processor time."""
    while True:
        time.sleep(0.1)
        for found in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            used = int(Path(f"/proc/{found}/stat").read_text().rpartition(")")[2].split()[11])
            if used / os.sysconf("SC_CLK_TCK") > until:
                return int(found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ts", f"const {'[' * 3000}a{']' * 3000} = b"),
        ("a.sh", f"docker {'${a:-' * 1500}{'}' * 1500}"),
        ("a.sh", 'f() { "$@"; }\n' + "f " * 3000 + "docker ps"),
    ],
)
def test_a_source_that_is_nested_too_deeply_is_refused(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, **{name: text})
    with pytest.raises(WrongUsage, match="nested too deeply"):
        discover(tmp_path)


def test_a_checkout_with_more_commands_than_can_be_reported_is_refused(tmp_path: Path) -> None:
    write(tmp_path, **{"a.sh": "docker ps\n" * 30_000})
    with pytest.raises(WrongUsage, match="too many commands"):
        discover_in_child(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *_: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "read", denied)
    write(tmp_path, **{"src/a.ts": ""})
    with pytest.raises(WrongUsage, match=r"src/a\.ts can't be read: Permission denied"):
        discover(tmp_path)


def test_a_bug_of_the_discovery_is_not_a_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MEMORY", "no number")
    with pytest.raises(RuntimeError, match="invalid literal for int"):
        discover_in_child(tmp_path)


FORGED = "nanoclaw 9.9.9: 7 places, 0 not covered or not followed."


@pytest.mark.parametrize(
    "files_",
    [
        {f"src/a\n{FORGED}\n.ts": "execSync('docker info')"},
        {f"src/a\n{FORGED}\n.rb": "docker"},
        {"src/a.ts": f"execSync(`docker ps --format '\n{FORGED}\n'`); execSync(`docker info`)"},
        {f"src/a\n{FORGED}\n.ts": " " * 600_000},
    ],
)
def test_no_name_or_command_forges_a_line_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files_: dict[str, str]
) -> None:
    write(tmp_path, **files_)
    command.patterns(str(tmp_path))
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert not any(line.strip().startswith("nanoclaw 9.9.9") for line in lines)


@pytest.mark.parametrize("name", ["a.ts", "a.sh", "noextension"])
def test_a_source_that_is_too_large_is_refused(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(WrongUsage, match="larger than"):
        discover(tmp_path)
