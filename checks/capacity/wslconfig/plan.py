"""How much of a Windows host WSL needs for a number of containers, and whether the host has it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from checks.core.errors import WrongUsage

GB = 1024
"""MiB in what WSL calls a GB."""

BASE = 2 * GB
"""MiB for what is no container: Linux itself, Podman, nanoclaw."""

CONTAINER = 4 * GB
"""MiB for a container whose agent has a browser."""

CONTAINER_WITHOUT_BROWSER = 2 * GB
"""MiB for a container whose agent has none: an estimate of this project, not a measurement."""

BASE_PROCESSORS = 2
CONTAINER_PROCESSORS = 2

WINDOWS = 1 * GB
"""MiB that Windows keeps in any case: all of a host can't be given away. The warning comes long before that."""

_MEMORY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(MB|GB|TB)", re.IGNORECASE)
_UNITS = {"MB": 1, "GB": GB, "TB": GB * GB}


@dataclass(frozen=True)
class Machine:
    """A Windows host."""

    memory: int
    """MiB."""
    processors: int
    """Logical ones."""


@dataclass(frozen=True)
class Plan:
    """What WSL is to be given for a number of containers at once."""

    containers: int
    browser: bool
    memory: int
    """MiB, whole GB."""
    swap: int
    """MiB, whole GB."""
    processors: int

    def fits(self, machine: Machine) -> bool:
        """Whether the host has that much, with a rest for Windows.

        Processors are shared with Windows, not taken from it (left out, WSL uses all of them): they need no rest.
        """
        return self.memory + WINDOWS <= machine.memory and self.processors <= machine.processors

    def crowds(self, machine: Machine) -> bool:
        """Whether less than a quarter of the host's memory is left to Windows."""
        return (machine.memory - self.memory) * 4 < machine.memory

    def settings(self) -> dict[str, str]:
        """The keys of [wsl2] and their values, as .wslconfig has them."""
        return {"memory": size(self.memory), "swap": size(self.swap), "processors": str(self.processors)}


def plan(containers: int, *, browser: bool = True) -> Plan:
    """The formula: 4 GB (2 without a browser) and 2 processors a container, and 2 of each beside them.

    Swap is 1 GB more than there are containers, from 2 to 4: room for a short peak, not for one more container.
    """
    return Plan(
        containers,
        browser,
        memory=containers * _each(browser) + BASE,
        swap=min(max(containers + 1, 2), 4) * GB,
        processors=containers * CONTAINER_PROCESSORS + BASE_PROCESSORS,
    )


def largest(machine: Machine, *, browser: bool = True) -> int:
    """The largest number of containers that fits; 0 where none does."""
    by_memory = (machine.memory - WINDOWS - BASE) // _each(browser)
    by_processors = (machine.processors - BASE_PROCESSORS) // CONTAINER_PROCESSORS
    return max(0, min(by_memory, by_processors))


def size(memory: int) -> str:
    """MiB as .wslconfig has them: whole, with a unit, without a space."""
    return f"{memory // GB}GB" if memory % GB == 0 else f"{memory}MB"


def spoken(memory: int) -> str:
    """MiB as a person says them."""
    return f"{memory / GB:.1f} GB".replace(".0 ", " ")


def memory_of(option: str, text: str) -> int:
    """MiB from what a user typed. Raises WrongUsage where it is no amount of memory."""
    amount = _MEMORY.fullmatch(text.strip())
    if not amount or not (memory := int(Decimal(amount[1]) * _UNITS[amount[2].upper()])):
        raise WrongUsage(f"{option} is “{text}”; it must be an amount of memory with its unit, such as 32GB.")
    return memory


def count_of(option: str, text: str) -> int:
    """A number of 1 or more from what a user typed. Raises WrongUsage where it is none."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or not int(text):
        raise WrongUsage(f"{option} is “{text}”; it must be a whole number of 1 or more.")
    return int(text)


def _each(browser: bool) -> int:
    return CONTAINER if browser else CONTAINER_WITHOUT_BROWSER
