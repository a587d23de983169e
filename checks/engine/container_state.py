"""The limits and privileges in force in a container, read by a script inside it.

``docker run … IMAGE`` and ``podman exec NAME`` both run ``argv()``, in any image with a POSIX shell, ``cat``, ``grep``,
``id`` and ``stat``; busybox is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from checks.core.answers import understood
from checks.core.lines import lines_of
from checks.engine.docker import shell
from checks.engine.expect import shown

CLOSED_ADDRESS = "127.169.254.169"
"""Nothing may be sent to this address of the loopback where the rules of checks/hardening/injection/network.py hold."""

SCRIPT = r"""
say() { printf '==%s\n' "$1"; }
say status; cat /proc/1/status # the first process: that of "exec" may have other privileges
say mounts; cat /proc/self/mountinfo
say uid_map; cat /proc/self/uid_map
say ids; id -u; id -g
say tmp; stat -c %a /tmp
own=$(grep '^0::' /proc/self/cgroup); own=${own#0::} # not / if the container sees the host's cgroups
for file in pids.max memory.max memory.swap.max cpu.max; do
    say "$file"
    cat "/sys/fs/cgroup$own/$file" 2>/dev/null || cat "/sys/fs/cgroup/$file" 2>/dev/null
done
say network
if command -v bash >/dev/null; then
    LC_ALL=C bash -c 'exec 3>/dev/udp/127.169.254.169/9; echo >&3' 2>&1
else
    python3 -I -S -c 'import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("127.169.254.169", 9))' 2>&1
fi
say end
"""

_SECTIONS = (
    "status",
    "mounts",
    "uid_map",
    "ids",
    "tmp",
    "pids.max",
    "memory.max",
    "memory.swap.max",
    "cpu.max",
    "network",
    "end",
)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

CAPABILITIES = {"CHOWN": 0, "SETGID": 6, "SETUID": 7, "NET_RAW": 13, "SYS_CHROOT": 18, "SYS_ADMIN": 21, "MKNOD": 27}
"""The bit of each capability in a capability set."""


@dataclass(frozen=True)
class Mounted:
    """A mount inside a container."""

    type: str
    """Its file system: ``tmpfs``, ``overlay`` …"""
    read_only: bool
    size: int | None
    """The size of a tmpfs in bytes; None if it has no limit."""


@dataclass(frozen=True)
class ContainerState:
    """The limits and privileges in force in a container.

    A limit is None if there is none; ``unread`` names limits that could not be read.
    """

    capabilities: int
    """The bounding set, a bit each: no program in the container can regain others."""
    no_new_privileges: bool
    seccomp: int
    """0: no filter; 2: a filter of system calls."""
    root: Mounted
    tmp: Mounted | None
    """The mount on /tmp; None if /tmp is a directory of the root file system."""
    tmp_mode: str
    """The permissions of /tmp, in octal digits."""
    pids: int | None
    memory: int | None
    """Bytes."""
    cpus: float | None
    unread: tuple[str, ...]
    """The files of limits that could not be read, because the container sees no cgroup."""
    uid_map: tuple[tuple[int, int, int], ...]
    """Ranges of uids: first uid inside, first uid outside of the user namespace, count."""
    uid: int
    gid: int
    tmpfs: Mapping[str, Mounted] = field(default_factory=dict)
    """The tmpfs mounts, by mount point."""
    endless_swap: bool = False
    """Whether swap is unlimited."""
    closed: bool = False
    """Whether the rules are loaded that close the host and its networks."""

    def capability(self, name: str) -> bool:
        """Whether the bounding set has this capability, one of CAPABILITIES."""
        return bool(self.capabilities >> CAPABILITIES[name] & 1)


def argv() -> list[str]:
    """The command to run inside the container; its exit status is always 0."""
    return shell(SCRIPT)


def parse(text: str) -> ContainerState:
    """Parse the script's output. Raises Unreadable if it is incomplete."""
    return understood(_parse, text)


def _parse(text: str) -> ContainerState:
    sections = _sections(text)
    status = dict(line.split(":\t", 1) for line in lines_of(sections["status"]) if ":\t" in line)
    mounts = dict(
        _mount(line) for line in lines_of(sections["mounts"])
    )  # of two mounts on one point, the last is visible
    try:
        uid, gid = (int(line) for line in lines_of(sections["ids"]))
        return ContainerState(
            capabilities=int(status["CapBnd"], 16),
            no_new_privileges=status["NoNewPrivs"].strip() == "1",
            seccomp=int(status["Seccomp"]),
            root=mounts["/"],
            tmp=mounts.get("/tmp"),  # noqa: S108 - the container's
            tmp_mode=sections["tmp"].strip(),
            pids=_number(sections["pids.max"]),
            memory=_number(sections["memory.max"]),
            cpus=_cpus(sections["cpu.max"]),
            unread=tuple(name for name in ("pids.max", "memory.max", "cpu.max") if not sections[name].strip()),
            uid_map=tuple(_range(line) for line in lines_of(sections["uid_map"])),
            uid=uid,
            gid=gid,
            tmpfs={point: mounted for point, mounted in mounts.items() if mounted.type == "tmpfs"},
            endless_swap=sections["memory.swap.max"].strip() == "max",
            closed="Operation not permitted" in sections["network"],
        )
    except KeyError as missing:
        raise ValueError(f"the container's output lacks {missing}: {shown(text)}") from missing


def _sections(text: str) -> Mapping[str, str]:
    parts = re.split(r"^==(\S+)\n", text, flags=re.MULTILINE)
    names = parts[1::2]
    if tuple(names) != _SECTIONS or parts[0].strip():
        raise ValueError(f"unexpected output of the container: {shown(text)}")
    return dict(zip(names, parts[2::2], strict=True))


def _mount(line: str) -> tuple[str, Mounted]:
    """The mount point and the mount of a line of mountinfo, see proc(5)."""
    before, _, after = line.partition(" - ")
    point, options = before.split(" ")[4:6]
    kind, _, inner = after.split(" ", 2)
    size = re.search(r"(?:^|,)size=(\d+)([kmg]?)\b", inner)
    everywhere = {*options.split(","), *inner.split(",")}
    return point, Mounted(kind, "ro" in everywhere, int(size[1]) * _UNITS[size[2]] if size else None)


def _number(text: str) -> int | None:
    return None if text.strip() in ("", "max") else int(text)


def _cpus(text: str) -> float | None:
    quota, _, period = text.strip().partition(" ")
    return None if quota in ("", "max") else int(quota) / int(period)


def _range(line: str) -> tuple[int, int, int]:
    first, outside, count = (int(word) for word in line.split())
    return first, outside, count
