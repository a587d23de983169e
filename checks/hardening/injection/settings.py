"""The settings of an agent's container: the flags of fixtures/hardening/flags, and whether a container has them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from checks.core.errors import WrongUsage
from checks.engine import flags as hardening
from checks.engine.container_state import ContainerState, Mounted

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Setting(StrEnum):
    """One hardening setting of a container."""

    CAPABILITIES = "capabilities"
    PRIVILEGES = "no-new-privileges"
    ROOT = "read-only root"
    TMPFS = "tmpfs /tmp"
    PIDS = "pids"
    MEMORY = "memory"
    CPUS = "cpus"
    USER = "user namespace"
    SYSTEM_CALLS = "filter of system calls"
    """Podman's own, which a configuration can turn off; the hook does not set it."""
    NETWORK = "closed network"
    """Only if it is asked for."""


CONTROLLERS = {
    "pids": (Setting.PIDS, "--pids-limit"),
    "memory": (Setting.MEMORY, "--memory"),
    "cpu": (Setting.CPUS, "--cpus"),
}
"""The settings that need a cgroup controller, by its name, and their options."""


@dataclass(frozen=True)
class Settings:
    """The values. A limit is None on a host that does not delegate its cgroup controller."""

    options: tuple[str, ...]
    """The same as options of ``docker run``."""
    capabilities: tuple[str, ...]
    """The capabilities that are not dropped, as the runtime names them: ``CAP_…``."""
    tmpfs: tuple[str, ...]
    """``PLACE:OPTIONS`` each."""
    environment: tuple[str, ...]
    pids: int | None
    memory: int | None
    """Bytes."""
    cpus: float | None
    open_ports: tuple[int, ...] | None = None
    """The TCP ports that stay open on a closed network; None: the network is not closed."""

    def within(self, controllers: Collection[str]) -> Settings:
        """The same, without the limits that need other cgroup controllers than these."""
        gone = [option for name, (_, option) in CONTROLLERS.items() if name not in controllers]
        options = tuple(word for word in self.options if word.partition("=")[0] not in gone)
        return replace(
            self,
            options=options,
            pids=self.pids if "pids" in controllers else None,
            memory=self.memory if "memory" in controllers else None,
            cpus=self.cpus if "cpu" in controllers else None,
        )

    def required(self) -> list[Setting]:
        """The settings that have a value."""
        absent = {*self.missing().values(), *([Setting.NETWORK] if self.open_ports is None else [])}
        return [each for each in Setting if each not in absent]

    def missing(self) -> dict[str, Setting]:
        """The settings without a value, by the controller that they need."""
        values = {"pids": self.pids, "memory": self.memory, "cpu": self.cpus}
        return {name: CONTROLLERS[name][0] for name, value in values.items() if value is None}


def command_line() -> list[str]:
    """The recommended set as options of ``docker run``, for a fork of nanoclaw or a wrapper of docker."""
    return ["--userns=keep-id", *hardening.load().recommended()]


def recommended() -> Settings:
    """The part of the recommended set that the hook sets, with the work-arounds that an agent needs.

    Without those of the browser, which add a capability. See docs/SECURITY.md.
    """
    known = hardening.load()
    words = [
        word
        for flag in known.enabled
        if flag.hook
        for options in (flag.options, *(each.options for each in flag.workarounds_for(hardening.Subject.AGENT)[:1]))
        for word in options
    ]
    return of_options(words)


def of_options(words: Sequence[str]) -> Settings:
    """Convert options of ``docker run`` to settings.

    Raises WrongUsage for one that the hook can't set: no flag may get lost.
    """
    rest = list(words)
    single: dict[str, str] = {}
    several: dict[str, list[str]] = {"--tmpfs": [], "-e": [], "--cap-add": []}
    while rest:
        word = rest.pop(0)
        name, given, value = word.partition("=")
        if word == "--read-only":
            name, value = word, "true"
        elif not given:
            value = rest.pop(0) if rest else ""
        if name in several:
            several[name].append(value)
        elif name in ("--read-only", "--cap-drop", "--security-opt", "--cpus", "--memory", "--pids-limit"):
            single[name] = value
        else:
            raise WrongUsage(
                f"fixtures/hardening/flags: the hook can't set “{word}”.", "Set hook = false in the flag's file."
            )
    if lost := {"--cpus", "--memory", "--pids-limit"} - set(single):
        raise WrongUsage(f"fixtures/hardening/flags: the hook sets {min(lost)}, and no flag with hook = true has it.")
    settled = (single.get("--cap-drop"), single.get("--security-opt"), single.get("--read-only"))
    if settled != ("ALL", "no-new-privileges", "true"):
        raise WrongUsage(
            "fixtures/hardening/flags: the hook drops all capabilities, sets no-new-privileges and a read-only root."
        )
    return Settings(
        options=tuple(words),
        capabilities=tuple(f"CAP_{name}" for name in several["--cap-add"]),
        tmpfs=tuple(several["--tmpfs"]),
        environment=tuple(several["-e"]),
        pids=int(single["--pids-limit"]),
        memory=_memory(single["--memory"]),
        cpus=float(single["--cpus"]),
    )


def _memory(text: str) -> int:
    try:
        return size(text)
    except ValueError as error:
        raise WrongUsage(f"fixtures/hardening/flags: {error}") from error


def size(text: str) -> int:
    """Bytes of a size in docker's notation, such as ``4g``. Raises ValueError."""
    found = re.fullmatch(r"(\d+)([bkmg]?)", text)
    if not found:
        raise ValueError(f"“{text}” is not a size.")
    return int(found[1]) * _UNITS[found[2]]


def in_force(setting: Setting, required: Settings, inside: ContainerState, uid: int) -> bool:
    """Whether a setting is in force, by what the container reports; ``uid`` is the host user's."""
    match setting:
        case Setting.CAPABILITIES:
            return inside.capabilities == 0 if not required.capabilities else inside.capabilities == _SYS_CHROOT
        case Setting.PRIVILEGES:
            return inside.no_new_privileges
        case Setting.ROOT:
            return inside.root.read_only
        case Setting.TMPFS:
            return _is(inside.tmp, inside.tmp_mode, required)
        case Setting.PIDS:
            return _at_most(inside.pids, required.pids)
        case Setting.MEMORY:
            return _at_most(inside.memory, required.memory)
        case Setting.CPUS:
            return _at_most(inside.cpus, required.cpus)
        case Setting.USER:
            return _is_mapped(inside, uid)
        case Setting.SYSTEM_CALLS:
            return inside.seccomp == _FILTERED
        case Setting.NETWORK:
            return inside.closed


def _at_most(limit: float | None, required: float | None) -> bool:
    return limit is not None and required is not None and limit <= required


def _is_mapped(inside: ContainerState, uid: int) -> bool:
    """Whether a uid is the same inside. The ids outside are of Podman's user namespace, where 0 is the host user."""
    return any(first <= uid < first + count and outside == 0 and count == 1 for first, outside, count in inside.uid_map)


_FILTERED = 2  # SECCOMP_MODE_FILTER
_SYS_CHROOT = 1 << 18
_TMP = "/tmp"  # noqa: S108 - the container's


def _is(mounted: Mounted | None, mode: str, required: Settings) -> bool:
    options = next(options for place, _, options in (each.partition(":") for each in required.tmpfs) if place == _TMP)
    words = dict(word.partition("=")[::2] for word in options.split(","))
    return (
        mounted is not None
        and mounted.type == "tmpfs"
        and not mounted.read_only
        and mounted.size == size(words["size"])
        and mode == words["mode"]
    )


def seen(setting: Setting, inside: ContainerState) -> str:
    """What the container reports of a setting, for a table."""
    match setting:
        case Setting.CAPABILITIES:
            return f"CapBnd {inside.capabilities:016x}"
        case Setting.PRIVILEGES:
            return f"NoNewPrivs {int(inside.no_new_privileges)}"
        case Setting.ROOT:
            return f"{inside.root.type} {'ro' if inside.root.read_only else 'rw'}"
        case Setting.TMPFS:
            if inside.tmp is None:
                return "none"
            how = "ro" if inside.tmp.read_only else "rw"
            return f"{inside.tmp.type} {how}, size {inside.tmp.size}, mode {inside.tmp_mode}"
        case Setting.PIDS:
            return f"pids.max {_limit(inside.pids, 'pids.max', inside)}"
        case Setting.MEMORY:
            return f"memory.max {_limit(inside.memory, 'memory.max', inside)}"
        case Setting.CPUS:
            return f"cpu.max {_limit(inside.cpus, 'cpu.max', inside)} processors"
        case Setting.USER:
            ranges = "; ".join(" ".join(map(str, each)) for each in inside.uid_map)
            return f"uid_map {ranges}"
        case Setting.SYSTEM_CALLS:
            return f"Seccomp {inside.seccomp}"
        case Setting.NETWORK:
            return "packets to the host's networks are refused" if inside.closed else "nothing is refused"


def _limit(value: float | None, file: str, inside: ContainerState) -> str:
    if file in inside.unread:
        return "unreadable"
    return "max" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
