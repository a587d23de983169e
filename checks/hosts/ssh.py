"""An account reached with the OpenSSH client: one connection, shared by all commands over a control socket."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from checks.core import tools
from checks.core.errors import HostProblem, WrongUsage
from checks.core.polling import poll
from checks.core.process import Completed, Process, TimedOut
from checks.core.run_directories import Run
from checks.core.run_processes import MARK
from checks.hosts.base import Host

_DESTINATION = re.compile(
    r"ssh://(?:(?P<user>[\w.+-]+)@)?(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_START = 'printf %s "$1"; shift; eval "$(printf %b "$@")"; exit $?'
"""The script that the account's login shell runs: it prints the opening, then decodes and runs the command.

This shell stays to turn a death by signal into an exit status: ssh itself reports only 255.
"""
_CONNECT_TIMEOUT = 30  # seconds, for ssh to say whether its connection still works; ConnectTimeout is 10
_FORWARD_TIMEOUT = 60  # seconds, for ssh to connect and to name the port that it forwards
_MAX_PRINTED = 1 << 16  # characters that are read of what ssh prints until then
_LISTENING = 'grep -q -i "^ *[0-9]*: [0-9A-F]*:$1 [0-9A-F]*:0000 0A " /proc/net/tcp'
"""Succeeds if a TCP socket listens on this port (hexadecimal)."""
_CHUNK = 500  # bytes: csh refuses longer words
_LONGEST = 200  # characters of ssh://user@host:port: it is part of a file name
_SOCKET = 108 - 1 - 17  # bytes of a control socket's path: ssh binds it under a longer name first


class SshHost(Host):
    """One account on another machine, whatever its login shell is and prints.

    ``sockets`` is a directory of this run for the control socket. If its path is too long for a socket, each command
    opens its own connection.
    """

    def __init__(
        self, destination: str, *, sockets: Path, port: int | None = None, options: Sequence[str] = (), name: str = ""
    ) -> None:
        self.destination = destination
        self.port = port
        self.options = list(options)
        self.name = name or f"ssh://{destination}"
        self._forwards: list[subprocess.Popen[str]] = []
        self.opening = f"<{secrets.token_hex(8)}>".encode()
        name_of_socket = hashlib.sha256(f"{destination}:{port}".encode()).hexdigest()[:16]
        self._socket: Path | None = sockets / name_of_socket
        if len(os.fsencode(self._socket)) > _SOCKET:
            self._socket = None

    @classmethod
    def parse(cls, url: str, *, sockets: Path) -> SshHost:
        """The host that ``ssh://user@host[:port]`` names. Raises WrongUsage for other text."""
        found = _DESTINATION.fullmatch(url)
        if found is None or found["host"].startswith("-") or (found["user"] or "").startswith("-"):
            raise WrongUsage(f"“{url}” is not a valid ssh host.", "Write ssh://user@host or ssh://user@host:port.")
        if len(url) > _LONGEST:
            raise WrongUsage(f"“{url[:40]}…” has more than {_LONGEST} characters.", "Give it a name in ~/.ssh/config.")
        port = int(found["port"]) if found["port"] else None
        if port is not None and not 0 < port < 1 << 16:
            raise WrongUsage(f"“{url}”: {port} is not a TCP port.", "A port is a number from 1 to 65535.")
        destination = f"{found['user']}@" if found["user"] else ""
        destination += found["host"].strip("[]")
        return cls(destination, sockets=sockets, port=port, name=url)

    @classmethod
    def of_run(cls, url: str, run: Run) -> SshHost:
        """The same for a run, which records the host: what the run leaves there is then found later."""
        host = cls.parse(url, sockets=run.sockets)
        run.record_host(url)
        return host

    def wrap_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        # sshd passes one string to the account's login shell. All shells read this one alike: plain words, and ASCII in
        # single quotes without the characters that are special there in fish or csh.
        command = shlex.join(argv)
        if run := os.environ.get(MARK):  # sshd passes no environment
            command = f"{MARK}={shlex.quote(run)} {command}"
        words = " ".join(f"'{word}'" for word in [self.opening.decode(), *_encoded(command)])
        remote = f"exec /bin/sh -c '{_START}' sh {words}"
        return [*self._client(), *(["-tt"] if tty else ["-T"]), "--", self.destination, remote]

    def accounts(self) -> Sequence[Host]:
        return [self]

    def address(self) -> str:
        port = ["-p", str(self.port)] if self.port else []
        return shlex.join(["ssh", *port, *self.options, self.destination])

    def check(self, completed: Completed) -> Completed:
        # A command itself may exit with 255.
        if not completed.opened or (completed.returncode == 255 and not self._connected()):
            # After the command has started, standard output is its own, and may contain the user's data.
            output = completed.stderr.strip() or ("" if completed.opened else completed.stdout.strip())
            printed = output.split("\n")[-1][-300:]
            if completed.opened or completed.returncode == 255:
                raise HostProblem(
                    f"{self.name} can't be reached: {printed or 'the connection broke'}",
                    f"Try “{self.address()} true” by hand; it must not prompt.",
                )
            raise HostProblem(
                f"The login shell of {self.name} did not run /bin/sh but exited with status {completed.returncode}: "
                f"{printed or 'it printed nothing'}.",
                f"Try “{self.address()} /bin/sh -c true” by hand.",
            )
        return completed

    def forward_port(self, port: int, *, at: int = 0) -> int:
        # A separate connection: the shared one closes when idle. It listens on all addresses of the host if its sshd
        # allows that (GatewayPorts clientspecified), else on its loopback.
        there = f"127.0.0.1:{at}" if at else "0.0.0.0:0"
        own = ["-N", "-o", "LogLevel=INFO", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes"]
        process = subprocess.Popen(
            ["ssh", *self._options(), *own, "-R", f"{there}:127.0.0.1:{port}", "--", self.destination],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        self._forwards.append(process)
        if at:  # ssh names only the ports that it chose
            listening = poll(
                lambda: (
                    process.poll() is not None or self.run(["sh", "-c", _LISTENING, "sh", f"{at:04X}"]).returncode == 0
                ),
                timeout=_FORWARD_TIMEOUT,
                interval=0.3,
            )
            if listening and process.poll() is None:
                return at
            _kill(process)
        printed = ""
        assert process.stderr
        # Until ssh names the port or ends; a far side can make it print anything.
        with _ended_after(process, _FORWARD_TIMEOUT):
            while len(printed) < _MAX_PRINTED and (line := process.stderr.readline(_MAX_PRINTED)):
                printed += line
                if found := re.match(r"Allocated port (\d{1,5}) for remote forward", line):
                    return int(found[1])
        raise HostProblem(
            f"{self.name} forwards no port to this machine: {printed.strip()[-300:]}",
            "Check AllowTcpForwarding of its sshd.",
        )

    def close(self) -> None:
        for process in self._forwards:
            _kill(process)
            process.wait()
        self._forwards.clear()
        if self._socket and self._socket.exists():
            with contextlib.suppress(TimedOut):
                Process([*self._client(), "-O", "exit", "--", self.destination]).wait(_CONNECT_TIMEOUT)

    def _connected(self) -> bool:
        asked = ["-O", "check", "--", self.destination] if self._socket else ["--", self.destination, "exec true"]
        probe = [*self._client(), *asked]
        try:
            done = Process(probe).wait(_CONNECT_TIMEOUT)
        except TimedOut:
            return False
        return done.returncode == 0

    def _client(self) -> list[str]:
        shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={self._socket}"]
        alone = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
        return ["ssh", *self._options(), *_command_mode(), "-o", "LogLevel=ERROR", *(shared if self._socket else alone)]

    def _options(self) -> list[str]:
        return [
            *(["-p", str(self.port)] if self.port else []), *self.options, *_over_the_users(), "-o", "BatchMode=yes",
            "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8",
        ]  # fmt: skip


def _over_the_users() -> Sequence[str]:
    """Options over those of ~/.ssh/config with which ssh would not run our command, or not give it our input."""
    newer = ["-o", "ForkAfterAuthentication=no", "-o", "StdinNull=no"] if _knows_session_types() else []
    return ["-o", "RemoteCommand=none", *newer]


def _command_mode() -> Sequence[str]:
    """Further options for a command, as opposed to a forwarding."""
    return ["-o", "SessionType=default"] if _knows_session_types() else []


@functools.cache
def _knows_session_types() -> bool:
    """Whether this machine's ssh has SessionType, ForkAfterAuthentication and StdinNull, which are as old."""
    remedy = "Install it with: apt-get install openssh-client"
    try:
        client = tools.run(["ssh", "-V"], timeout=_CONNECT_TIMEOUT, remedy=remedy)
    except HostProblem:  # whoever runs it next reports that
        return False
    known = re.match(r"OpenSSH_(\d{1,4})\.(\d{1,4})", client.stderr)
    return known is not None and (int(known[1]), int(known[2])) >= (8, 7)


@contextlib.contextmanager
def _ended_after(process: subprocess.Popen[str], timeout: float) -> Iterator[None]:
    """Kill the process and its children if the block lasts longer than ``timeout`` seconds."""
    timer = threading.Timer(timeout, _kill, [process])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own


def _encoded(text: str) -> list[str]:
    """Words of printable ASCII without quote and !, which ``printf %b`` turns into this text."""
    safe = set(range(32, 127)) - set(b"'\\!")
    units = [chr(byte) if byte in safe else f"\\0{byte:03o}" for byte in text.encode(errors="surrogateescape")]
    return ["".join(units[at : at + _CHUNK]) for at in range(0, len(units), _CHUNK)]
