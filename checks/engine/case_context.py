"""The context of a case: the docker under test on one account, a directory there, and the host's own view."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from checks.core.errors import HostProblem
from checks.core.process import Completed, TimedOut
from checks.engine import case_files, probe_image
from checks.engine.docker import Docker, Record, shell
from checks.engine.expect import Mismatch, expect
from checks.engine.leaks import LeakDetector
from checks.hosts import base
from checks.hosts.base import Host, directories_of
from checks.hosts.facts import Facts
from checks.hosts.prefixed import PrefixedHost

# The first argument of each script is the engine's own command: the host's view, without the docker under test.
_GONE = """
until=$(($(date +%s) + 8))
while
    left=$(
        pgrep -u "$(id -u)" -a -f -- "$2" # another account can give a process any name
        [ $? -le 1 ] || echo "pgrep fails" # 1: no match
    )
    # Asking the engine is slow: only when no process is left.
    [ -n "$left" ] || left=$("$1" ps -a --format '{{.Names}} {{.Status}}' --filter "name=$2" || echo "$1 ps fails")
    [ -n "$left" ] || exit 0
    [ "$(date +%s)" -lt "$until" ]
do
    sleep 0.2
done
printf '%s\\n' "$left"
exit 1
"""

_RUNNING = """
until=$(($(date +%s) + $3))
until "$1" ps --format '{{.Names}}' | grep -qxF -- "$2"; do
    [ "$(date +%s)" -lt "$until" ] || exit
    sleep 0.2
done
"""

# Kill the processes first: `podman rm -f` removes a container whose `podman stop` was killed, but leaves it running.
_REMOVE_CONTAINERS = """
if ids=$("$1" ps -aq --filter "label=$2") && [ -n "$ids" ]; then
    if [ "$1" != docker ] && pids=$("$1" container inspect --format '{{.State.Pid}}' $ids | grep -vx 0); then
        podman unshare kill -KILL $pids
    fi
    "$1" rm -f $ids
fi >/dev/null 2>&1
"""

# Reading the store's list is faster than asking Podman, and runs after every failed case.
_REMOVE_CONTAINERS_IF_ANY = f"""
[ "$1" = docker ] || grep -qs '"id"' "$3"/*-containers/*containers.json || exit 0
{_REMOVE_CONTAINERS}
"""

_REMOVE = f"""{_REMOVE_CONTAINERS}
engine=$1 label=$2 marker=$3 shared=$4 names=$5
named() {{ "$engine" images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep -F -- "$names:"; }}
named | xargs -r "$engine" rmi -f >/dev/null 2>&1 # a base image has no label of the run
"$engine" images -aq --filter "label=$label" | sort -u | xargs -r "$engine" rmi -f >/dev/null 2>&1
"$engine" network ls -q --filter "label=$label" | xargs -r "$engine" network rm >/dev/null 2>&1
for caches in "$shared"/buildah-cache*; do # newer versions have the uid in its name
    [ -O "$caches" ] && [ ! -L "$caches" ] || continue # any account can make such a directory, or a link
    for cached in "$caches"/*; do
        [ ! -e "$cached/$marker" ] || podman unshare rm -rf -- "$cached"
    done
    rmdir -- "$caches" 2>/dev/null
done
# An engine that does not answer has removed nothing. Old versions know no filter for networks.
containers=$("$engine" ps -aq --filter "label=$label") || exit
images=$("$engine" images -q --filter "label=$label") || exit
[ -z "$containers$images$(named)$("$engine" network ls -q --filter "label=$label")" ]
"""


# What a build runs has a process namespace and an environment of its own, and outlives a client that was killed. It is
# known by the files of its TMPDIR that it has mounted, such as /etc/hosts: by where they are from, the fourth field.
# Where a mount is says nothing: any account can mount with FUSE, under any name.
_END_BUILDS = """
own=$(readlink /proc/self/ns/pid)
of_builds() {
    from="^[0-9]+ [0-9]+ [0-9:]+ [^ ]*/$1-[^ ]*/buildah[0-9]"
    grep -lsE -- "$from" /proc/[0-9]*/mountinfo | while IFS=/ read -r _ _ pid _; do
        its=$(readlink "/proc/$pid/ns/pid") && [ "$its" != "$own" ] && echo "$pid"
    done
}
for _ in 1 2 3 4 5 6 7 8 9; do
    left=$(of_builds "$1")
    [ -n "$left" ] || exit 0
    kill -KILL $left
    sleep 0.3
done 2>/dev/null
exit 1
"""

# Newer versions have the uid in the name. Once the directory is this account's, the sticky bit keeps others from it.
_OWN_CACHES = """
for caches in "$1/buildah-cache" "$1/buildah-cache-$(id -u)"; do
    mkdir -m 700 -- "$caches" 2>/dev/null && continue
    [ -d "$caches" ] && [ -O "$caches" ] && [ ! -L "$caches" ] || echo "$caches"
done
"""

DOCKER_OF_SERVICE = ".local/share/nanoclaw-docker"
"""The directory, below the home, of the docker that `invoke inject --install --driver` puts first for nanoclaw 2.2."""
DROP_IN_OF_SERVICE = ".config/systemd/user/nanoclaw-v2-.service.d/60-nanoclaw-docker.conf"
"""The drop-in, below the home, that puts it first on the PATH of nanoclaw's units."""

IN_A_SERVICE = ["systemd-run", "--user", "--pipe", "--wait", "--quiet"]
"""Runs a command as a user service."""

_OF_SERVICE = '[ ! -x "$0/docker" ] || PATH=$0:$PATH; exec "$@"'


@dataclass(frozen=True)
class RunScope:
    """The owner of containers and images: the run, and the images it uses."""

    run: str
    images: str
    """The owner of the probe images: the run, or ``PREPARED`` on a guest."""


_latest = 0
_naming = threading.Lock()


def _milliseconds() -> int:
    """The time in milliseconds, never the same twice: agents that start at once need different names."""
    global _latest  # noqa: PLW0603 - shared by all contexts of a process
    with _naming:
        _latest = max(time.time_ns() // 1_000_000, _latest + 1)
        return _latest


class CaseContext:
    """What one case needs on one account. Its directory is made when first used."""

    def __init__(
        self,
        host: Host,
        owner: RunScope,
        case: str,
        record: Record,
        *,
        factor: float = 1.0,
        flags: Sequence[str] = (),
        watch: LeakDetector | None = None,
    ) -> None:
        self._watch = watch
        self.host = host
        self._docker = partial(
            Docker, owner=owner.run, record=record, factor=factor, flags=flags, temporary=self._temporary
        )
        self.docker = self._docker(host)
        self.record = record
        self.slowness = host.slowness * factor
        """The factor for a case's timeouts: the host's slowness, and what a mutation changes of it."""
        self.run = owner.run
        self.probe = f"{probe_image.repository(owner.images)}:probe"
        self.agent = f"{probe_image.repository(owner.images)}:agent"
        self._owner = owner
        self.case = case
        self._directory = self._temporary_directory = ""
        self._caches_are_own = False
        self._unrelated: list[str] = []

    def use_docker_of_service(self) -> None:
        """Run docker from here on as nanoclaw 2.2's service does: the translating one, if the account has it."""
        before = ["sh", "-c", _OF_SERVICE, f"{self.facts.home}/{DOCKER_OF_SERVICE}"]
        self.docker = self._docker(PrefixedHost(self.host, before))

    @property
    def facts(self) -> Facts:
        """The host's facts."""
        return self.host.facts()

    @property
    def uid(self) -> int:
        """The account's uid on the host."""
        return self.facts.uid

    @property
    def has_session(self) -> bool:
        """Whether the account has a systemd user session, which can run a user service."""
        return self.host.run(["systemctl", "--user", "show-environment"]).returncode == 0

    @property
    def directory(self) -> str:
        """An empty directory for the case, on the host."""
        if not self._directory:
            self._directory = self.host.make_private_directory(f"{directories_of(self.run)}-{self.case}")
        return self._directory

    def _temporary(self) -> str:
        """The case's TMPDIR, on the host, for commands about images; empty where Podman can't have another one.

        Raises HostProblem if it would use another account's files then.
        """
        if not self.facts.has_runtime_directory:
            own = self.facts.engine != "podman" or self._caches_are_own
            foreign = "" if own else self.host.run(shell(_OWN_CACHES, base.SHARED)).stdout.strip()
            self._caches_are_own = not foreign
            if foreign:
                raise HostProblem(
                    f"On {self.host.name}, {foreign} is not this account's own, and Podman's builds would use it.",
                    "Remove it, as root; or log in with a session, which sets XDG_RUNTIME_DIR.",
                )
        elif not self._temporary_directory:
            name = f"{directories_of(self.run)}-{self.case}-images"
            self._temporary_directory = self.host.make_private_directory(name)
        return self._temporary_directory

    @property
    def made_directory(self) -> str:
        """The case's directory if it was made; else empty."""
        return self._directory

    def make(self, name: str) -> str:
        """Make a directory in the case's directory; its path."""
        path = f"{self.directory}/{name}"
        self.host.make_directory(path)
        return path

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file in the case's directory; its path."""
        data = content.encode() if isinstance(content, str) else content
        case_files.write(self.host, self.directory, name, data)
        return f"{self.directory}/{name}"

    def read(self, name: str) -> str:
        """The text of a file in the case's directory, or the error in parentheses."""
        try:
            return self.read_bytes(name).decode(errors="replace")
        except Mismatch as error:
            return f"({error.got})"

    def read_bytes(self, name: str, largest: int = case_files.LARGEST) -> bytes:
        """The content of a file in the case's directory. Raises Mismatch if it can't be read, as ``case_files``."""
        return case_files.read(self.host, self.directory, name, largest)

    def run_in(self, directory: str, script: str, *args: str) -> Completed:
        """Run a shell script in a directory of the case's directory, which a container may write."""
        return case_files.run_in(self.host, self.directory, directory, script, *args)

    def relative(self, path: str) -> str:
        """The name in the case's directory of a path below it."""
        assert path.startswith(f"{self.directory}/"), path
        return path.removeprefix(f"{self.directory}/")

    def owner_of(self, name: str) -> str:
        """uid:gid of a file in the case's directory, on the host."""
        return self.host.run(["stat", "-c", "%u:%g", f"{self.directory}/{name}"]).stdout.strip()

    def name(self, group: str) -> str:
        """A container name like nanoclaw's: nanoclaw-GROUP-MILLISECONDS, with the run's id in the group."""
        return f"nanoclaw-{group}-{self._owner.run}-{_milliseconds()}"

    def engine(self, *args: str) -> str:
        """The output of the engine's own command: the host's view, without the docker under test."""
        engine = self.facts.engine
        try:
            return self.host.ask(self.engine_command(*args), str.strip, doing=f"“{engine} {args[0]}”")
        except HostProblem:
            # The run has made the image: the docker under test has removed it.
            if self.host.run([engine, "image", "inspect", self.probe]).returncode != 0:
                raise Mismatch(f"the image {self.probe} to stay", "it is gone") from None
            raise

    def engine_command(self, *args: str, settings: Mapping[str, str] | None = None) -> list[str]:
        """The command line of the engine's own command, with a TMPDIR of the case's if it writes layers."""
        variables = {**(settings or {}), **self.docker.environment(args[0])}
        return [*(["env", *(f"{name}={value}" for name, value in variables.items())] if variables else []),
                self.facts.engine, *args]  # fmt: skip

    @property
    def files_of_root(self) -> str:
        """uid:gid, on the host, of a file that root of a container makes in a mount."""
        return f"{self.uid}:{self.facts.gid}" if self.facts.rootless else "0:0"

    def start_unrelated(self, name: str, *options: str, script: str = "trap exit TERM; sleep 600 & wait") -> None:
        """Start an unrelated container with the engine, which runs ``script`` until it is removed.

        It has no network, unless ``options`` set one: network setup takes an eighth of a start.
        """
        network = [] if any(option.startswith("--network") for option in options) else ["--network=none"]
        self._start_unrelated(["run", "-d", *network], name, options, "sh", "-c", script)

    def create_unrelated(self, name: str, *options: str) -> None:
        """Create an unrelated container with the engine, and do not start it."""
        self._start_unrelated(["create"], name, options, "true")

    def leave_unrelated(self, name: str, *options: str, status: int = 0) -> None:
        """Run an unrelated container with the engine that exits with ``status`` and is not removed."""
        self._start_unrelated(["run", "-d", "--network=none"], name, options, "sh", "-c", f"exit {status}", wait=True)

    def _start_unrelated(
        self, how: Sequence[str], name: str, options: Sequence[str], *command: str, wait: bool = False
    ) -> None:
        self._unrelated.append(name)
        label = f"{probe_image.LABEL}={self._owner.run}"
        with self._watch.ignoring() if self._watch else contextlib.nullcontext():
            self.engine(*how, "--name", name, "--label", label, *options, self.probe, *command)
            if wait:
                self.engine("wait", name)

    def leave_objects(self) -> None:
        """Leave what is there now to the next case: it is intended, for example a service that runs on."""
        if self._watch:
            self._watch.begin()

    def forget_unrelated(self, name: str) -> None:
        """Forget an unrelated container that the case has removed."""
        self._unrelated.remove(name)

    def remove_unrelated(self) -> None:
        """Remove the unrelated containers."""
        if self._unrelated:
            self.engine("rm", "-f", *self._unrelated)
            self._unrelated.clear()

    def expect_gone(self, name: str) -> None:
        """Fail unless the container of that name and its processes are gone within seconds."""
        pattern = f"[{name[0]}]{name[1:]}"  # does not match its own command line
        left = self.host.run(shell(_GONE, self.facts.engine, pattern), timeout=30)
        expect(
            left.returncode == 0, f"nothing left of container {name}: no container, no client, no conmon", left.stdout
        )

    def processes_with(self, word: str) -> list[str]:
        """The ids of the processes on the host that have this word on their command line."""
        found = self.host.run(["sh", "-c", "grep -lszxF -f - /proc/[0-9]*/cmdline"], stdin=word.encode())
        return re.findall(r"^/proc/([0-9]{1,10})/", found.stdout, re.MULTILINE)

    def await_running(self, name: str) -> None:
        """Wait until a container of exactly that name runs; fail after 15 s on ordinary hardware."""
        bound = round(15 * self.slowness)
        done = self.host.run(shell(_RUNNING, self.facts.engine, name, str(bound)), timeout=60)
        expect(done.returncode == 0, f"a running container named {name}", f"none of that name after {bound} s")


def remove_containers(account: Host, run: str) -> None:
    """Remove a run's containers from an account."""
    facts = account.facts()
    script = shell(_REMOVE_CONTAINERS_IF_ANY, facts.engine, f"{probe_image.LABEL}={run}", facts.graph_root)
    account.run(script, timeout=60)


def remove_objects(account: Host, run: str) -> bool:
    """Remove a run's builds, containers, images, caches and directories from an account; whether all are gone."""
    try:
        gone = account.run(shell(_END_BUILDS, directories_of(run))).returncode == 0
        gone &= account.remove_private_directories(directories_of(run))
        label, names = f"{probe_image.LABEL}={run}", probe_image.repository(run)
        script = shell(_REMOVE, account.facts().engine, label, marker(run), base.SHARED, names)
        return account.run(script, timeout=60).returncode == 0 and gone
    except (TimedOut, HostProblem):  # an engine that does not answer has removed nothing
        return False


def marker(run: str) -> str:
    """The name of a file that marks a build cache as a run's."""
    return f"nanoclaw-verify-{run}"


def accounts_for(accounts: Sequence[Host], *, image_uid: bool) -> Host | None:
    """The first account with uid 1000 (``image_uid``), or with neither 0 nor 1000: nanoclaw treats them differently."""
    for account in accounts:
        uid = account.facts().uid
        if uid == 1000 if image_uid else uid not in (0, 1000):
            return account
    return None
