"""An image store as a disk for a guest: the same files, with the guest's owners."""

from __future__ import annotations

from pathlib import Path

from checks.core.errors import HostProblem
from checks.hosts import namespace
from checks.nanoclaw.images.store import Store


def make(store: Store, label: str, uid: int, subordinate: int, disk: Path) -> None:
    """Make an ext4 disk of a store, for the guest's account ``uid``.

    In a rootless store, the account's own id owns root's files of images; subordinate ids, from ``subordinate`` on, own
    the others.
    """
    size = store.size()
    room = size + size // 5 + (256 << 20)
    done = namespace.run(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-L", label,
         "-d", str(store.directory), str(disk),
         f"{room >> 10}k"],
        own=uid, rest=subordinate,
    )  # fmt: skip
    if done.returncode != 0:
        raise HostProblem(f"A disk could not be made: {done.stderr.strip()}", "Check the free disk space of the cache.")
