"""Commands in a user namespace of our own making, in which ids are called as we need them to be called."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from checks.core import tools
from checks.core.errors import HostProblem
from checks.core.polling import poll
from checks.hosts.base import account_name

IDS = 65536
"""Subordinate ids of an account, as useradd gives them; with its own id, its namespace has one more."""

_START_BOUND = 10.0  # seconds


def programs() -> tuple[str, ...]:
    """The programs that ``run`` needs."""
    return ("unshare",) if os.geteuid() == 0 else ("unshare", "newuidmap", "newgidmap", "getsubids")


def missing(*needed: str) -> list[str]:
    """Those of the programs that this machine lacks."""
    return [program for program in needed if shutil.which(program, path=tools.path()) is None]


def require() -> None:
    """Raise HostProblem unless this account can have such a namespace, and mount in it."""
    if absent := missing(*programs()):
        raise HostProblem(
            f"This account can't have a user namespace: {', '.join(absent)} is not installed.",
            "Install what is missing with: scripts/install.sh guest",
        )
    done = run(["mount", "--no-mtab", "-t", "tmpfs", "tmpfs", "/mnt"], own=0, rest=1)
    if done.returncode != 0:
        raise HostProblem(
            f"This account can't mount in a user namespace of its own: {done.stderr.strip()}.",
            "On Ubuntu, allow it with: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        )


def run(
    argv: Sequence[str], *, own: int, rest: int, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with all rights over files of our own id, which it sees as ``own``, and over those of our
    subordinate ids, which it sees as ``rest`` and the 65535 that follow.

    Root has no need of subordinate ids: it takes the ids from 1 on. ``env`` replaces our environment, except PATH.
    Raises HostProblem where there are no subordinate ids or no namespaces.
    """
    # The caller maps the ids, since only from outside they can be mapped; until then the command waits.
    waiting = ["unshare", "--user", "--mount", "--keep-caps", "sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh"]
    with subprocess.Popen(
        [*waiting, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", env={**(os.environ if env is None else env), "PATH": tools.path()},
    ) as process:  # fmt: skip
        try:
            _await_namespace(process)
            for kind in ("uid", "gid"):
                _map(process.pid, kind, own, rest)
            out, err = process.communicate("go\n")
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(list(argv), process.returncode, out, err)


def _await_namespace(process: subprocess.Popen[str]) -> None:
    ours = Path("/proc/self/ns/user").readlink()

    def made() -> bool | None:
        with contextlib.suppress(OSError):  # the process has just ended
            if process.poll() is None:
                return Path(f"/proc/{process.pid}/ns/user").readlink() != ours
        return None

    if poll(lambda: made() is not False, timeout=_START_BOUND, interval=0.01) and made():
        return
    said = process.stderr.read() if process.stderr and process.poll() is not None else ""
    raise HostProblem(
        f"No user namespace could be made: {said.strip() or 'unshare did not start'}.",
        "Does “unshare --user true” work on this machine?",
    )


def _map(pid: int, kind: str, own: int, rest: int) -> None:
    """Give a process's namespace its map: theirs, ours, how many."""
    if os.geteuid() == 0:
        Path(f"/proc/{pid}/{kind}_map").write_text(f"{own} 0 1\n{rest} 1 {IDS}\n")
        return
    ours = os.getuid() if kind == "uid" else os.getgid()
    words = [str(each) for each in (pid, own, ours, 1, rest, _first_subordinate(kind), IDS)]
    tools.run_checked([f"new{kind}map", *words], doing="mapping ids", remedy="Is the package uidmap installed?")


def _first_subordinate(kind: str) -> int:
    """The first of this account's subordinate ids, of which it needs 65536 in one piece."""
    asked = ["getsubids", *(["-g"] if kind == "gid" else []), account_name(os.getuid())]
    for line in tools.run(asked).stdout.splitlines():  # "0: account 100000 65536"
        words = line.split()
        if len(words) == 4 and int(words[3]) >= IDS:
            return int(words[2])
    raise HostProblem(
        f"This account has no {IDS} subordinate {kind}s in one piece (/etc/sub{kind}).",
        "Give it some: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME",
    )
