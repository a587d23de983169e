"""Which files of containers.conf a Podman reads, and in which order.

Measured with Podman 3.0.1, 4.3.1, 5.4.2, 5.8.6 and 6.1.1: a broken file stops each command of a Podman that reads it.
5.5 to 5.7 are taken for older ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

Version = tuple[int, int]

_MAIN = "containers.conf"
_OF_ROOTLESS = "containers.rootless.conf"
_BASES = ("/usr/share/containers", "/etc/containers")
"""The machine's directories. Every other one is the account's."""
_UNKNOWN: Version = (0, 0)


def in_order(paths: Sequence[str], version: Version, linked: Collection[str]) -> list[str]:
    """The files of ``paths`` that this Podman reads: a later one overrides those before. ``linked``: see ``ignored``.

    Podman 6 reads one main file, the account's or else the machine's, and then the drop-ins of all directories by
    their names; of drop-ins with the same name, it reads the last.
    """
    unread = {path for path, _ in ignored(paths, version, linked)}
    found = sorted((path for path in dict.fromkeys(paths) if path not in unread), key=_rank)
    if version < (6, 0):
        return found
    mains = [path for path in found if not _is_drop_in(path)]
    drop_ins = {PurePosixPath(path).name: path for path in found if _is_drop_in(path)}
    return [*mains[-1:], *(drop_ins[name] for name in sorted(drop_ins))]


def ignored(paths: Sequence[str], version: Version, linked: Collection[str]) -> Iterator[tuple[str, str]]:
    """The files that no Podman of this version reads, and why. ``linked``: directories of drop-ins that are links."""
    if version == _UNKNOWN:
        return
    for path in paths:
        if why := _why_ignored(PurePosixPath(path), version, linked):
            yield path, why


def _why_ignored(path: PurePosixPath, version: Version, linked: Collection[str]) -> str:
    of_rootless = any(part.startswith(_OF_ROOTLESS) for part in path.parts)
    machines_own = str(path).startswith(f"{_BASES[0]}/") and path.name != _MAIN
    if version < (4, 0) and path.name != _MAIN:
        return "it reads no drop-ins"
    if version < (5, 8) and of_rootless:
        return f"it reads no {_OF_ROOTLESS}"
    if version < (5, 8) and str(path.parent) in linked:
        return f"{path.parent} is a link, and it follows none"
    if version < (6, 0) and machines_own:
        return f"it reads only {_MAIN} in {_BASES[0]}"
    if version >= (6, 0) and path.name == _OF_ROOTLESS:
        return f"it reads only {_OF_ROOTLESS}.d"
    return ""


def _is_drop_in(path: str) -> bool:
    return PurePosixPath(path).name not in (_MAIN, _OF_ROOTLESS)


def _rank(path: str) -> tuple[int, bool, bool, int, str]:
    """The machine's before the account's; those of all accounts before those of rootless ones; main files first."""
    base = next((at for at, base in enumerate(_BASES) if path.startswith(f"{base}/")), len(_BASES))
    return (base, f"/{_OF_ROOTLESS}" in path, _is_drop_in(path), path.count("/"), path)
