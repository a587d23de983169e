"""What a case left on its host: processes, mounts, files, containers, networks, volumes, subordinate ids."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

from checks.hosts.base import Host

_OURS = "nanoclaw-verify-look"
"""A word in the command lines that look, by which they are told from what they look for."""
_PATIENCE = 5.0  # seconds, times the slowness: an engine clears up behind a container that has ended
_POLL = 0.3

# Read by sh from its input, so that no line of it stands in a command line. Its arguments: the word by which it is
# known, the engine, the engine's store. Podman is not asked but looked at: each answer of its own takes a second where
# processors are emulated.
_LOOK = r"""
engine=$2 store=$3 uid=$(id -u)
runtime=${XDG_RUNTIME_DIR:-/run/user/$uid}
pause=$(cat "$runtime/libpod/tmp/pause.pid" 2>/dev/null)
pgrep -a -u "$uid" '' | sed "s/^${pause:-0} .*//; /./s/^/process /"
cat /proc/self/mountinfo ${pause:+"/proc/$pause/mountinfo"} 2>/dev/null |
    while read -r _ _ _ _ point _; do
        case $point in "$store"* | "$runtime"/*) echo "mount $point" ;; esac
    done
find /tmp /var/tmp /dev/shm -mindepth 1 -maxdepth 1 -user "$uid" 2>/dev/null | sed 's/^/file /'
find "$runtime" -mindepth 1 -maxdepth 4 ! -path '*/systemd/*' 2>/dev/null | sed 's/^/file /'
cksum /etc/subuid /etc/subgid 2>/dev/null | sed 's/^/subordinate ids /'
if [ "$engine" = docker ]; then
    docker ps -a --no-trunc --format 'container {{.ID}} {{.Names}}' &
    docker volume ls --format 'volume {{.Name}}' &
    docker network ls --format 'network {{.Name}}' &
    wait
else
    ls -A "$store/volumes" 2>/dev/null | sed 's/^/volume /'
    ls -A "$store/networks" "$HOME/.config/cni/net.d" 2>/dev/null | sed '/:$/d; /^$/d; s/^/network /'
    echo "containers $(cat "$store/overlay-containers/containers.json" 2>/dev/null)"
fi
"""


class Watch:
    """An account of a host, watched for what was not there before.

    On a machine that is ours ``alone``, all that is new is the run's. On any other one only what bears the run's id.
    What lies under the path ``apart`` is not looked at.
    """

    def __init__(self, account: Host, run: str, *, alone: bool, apart: str = "") -> None:
        self._account = account
        self._run = run
        self._alone = alone
        self._apart = apart
        self._before = frozenset[str]()

    def begin(self) -> None:
        """Take what there is as what was there before."""
        self._before = self._look()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take what appears within the block as what was there before: it is put there on purpose."""
        before = self._look()
        yield
        self._before |= self._look() - before

    def left(self) -> list[str]:
        """What is new and stays, a line each. It counts as there before from now on."""
        deadline = time.monotonic() + _PATIENCE * self._account.slowness
        while (new := (now := self._look()) - self._before) and time.monotonic() < deadline:
            time.sleep(_POLL)
        self._before = now
        return sorted(new)

    def _look(self) -> frozenset[str]:
        facts = self._account.facts()
        store = facts.store or f"{facts.home}/.local/share/containers/storage"
        said = self._account.must(
            ["sh", "-s", _OURS, facts.engine, store], stdin=_LOOK.encode(), doing="looking for what a case left"
        ).out
        seen = found(said)
        if self._apart:
            seen = (line for line in seen if self._apart not in line)
        return frozenset(line for line in seen if self._alone or self._run in line)


def found(said: str) -> Iterator[str]:
    """The things that a look names, from what it printed."""
    for line in said.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "containers":
            for container in json.loads(rest or "null") or ():
                yield f"container {container['id'][:12]} {' '.join(container.get('names') or ())}"
        elif kind != "process" or not _passing(rest):
            yield line


def _passing(process: str) -> bool:
    """Whether a process is part of the look itself or of the connection that it came by."""
    _, _, command = process.partition(" ")
    return _OURS in command or command.startswith(("sshd", "(sd-pam)", "pgrep ", "/lib/systemd", "/usr/lib/systemd"))
