"""What is in force in a container, as the container itself sees it: one fixed script, and what its output says.

Who runs the script is not decided here: ``docker run … IMAGE`` and ``podman exec NAME`` alike take ``argv()`` at their
end, in any image with a POSIX shell, ``cat``, ``grep``, ``id`` and ``stat``, busybox's included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from checks.engine.docker import shell
from checks.engine.expect import shown

SCRIPT = r"""
say() { printf '==%s\n' "$1"; }
say status; cat /proc/1/status # the container's own first process: "exec" may give its process something else
say mounts; cat /proc/self/mountinfo
say uid_map; cat /proc/self/uid_map
say ids; id -u; id -g
say tmp; stat -c %a /tmp
own=$(grep '^0::' /proc/self/cgroup); own=${own#0::} # not / where the container sees the host's control groups
for file in pids.max memory.max memory.swap.max cpu.max; do
    say "$file"
    cat "/sys/fs/cgroup$own/$file" 2>/dev/null || cat "/sys/fs/cgroup/$file" 2>/dev/null
done
say end
"""

_SECTIONS = ("status", "mounts", "uid_map", "ids", "tmp", "pids.max", "memory.max", "memory.swap.max", "cpu.max", "end")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

CAPABILITIES = {"CHOWN": 0, "SETGID": 6, "SETUID": 7, "NET_RAW": 13, "SYS_CHROOT": 18, "SYS_ADMIN": 21, "MKNOD": 27}
"""The bits of some capabilities in a set of them."""


@dataclass(frozen=True)
class Mounted:
    """A mount, as a container sees it."""

    type: str
    """The kind of its filesystem: ``tmpfs``, ``overlay`` …"""
    read_only: bool
    size: int | None
    """Bytes that a tmpfs may hold; None where it was given no size."""


@dataclass(frozen=True)
class ContainerState:
    """What is in force in a container.

    A limit is None where there is none; one that could not be read at all is named in ``unread``.
    """

    capabilities: int
    """The bounding set, a bit each: what no program in there can ever get back."""
    no_new_privileges: bool
    seccomp: int
    """0 no filter, 2 a filter of system calls."""
    root: Mounted
    tmp: Mounted | None
    """What is mounted on /tmp; None where it is a directory of the root filesystem."""
    tmp_mode: str
    """The permissions of /tmp, in octal digits."""
    pids: int | None
    memory: int | None
    """Bytes."""
    cpus: float | None
    unread: tuple[str, ...]
    """The limits that could not be read, by their file's name: no control group is to be seen in there."""
    uid_map: tuple[tuple[int, int, int], ...]
    """Ranges of uids: the first one in the container, the first one outside of its user namespace, how many."""
    uid: int
    gid: int
    tmpfs: Mapping[str, Mounted] = field(default_factory=dict)
    """What is a tmpfs, by where it is mounted."""
    endless_swap: bool = False
    """Whether it may take all of the host's swap."""

    def capability(self, name: str) -> bool:
        """Whether the bounding set has this capability, one of CAPABILITIES."""
        return bool(self.capabilities >> CAPABILITIES[name] & 1)


def argv() -> list[str]:
    """The command to run inside the container. It ends with status 0 whatever is in force."""
    return shell(SCRIPT)


def parse(text: str) -> ContainerState:
    """What the script's output says. Raises ValueError where this is not the output of the whole script."""
    sections = _sections(text)
    status = dict(line.split(":\t", 1) for line in sections["status"].splitlines() if ":\t" in line)
    mounts = dict(_mount(line) for line in sections["mounts"].splitlines())  # of two on one point, the last is seen
    try:
        uid, gid = (int(line) for line in sections["ids"].splitlines())
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
            uid_map=tuple(_range(line) for line in sections["uid_map"].splitlines()),
            uid=uid,
            gid=gid,
            tmpfs={point: mounted for point, mounted in mounts.items() if mounted.type == "tmpfs"},
            endless_swap=sections["memory.swap.max"].strip() == "max",
        )
    except KeyError as missing:
        raise ValueError(f"what was read inside the container lacks {missing}: {shown(text)}") from missing


def _sections(text: str) -> Mapping[str, str]:
    parts = re.split(r"^==(\S+)\n", text, flags=re.MULTILINE)
    names = parts[1::2]
    if tuple(names) != _SECTIONS or parts[0].strip():
        raise ValueError(f"this is not what the container was to say of itself: {shown(text)}")
    return dict(zip(names, parts[2::2], strict=True))


def _mount(line: str) -> tuple[str, Mounted]:
    """The mount point of a line of mountinfo, and what is mounted there; see proc(5)."""
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
