"""Memory and tasks of containers and their host, sampled from the host's kernel about once a second.

The script reads the containers' cgroups and /proc on the host. It does not use ``docker stats``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.core.process import Process, TimedOut
from checks.engine.case_context import CaseContext
from checks.engine.docker import shell
from checks.evidence.capacity_model import Container, HostLoad
from checks.hosts.base import Host

# $1 is the directory in which `docker run --cidfile` writes each container's id to NAME.cid while it runs.
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
    echo sample
    sleep 1
done
"""

_HOST = re.compile(r"/proc/\w+:(\w+):? +(\d+)(?: kB)?")
_CONTAINER = re.compile(r"container (\S+) (/.*)")
_COUNT = re.compile(r"(/.*)/([a-z.]+):(?:(\w+) )?(\d+)")
_KIB = 1024
_PEAKS: tuple[tuple[Literal["memory", "tasks"], str, str], ...] = (
    ("memory", "memory.peak", "memory.current"),
    ("tasks", "pids.peak", "pids.current"),
)


@dataclass
class Samples:
    """All samples so far, summarized."""

    host: HostLoad
    containers: dict[str, Container] = field(default_factory=dict)
    """By name, as given to ``Sampler.options``."""


def parse(text: str) -> Samples:
    """Parse the script's output. An incomplete sample is ignored."""
    samples = Samples(HostLoad(samples=0, total=0, swap=0, available=0, min_available=0, swap_used=0, oom_kills=0))
    load = samples.host
    earlier_kills = 0
    *complete, _ = text.split("sample\n")
    for each in complete:
        host, containers = _sample(lines_of(each))
        available = host["MemAvailable"] * _KIB
        if not load.samples:
            load.total, load.swap = host["MemTotal"] * _KIB, host["SwapTotal"] * _KIB
            load.available = load.min_available = available
            earlier_kills = host.get("oom_kill", 0)
        load.samples += 1
        load.min_available = min(load.min_available, available)
        load.swap_used = max(load.swap_used, load.swap - host["SwapFree"] * _KIB)
        load.oom_kills = host.get("oom_kill", 0) - earlier_kills
        for name, counts in containers.items():
            _add(samples.containers.setdefault(name, Container()), counts)
        memory = [counts.get("memory.current") for counts in containers.values()]
        unreclaimable = [_unreclaimable(counts) for counts in containers.values()]
        load.containers_memory = _peak_sum(load.containers_memory, memory)
        load.containers_unreclaimable = _peak_sum(load.containers_unreclaimable, unreclaimable)
    return samples


def _sample(lines: Sequence[str]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """The counts of the host and of each container."""
    host = {found[1]: int(found[2]) for line in lines if (found := _HOST.fullmatch(line))}
    names = {found[2]: found[1] for line in lines if (found := _CONTAINER.fullmatch(line))}
    containers: dict[str, dict[str, int]] = {}
    for line in lines:
        if (found := _COUNT.fullmatch(line)) and (name := names.get(found[1])):
            containers.setdefault(name, {})[found[3] or found[2]] = int(found[4])
    return host, containers


def _add(container: Container, counts: Mapping[str, int]) -> None:
    container.kernel_peaks = [name for name, peak, _ in _PEAKS if peak in counts]
    for name, peak, current in _PEAKS:
        value = counts.get(peak, counts.get(current))
        if value is not None:
            setattr(container, name, max(value, getattr(container, name) or 0))
    unreclaimable = _unreclaimable(counts)
    if unreclaimable is not None:
        container.unreclaimable = max(unreclaimable, container.unreclaimable or 0)


def _unreclaimable(counts: Mapping[str, int]) -> int | None:
    return counts["anon"] + counts["shmem"] if {"anon", "shmem"} <= counts.keys() else None


def _peak_sum(peak: int | None, values: Sequence[int | None]) -> int | None:
    """The larger of the peak so far and the sum of the known values."""
    known = [value for value in values if value is not None]
    return max(sum(known), peak or 0) if known else peak


class Sampler:
    """Samples a host until its block ends. Containers are identified by ``options``."""

    def __init__(self, host: Host, directory: str, process: Process) -> None:
        self._host = host
        self._directory = directory
        self._process = process

    def options(self, name: str) -> list[str]:
        """Options of ``docker run`` that make the sampler find the container."""
        return ["--cidfile", f"{self._directory}/{name}.cid"]

    def samples(self) -> Samples:
        return self._host.understood(self._process.so_far().stdout, parse, "reading memory")

    def wait_for_sample(self, timeout: float = 15.0) -> Samples:
        """Return the samples once a sample that began after this call is complete, or after ``timeout`` seconds."""
        wanted = self.samples().host.samples + 2
        poll(
            lambda: self.samples().host.samples >= wanted or not self._process.running(),
            timeout=timeout * self._host.slowness,
            interval=0.2,
        )
        return self.samples()


@contextlib.contextmanager
def sampling(ctx: CaseContext, timeout: float) -> Iterator[Sampler]:
    """Run a sampler on the context's host, for at most ``timeout`` seconds. Raises HostProblem if it reads nothing."""
    directory = ctx.make("ids")
    process = ctx.host.start(shell(_SCRIPT, directory), timeout=timeout)
    sampler = Sampler(ctx.host, directory, process)
    try:
        if not sampler.wait_for_sample().host.samples:
            raise HostProblem(f"Memory can't be read on {ctx.host.name}: {process.so_far().stderr.strip()}")
        yield sampler
    finally:
        with contextlib.suppress(TimedOut, HostProblem):  # the script also ends by itself
            ctx.host.run(["touch", f"{directory}/stop"], timeout=3)
        process.kill()
