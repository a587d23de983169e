"""Commands in a user namespace with id mappings of the caller's choice."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from checks.core import tools
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.core.process import Completed, Process, TimedOut
from checks.hosts.base import account_name

IDS = 65536
"""Subordinate ids of an account, as useradd assigns them; its namespace also has its own id."""

_START_TIMEOUT = 10.0  # seconds
_TIMEOUT = 3600.0  # seconds; the build of an image on a busy machine takes a quarter of that


def programs() -> tuple[str, ...]:
    """The programs that ``run`` needs."""
    return ("unshare", "setpriv", *(() if os.geteuid() == 0 else ("newuidmap", "newgidmap", "getsubids")))


def missing(*needed: str) -> list[str]:
    """The programs of these that this machine lacks."""
    return [program for program in needed if shutil.which(program, path=tools.path()) is None]


def require() -> None:
    """Raise HostProblem unless this account can make such a namespace and mount in it."""
    if absent := missing(*programs()):
        raise HostProblem(
            f"This account can't make a user namespace: {', '.join(absent)} is not installed.",
            "Install it with: scripts/install.sh guest",
        )
    done = run(["mount", "--no-mtab", "-t", "tmpfs", "tmpfs", "/mnt"], own=0, rest=1)
    if done.returncode != 0:
        raise HostProblem(
            f"This account can't mount in a user namespace: {done.stderr.strip()}.",
            "On Ubuntu, allow it with: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        )


def run(
    argv: Sequence[str], *, own: int, rest: int, env: Mapping[str, str] | None = None, timeout: float = _TIMEOUT
) -> Completed:
    """Run a command that owns the files of this account, as id ``own``, and of its subordinate ids, from ``rest`` on.

    Root needs no subordinate ids: it uses the ids from 1 on. ``env`` replaces the environment, except PATH; ``timeout``
    is in seconds. Raises HostProblem if there are no subordinate ids or no namespaces, and after a timeout.
    """
    # Ids can be mapped from outside only: the command waits until this process has mapped them.
    # The tie to this process, which may be killed, comes last: unshare(2) would undo it.
    # Without -p, a shell that starts at that moment may see two different ids of its own, and take the unmapped one.
    waiting = [
        "unshare", "--user", "--mount", "--keep-caps",
        "sh", "-p", "-c", 'read -r _ && exec setpriv --pdeathsig KILL "$@" </dev/null', "sh",
    ]  # fmt: skip

    def map_ids(process: Process) -> None:
        _await_namespace(process)
        for kind in ("uid", "gid"):
            _map(process.pid, kind, own, rest)

    environment = {**(os.environ if env is None else env), "PATH": tools.path()}
    process = Process([*waiting, *argv], shown=argv, stdin=b"go\n", env=environment, prepare=map_ids)
    try:
        return process.wait(timeout)
    except TimedOut as error:
        raise HostProblem(f"“{error.program}” timed out after {error.timeout:g} s on this machine.") from error


def _await_namespace(process: Process) -> None:
    ours = Path("/proc/self/ns/user").readlink()

    def made() -> bool | None:
        with contextlib.suppress(OSError):  # the process has just ended
            if process.running():
                return Path(f"/proc/{process.pid}/ns/user").readlink() != ours
        return None

    if poll(lambda: made() is not False, timeout=_START_TIMEOUT, interval=0.01) and made():
        return
    printed = "" if process.running() else process.so_far().stderr
    raise HostProblem(
        f"No user namespace could be made: {printed.strip() or 'unshare did not start'}.",
        "Try “unshare --user true” on this machine.",
    )


def _map(pid: int, kind: str, own: int, rest: int) -> None:
    """Write a process's id map: inside, outside, count."""
    if os.geteuid() == 0:
        Path(f"/proc/{pid}/{kind}_map").write_text(f"{own} 0 1\n{rest} 1 {IDS}\n")
        return
    ours = os.getuid() if kind == "uid" else os.getgid()
    words = [str(each) for each in (pid, own, ours, 1, rest, _first_subordinate(kind), IDS)]
    tools.run_checked([f"new{kind}map", *words], doing="mapping ids", remedy="Install the package uidmap.")


def _first_subordinate(kind: str) -> int:
    """The first of this account's subordinate ids; it needs 65536 consecutive ones."""
    asked = ["getsubids", *(["-g"] if kind == "gid" else []), account_name(os.getuid())]
    for line in lines_of(tools.run(asked).stdout):  # "0: account 100000 65536"
        found = re.fullmatch(r"\d+: \S+\s+(\d{1,10})\s+(\d{1,10})\s*", line)
        if found and int(found[2]) >= IDS:
            return int(found[1])
    raise HostProblem(
        f"This account lacks {IDS} consecutive subordinate {kind}s (/etc/sub{kind}).",
        "Add them: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME",
    )
