"""The docker CLI under test on one account: every command is recorded, every object gets a label."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pexpect

from checks.core import redaction
from checks.core.process import Completed, Process, TimedOut
from checks.engine.expect import Mismatch
from checks.engine.probe_image import LABEL
from checks.hosts.base import Host
from checks.hosts.interactive import MAX_OUTPUT, Child, OutputLimitExceeded, Pipes

_LABELLED = ("run", "create", "build", "network create")
"""The subcommands that make an object, which gets the run's label."""
_FLAGGED = ("run", "create")
"""The subcommands that take the options of a container."""
NOTICE = re.compile(r"Emulate Docker CLI using podman\. Create /etc/containers/nodocker to quiet msg\.(?:\s|\\n)*")
"""What podman-docker writes to stderr before the reason of a failure."""
_LARGE = ("build", "commit", "load", "pull", "push", "save")
"""The subcommands that write layers to TMPDIR."""


@dataclass(frozen=True)
class Command:
    """A docker command line in its parts: options can be added without parsing it."""

    subcommand: str
    """``run``, or words like ``network create``."""
    options: tuple[str, ...]
    operands: tuple[str, ...]
    """Everything after the options: the image and the container's command, or the build context."""

    @property
    def words(self) -> list[str]:
        """The arguments of ``docker``, in their order."""
        return [*self.subcommand.split(), *self.options, *self.operands]

    def with_options(self, before: Sequence[str] = (), after: Sequence[str] = ()) -> Command:
        """The same command with more options, before or after its own."""
        return replace(self, options=(*before, *self.options, *after))


def run(image: str, *command: str, options: Sequence[str] = ()) -> Command:
    """``docker run OPTIONS IMAGE COMMAND``."""
    return Command("run", tuple(options), (image, *command))


def create(image: str, *command: str, options: Sequence[str] = ()) -> Command:
    """``docker create OPTIONS IMAGE COMMAND``."""
    return Command("create", tuple(options), (image, *command))


def start_attached(name: str) -> Command:
    """``docker start --attach NAME``, which ends with the container."""
    return Command("start", ("--attach",), (name,))


def create_network(name: str, *, options: Sequence[str] = ()) -> Command:
    """``docker network create OPTIONS NAME``."""
    return Command("network create", tuple(options), (name,))


def build(context: str, *, options: Sequence[str] = ()) -> Command:
    """``docker build OPTIONS CONTEXT``."""
    return Command("build", tuple(options), (context,))


@dataclass
class Record:
    """The commands under test that a case ran, and its named observations."""

    commands: list[Completed] = field(default_factory=list)
    observations: dict[str, str | int | float | bool] = field(default_factory=dict)

    def observe(self, name: str, value: str | int | float | bool) -> None:
        """Record an observation for the evidence."""
        self.observations[name] = value


class Docker:
    """``docker`` on a host, found by the account's own PATH.

    Calling it runs a command to its end: a ``Command``, or the words of a subcommand that makes no object. A
    ``Command`` that makes an object gets a label with the run's id after its own options, so that its first words are
    nanoclaw's. Without an ``owner`` commands run unchanged, and the caller cleans up. ``flags`` are options for every
    ``run`` and ``create``, placed before its own: if both set the same limit, its own counts. ``temporary`` gives the
    directory for what commands about images write meanwhile, empty for the default one.
    """

    def __init__(
        self,
        host: Host,
        owner: str,
        record: Record,
        *,
        factor: float = 1.0,
        flags: Sequence[str] = (),
        temporary: Callable[[], str] = str,
    ) -> None:
        self._host = host
        self._owner = owner
        self._record = record
        self._factor = factor
        self.flags = flags
        self._temporary = temporary

    def argv(self, first: Command | str, *words: str) -> list[str]:
        """The complete command line."""
        if isinstance(first, str):
            # In a flat list, only a table of docker's options could find the place for the label.
            assert not {first, " ".join([first, *words[:1]])} & {*_LABELLED}, f"docker {first} is written as a Command"
            return ["docker", first, *words]
        label = ["--label", f"{LABEL}={self._owner}"] if self._owner and first.subcommand in _LABELLED else []
        flags = self.flags if first.subcommand in _FLAGGED else ()
        return ["docker", *first.with_options(flags, label).words]

    def __call__(
        self,
        first: Command | str,
        *words: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        within: list[str] | None = None,
        timeout: float = 20,
    ) -> Completed:
        """Run a command to its end and record it.

        ``within`` is a command that runs it (``env -C DIRECTORY``, ``systemd-run …``). Raises TimedOut, also recorded,
        after ``timeout`` seconds on ordinary hardware.
        """
        argv = [*(within or []), *self.argv(first, *words)]
        try:
            settings = {**(env or {}), **self.environment(first)}
            done = self._host.run(argv, stdin=stdin, env=settings, timeout=timeout * self._factor)
        except TimedOut as error:
            self._record.commands.append(error.partial)
            raise
        self._record.commands.append(done)
        return done

    def environment(self, first: Command | str) -> Mapping[str, str]:
        """The variables for a command: layers and caches that Podman writes to TMPDIR go with the run."""
        large = (first if isinstance(first, str) else first.subcommand) in _LARGE
        return {"TMPDIR": directory} if large and (directory := self._temporary()) else {}

    @contextlib.contextmanager
    def started(
        self, command: Command, *, stdin: bytes = b"", timeout: float = 60, pidfile: str = ""
    ) -> Iterator[Started]:
        """Run a command in the background; its client is killed at the end of the block if it still runs.

        On a remote host, only the connection is: with ``pidfile``, as for ``interactive``, a case can end the client.
        """
        argv = _noting(pidfile, self.argv(command))
        process = self._host.start(argv, stdin=stdin, env=self.environment(command), timeout=timeout * self._factor)
        started = Started(self._host, process, self._record, timeout * self._factor)
        try:
            yield started
        finally:
            process.kill()

    def at_once(self, *commands: Command, timeout: float = 20) -> list[Completed]:
        """Run independent commands at the same time; their results, in order.

        ``timeout`` is in seconds for each as if it ran alone. Raises TimedOut like a call.
        """
        with contextlib.ExitStack() as clients:
            started = [clients.enter_context(self.started(each, timeout=timeout * len(commands))) for each in commands]
            return [each.end() for each in started]

    @contextlib.contextmanager
    def interactive(self, command: Command, *, tty: bool = False, pidfile: str = "") -> Iterator[InteractiveSession]:
        """An interactive command, on pipes like nanoclaw's, or on a terminal.

        ``pidfile``: a file on the host for the client's process id.
        """
        argv = self.argv(command)
        child = self._host.spawn(_noting(pidfile, argv), tty=tty, timeout=20 * self._factor)
        session = InteractiveSession(child, argv)
        try:
            yield session
        finally:
            session.end()
            self._record.commands.append(session.completed())


def _noting(pidfile: str, argv: list[str]) -> list[str]:
    """The command line with a note of its process id, if a file for it is given."""
    return ["sh", "-c", 'echo "$$" >"$0" && exec "$@"', pidfile, *argv] if pidfile else argv


class Started:
    """A docker client that runs in the background."""

    def __init__(self, host: Host, process: Process, record: Record, timeout: float) -> None:
        self._host = host
        self._process = process
        self._record = record
        self._timeout = timeout

    def running(self) -> bool:
        """Whether the client still runs."""
        return self._process.running()

    def so_far(self) -> Completed:
        """Its output up to now; status -1 while it runs."""
        return self._process.so_far()

    def end(self) -> Completed:
        """Wait for its exit, and record it."""
        try:
            done = self._host.wait(self._process, self._timeout)
        except TimedOut as error:
            self._record.commands.append(error.partial)
            raise
        self._record.commands.append(done)
        return done


class InteractiveSession:
    """An interactive session with a container, through its docker client."""

    def __init__(self, child: Child, argv: list[str]) -> None:
        self.child = child
        self._argv = tuple(redaction.redacted_text(word) for word in argv)
        self._started = time.monotonic()
        self._read = b""
        self._ended: float | None = None

    def send_line(self, line: str) -> None:
        """Send a line."""
        self.child.sendline(line)

    def expect(self, pattern: str) -> str:
        """Wait for a regular expression and return what matched.

        Raises TimedOut; EOFError at the end of the output; Mismatch if there is too much output.
        """
        try:
            self.child.expect(pattern)
        except OutputLimitExceeded as exceeded:
            raise _output_limit_exceeded(f"“{pattern}”") from exceeded
        except pexpect.TIMEOUT as error:
            self._read += self.child.before or b""
            raise TimedOut(self.completed(), self.child.timeout or 0) from error
        except pexpect.EOF as ended:
            self._read += self.child.before or b""
            raise EOFError(f"the output ended before {pattern!r}") from ended
        after = self.child.after
        assert isinstance(after, bytes)
        self._read += (self.child.before or b"") + after
        return after.decode(errors="replace")

    def close_stdin(self) -> None:
        """Close stdin."""
        self.child.sendeof()

    def read_rest(self) -> str:
        """Wait for the exit and return the output that was not read before."""
        try:
            self.child.expect(pexpect.EOF)
        except OutputLimitExceeded as exceeded:
            raise _output_limit_exceeded("the end of the output") from exceeded
        except pexpect.TIMEOUT as error:
            self._read += self.child.before or b""
            raise TimedOut(self.completed(), self.child.timeout or 0) from error
        self._read += self.child.before or b""
        self.status()
        return str((self.child.before or b"").decode(errors="replace"))

    def status(self) -> int:
        """Wait for the client's exit status."""
        self._ended = self._ended or time.monotonic()
        status: int | None = self.child.wait()
        return 128 + self.child.signalstatus if self.child.signalstatus else int(status or 0)

    def end(self) -> None:
        """End the session in any state."""
        if isinstance(self.child, Pipes):
            with contextlib.suppress(OSError, ValueError):
                self.child.sendeof()
            if self.child.proc.poll() is None:
                self.child.proc.terminate()  # timeout(1) passes it on
            self.child.wait()  # type: ignore[no-untyped-call]
        else:
            self.child.close(force=True)

    def completed(self) -> Completed:
        """The session as a record. stdout and stderr are merged, on a terminal and on pipes."""
        signalled = self.child.signalstatus
        status = 128 + signalled if signalled else -1 if self.child.exitstatus is None else self.child.exitstatus
        return Completed(self._argv, status, self._read, b"", (self._ended or time.monotonic()) - self._started)


def _output_limit_exceeded(awaited: str) -> Mismatch:
    return Mismatch(f"{awaited} within {MAX_OUTPUT // 2**20} MB of output", "more output without it")


def shell(script: str, *args: str) -> list[str]:
    """A fixed shell script with values as its arguments."""
    return ["sh", "-c", script, "sh", *args]


def plain(argv: tuple[str, ...]) -> list[str]:
    """A command line without the label for cleanup."""
    words = list(argv)
    for at in range(len(words) - 1):
        if words[at] == "--label" and words[at + 1].startswith(f"{LABEL}="):
            return words[:at] + words[at + 2 :]
    return words
