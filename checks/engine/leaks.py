"""What a case left on its host: processes, mounts, files, containers, networks, volumes, subordinate ids."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from checks.core.bounded import parsed
from checks.core.errors import HostProblem
from checks.core.polling import poll
from checks.hosts.base import Host

_OURS = "nanoclaw-verify-look"
"""A word in the command lines that look, by which they are told from what they look for."""
_PATIENCE = 5.0  # seconds, times the slowness: an engine clears up behind a container that has ended
_POLL = 0.3
# What an engine or a session makes and keeps by itself: the directory of build caches (emptied with the images);
# a directory that Podman 3.0 leaves of every container until the next boot; the message bus that systemd starts when
# first needed; the store itself, mounted onto itself.
_LASTING = re.compile(r"(?:/var)?/tmp/buildah-cache(-\d+)?|/run/user/\d+/(libpod/tmp/socket/|dbus-1).*")
_PASSING = ("sshd", "(sd-pam)", "pgrep ", "/lib/systemd/", "/usr/lib/systemd/", "/usr/bin/dbus-daemon ")
"""How the processes begin that serve the connection and the account's session."""
_ONTO_ITSELF = "overlay"

# Read by sh from its input, so that no line of it stands in a command line. Its arguments: the word by which it is
# known, the engine, the engine's store. It is run after every case, mostly where processors are emulated: it starts as
# few programs as can be, and looks at Podman's files, since an answer of Podman's own takes a second there.
_LOOK = r"""
engine=$2 store=$3 uid=$(id -u)
runtime=${XDG_RUNTIME_DIR:-/run/user/$uid}
[ -d "$runtime" ] || runtime=/tmp/podman-run-$uid # Podman's own, where the account has no session
pause=self
[ ! -f "$runtime/libpod/tmp/pause.pid" ] || read -r pause <"$runtime/libpod/tmp/pause.pid"
printf '%s\n' "$pause" "$runtime" "$store"
echo "= processes"
pgrep -a -u "$uid" --ns "$$" --nslist pid '' # what runs in a container goes with it
echo "= mounts"
[ "$pause" = self ] || cat "/proc/$pause/mountinfo" 2>/dev/null
cat /proc/self/mountinfo
echo "= subordinate ids"
cat /etc/subuid /etc/subgid 2>/dev/null
echo "= files"
find /tmp /var/tmp /dev/shm "$runtime" "$store/volumes" "$store/networks" "$HOME/.config/cni/net.d" -mindepth 1 \
    -maxdepth 4 -path "$runtime/systemd" -prune -o -user "$uid" -print ! -path "$runtime/*" -prune 2>/dev/null
if [ "$engine" = docker ]; then
    echo "= listed"
    docker ps -a --no-trunc --format 'container {{.ID}} {{.Names}}' # the reference: volumes and networks are its own
else
    echo "= containers"
    for known in "$store"/*-containers/*containers.json; do # by storage driver; those of --rm in a list of their own
        [ ! -f "$known" ] || { cat "$known" && echo; }
    done
fi
"""


class LeakDetector:
    """An account of a host, watched for what was not there before.

    On a machine that is ours ``alone``, all that is new is the run's. On any other one only what bears the run's id.
    Files whose path begins with ``apart`` are not looked at. ``factor`` is the user's own on every bound.
    """

    def __init__(self, account: Host, run: str, *, alone: bool, apart: str = "", factor: float = 1.0) -> None:
        self._account = account
        self._run = run
        self._alone = alone
        self._apart = apart
        self._patience = _PATIENCE * account.slowness * factor
        self._before = frozenset[str]()

    def begin(self) -> None:
        """Take what there is as what was there before."""
        self._before = self._look()

    @contextlib.contextmanager
    def ignoring(self) -> Iterator[None]:
        """Take what appears within the block as what was there before: it is put there on purpose."""
        before = self._look()
        yield
        self._before |= self._look() - before

    def new(self) -> list[str]:
        """What is new and stays, a line each. It counts as there before from now on."""
        now = self._before

        def nothing_new() -> bool:
            nonlocal now
            now = self._look()
            return now <= self._before

        poll(nothing_new, timeout=self._patience, interval=_POLL)
        new = now - self._before
        self._before = now
        return sorted(new)

    def _look(self) -> frozenset[str]:
        facts = self._account.facts()
        argv = ["sh", "-s", _OURS, facts.engine, facts.graph_root]
        said = self._account.run_checked(argv, stdin=_LOOK.encode(), doing="looking for what a case left").stdout
        if _OURS not in said:  # not even itself: that is no look
            raise HostProblem(f"On {self._account.name} processes can't be listed.", "Is pgrep (procps) installed?")
        seen = found(said)
        if self._apart:
            seen = (line for line in seen if not line.startswith(f"file {self._apart}"))
        return frozenset(line for line in seen if self._alone or self._run in line)


def found(said: str) -> Iterator[str]:
    """The things that a look names, in words, from what it printed."""
    head, *sections = re.split(r"^= (.+)\n", said, flags=re.MULTILINE)
    pause, runtime, store = head.splitlines()
    for kind, text in zip(sections[::2], sections[1::2], strict=True):
        for line in text.splitlines():
            match kind:
                case "processes" if not line.startswith(f"{pause} ") and not _passing(line):
                    yield f"process {line}"
                case "mounts":
                    point = line.split()[4]
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
                        f"container {each['id'][:12]} {' '.join(each.get('names') or ())}" for each in parsed(line)
                    )


def _file(path: str) -> str:
    for kind, directory in (("volume", "/volumes/"), ("network", "/networks/"), ("network", "/cni/net.d/")):
        if directory in path:
            return f"{kind} {path.rpartition('/')[2]}"
    return f"file {path}"


def _passing(process: str) -> bool:
    """Whether a process is part of the look itself, of the connection that it came by, or of the account's session."""
    _, _, command = process.partition(" ")
    return _OURS in command or command.startswith(_PASSING)
