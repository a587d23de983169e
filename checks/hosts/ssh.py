"""An account reached through the OpenSSH client: one connection, shared by every command over a control socket."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from checks.hosts.base import Host
from checks.hosts.process import Completed
from checks.problems import HostProblem, WrongUsage

_DESTINATION = re.compile(
    r"ssh://(?:(?P<user>[\w.+-]+)@)?(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?/?"
)


class SshHost(Host):
    """One account on another machine.

    ``sockets`` is a folder of this run's own for the control socket; its path must be short, since a socket's may have
    108 bytes at most.
    """

    def __init__(
        self, destination: str, *, sockets: Path, port: int | None = None, options: Sequence[str] = (), name: str = ""
    ) -> None:
        self.destination = destination
        self.port = port
        self.options = list(options)
        self.name = name or f"ssh://{destination}"
        self._lent: list[subprocess.Popen[str]] = []
        self._socket = sockets / f"{destination}-{port or 22}"

    @classmethod
    def parse(cls, url: str, *, sockets: Path) -> SshHost:
        """The host that ``ssh://user@host[:port]`` names. Raises WrongUsage where the text is not of that form."""
        found = _DESTINATION.fullmatch(url)
        if found is None or found["host"].startswith("-") or (found["user"] or "").startswith("-"):
            raise WrongUsage(f"“{url}” is not an ssh host.", "Write ssh://user@host or ssh://user@host:port.")
        destination = f"{found['user']}@" if found["user"] else ""
        destination += found["host"].strip("[]")
        return cls(destination, sockets=sockets, port=int(found["port"]) if found["port"] else None, name=url)

    def carry(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        # sshd hands one string to the account's shell: this is the one place where an argv is quoted. The exit makes
        # the shell stay and turn a death by signal into a status; ssh itself has only 255 for that.
        remote = f"{shlex.join(argv)}; exit $?"
        return [*self._client(), *(["-tt"] if tty else ["-T"]), "--", self.destination, remote]

    def accounts(self) -> Sequence[Host]:
        return [self]

    def address(self) -> str:
        port = ["-p", str(self.port)] if self.port else []
        return shlex.join(["ssh", *port, *self.options, self.destination])

    def check(self, completed: Completed) -> Completed:
        if completed.status == 255 and not self._connected():  # a command may end with 255 by itself
            said = completed.err.strip().split("\n")[-1] or "the connection broke"
            raise HostProblem(
                f"{self.name} can't be reached: {said}",
                f"Try “{self.address()} true” by hand; keys must work without a question.",
            )
        return completed

    def lend(self, port: int) -> int:
        # By a connection of its own: the shared one ends when it has been idle. On all of the host's addresses where
        # its sshd allows (GatewayPorts clientspecified), else on its loopback alone.
        own = ["-N", "-o", "LogLevel=INFO", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes"]
        process = subprocess.Popen(
            ["ssh", *self._options(), *own, "-R", f"0.0.0.0:0:127.0.0.1:{port}", "--", self.destination],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._lent.append(process)
        said = ""
        assert process.stderr
        for line in process.stderr:  # until the port is told, or ssh ends
            said += line
            if found := re.match(r"Allocated port (\d+) for remote forward", line):
                return int(found[1])
        raise HostProblem(f"{self.name} forwards no port to this machine: {said.strip()}", "Does its sshd allow it?")

    def close(self) -> None:
        for process in self._lent:
            process.kill()
            process.wait()
        self._lent.clear()
        if self._socket.exists():
            subprocess.run([*self._client(), "-O", "exit", "--", self.destination], capture_output=True, check=False)

    def _connected(self) -> bool:
        probe = [*self._client(), "-O", "check", "--", self.destination]
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0

    def _client(self) -> list[str]:
        return [
            "ssh", *self._options(), "-o", "LogLevel=ERROR",
            "-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={self._socket}",
        ]  # fmt: skip

    def _options(self) -> list[str]:
        return [
            *(["-p", str(self.port)] if self.port else []), *self.options, "-o", "BatchMode=yes",
            "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8",
        ]  # fmt: skip
