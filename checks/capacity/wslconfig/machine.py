"""The Windows host as far as it can be known from where this runs."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from checks.capacity.wslconfig.plan import Machine, count_of, memory_of, spoken
from checks.core.errors import WrongUsage

MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Known:
    """A machine, and which of its numbers nobody gave."""

    machine: Machine
    assumed: tuple[str, ...]
    """Each a sentence for the user."""


def in_wsl() -> bool:
    """Whether this is the virtual machine of WSL: its kernel's release says so."""
    return "microsoft" in platform.uname().release.lower()


def known(memory: str, processors: str) -> Known:
    """The host: what the user says of it, else what is seen from here, and said to be assumed.

    Raises WrongUsage for what is no amount, and for a memory that nobody can see from here: inside WSL /proc/meminfo
    tells the virtual machine's share, which is what is to be computed.
    """
    assumed = []
    if memory:
        total = memory_of("--host-memory", memory)
    elif in_wsl():
        raise WrongUsage(
            "This is WSL, which sees its own share of the memory, not what Windows has.",
            "Say it with --host-memory, e.g. --host-memory 32GB. PowerShell tells it: "
            "(Get-CimInstance Win32_ComputerSystem).TotalPhysicalMemory / 1GB",
        )
    else:
        total = _seen_memory()
        assumed.append(
            f"The host's memory is assumed to be this machine's, {spoken(total)} ({MEMINFO}); "
            "--host-memory says otherwise."
        )
    if processors:
        count = count_of("--host-cpus", processors)
    else:
        count = os.cpu_count() or 1
        whose = "this virtual machine (Windows may have more)" if in_wsl() else "this machine"
        assumed.append(f"The host's processors are assumed to be the {count} of {whose}; --host-cpus says otherwise.")
    return Known(Machine(total, count), tuple(assumed))


def _seen_memory() -> int:
    try:
        total = re.search(r"^MemTotal:\s+(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        total = None
    if not total:
        raise WrongUsage(
            f"{MEMINFO} does not tell this machine's memory.", "Say it with --host-memory, e.g. --host-memory 32GB."
        )
    return int(total[1]) // 1024
