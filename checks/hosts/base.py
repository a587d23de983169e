"""The Host: argv in, Completed out. Subclasses only say how a command gets there."""

from __future__ import annotations

import posixpath
import pwd
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import pexpect

from checks.core import redaction
from checks.core.answers import Unreadable, understood
from checks.core.errors import HostProblem
from checks.core.process import HEAD, Completed, Echo, Process, TimedOut
from checks.hosts import facts
from checks.hosts.facts import Facts
from checks.hosts.interactive import Child, OutputLimitExceeded, spawn_interactive

T = TypeVar("T")

_REPORTED = 600
"""Characters of a failed step's error that a message quotes."""
_SLOWEST = 500_000  # bytes in a second that a connection must carry
_SHOWN = 120  # characters of a command in a message
_REMOVE_TIMEOUT = 90.0  # seconds; storage of the driver vfs has many files
_FACTS_TIMEOUT = 60.0  # seconds, times the slowness: Podman's first command may migrate its database
_GRACE = 10.0  # seconds, times the slowness, that the report of a timeout may take

SHARED = "/var/tmp"  # noqa: S108 - only make_private_directory makes anything in it
"""A directory on disk, outside of homes, where every account may make directories."""

# Other accounts may have made anything here, under any predictable name: mktemp makes a new directory with an
# unpredictable name. Without the sticky bit, anyone could replace it afterwards.
_MAKE_PRIVATE = """
[ -k "$1" ] || [ -z "$(find "$1" -prune -perm -0002)" ] || {
    echo "$1 has no sticky bit: any account can replace files in it" >&2
    exit 1
}
umask 077
mktemp -d -- "$1/$2-XXXXXXXXXX"
"""

# Only directories that this account owns, and no links: other accounts can make directories with such names.
# A container may outlive its interrupted client. When it ends, conmon starts a podman that would make the storage in
# the directory again: end it before.
_REMOVE_PRIVATE = """
using() {
    printf '%s/' "$directory" | grep -lszFf - /proc/[0-9]*/cmdline | while IFS=/ read -r _ _ pid _; do
        [ -O "/proc/$pid" ] && read -r program 2>/dev/null <"/proc/$pid/comm" || continue
        case $program in conmon | podman) echo "$pid $program" ;; esac
    done
}
end() {
    tries=0
    while processes=$(using) && [ -n "$processes" ] && [ "$tries" -lt 60 ]; do
        echo "$processes" | while read -r pid program; do
            if [ "$tries" -ge 50 ]; then kill -KILL "$pid"; elif [ "$program" = conmon ]; then pkill -KILL -P "$pid"; fi
        done
        tries=$((tries + 1))
        sleep 0.2
    done
}
status=0
for directory in "$1/$2"-*; do
    [ -d "$directory" ] && [ ! -L "$directory" ] && [ -O "$directory" ] || continue
    end
    rm -rf -- "$directory" 2>/dev/null || podman unshare rm -rf -- "$directory" || status=1
done
exit "$status"
"""


def directories_of(run: str) -> str:
    """The prefix of the names of a run's private directories, on any account."""
    return f"nanoclaw-verify-{run}"


class Host(ABC):
    """One account on one machine.

    ``slowness`` multiplies every timeout: 1 on ordinary hardware, more for an emulated guest, and whatever
    ``--timeout-factor`` says on top of it.
    """

    name: str
    slowness: float = 1.0
    echo: Echo | None = None
    service_address = "127.0.0.1"
    """The address on this machine where a service must listen for ``forward_port``."""
    opening = b""
    """A marker on standard output right before a command's own output; what precedes it is dropped."""
    _facts: Facts | None = None

    @abstractmethod
    def wrap_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        """The argv to run here so that ``argv`` runs there."""

    @abstractmethod
    def accounts(self) -> Sequence[Host]:
        """The accounts of this machine that a run may use, this one first."""

    def address(self) -> str:
        """The command that opens a shell there; empty on this machine."""
        return ""

    def check(self, completed: Completed) -> Completed:
        """Raise HostProblem if the exit status means that the host is gone."""
        return completed

    def forward_port(self, port: int, *, at: int = 0) -> int:
        """Forward a TCP port of the host to this machine's port; the port's number there.

        ``at`` is the port there, on its loopback alone. Without it, a free one on all addresses, if the host allows it.
        """
        raise HostProblem(f"{self.name} can't reach services of this machine.")

    def close(self) -> None:  # noqa: B027 - a host that holds nothing has nothing to close
        """Close connections and processes. Calling it again does nothing."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 20
    ) -> Completed:
        """Run a command to its end.

        ``timeout`` is in seconds on ordinary hardware. Raises TimedOut if the command was killed after it, HostProblem
        if the host did not answer.
        """
        return self.wait(self.start(argv, stdin=stdin, env=env, timeout=timeout), timeout)

    def start(
        self, argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 20
    ) -> Process:
        """Start a command in the background; ``wait`` collects it. It is killed on its host after ``timeout``."""
        carried = self.wrap_command(self._bounded(argv, env, timeout))
        return Process(carried, shown=argv, stdin=stdin, echo=self.echo, opening=self.opening)

    def wait(self, process: Process, timeout: float = 20) -> Completed:
        """The result of a started command; raises like ``run``."""
        bound = timeout * self.slowness
        try:
            completed = self.check(process.wait(bound + _GRACE * self.slowness))
        except TimedOut as error:
            if error.partial.opened and self._answers():
                # timeout(1) has killed it there, but a process that it started keeps its pipes open.
                raise TimedOut(error.partial, bound) from error
            said = "was not killed after its timeout of" if error.partial.opened else "did not begin within"
            raise HostProblem(
                f"{self.name} stopped answering: “{_short(error.partial.command)}” {said} {bound:g} s.",
                "Check the host's load, console and login scripts, then run again.",
            ) from error
        if completed.seconds >= bound and completed.returncode in (
            124,
            137,
        ):  # exit statuses of timeout(1) after a kill
            raise TimedOut(completed, bound)
        return completed

    def _answers(self) -> bool:
        """Whether the host runs commands."""
        try:
            done = Process(self.wrap_command(["true"]), opening=self.opening).wait(_GRACE * self.slowness)
        except TimedOut:
            return False
        return done.opened and done.returncode == 0

    def spawn(self, argv: Sequence[str], *, tty: bool, timeout: float = 20) -> Child:
        """Start an interactive command on a terminal (``tty``) or on pipes.

        ``timeout`` applies to each wait for output; the command is killed after three times that.
        """
        bound = timeout * self.slowness
        carried = self.wrap_command(self._bounded(argv, None, 3 * timeout, foreground=tty), tty=tty)
        if self.echo:
            command = Completed(tuple(argv), 0, b"", b"", 0).command
            self.echo(f"$ {redaction.redacted_text(command)}  (interactive)")
        child = spawn_interactive(carried, tty=tty, timeout=bound)
        try:
            if self.opening:
                child.expect_exact(self.opening)
        except (pexpect.EOF, pexpect.TIMEOUT, OutputLimitExceeded) as unopened:
            child.kill(signal.SIGKILL)
            printed = (child.before or b"").decode(errors="replace").strip()[-300:]
            raise HostProblem(f"{self.name} did not start a command: {printed or 'it printed nothing'}.") from unopened
        return child

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file there atomically, and make its directory if missing.

        Follows links to the directory: for one that a container can write, use ``case_files``.
        """
        script = """
            [ -d "${1%/*}/" ] || mkdir -p "${1%/*}" || exit
            part=$(mktemp -- "${1%/*}/.XXXXXXXXXX") || exit
            cat >"$part" && chmod "$2" "$part" && mv -f -T -- "$part" "$1" || { rm -f -- "$part"; exit 1; }
        """
        argv = ["sh", "-c", script, "sh", path, f"{mode:o}"]
        self.run_checked(argv, stdin=data, timeout=20 + len(data) / _SLOWEST, doing=f"writing {path}")

    def unpack(self, directory: str, archive: bytes, *, doing: str, timeout: float = 20) -> None:
        """Unpack a tar archive into a directory there; the account owns the files."""
        argv = ["tar", "--extract", "--no-same-owner", "--file", "-", "--directory", directory]
        self.run_checked(argv, stdin=archive, timeout=timeout + len(archive) / _SLOWEST, doing=doing)

    def make_directory(self, path: str) -> None:
        """Make a directory there, and its parents."""
        self.run_checked(["mkdir", "-p", path], doing=f"making {path}")

    def make_private_directory(self, name: str) -> str:
        """Make a new directory outside the account's home that only the account can enter; its path.

        ``name`` is the prefix of its unpredictable name, see mktemp(1). Raises HostProblem if that fails.
        """
        argv = ["sh", "-c", _MAKE_PRIVATE, "sh", SHARED, name]

        def path_in(answer: str) -> str:
            path = answer.removesuffix("\n")
            directory, made = posixpath.split(path)
            if directory != SHARED or not made.startswith(f"{name}-"):
                raise ValueError("it is not the path of a new directory")
            return path

        return self.ask(argv, path_in, doing=f"making a directory in {SHARED}")

    def remove_private_directories(self, name: str) -> bool:
        """Remove the account's directories that ``make_private_directory(name)`` made; whether all are gone.

        Their files may belong to the account's subordinate ids.
        """
        try:
            return self.run(["sh", "-c", _REMOVE_PRIVATE, "sh", SHARED, name], timeout=_REMOVE_TIMEOUT).returncode == 0
        except TimedOut:  # it may have removed some
            return False

    def read(self, path: str) -> bytes:
        """The content of a file there. Raises HostProblem if it can't be read."""
        return self._checked(["cat", path], doing=f"reading {path}").stdout_bytes

    def run_checked(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 20, doing: str = "a step of the run"
    ) -> None:
        """Run a step that succeeds on every usable host. Raises HostProblem if it fails; ``doing`` names the step.

        What it prints is not returned: see ``ask``.
        """
        self._checked(argv, stdin=stdin, timeout=timeout, doing=doing)

    def ask(
        self,
        argv: Sequence[str],
        parse: Callable[[str], T],
        *,
        stdin: bytes = b"",
        timeout: float = 20,
        doing: str = "a step of the run",
    ) -> T:
        """Run a step like ``run_checked``; what ``parse`` makes of its output.

        Raises HostProblem if the step fails, and for any output that can't be parsed.
        """
        return self.understood(self._checked(argv, stdin=stdin, timeout=timeout, doing=doing).stdout, parse, doing)

    def understood(self, answer: str, parse: Callable[[str], T], doing: str) -> T:
        """What ``parse`` makes of an answer of this host's. Raises HostProblem for one that can't be parsed."""
        try:
            return understood(parse, answer)
        except Unreadable as error:
            raise HostProblem(
                f"On {self.name}, {doing} printed something unexpected: {error}.",
                "Check what the login scripts and the commands of this account print.",
            ) from error

    def _checked(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 20, doing: str = "a step of the run"
    ) -> Completed:
        try:
            done = self.run(argv, stdin=stdin, timeout=timeout)
        except TimedOut as error:
            raise HostProblem(
                f"On {self.name}, {doing} timed out after {error.timeout:g} s.",
                "Check the host's load, then run again.",
            ) from error
        if done.returncode != 0:
            # Never standard output: it may be the user's own configuration, or a secret of theirs.
            reported = " ".join(done.stderr.split())[-_REPORTED:] or "it printed no error"
            raise HostProblem(f"On {self.name}, {doing} failed with status {done.returncode}: {reported}")
        if done.cut:
            raise HostProblem(f"On {self.name}, {doing} printed more than {HEAD // 2**20} MB.")
        return done

    def remember(self, known: Facts) -> None:
        """Set the host's facts, known from before."""
        self._facts = known

    def facts(self) -> Facts:
        """The host's facts, asked once."""
        if self._facts is None:
            self._facts = self.ask(
                ["sh", "-c", facts.SCRIPT], facts.parse, timeout=_FACTS_TIMEOUT, doing="reading the host's facts"
            )
        return self._facts

    def _bounded(
        self, argv: Sequence[str], env: Mapping[str, str] | None, timeout: float, *, foreground: bool = False
    ) -> list[str]:
        """``argv`` under timeout(1) on its host: if the client here is killed, the command there must not run on."""
        bound = f"{timeout * self.slowness:.1f}"
        settings = ["env", *(f"{key}={value}" for key, value in env.items())] if env else []
        return ["timeout", *(["--foreground"] if foreground else []), "-k", "2", bound, *settings, *argv]


def account_name(uid: int) -> str:
    """The account name of a uid on this machine, or the uid if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _short(command: str) -> str:
    """A command for a message: its first line, cut."""
    line = command.split("\n", 1)[0]
    return line if line == command and len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
