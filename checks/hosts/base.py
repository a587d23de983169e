"""The Host: argv in, Completed out. Everything that a kind of host does not have to decide is done here."""

from __future__ import annotations

import contextlib
import pwd
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pexpect

from checks.core import redaction
from checks.core.bounded import parsed
from checks.core.errors import HostProblem
from checks.hosts.process import HEAD, Completed, Echo, Process, TimedOut
from checks.hosts.talking import Flood, Spawned, spawned

_REPORTED = 600
"""Characters of a failed step's error that a message quotes."""
_GRACE = 10.0  # seconds, times the slowness: how much later than its own bound a command may be reported

SHARED = "/var/tmp"  # noqa: S108 - only make_private_directory makes anything in it
"""Where every account may make directories: outside the home, and on a disk."""

# Any account may have put anything here before, under any name that it could know: mktemp makes a directory that was
# not there, with a name that nobody knows before. Without the sticky bit anybody could replace it afterwards.
_MAKE_PRIVATE = """
[ -k "$1" ] || [ -z "$(find "$1" -prune -perm -0002)" ] || {
    echo "every account may replace what is in $1: it has no sticky bit" >&2
    exit 1
}
umask 077
mktemp -d -- "$1/$2-XXXXXXXXXX"
"""

# Only this account's own, and no link: another account can make a directory of such a name, too.
_REMOVE_PRIVATE = """
status=0
for directory in "$1/$2"-*; do
    [ -d "$directory" ] && [ ! -L "$directory" ] && [ -O "$directory" ] || continue
    rm -rf -- "$directory" 2>/dev/null || podman unshare rm -rf -- "$directory" || status=1
done
exit "$status"
"""

_FACTS = """
printf 'kernel=%s\\n' "$(uname -r)"
printf 'uid=%s\\n' "$(id -u)"
printf 'gid=%s\\n' "$(id -g)"
printf 'home=%s\\n' "$HOME"
printf 'docker=%s\\n' "$(command -v docker)"
printf 'cpus=%s\\n' "$(nproc)"
. /etc/os-release && printf 'distribution=%s\\n' "$PRETTY_NAME"
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then cgroups=v2
elif [ -d /sys/fs/cgroup/unified ] || grep -q '^0::' /proc/self/cgroup; then cgroups=hybrid
else cgroups=v1; fi
printf 'cgroups=%s\\n' "$cgroups"
printf 'init=%s\\n' "$(cat /proc/1/comm)"
if command -v podman >/dev/null; then engine=podman format=json; else engine=docker format='{{json .}}'; fi
printf 'engine=%s\\n' "$engine"
printf 'info=%s\\n' "$("$engine" info --format "$format" 2>/dev/null | head -c 1048576 | tr -d '\\n')"
"""


TITLES = {"podman": "Podman", "docker": "Docker Engine"}
"""An engine's name as people write it."""


@dataclass(frozen=True)
class Facts:
    """What a host is. A fact that could not be found out is an empty string."""

    kernel: str
    distribution: str
    uid: int
    gid: int
    home: str
    cpus: int
    cgroups: str
    """``v2``, ``v1`` or ``hybrid``."""
    init: str
    """The name of the first process."""
    docker: str
    """The path of ``docker``, as the account's PATH finds it."""
    engine: str
    """What stands behind ``docker``, and the command that shows the host's own view: ``podman`` or ``docker``."""
    version: str
    """The engine's."""
    runtime: str
    conmon: str
    network: str
    """The rootless network helper: ``pasta …`` or ``slirp4netns …``; ``bridge`` where the engine is not rootless."""
    storage: str
    rootless: bool
    store: str = ""
    """What Podman calls its graph root; empty where it was not asked for, which is where it is the ordinary one."""

    @property
    def graph_root(self) -> str:
        """Podman's directory of images and containers."""
        return self.store or f"{self.home}/.local/share/containers/storage"

    def as_json(self) -> dict[str, str | int | bool]:
        """The facts as evidence stores them: without the account's directories, which are nobody's business."""
        return {key: value for key, value in asdict(self).items() if key not in ("home", "store")}


class Host(ABC):
    """One account on one machine.

    ``slowness`` is how much longer than on ordinary hardware things may take (1 on ordinary hardware; a guest under
    emulation has more): every bound is multiplied by it.
    """

    name: str
    slowness: float = 1.0
    echo: Echo | None = None
    service_address = "127.0.0.1"
    """Where, on this machine, a service has to listen that ``forward_port`` lends to the host."""
    opening = b""
    """What the far side prints on standard output right before a command's own, after whatever else it prints first."""
    _facts: Facts | None = None

    @abstractmethod
    def wrap_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        """The argv to run here so that ``argv`` runs there."""

    @abstractmethod
    def accounts(self) -> Sequence[Host]:
        """Every account of this machine that a run may use, this one first."""

    def address(self) -> str:
        """How a person gets a shell there; empty where they have one already."""
        return ""

    def check(self, completed: Completed) -> Completed:
        """Raise HostProblem where the status is not the command's own but says that the host is gone."""
        return completed

    def forward_port(self, port: int) -> int:
        """Let a TCP port of this machine be reached on the host under its own addresses; the port's number there."""
        raise HostProblem(f"{self.name} can't be lent a service of this machine.")

    def close(self) -> None:  # noqa: B027 - a host that holds nothing has nothing to close
        """Give back what the host holds. Calling it again does nothing."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 20
    ) -> Completed:
        """Run a command to its end.

        ``timeout`` is in seconds on ordinary hardware. Raises TimedOut when the command was killed for it, HostProblem
        when the host itself did not answer.
        """
        return self.wait(self.start(argv, stdin=stdin, env=env, timeout=timeout), timeout)

    def start(
        self, argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 20
    ) -> Process:
        """Start a command and go on; ``wait`` collects it. It is killed on its host after ``timeout``."""
        carried = self.wrap_command(self._bounded(argv, env, timeout))
        return Process(carried, shown=argv, stdin=stdin, echo=self.echo, opening=self.opening)

    def wait(self, process: Process, timeout: float = 20) -> Completed:
        """The end of a started command; raises as ``run`` does."""
        bound = timeout * self.slowness
        try:
            completed = self.check(process.wait(bound + _GRACE * self.slowness))
        except TimedOut as error:
            if error.partial.opened and self._answers():
                # timeout(1) has killed it there, and something that it had started lives on and holds its pipes open.
                raise TimedOut(error.partial, bound) from error
            raise HostProblem(
                f"{self.name} stopped answering: “{error.partial.command}” was not even killed at its bound of "
                f"{bound:g} s.",
                "Look at the host's load and console, then run again.",
            ) from error
        if completed.seconds >= bound and completed.returncode in (124, 137):  # how timeout(1) ends when it killed
            raise TimedOut(completed, bound)
        return completed

    def _answers(self) -> bool:
        """Whether the host runs a command at all."""
        try:
            done = Process(self.wrap_command(["true"]), opening=self.opening).wait(_GRACE * self.slowness)
        except TimedOut:
            return False
        return done.opened and done.returncode == 0

    def spawn(self, argv: Sequence[str], *, tty: bool, timeout: float = 20) -> Spawned:
        """Start a command to talk with: on a terminal of its own (``tty``) or on plain pipes.

        ``timeout`` bounds each wait for an answer; the command as a whole is killed after three times that.
        """
        bound = timeout * self.slowness
        carried = self.wrap_command(self._bounded(argv, None, 3 * timeout, foreground=tty), tty=tty)
        if self.echo:
            command = Completed(tuple(argv), 0, b"", b"", 0).command
            self.echo(f"$ {redaction.redacted_text(command)}  (interactive)")
        child = spawned(carried, tty=tty, timeout=bound)
        try:
            if self.opening:
                child.expect_exact(self.opening)
        except (pexpect.EOF, pexpect.TIMEOUT, Flood) as unopened:
            child.kill(signal.SIGKILL)
            said = (child.before or b"").decode(errors="replace").strip()[-300:]
            raise HostProblem(f"{self.name} did not start a command: {said or 'it printed nothing'}.") from unopened
        return child

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file there, making its directory. Written aside and renamed: nobody sees half of it."""
        script = """
            [ -d "${1%/*}/" ] || mkdir -p "${1%/*}" || exit
            umask 077
            cat >"$1.part" && chmod "$2" "$1.part" && mv "$1.part" "$1"
        """
        self.run_checked(["sh", "-c", script, "sh", path, f"{mode:o}"], stdin=data, doing=f"writing {path}")

    def make_directory(self, path: str) -> None:
        """Make a directory there, with those above it."""
        self.run_checked(["mkdir", "-p", path], doing=f"making {path}")

    def make_private_directory(self, name: str) -> str:
        """Make a directory there, outside the account's home, that only the account can enter; its path.

        ``name`` is what its own name begins with. It is always a new directory, under a name that nobody can know
        beforehand: see mktemp(1). Raises HostProblem where there can be none.
        """
        argv = ["sh", "-c", _MAKE_PRIVATE, "sh", SHARED, name]
        return self.run_checked(argv, doing=f"making a directory in {SHARED}").stdout.strip()

    def remove_private_directories(self, name: str) -> bool:
        """Remove the account's own directories whose names ``make_private_directory`` began so. Whether all are gone.

        What is in them may belong to any of the account's subordinate ids.
        """
        return self.run(["sh", "-c", _REMOVE_PRIVATE, "sh", SHARED, name]).returncode == 0

    def read(self, path: str) -> bytes:
        """The content of a file there. Raises HostProblem where it can't be read."""
        return self.run_checked(["cat", path], doing=f"reading {path}").stdout_bytes

    def run_checked(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 20, doing: str = "a step of the run"
    ) -> Completed:
        """Run one of our own steps, which has no reason to fail on a usable host.

        Raises HostProblem when it does; ``doing`` is what its message calls the step.
        """
        try:
            done = self.run(argv, stdin=stdin, timeout=timeout)
        except TimedOut as error:
            raise HostProblem(
                f"On {self.name}, {doing} did not end within {error.timeout:g} s.",
                "Look at the host's load, then run again.",
            ) from error
        if done.returncode != 0:
            # Never standard output: it may be the user's own configuration, or a secret of theirs.
            reported = " ".join(done.stderr.split())[-_REPORTED:] or "it printed no error"
            raise HostProblem(f"On {self.name}, {doing} failed with status {done.returncode}: {reported}")
        if done.cut:
            raise HostProblem(f"On {self.name}, {doing} printed more than the {HEAD // 2**20} MB that are read.")
        return done

    def remember(self, facts: Facts) -> None:
        """Take these facts as this host's own, known from before."""
        self._facts = facts

    def facts(self) -> Facts:
        """What this host is: asked once, then remembered."""
        if self._facts is None:
            self._facts = parse_facts(self.run_checked(["sh", "-c", _FACTS], doing="asking for its facts").stdout)
        return self._facts

    def _bounded(
        self, argv: Sequence[str], env: Mapping[str, str] | None, timeout: float, *, foreground: bool = False
    ) -> list[str]:
        """``argv`` under timeout(1) on its own host: a client that dies here must not leave it running there."""
        bound = f"{timeout * self.slowness:.1f}"
        settings = ["env", *(f"{key}={value}" for key, value in env.items())] if env else []
        return ["timeout", *(["--foreground"] if foreground else []), "-k", "2", bound, *settings, *argv]


def parse_facts(text: str) -> Facts:
    """Facts from the lines of ``key=value`` that the host's own shell printed. Raises HostProblem for other text."""
    found = pairs(text)
    info: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        told = parsed(found.get("info", ""))
        info = told if isinstance(told, dict) else {}
    engine = found.get("engine", "")
    try:
        return Facts(
            kernel=found.get("kernel", ""),
            distribution=found.get("distribution", ""),
            uid=int(found.get("uid", -1)),
            gid=int(found.get("gid", -1)),
            home=found.get("home", ""),
            cpus=int(found.get("cpus") or 0),
            cgroups=found.get("cgroups", ""),
            init=found.get("init", ""),
            docker=found.get("docker", ""),
            engine=engine,
            **(_of_docker(info) if engine == "docker" else _of_podman(info)),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise HostProblem(f"The host's facts can't be read: {error}.", "Look at what “podman info” prints.") from error


def pairs(text: str) -> dict[str, str]:
    """The lines of ``key=value`` of a text; others are left out."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _of_podman(info: dict[str, Any]) -> dict[str, Any]:
    host = info.get("host", {})
    helpers = (name for name in ("pasta", "slirp4netns") if host.get(name, {}).get("executable"))
    rootless = bool(host.get("security", {}).get("rootless", host.get("rootless", False)))
    helper = host.get("rootlessNetworkCmd") or next(helpers, "")
    return {
        "version": info.get("version", {}).get("Version", ""),
        "runtime": first_line(host.get("ociRuntime", {}).get("version", "")),
        "conmon": first_line(host.get("conmon", {}).get("version", "")),
        "network": " ".join(filter(None, (helper, first_line(host.get(helper, {}).get("package", ""))))),
        "storage": info.get("store", {}).get("graphDriverName", ""),
        "rootless": rootless,
        "store": info.get("store", {}).get("graphRoot", ""),
    }


def _of_docker(info: dict[str, Any]) -> dict[str, Any]:
    runtime = str(info.get("DefaultRuntime", ""))
    return {
        "version": str(info.get("ServerVersion", "")).split("+")[0],
        "runtime": f"{runtime} {info.get('RuncCommit', {}).get('ID', '')}".strip(),
        "conmon": "",
        "network": "bridge",
        "storage": str(info.get("Driver", "")),
        "rootless": any("rootless" in str(option) for option in info.get("SecurityOptions") or ()),
    }


def first_line(text: str) -> str:
    """The first line of a version text that may have many."""
    return text.strip().split("\n", 1)[0]


def account_name(uid: int) -> str:
    """This machine's name for a uid, or the uid where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
