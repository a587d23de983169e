"""The processes of a run on this machine: which they are, and their end."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from checks.core.bounded import read_text
from checks.core.lines import lines_of
from checks.core.polling import poll

MARK = "NANOCLAW_VERIFY_RUN"
"""A variable in the environment of every process of a run, here and on ssh hosts, which identifies its leftovers."""

_SUBORDINATE = Path("/etc/subuid")
_KILL_TIMEOUT = 5.0  # seconds; a killed process takes a moment to go
_INTERVAL = 0.05


def processes_of(run_id: str) -> list[int]:
    """A run's processes on this machine, except this one: those with its mark, and all that they have started.

    What a build runs has an environment of its own, without the mark. Left out are the helpers that Podman starts once
    for all networks and containers of an account, whoever needs them first: Podman ends them with the last one.
    """
    wanted = f"{MARK}={run_id}".encode()
    children: defaultdict[int, list[int]] = defaultdict(list)
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(entry.name)
            state, parent = (entry / "stat").read_bytes().rpartition(b") ")[2].split()[:2]
            if pid == os.getpid() or state in (b"Z", b"X") or of_another_account(entry.stat().st_uid):
                continue
            if serves_the_account(words(pid)):
                continue
            children[int(parent)].append(pid)
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    looked_at = list(found)
    while looked_at:
        new = set(children[looked_at.pop()]) - found
        found |= new
        looked_at += new
    return sorted(found)


def stop(run_id: str) -> None:
    """Kill a run's processes on this machine.

    Each is halted first, until no new one is found: one whose parent was killed is not found any more.
    """
    halted: set[int] = set()
    end = time.monotonic() + _KILL_TIMEOUT
    while (new := set(processes_of(run_id)) - halted) and time.monotonic() < end:
        _signal(new, signal.SIGSTOP)
        halted |= new
    _signal(halted, signal.SIGKILL)

    def stopped() -> bool:
        left = processes_of(run_id)
        _signal(left, signal.SIGKILL)
        return not left and not any(words(pid) for pid in halted)

    poll(stopped, timeout=_KILL_TIMEOUT, interval=_INTERVAL)


def await_end(run_id: str) -> None:
    """Wait until a run's processes have exited, some seconds at most."""
    poll(lambda: not processes_of(run_id), timeout=_KILL_TIMEOUT, interval=_INTERVAL)


def words(pid: int) -> list[str]:
    """A process's command line; empty if it has exited."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    return []


def of_another_account(uid: int) -> bool:
    """Whether a process's uid is neither this account's nor one of its subordinate ids: others give it any variable."""
    return uid != os.geteuid() and not any(uid in each for each in _subordinate_ids())


def serves_the_account(command: Sequence[str]) -> bool:
    """Whether a process is a helper that Podman starts once for all networks and containers of an account."""
    program = command[0].rpartition("/")[2] if command else ""
    if program in ("slirp4netns", "pasta", "pasta.avx2"):
        return any("rootless-netns" in word for word in command)
    return program == "aardvark-dns" or (program == "catatonit" and command[-1] == "-P")


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


@functools.cache
def _subordinate_ids() -> tuple[range, ...]:
    names = {str(os.geteuid())}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    found = []
    with contextlib.suppress(OSError, ValueError):
        for line in lines_of(read_text(_SUBORDINATE)):
            name, _, ids = line.partition(":")
            if name in names and re.fullmatch(r"\d{1,10}:\d{1,10}", ids, re.ASCII):
                first, _, count = ids.partition(":")
                found.append(range(int(first), int(first) + int(count)))
    return tuple(found)
