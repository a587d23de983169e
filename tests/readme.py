"""The commands of README.md: find them, fill in their placeholders, and run them in a copy of the project.

In that copy no command finds podman, docker, QEMU or mmdebstrap, no package manager installs anything, and git reaches
no network; everything else is this machine's own.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from checks.core.errors import Exit
from checks.core.paths import ROOT
from tests.evidence import DOCKER, case, write
from tests.patience import PATIENCE

README, USAGE = ROOT / "README.md", ROOT / "docs" / "USAGE.md"

_PROGRAM = r"(?:(?:\.venv/bin/)?(?:invoke|nox|pytest)|(?:\./)?(?:scripts|tests)/[\w-]+\.sh)"
_COMMAND = re.compile(rf"{_PROGRAM}(?=\s|$)")
_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_COMMENT = re.compile(r"\s+#\s.*$")

_HIDDEN = re.compile(
    r"podman.*|docker.*|buildah|skopeo|qemu-.*|mmdebstrap|debootstrap|sudo|doas|apt|apt-.*|aptitude|dpkg.*|pip.*|brew|dnf"
)


def blocks(text: str) -> list[list[str]]:
    """The fenced blocks of a document that have commands in them, as lines: without comments, continuations joined."""
    found = []
    for block in _FENCE.findall(text):
        joined = block.replace("\\\n", " ")
        lines = [line for each in joined.splitlines() if (line := _COMMENT.sub("", each).strip())]
        if any(_COMMAND.match(line) for line in lines):
            found.append([line for line in lines if not line.startswith("#")])
    return found


def commands(text: str) -> list[str]:
    """Every command of a document, each once: the lines of its blocks of commands, and code within its sentences."""
    prose = " ".join(_FENCE.sub("", text).split())
    inline = [code for code in _INLINE.findall(prose) if _COMMAND.match(code) and "…" not in code]
    return list(dict.fromkeys([*(line for block in blocks(text) for line in block), *inline]))


def title(command: str) -> str:
    """What a command is known by: the program, and for invoke and nox the task or session, without values."""
    words = shlex.split(command)
    program = Path(words[0]).name
    if program in ("invoke", "invoke.sh"):
        program = "invoke"
        return f"invoke {words[1]}" if len(words) > 1 else program
    if program == "nox":
        return f"nox {re.sub('=[^,)]*', '', words[words.index('-s') + 1])}" if "-s" in words else program
    return words[0].removeprefix("./")


@dataclass(frozen=True)
class Outcome:
    """How a command of the document ended."""

    command: str
    typed: str
    """The command as it was run."""
    status: int
    """-1 where it had to be killed."""
    output: str
    """Its output and its errors."""


class Copy:
    """A copy of the project in which commands may do what they do."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "project"
        self._path = directory / "bin"
        self._homes = directory / "homes"
        self._homes.mkdir()
        self._copy()
        self._hide()
        self._environment()
        self._evidence()
        self._git("init", "-q")
        self._git("add", "-A")
        self._git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "as it was")

    def changes(self) -> str:
        """The changed files in the project's directory, from git."""
        return self._git("status", "--porcelain", "--untracked-files=all")

    def run(self, command: str, suffix: str = "", timeout: float = 4 * PATIENCE) -> Outcome:
        """Run a command of the document from the project's directory, with a home of its own.

        ``suffix`` is put behind it. It is killed after ``timeout`` seconds.
        """
        home = Path(tempfile.mkdtemp(dir=self._homes))
        typed = f"{_filled(command, home)} {suffix}".strip()
        environment = {
            "PATH": f"{self.root / '.venv' / 'bin'}:{self._path}", "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"), "LANG": "C.UTF-8",
            "PYTHONPYCACHEPREFIX": str(self.directory / "pyc"),
            "GIT_ALLOW_PROTOCOL": "none", "COVERAGE_CORE": os.environ.get("COVERAGE_CORE", ""),
        }  # fmt: skip
        child = subprocess.Popen(
            ["sh", "-c", typed], cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            return Outcome(command, typed, -1, child.communicate()[0])
        return Outcome(command, typed, child.returncode, output)

    def _copy(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, self.root / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
                target.chmod(source.stat().st_mode & 0o777)

    def _hide(self) -> None:
        """A directory for PATH that has what this machine's PATH has, but for what is not to be found."""
        self._path.mkdir()
        for directory in os.environ["PATH"].split(os.pathsep):
            for program in Path(directory).glob("*"):
                link = self._path / program.name
                if not _HIDDEN.fullmatch(program.name) and not link.is_symlink() and os.access(program, os.X_OK):
                    link.symlink_to(program)
        # A machine on which every package is installed: --install finds nothing to do.
        self._program(self._path / "dpkg-query", "echo 'install ok installed'")
        self._program(self._path / "apt-get", 'echo "apt-get was called: $*" >&2; exit 99')

    def _environment(self) -> None:
        """A .venv as the scripts make it, which runs what the tests run on."""
        for program, module in (
            ("invoke", "-m invoke"),
            ("nox", "-m nox"),
            ("pytest", "-m pytest"),
            ("ruff", "-m ruff"),
            ("python", ""),
        ):
            self._program(self.root / ".venv" / "bin" / program, f'exec "{sys.executable}" {module} "$@"')
        wanted = [". scripts/lib.sh && venv_stamp", "scripts/lib.sh"]
        stamp = subprocess.run(["sh", "-c", *wanted], cwd=self.root, capture_output=True, check=True).stdout
        (self.root / ".venv" / "stamp").write_bytes(stamp)

    def _evidence(self) -> None:
        """What `invoke matrix` leaves of Docker Engine, where none is committed: `invoke compare` is of it."""
        if not (self.root / "evidence" / "docker-engine-stock.json").exists():
            write(self.root / "evidence", "docker-engine", case("run"), profile="stock", facts=DOCKER)
            self.run("invoke render compatibility")

    def _git(self, *args: str) -> str:
        return subprocess.run(["git", *args], cwd=self.root, capture_output=True, text=True, check=True).stdout

    @staticmethod
    def _program(path: Path, script: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def _filled(command: str, home: Path) -> str:
    """The command with something real for each of its placeholders, made in that home."""
    for placeholder, make in _PLACEHOLDERS.items():
        if re.search(placeholder, command):
            command = make(home).join(re.split(placeholder, command))
    return command


def _wslconfig(home: Path) -> str:
    file = home / "windows" / ".wslconfig"
    file.parent.mkdir()
    file.write_bytes(b"[wsl2]\r\nmemory=8GB\r\nkernelCommandLine=quiet\r\n")
    return str(file)


def _checkout(home: Path) -> str:
    """A minimal nanoclaw checkout, with the 1.x protocol."""
    directory = home / "nanoclaw"
    for name, content in {
        "package.json": '{"version": "1.2.0"}',
        "src/container-runner.ts": "// ---NANOCLAW_OUTPUT_START---\nspawn('docker', ['run', '-i', '--rm']);\n",
        "container/Dockerfile": "FROM node:22-slim\n",
        "container/agent-runner/src/index.ts": "console.log('hello');\n",
    }.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)
    return "~/nanoclaw"


def _log(home: Path) -> str:
    file = home / "a.log"
    file.write_text(f"Something happened.\n{_ERROR}\n")
    return str(file)


_ERROR = "sh: 1: docker: command not found"

_PLACEHOLDERS: dict[str, Callable[[Path], str]] = {
    r"/mnt/c/Users/YOU/\.wslconfig": _wslconfig,
    r"~/nanoclaw\b": _checkout,
    r"'TEXT'": lambda _: f"'{_ERROR}'",
    r"\bLOG\b": _log,
    r"\bTASK\b": lambda _: "verify",
    r"\bID\b": lambda _: "docker-command-not-found",
    r"(?<=--nanoclaw )DIR\b": _checkout,
    r"\bFILE\b": lambda home: str(home / "a file.json").replace(" ", "-"),
    r"\bPATTERN\b": lambda _: "mount",
    r"(?<= )N\b": lambda _: "2",
}
"""What stands for something of the reader's own, and what the tests put in its place."""

_WORDS_LEFT = re.compile(r"(?<![\w/.-])[A-Z]{2,}(?![\w/.-])")


def unfilled(outcome: Outcome) -> list[str]:
    """Words in capitals in a command that was run: placeholders that nothing was put in the place of."""
    return _WORDS_LEFT.findall(outcome.typed)


@dataclass(frozen=True)
class Rule:
    """How a command has to end on a machine that has nothing to run containers with."""

    statuses: tuple[Exit, ...]
    says: str = ""
    """A regular expression that its output must have."""
    suffix: str = ""
    """What is put behind the command, where it can't be run as it stands."""


DONE = Rule((Exit.OK,))
OR_FINDINGS = Rule((Exit.OK, Exit.CASE_FAILED))
NO_HOST = Rule((Exit.HOST_UNUSABLE,), r"(?i)not installed: .*qemu|podman is not installed")
NO_NETWORK = Rule((Exit.HOST_UNUSABLE,), "Without a network")
NOT_FOR_ROOT = Rule((Exit.WRONG_USAGE,), "You are root")
IN_NOX = Rule((Exit.CASE_FAILED,), r"(?s)not installed.*failed with exit code 3", "--no-venv --no-install")
"""nox without environments of its own, which would be installed from the network; its status for any failure is 1."""
OF_NOX = Rule((Exit.OK,), suffix="--list")
"""All sessions of a kind: that there are such, and one of them is run."""
NOTHING_INSTALLED = Rule((Exit.WRONG_USAGE,), "Unknown package set 'nothing'", "nothing")
"""A test installs no packages: the command is refused for one word too many before it does anything."""

RULES = {
    "invoke": DONE,
    "invoke --help": DONE,
    "invoke --list": DONE,
    "invoke clean": DONE,
    "invoke compare": OR_FINDINGS,
    "invoke doctor": OR_FINDINGS,
    "invoke faults": NO_HOST,
    "invoke harden": NO_HOST,
    "invoke hosts": DONE,
    "invoke inject": NO_HOST,
    "invoke matrix": NO_HOST,
    "invoke nanoclaw": NO_NETWORK,
    "invoke parallel": NO_HOST,
    "invoke patterns": OR_FINDINGS,
    "invoke render": DONE,
    "invoke reproduce": NO_HOST,
    "invoke sabotage": NO_HOST,
    "invoke verify": NO_HOST,
    "invoke wslconfig": DONE,
    "nox": OF_NOX,
    "nox docs": OF_NOX,
    "nox integration": OF_NOX,
    "nox integration(host)": IN_NOX,
    "nox sabotage": OF_NOX,
    "pytest": DONE,
    "ruff": DONE,
    "scripts/install.sh": NOTHING_INSTALLED,
    "scripts/test.sh": OF_NOX,  # it is what runs the tests
    "scripts/verify-podman-compat.sh": NO_HOST,
    "tests/smoke.sh": NO_HOST,
}
"""By title. Whoever adds a task to the document says here what it does on such a machine."""

_ASKS_ONLY = {"--list", "--help"}


def rule(command: str) -> Rule | None:
    """The rule for a command; None where there is none for its like."""
    words = set(shlex.split(command))
    known = RULES.get(title(command))
    if title(command) == "invoke inject" and {"--install", "--uninstall", "--driver"} & words and os.geteuid() == 0:
        return NOT_FOR_ROOT
    if title(command) == "invoke doctor" and {"--fix", "--undo"} & words and os.geteuid() == 0:
        return NOT_FOR_ROOT
    if known is NO_HOST and words & _ASKS_ONLY:
        return DONE
    return known


_WRONG_USAGE = re.compile(
    r"No idea what .* is!|Flag .* needed value.*|did not receive required positional arguments.*|Sessions? not found.*"
)
"""What invoke and nox say of a command line that they don't understand; nox's exit status is that of a finding."""


def complaints(outcome: Outcome, rule: Rule) -> Iterator[str]:
    """What is wrong with how a command ended."""
    if outcome.status == -1:
        yield "it does not end"
    elif wrong := _WRONG_USAGE.search(outcome.output):
        yield f"it is wrong usage: {wrong[0]}"
    elif outcome.status not in rule.statuses:
        yield f"it ended with status {outcome.status}, not {' or '.join(str(int(each)) for each in rule.statuses)}"
    if "Traceback (most recent call last)" in outcome.output:
        yield "it printed a traceback"
    if rule.says and outcome.status != 0 and not re.search(rule.says, outcome.output):
        yield f"it does not say “{rule.says}”"
    if "apt-get was called" in outcome.output:
        yield "it wanted to install packages"
    if words := unfilled(outcome):
        yield f"there is no rule for what to put in the place of {', '.join(words)}"
