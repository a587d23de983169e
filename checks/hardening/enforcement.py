"""Whether a flag is in force, by what a container sees of itself: with the values that the flag's own options name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from checks.engine.container_state import CAPABILITIES, ContainerState
from checks.engine.flags import Flag

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def value(option: str) -> str:
    """What stands behind the first ``=`` of an option."""
    return option.partition("=")[2]


def size(text: str) -> int:
    """Bytes, of a size as docker's options have it: ``512m``, ``4g``."""
    number, unit = re.fullmatch(r"(\d+)([bkmg]?)", text.lower()).groups()  # type: ignore[union-attr] # our own file's
    return int(number) * _UNITS[unit]


def tmpfs_size(flag: Flag) -> int:
    """Bytes, of the size that a ``--tmpfs`` names."""
    return _named_size(flag.options[-1])


def _named_size(tmpfs: str) -> int:
    return size(tmpfs.partition("size=")[2].partition(",")[0])


def missing(flag: Flag, seen: ContainerState, options: Sequence[str]) -> str:
    """What of the flag is not in force in a container that has these options, in words; empty where all of it is."""
    return _READINGS[flag.id](flag, seen, options)


def _read_only(_: Flag, seen: ContainerState, options: Sequence[str]) -> str:
    if not seen.root.read_only:
        return "the root filesystem is mounted read-write"
    return next(filter(None, (_astray(tmpfs, seen) for tmpfs in _lent(options))), "")


def _lent(options: Sequence[str]) -> Iterator[str]:
    """What the options mount in the place of directories that can't be written any more; /tmp is a flag of its own."""
    for option, following in itertools.pairwise(options):
        if option == "--tmpfs" and not following.startswith("/tmp:"):  # noqa: S108 - the container's
            yield following


def _astray(tmpfs: str, seen: ContainerState) -> str:
    place = tmpfs.partition(":")[0]
    mounted = seen.tmpfs.get(place)
    if mounted is None:
        return f"there is no tmpfs on {place}"
    if mounted.read_only:
        return f"the tmpfs on {place} is mounted read-only"
    return "" if mounted.size == _named_size(tmpfs) else f"the tmpfs on {place} has not the size of {tmpfs}"


def _tmpfs(flag: Flag, seen: ContainerState, _: Sequence[str]) -> str:
    wanted, mode = tmpfs_size(flag), flag.options[-1].partition("mode=")[2]
    if seen.tmp is None or seen.tmp.type != "tmpfs":
        return "there is no tmpfs on /tmp"
    if seen.tmp.read_only:
        return "the tmpfs on /tmp is mounted read-only"
    if seen.tmp.size != wanted:
        given = "no size of its own" if seen.tmp.size is None else f"a size of {seen.tmp.size >> 20} MiB"
        return f"the tmpfs on /tmp has {given}, not {wanted >> 20} MiB"
    return "" if seen.tmp_mode == mode else f"the directory /tmp has mode {seen.tmp_mode}, not {mode}"


def _cap_drop(_: Flag, seen: ContainerState, options: Sequence[str]) -> str:
    added = [value(option) for option in options if option.startswith("--cap-add=")]
    left = seen.capabilities & ~sum(1 << CAPABILITIES[name] for name in added)
    return f"capabilities are left: CapBnd {seen.capabilities:016x}" if left else ""


def _no_new_privileges(_: Flag, seen: ContainerState, __: Sequence[str]) -> str:
    return "" if seen.no_new_privileges else "NoNewPrivs is 0"


def _unconfined(_: Flag, seen: ContainerState, __: Sequence[str]) -> str:
    return "" if seen.seccomp == 0 else f"Seccomp is {seen.seccomp}: there is a filter of system calls all the same"


def _limit(file: str, wanted: float, got: float | None, seen: ContainerState) -> str:
    if file in seen.unread:
        return f"accepted, not enforced: {file} is nowhere to be read, so there is no control group"
    if got is None:
        return f"accepted, not enforced: {file} is max"
    return "" if got == wanted else f"{file} says {got:g}, not {wanted:g}"


def _cpus(flag: Flag, seen: ContainerState, _: Sequence[str]) -> str:
    return _limit("cpu.max", float(value(flag.options[0])), seen.cpus, seen)


def _memory(flag: Flag, seen: ContainerState, _: Sequence[str]) -> str:
    swap = "swap is without end: memory.swap.max is max" if seen.endless_swap else ""
    return _limit("memory.max", size(value(flag.options[0])), seen.memory, seen) or swap


def _pids(flag: Flag, seen: ContainerState, _: Sequence[str]) -> str:
    return _limit("pids.max", int(value(flag.options[0])), seen.pids, seen)


_READINGS: Mapping[str, Callable[[Flag, ContainerState, Sequence[str]], str]] = {
    "read-only": _read_only,
    "tmpfs": _tmpfs,
    "cap-drop": _cap_drop,
    "no-new-privileges": _no_new_privileges,
    "cpus": _cpus,
    "memory": _memory,
    "pids-limit": _pids,
    "seccomp-unconfined": _unconfined,
}
