"""The docker CLI under test, as one case uses it on one account: every command recorded, every object labelled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pexpect

from checks.core import redaction
from checks.engine.expect import Mismatch
from checks.engine.probe_image import LABEL
from checks.hosts.base import Host
from checks.hosts.process import Completed, Process, TimedOut
from checks.hosts.talking import MOST, Flood, Pipes, Spawned


@dataclass(frozen=True)
class Command:
    """A docker command line in its parts: options can be added without reading the ones that are there."""

    subcommand: str
    options: tuple[str, ...]
    operands: tuple[str, ...]
    """Everything behind the options: the image and the container's command, or the build context."""

    @property
    def words(self) -> list[str]:
        """The arguments of ``docker``, in their order."""
        return [self.subcommand, *self.options, *self.operands]

    def with_options(self, before: Sequence[str] = (), after: Sequence[str] = ()) -> Command:
        """The same command with more options, before or after its own."""
        return replace(self, options=(*before, *self.options, *after))


def run(image: str, *command: str, options: Sequence[str] = ()) -> Command:
    """``docker run OPTIONS IMAGE COMMAND``."""
    return Command("run", tuple(options), (image, *command))


def build(context: str, *, options: Sequence[str] = ()) -> Command:
    """``docker build OPTIONS CONTEXT``."""
    return Command("build", tuple(options), (context,))


@dataclass
class Record:
    """What a case did and saw: the commands under test, and observations with a name each."""

    commands: list[Completed] = field(default_factory=list)
    observations: dict[str, str | int | float | bool] = field(default_factory=dict)

    def observe(self, name: str, value: str | int | float | bool) -> None:
        """Keep something that was seen, for the evidence."""
        self.observations[name] = value


class Docker:
    """``docker`` on a host, found by the account's own PATH.

    Calling it runs a command to its end: a ``Command`` of ``run`` or ``build``, or the words of any other subcommand.
    What a ``Command`` makes gets a label with the run's id, behind the command's own options: a docker that goes by a
    command's first words sees those that nanoclaw's have. Without an ``owner`` nothing is labelled: then every command
    is as its caller has it, to the byte, and the caller cleans up. ``flags`` are options that every ``run`` gets,
    before its own: where both set the same limit, its own counts.
    """

    def __init__(
        self, host: Host, owner: str, record: Record, *, factor: float = 1.0, flags: Sequence[str] = ()
    ) -> None:
        self._host = host
        self._owner = owner
        self._record = record
        self._factor = factor
        self.flags = flags

    def argv(self, first: Command | str, *words: str) -> list[str]:
        """The whole command line."""
        if isinstance(first, str):
            # A flat list would have to be parsed by a table of docker's options, to find where the label goes.
            assert first not in ("run", "create", "build"), f"docker {first} is written as a Command"
            return ["docker", first, *words]
        label = ["--label", f"{LABEL}={self._owner}"] if self._owner else []
        flags = self.flags if first.subcommand == "run" else ()
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

        ``within`` is a command that carries it (``env -C DIRECTORY``, ``systemd-run …``). Raises TimedOut, recorded as
        well, after ``timeout`` seconds on ordinary hardware.
        """
        argv = [*(within or []), *self.argv(first, *words)]
        try:
            done = self._host.run(argv, stdin=stdin, env=env, timeout=timeout * self._factor)
        except TimedOut as error:
            self._record.commands.append(error.partial)
            raise
        self._record.commands.append(done)
        return done

    @contextlib.contextmanager
    def started(self, command: Command, *, stdin: bytes = b"", timeout: float = 60) -> Iterator[Started]:
        """A command running beside the case; its client is killed at the block's end if it still runs."""
        process = self._host.start(self.argv(command), stdin=stdin, timeout=timeout * self._factor)
        started = Started(self._host, process, self._record, timeout * self._factor)
        try:
            yield started
        finally:
            process.kill()

    def at_once(self, *commands: Command, timeout: float = 20) -> list[Completed]:
        """Several commands that have nothing to do with each other, side by side; their ends, in their order.

        ``timeout`` is in seconds for each as if it ran alone. Raises TimedOut as a call does.
        """
        with contextlib.ExitStack() as clients:
            started = [clients.enter_context(self.started(each, timeout=timeout * len(commands))) for each in commands]
            return [each.end() for each in started]

    @contextlib.contextmanager
    def talking(self, command: Command, *, tty: bool = False, pidfile: str = "") -> Iterator[Talk]:
        """A command to talk with, on plain pipes as nanoclaw has it, or on a terminal.

        ``pidfile``: where to leave the client's process id, on its host.
        """
        argv = self.argv(command)
        noted = ["sh", "-c", 'echo "$$" >"$0" && exec "$@"', pidfile, *argv] if pidfile else argv
        child = self._host.spawn(noted, tty=tty, timeout=20 * self._factor)
        talk = Talk(child, argv)
        try:
            yield talk
        finally:
            talk.end()
            self._record.commands.append(talk.completed())


class Started:
    """A docker client that runs beside the case."""

    def __init__(self, host: Host, process: Process, record: Record, timeout: float) -> None:
        self._host = host
        self._process = process
        self._record = record
        self._timeout = timeout

    def running(self) -> bool:
        """Whether the client has not ended."""
        return self._process.running()

    def so_far(self) -> Completed:
        """What it has printed up to now; status -1 while it runs."""
        return self._process.so_far()

    def end(self) -> Completed:
        """Wait for its end; recorded."""
        try:
            done = self._host.wait(self._process, self._timeout)
        except TimedOut as error:
            self._record.commands.append(error.partial)
            raise
        self._record.commands.append(done)
        return done


class Talk:
    """A conversation with a container, through its docker client."""

    def __init__(self, child: Spawned, argv: list[str]) -> None:
        self.child = child
        self._argv = tuple(redaction.redacted_text(word) for word in argv)
        self._started = time.monotonic()
        self._heard = b""
        self._ended: float | None = None

    def send_line(self, line: str) -> None:
        """Type a line."""
        self.child.sendline(line)

    def expect(self, pattern: str) -> str:
        """Wait for a regular expression and return what matched.

        Raises TimedOut; EOFError at the end of the output; Mismatch where there is too much of it.
        """
        try:
            self.child.expect(pattern)
        except Flood as flood:
            raise _flooded(f"“{pattern}”") from flood
        except pexpect.TIMEOUT as error:
            self._heard += self.child.before or b""
            raise TimedOut(self.completed(), self.child.timeout or 0) from error
        except pexpect.EOF as ended:
            self._heard += self.child.before or b""
            raise EOFError(f"the output ended before {pattern!r} came") from ended
        after = self.child.after
        assert isinstance(after, bytes)
        self._heard += (self.child.before or b"") + after
        return after.decode(errors="replace")

    def close_stdin(self) -> None:
        """End the input."""
        self.child.sendeof()

    def read_rest(self) -> str:
        """Wait for the end and return the output that had not been heard."""
        try:
            self.child.expect(pexpect.EOF)
        except Flood as flood:
            raise _flooded("the end of the output") from flood
        except pexpect.TIMEOUT as error:
            self._heard += self.child.before or b""
            raise TimedOut(self.completed(), self.child.timeout or 0) from error
        self._heard += self.child.before or b""
        self.status()
        return str((self.child.before or b"").decode(errors="replace"))

    def status(self) -> int:
        """Wait for the client's exit status."""
        self._ended = self._ended or time.monotonic()
        status: int | None = self.child.wait()
        return 128 + self.child.signalstatus if self.child.signalstatus else int(status or 0)

    def end(self) -> None:
        """Make an end of it, however far it got."""
        if isinstance(self.child, Pipes):
            with contextlib.suppress(OSError, ValueError):
                self.child.sendeof()
            if self.child.proc.poll() is None:
                self.child.proc.terminate()  # timeout(1) passes it on
            self.child.wait()  # type: ignore[no-untyped-call]
        else:
            self.child.close(force=True)

    def completed(self) -> Completed:
        """The conversation as a record. A terminal and pipes alike hand us stdout and stderr as one."""
        signalled = self.child.signalstatus
        status = 128 + signalled if signalled else -1 if self.child.exitstatus is None else self.child.exitstatus
        return Completed(self._argv, status, self._heard, b"", (self._ended or time.monotonic()) - self._started)


def _flooded(awaited: str) -> Mismatch:
    return Mismatch(f"{awaited} within {MOST // 2**20} MB of output", "more output than that, without it")


def shell(script: str, *args: str) -> list[str]:
    """A fixed script with values as its arguments, never inside it."""
    return ["sh", "-c", script, "sh", *args]


def plain(argv: tuple[str, ...]) -> list[str]:
    """A command line without the label that only serves our cleaning up."""
    words = list(argv)
    for at in range(len(words) - 1):
        if words[at] == "--label" and words[at + 1].startswith(f"{LABEL}="):
            return words[:at] + words[at + 2 :]
    return words
