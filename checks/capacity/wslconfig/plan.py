"""How much of a Windows machine WSL needs for a number of containers, and whether the machine has it."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from checks.core.errors import WrongUsage

GB = 1024
"""MiB. WSL calls a GiB a GB."""

BASE = 2 * GB
"""MiB for everything except containers: Linux, Podman, nanoclaw."""

CONTAINER = 4 * GB
"""MiB for a container whose agent uses a browser."""

CONTAINER_WITHOUT_BROWSER = 2 * GB
"""MiB for a container whose agent uses no browser: an estimate, not a measurement."""

BASE_PROCESSORS = 2
CONTAINER_PROCESSORS = 2

WINDOWS = 1 * GB
"""MiB that Windows always keeps. A warning is printed long before this limit."""

PRESETS = {1: 6 * GB, 2: 10 * GB, 4: 20 * GB}
"""The memory of the example's presets by number of containers. For 4, the formula's 18 GB is rounded up."""

MEMINFO = Path("/proc/meminfo")

_MEMORY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(MB|GB|TB)", re.IGNORECASE)
_UNITS = {"MB": 1, "GB": GB, "TB": GB * GB}


@dataclass(frozen=True)
class Machine:
    """A Windows machine."""

    memory: int
    """MiB."""
    processors: int
    """Logical processors."""


@dataclass(frozen=True)
class Plan:
    """The resources that WSL needs for a number of containers at once."""

    containers: int
    browser: bool
    memory: int
    """MiB, whole GB."""
    swap: int
    """MiB, whole GB."""
    processors: int

    def fits(self, machine: Machine) -> bool:
        """Whether the machine has enough, including the minimum for Windows.

        WSL shares processors with Windows (by default all of them), so Windows needs none of its own.
        """
        return self.memory + WINDOWS <= machine.memory and self.processors <= machine.processors

    def crowds(self, machine: Machine) -> bool:
        """Whether Windows has less than a quarter of the machine's memory left."""
        return (machine.memory - self.memory) * 4 < machine.memory

    def settings(self) -> dict[str, str]:
        """The keys and values for the section [wsl2]."""
        return {"memory": size(self.memory), "swap": size(self.swap), "processors": str(self.processors)}


def plan(containers: int, *, browser: bool = True) -> Plan:
    """The formula: 4 GB (2 without a browser) and 2 processors for each container, plus 2 GB and 2 processors.

    Swap is 1 GB for each container plus 1 GB, at least 2 and at most 4: for a short peak, not for another container.
    """
    return Plan(
        containers,
        browser,
        memory=containers * _memory_each(browser) + BASE,
        swap=min(max(containers + 1, 2), 4) * GB,
        processors=containers * CONTAINER_PROCESSORS + BASE_PROCESSORS,
    )


def largest(machine: Machine, *, browser: bool = True) -> int:
    """The largest number of containers that fits; 0 if none does."""
    by_memory = (machine.memory - WINDOWS - BASE) // _memory_each(browser)
    by_processors = (machine.processors - BASE_PROCESSORS) // CONTAINER_PROCESSORS
    return max(0, min(by_memory, by_processors))


def size(memory: int) -> str:
    """MiB in the format of .wslconfig."""
    return f"{memory // GB}GB" if memory % GB == 0 else f"{memory}MB"


def readable(memory: int) -> str:
    """MiB in a readable unit."""
    return f"{memory / GB:.1f} GB".replace(".0 ", " ")


def memory_of(option: str, text: str) -> int:
    """Parse an option as MiB. Raises WrongUsage if it is not an amount of memory."""
    amount = _MEMORY.fullmatch(text.strip())
    if not amount or not (memory := int(Decimal(amount[1]) * _UNITS[amount[2].upper()])):
        raise WrongUsage(f"{option} is “{text}”; it must be a number with a unit, such as 32GB.")
    return memory


def count_of(option: str, text: str) -> int:
    """Parse an option as a number of 1 or more. Raises WrongUsage if it is not one."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or not int(text):
        raise WrongUsage(f"{option} is “{text}”; it must be a whole number of 1 or more.")
    return int(text)


def _memory_each(browser: bool) -> int:
    return CONTAINER if browser else CONTAINER_WITHOUT_BROWSER


def in_wsl() -> bool:
    """Whether this is a virtual machine of WSL, by its kernel's release."""
    return "microsoft" in platform.uname().release.lower()


def detect_machine(memory: str, processors: str) -> tuple[Machine, list[str]]:
    """The machine from the options, or else from this system; with a message for each value taken from this system.

    Raises WrongUsage for an invalid option. It also does so inside WSL without an option for the memory, because
    /proc/meminfo shows only the virtual machine's share.
    """
    assumed = []
    if memory:
        total = memory_of("--host-memory", memory)
    elif in_wsl():
        raise WrongUsage(
            "WSL sees only its own share of the memory, not Windows' memory.",
            "Pass it with --host-memory, e.g. --host-memory 32GB. PowerShell prints it: "
            "(Get-CimInstance Win32_ComputerSystem).TotalPhysicalMemory / 1GB",
        )
    else:
        total = _system_memory()
        assumed.append(f"Using this machine's memory, {readable(total)} ({MEMINFO}); change it with --host-memory.")
    if processors:
        count = count_of("--host-cpus", processors)
    else:
        count = os.cpu_count() or 1
        whose = "this virtual machine's processors (Windows may have more)" if in_wsl() else "this machine's processors"
        assumed.append(f"Using {whose}, {count}; change it with --host-cpus.")
    return Machine(total, count), assumed


def _system_memory() -> int:
    try:
        total = re.search(r"^MemTotal:\s+(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        total = None
    if not total:
        raise WrongUsage(
            f"{MEMINFO} does not contain this machine's memory.", "Pass it with --host-memory, e.g. --host-memory 32GB."
        )
    return int(total[1]) // 1024
