"""Leaks of a case: processes, mounts, files, containers, networks, volumes, subordinate ids."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from checks.core.bounded import parsed
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.core.run_processes import MARK, serves_the_account
from checks.engine.probe_image import LABEL
from checks.hosts.base import Host

_OURS = "nanoclaw-verify-look"
"""A word in the command lines of this module, which tells them from leaks."""
_TIMEOUT = 5.0  # seconds, times the slowness: an engine cleans up after a container has exited
_POLL = 0.3
_ID = 12
"""Characters of a container's id in reports."""
# Files that an engine or a session keeps: the directory of build caches (emptied with the images); directories that
# Podman leaves until the next boot, 3.0 of each container, 5.4 of one that could not start; crun's compiled seccomp
# filters, one for each set of capabilities; the lock of a storage driver's mounts; the files and the network namespace
# that netavark and its DNS server keep with the networks, its lock and that of CNI before it; the directory of network
# namespaces, without one; the message bus that systemd starts on demand. And the store's bind mount onto itself.
_LASTING = re.compile(
    r"(?:/var)?/tmp/buildah-cache(-\d+)?|/run/user/\d+/(libpod/tmp/(socket|persist)/|crun/\.cache/seccomp/|dbus-1).*"
    r"|/run/user/\d+/containers/(vfs|overlay)-layers(/mountpoints\.lock)?"
    r"|.*/networks/(ipam\.db|netavark\.lock|aardvark\.lock|aardvark-dns|rootless-netns)|.*/libpod/tmp/(cni|rootless-netns)\.lock"
    r"|(/run/user/\d+|/tmp/podman-run-\d+)/netns"
)
_PASSING = ("sshd", "(sd-pam)", "pgrep ", "/lib/systemd/", "/usr/lib/systemd/", "/usr/bin/dbus-daemon ")
"""The first words of processes that serve the connection and the account's session."""
_ONTO_ITSELF = "overlay"

# sh reads the script from stdin, so that none of it is in a command line. Arguments: the word that marks it, the
# engine, the engine's store, and the variable of the run's processes, or "" if every process counts. It runs after
# every case, mostly on emulated processors: it starts few programs, and reads Podman's files, because a Podman command
# takes a second there.
_LIST = r"""
engine=$2 store=$3 mark=$4 uid=$(id -u)
runtime=${XDG_RUNTIME_DIR:-/run/user/$uid}
[ -d "$runtime" ] || runtime=/tmp/podman-run-$uid # Podman's own directory if the account has no session
pause=self
if [ -O "$runtime/libpod/tmp/pause.pid" ]; then # in /tmp, any account can make it
    pause=$(head -c 20 "$runtime/libpod/tmp/pause.pid" | grep -x '[0-9]\{1,\}') || pause=self
fi
printf '%s\n' "$pause" "$runtime" "$store"
echo "= processes"
pgrep -a -u "$uid" --ns "$$" --nslist pid '' # processes of containers go with their containers
if [ -n "$mark" ]; then
    echo "= marked"
    grep -lszxF -- "$mark" /proc/[0-9]*/environ
fi
echo "= mounts"
[ "$pause" = self ] || cat "/proc/$pause/mountinfo" 2>/dev/null
cat /proc/self/mountinfo
echo "= subordinate ids"
cat /etc/subuid /etc/subgid 2>/dev/null
echo "= files"
find /tmp /var/tmp /dev/shm "$runtime" "$store/volumes" "$store/networks" "$HOME/.config/cni/net.d" -mindepth 1 \
    -maxdepth 4 -path "$runtime/systemd" -prune -o -user "$uid" -print0 ! -path "$runtime/*" -prune 2>/dev/null |
    tr '\n\0' '?\n' # a line for each, whatever its name
if [ "$engine" = docker ]; then
    echo "= listed"
    docker ps -a --no-trunc --format 'container {{.ID}} {{.Names}}' # the reference: it owns its volumes and networks
else
    echo "= containers"
    for known in "$store"/*-containers/*containers.json; do # by storage driver; --rm containers have their own list
        [ ! -f "$known" ] || { cat "$known" && echo; }
    done
fi
"""


class LeakDetector:
    """Detects objects on an account that were not there before.

    With ``exclusive`` use of the machine, every new object is a leak. Otherwise only objects with the run's id are: in
    the name or command line, in the environment of a process, or in the label of a container. Files whose
    path begins with ``ignored_prefix`` are ignored. ``factor`` multiplies timeouts.
    """

    def __init__(
        self, account: Host, run: str, *, exclusive: bool, ignored_prefix: str = "", factor: float = 1.0
    ) -> None:
        self._account = account
        self._run = run
        self._exclusive = exclusive
        self._ignored_prefix = ignored_prefix
        self._timeout = _TIMEOUT * account.slowness * factor
        self._before = frozenset[str]()
        self._labelled: dict[str, bool] = {}
        """The containers without the run's id in their names, and whether they have its label."""

    def begin(self) -> None:
        """Take the present objects as the baseline."""
        self._before = self._list()

    @contextlib.contextmanager
    def ignoring(self) -> Iterator[None]:
        """Add objects that appear within the block to the baseline: they are intended."""
        before = self._list()
        yield
        self._before |= self._list() - before

    def new(self) -> list[str]:
        """The new objects that stay, a line each. They are part of the baseline from now on."""
        now = self._before

        def nothing_new() -> bool:
            nonlocal now
            now = self._list()
            return now <= self._before

        poll(nothing_new, timeout=self._timeout, interval=_POLL)
        new = now - self._before
        self._before = now
        return sorted(new)

    def _list(self) -> frozenset[str]:
        facts = self._account.facts()
        mark = "" if self._exclusive else f"{MARK}={self._run}"
        argv = ["sh", "-s", _OURS, facts.engine, facts.graph_root, mark]
        seen, of_this_run = self._account.ask(
            argv, self._found, stdin=_LIST.encode(), doing="listing processes and files"
        )
        if self._ignored_prefix:
            seen = [line for line in seen if not line.startswith(f"file {self._ignored_prefix}")]
        return frozenset(seen if self._exclusive else self._of_this_run(seen, of_this_run))

    def _found(self, output: str) -> tuple[list[str], set[str]]:
        """The objects in the output of ``_LIST``, and the ids of the processes with the run's variable."""
        if _OURS not in output:  # it must list at least itself
            raise HostProblem(f"The processes of {self._account.name} can't be listed.", "Is pgrep (procps) installed?")
        return list(found(output)), marked(output)

    def _of_this_run(self, seen: list[str], marked_pids: set[str]) -> Iterator[str]:
        unnamed = [line for line in seen if self._run not in line]
        containers = {line.split()[1][:_ID] for line in unnamed if line.startswith("container ")}
        if new := containers - self._labelled.keys():  # ask only about new ones: asking the engine is slow
            argv = [self._account.facts().engine, "ps", "-aq", "--no-trunc", "--filter", f"label={LABEL}={self._run}"]
            listed = self._account.ask(argv, str.split, doing="listing the run's containers")
            labelled = {each[:_ID] for each in listed}
            self._labelled |= {each: each in labelled for each in new}
        for line in seen:
            match line.split():
                case "process", _, *command if serves_the_account(command):
                    pass  # a container of the user's may need it by now
                case _ if self._run in line:
                    yield line
                case "process", pid, *_ if pid in marked_pids:
                    yield line
                case "container", container, *_ if self._labelled.get(container[:_ID]):
                    yield line


def found(output: str) -> Iterator[str]:
    """The objects in the output of ``_LIST``, a line each."""
    head, *sections = re.split(r"^= (.+)\n", output, flags=re.MULTILINE)
    pause, runtime, store = lines_of(head)
    for kind, text in zip(sections[::2], sections[1::2], strict=True):
        for line in lines_of(text):
            match kind:
                case "processes" if not line.startswith(f"{pause} ") and not _passing(line):
                    yield f"process {line}"
                case "mounts":
                    point = line.split(" ")[4]
                    if point.startswith((f"{store}/", f"{runtime}/")) and point != f"{store}/{_ONTO_ITSELF}":
                        yield f"mount {point}"
                case "subordinate ids":
                    yield f"subordinate ids {line}"
                case "files" if not _LASTING.fullmatch(line):
                    yield _file(line)
                case "listed":
                    yield line
                case "containers" if line:
                    yield from (
                        f"container {each['id'][:_ID]} {' '.join(each.get('names') or ())}" for each in parsed(line)
                    )


def marked(output: str) -> set[str]:
    """The ids of the processes with the run's variable in the output of ``_LIST``."""
    _, _, rest = output.partition("\n= marked\n")
    return set(re.findall(r"^/proc/(\d+)/environ$", rest.partition("\n= mounts\n")[0], flags=re.MULTILINE))


def _file(path: str) -> str:
    for kind, directory in (("volume", "/volumes/"), ("network", "/networks/"), ("network", "/cni/net.d/")):
        if directory in path:
            return f"{kind} {path.rpartition('/')[2]}"
    return f"file {path}"


def _passing(process: str) -> bool:
    """Whether a process belongs to the listing, its connection, or the account's session."""
    _, _, command = process.partition(" ")
    return _OURS in command or command.startswith(_PASSING)
