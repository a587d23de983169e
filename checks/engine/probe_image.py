"""The probe image, built on a host by the engine itself: a broken shim must fail a case, not the preparation."""

from __future__ import annotations

import importlib.resources
import io
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from checks.core.paths import FIXTURES
from checks.hosts.base import Host, directories_of

LABEL = "nanoclaw-verify"
"""The label of every container and image of a run; its value is the run's id."""

PREPARED = "prepared"
"""In place of the run's id in the images of a prepared guest."""

# The base image for hosts without a static busybox.
_FALLBACK = "docker.io/library/alpine:3.21.3@sha256:a8560b36e8b8210634f77d9f7f9efd7ffa463e380b75e2e74aff4511df3ef88c"


def repository(owner: str) -> str:
    """The name of the probe images of ``owner``, a run's id; ``:probe`` has no USER, ``:agent`` has uid 1000."""
    return f"localhost/nanoclaw-verify/{owner}"


def make(accounts: Sequence[Host], owner: str = PREPARED) -> None:
    """Build the probe images in the store of each account. Raises HostProblem if a host can't run them."""
    context = _context()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda account: _make(account, owner, context), accounts))


def _make(account: Host, owner: str, context: bytes) -> None:
    script = (FIXTURES / "probe" / "make.sh").read_text()
    name = f"{directories_of(owner)}-probe"  # a run that is killed meanwhile is known by it
    directory = account.make_private_directory(name)
    argv = [
        "env", f"TMPDIR={directory}", "sh", "-c", script, "make.sh",
        account.facts().engine, repository(owner), f"{LABEL}={owner}", _FALLBACK,
    ]  # fmt: skip
    try:
        account.run_checked(argv, stdin=context, timeout=120, doing="building and starting the probe image")
    finally:
        account.remove_private_directories(name)


def _context() -> bytes:
    """The build context as a tar archive: fixtures/probe and a time zone for a case, which hosts may lack."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(FIXTURES / "probe", arcname=".", filter=_anonymous)
        zone = importlib.resources.files("tzdata").joinpath("zoneinfo", "America", "New_York").read_bytes()
        entry = tarfile.TarInfo("rootfs/usr/share/zoneinfo/America/New_York")
        entry.size = len(zone)
        tar.addfile(entry, io.BytesIO(zone))
    return buffer.getvalue()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o555 if entry.isdir() or entry.mode & 0o100 else 0o444  # independent of the umask of the clone
    return entry
