"""What containers take of a host while they run: its kernel's own counts, read there about once a second.

Read on the host, in the control groups of the containers and in /proc: what ``docker stats`` says is not asked.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from checks.core.errors import HostProblem
from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.docker import shell
from checks.hosts.base import Host
from checks.hosts.process import Process, TimedOut

# $1 is a directory in which `docker run --cidfile` leaves each container's id, in NAME.cid, as long as it is there.
_SCRIPT = r"""
cd "$1" || exit
while [ ! -e stop ]; do
    for file in *.cid; do
        name=${file%.cid}
        [ -s "$file" ] && [ ! -s "$name.at" ] || continue
        IFS= read -r id <"$file"
        find /sys/fs/cgroup -type d \( -name "libpod-$id*" -o -name "docker-$id*" \) \
            -exec test -e '{}/memory.current' ';' -print -prune 2>/dev/null >"$name.at"
    done
    set -- /proc/meminfo /proc/vmstat
    for file in *.at; do
        [ -s "$file" ] || continue
        IFS= read -r at <"$file"
        printf 'container %s %s\n' "${file%.at}" "$at"
        set -- "$@" "$at/memory.current" "$at/memory.peak" "$at/memory.stat" "$at/pids.current" "$at/pids.peak"
    done
    grep -sHE '^([0-9]+|(anon|shmem|oom_kill) [0-9]+|(MemTotal|MemAvailable|SwapTotal|SwapFree): .*)$' "$@"
    echo round
    sleep 1
done
"""

_HOST = re.compile(r"/proc/\w+:(\w+):? +(\d+)(?: kB)?")
_CONTAINER = re.compile(r"container (\S+) (/.*)")
_COUNT = re.compile(r"(/.*)/([a-z.]+):(?:(\w+) )?(\d+)")
_KIB = 1024


@dataclass
class Usage:
    """What one container took, as far as it was seen. Bytes and tasks; None where the kernel does not count it."""

    memory: int | None = None
    """The most memory that it had at a time, page cache included."""
    used: int | None = None
    """The most of it that can't be taken back: its processes' own memory and its tmpfs, as sampled."""
    tasks: int | None = None
    """The most processes and threads that it had at a time."""
    counted: tuple[str, ...] = ()
    """Which of ``memory`` and ``tasks`` are the kernel's own high-water marks; the others are the largest of the
    samples."""


@dataclass
class Samples:
    """What was seen of a host and its containers over some time. Bytes."""

    rounds: int = 0
    total: int = 0
    """The host's memory."""
    swap: int = 0
    """The host's swap."""
    available: int = 0
    """What was available at first."""
    least_available: int = 0
    swapped: int = 0
    """The most swap that was in use at a time."""
    together: int | None = None
    """The most memory that all containers had at the same time, page cache included, as sampled."""
    together_used: int | None = None
    """The most of it that can't be taken back."""
    out_of_memory: int = 0
    """Processes that the kernel killed for want of memory, on the whole host."""
    containers: dict[str, Usage] = field(default_factory=dict)
    """By their names: what ``Sampler.options`` was given."""


def parse(text: str) -> Samples:
    """What the sampler's output says; a round that is not whole does not count."""
    seen = Samples()
    kills = 0
    *rounds, _ = text.split("round\n")
    for each in rounds:
        host, containers = _round(each.splitlines())
        available = host["MemAvailable"] * _KIB
        if not seen.rounds:
            seen.total, seen.swap = host["MemTotal"] * _KIB, host["SwapTotal"] * _KIB
            seen.available = seen.least_available = available
            kills = host.get("oom_kill", 0)
        seen.rounds += 1
        seen.least_available = min(seen.least_available, available)
        seen.swapped = max(seen.swapped, seen.swap - host["SwapFree"] * _KIB)
        seen.out_of_memory = host.get("oom_kill", 0) - kills
        for name, counts in containers.items():
            _add(seen.containers.setdefault(name, Usage()), counts)
        seen.together = _most(seen.together, [counts.get("memory.current") for counts in containers.values()])
        seen.together_used = _most(seen.together_used, [_used(counts) for counts in containers.values()])
    return seen


def _round(lines: Sequence[str]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """The host's counts and each container's."""
    host = {found[1]: int(found[2]) for line in lines if (found := _HOST.fullmatch(line))}
    names = {found[2]: found[1] for line in lines if (found := _CONTAINER.fullmatch(line))}
    containers: dict[str, dict[str, int]] = {}
    for line in lines:
        if (found := _COUNT.fullmatch(line)) and (name := names.get(found[1])):
            containers.setdefault(name, {})[found[3] or found[2]] = int(found[4])
    return host, containers


def _add(usage: Usage, counts: Mapping[str, int]) -> None:
    counted = []
    for name, peak, current in (("memory", "memory.peak", "memory.current"), ("tasks", "pids.peak", "pids.current")):
        value = counts.get(peak, counts.get(current))
        if peak in counts:
            counted.append(name)
        if value is not None:
            setattr(usage, name, max(value, getattr(usage, name) or 0))
    usage.counted = tuple(counted)
    used = _used(counts)
    if used is not None:
        usage.used = max(used, usage.used or 0)


def _used(counts: Mapping[str, int]) -> int | None:
    return counts["anon"] + counts["shmem"] if {"anon", "shmem"} <= counts.keys() else None


def _most(most: int | None, values: Sequence[int | None]) -> int | None:
    """The larger of the most until now and of the sum of what is known now."""
    known = [value for value in values if value is not None]
    return max(sum(known), most or 0) if known else most


class Sampler:
    """Samples a host until its block ends. Containers are told apart by ``options``."""

    def __init__(self, host: Host, directory: str, process: Process) -> None:
        self._host = host
        self._directory = directory
        self._process = process

    def options(self, name: str) -> list[str]:
        """Options for ``docker run`` by which the container's counts are found."""
        return ["--cidfile", f"{self._directory}/{name}.cid"]

    def samples(self) -> Samples:
        """What was seen so far."""
        return parse(self._process.so_far().stdout)

    def another(self, bound: float = 15.0) -> Samples:
        """What was seen until now, with one more round that began after this was called, or ``bound`` seconds."""
        wanted = self.samples().rounds + 2
        poll(
            lambda: self.samples().rounds >= wanted or not self._process.running(),
            timeout=bound * self._host.slowness,
            interval=0.2,
        )
        return self.samples()


@contextlib.contextmanager
def sampling(ctx: CaseContext, bound: float) -> Iterator[Sampler]:
    """A sampler on the bench's host, at work; ``bound`` is after how many seconds it ends by itself at the latest.

    Raises HostProblem where nothing can be read.
    """
    directory = ctx.make("ids")
    process = ctx.host.start(shell(_SCRIPT, directory), timeout=bound)
    sampler = Sampler(ctx.host, directory, process)
    try:
        if not sampler.another().rounds:
            raise HostProblem(f"On {ctx.host.name}, no memory could be read: {process.so_far().stderr.strip()}")
        yield sampler
    finally:
        with contextlib.suppress(TimedOut, HostProblem):  # it ends by itself as well
            ctx.host.run(["touch", f"{directory}/stop"], timeout=3)
        process.kill()
