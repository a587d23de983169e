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
    """A thing that hardens a container, and that a way of setting the flags can set or not."""

    CAPABILITIES = "capabilities"
    PRIVILEGES = "no-new-privileges"
    ROOT = "read-only root"
    TMPFS = "tmpfs /tmp"
    PIDS = "pids"
    MEMORY = "memory"
    CPUS = "cpus"
    USER = "user namespace"


CONTROLLERS = {
    "pids": (Setting.PIDS, "--pids-limit"),
    "memory": (Setting.MEMORY, "--memory"),
    "cpu": (Setting.CPUS, "--cpus"),
}
"""The settings that need a controller of control groups, by its name, and the options that they are."""


@dataclass(frozen=True)
class Settings:
    """The values. A limit is None on a host that gives its users no controller for it."""

    options: tuple[str, ...]
    """The options of ``docker run`` that they come from."""
    kept: tuple[str, ...]
    """The capabilities that are not dropped, as the runtime names them: ``CAP_…``."""
    tmpfs: tuple[str, ...]
    """``PLACE:OPTIONS`` each."""
    environment: tuple[str, ...]
    pids: int | None
    memory: int | None
    """Bytes."""
    cpus: float | None

    def within(self, controllers: Collection[str]) -> Settings:
        """The same as far as these controllers of control groups allow."""
        gone = [option for name, (_, option) in CONTROLLERS.items() if name not in controllers]
        options = tuple(word for word in self.options if word.partition("=")[0] not in gone)
        return replace(
            self,
            options=options,
            pids=self.pids if "pids" in controllers else None,
            memory=self.memory if "memory" in controllers else None,
            cpus=self.cpus if "cpu" in controllers else None,
        )

    def wanted(self) -> list[Setting]:
        """What these settings set."""
        return [each for each in Setting if each not in self.missing().values()]

    def missing(self) -> dict[str, Setting]:
        """What they don't set, by the controller that it needs."""
        values = {"pids": self.pids, "memory": self.memory, "cpu": self.cpus}
        return {name: CONTROLLERS[name][0] for name, value in values.items() if value is None}


def command_line() -> list[str]:
    """The recommended set as options of ``docker run``, for a fork of nanoclaw or a wrapper of docker."""
    return ["--userns=keep-id", *hardening.load().recommended()]


def recommended() -> Settings:
    """The recommended set, with the work-arounds without which an agent does not answer.

    Those of the browser are left out: they give back a capability. See docs/SECURITY.md.
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
    """The settings that these options of ``docker run`` make.

    Raises WrongUsage for one that the hook can't set: a flag must not get lost on the way from the list to the hook.
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
        kept=tuple(f"CAP_{name}" for name in several["--cap-add"]),
        tmpfs=tuple(several["--tmpfs"]),
        environment=tuple(several["-e"]),
        pids=int(single["--pids-limit"]),
        memory=size(single["--memory"]),
        cpus=float(single["--cpus"]),
    )


def size(text: str) -> int:
    """Bytes of a size as docker has it: ``4g``."""
    found = re.fullmatch(r"(\d+)([bkmg]?)", text)
    if not found:
        raise WrongUsage(f"fixtures/hardening/flags: “{text}” is not a size.")
    return int(found[1]) * _UNITS[found[2]]


def in_force(setting: Setting, wanted: Settings, inside: ContainerState, uid: int) -> bool:
    """Whether a container is as wanted in that respect, by what it sees of itself; ``uid`` is the host user's."""
    match setting:
        case Setting.CAPABILITIES:
            return inside.capabilities == 0 if not wanted.kept else inside.capabilities == _SYS_CHROOT
        case Setting.PRIVILEGES:
            return inside.no_new_privileges
        case Setting.ROOT:
            return inside.root.read_only
        case Setting.TMPFS:
            return _is(inside.tmp, inside.tmp_mode, wanted)
        case Setting.PIDS:
            return inside.pids is not None and wanted.pids is not None and inside.pids <= wanted.pids
        case Setting.MEMORY:
            return inside.memory is not None and wanted.memory is not None and inside.memory <= wanted.memory
        case Setting.CPUS:
            return inside.cpus is not None and wanted.cpus is not None and inside.cpus <= wanted.cpus
        case Setting.USER:
            # Outside of its user namespace is Podman's own, where 0 is the host user.
            return any(
                first <= uid < first + count and outside == 0 and count == 1 for first, outside, count in inside.uid_map
            )


_SYS_CHROOT = 1 << 18
_TMP = "/tmp"  # noqa: S108 - the container's


def _is(mounted: Mounted | None, mode: str, wanted: Settings) -> bool:
    options = next(options for place, _, options in (each.partition(":") for each in wanted.tmpfs) if place == _TMP)
    words = dict(word.partition("=")[::2] for word in options.split(","))
    return (
        mounted is not None
        and mounted.type == "tmpfs"
        and not mounted.read_only
        and mounted.size == size(words["size"])
        and mode == words["mode"]
    )


def seen(setting: Setting, inside: ContainerState) -> str:
    """What a container sees of itself in that respect, as a table shows it."""
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


def _limit(value: float | None, file: str, inside: ContainerState) -> str:
    if file in inside.unread:
        return "unreadable"
    return "max" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
