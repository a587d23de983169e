"""Tar archives made in memory: how files get onto a host in one piece."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """An entry of an archive: a file, or a symbolic link where ``target`` is set, or a directory where data is None."""

    name: str
    data: bytes | None = b""
    mode: int = 0o644
    target: str = ""


def pack(members: Iterable[Member]) -> bytes:
    """An archive of these entries, in their order. Owner and time are 0, so that equal content is an equal archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            entry = tarfile.TarInfo(member.name)
            entry.mode = member.mode
            if member.target:
                entry.type, entry.linkname = tarfile.SYMTYPE, member.target
            elif member.data is None:
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(member.data)
            tar.addfile(entry, io.BytesIO(member.data or b""))
    return buffer.getvalue()
