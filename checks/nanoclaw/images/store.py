"""An image store of this project's own on this machine. Building in it needs neither cgroups nor an OCI runtime."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType

from checks.core.errors import HostProblem
from checks.hosts import namespace
from checks.nanoclaw.images.surroundings import Surroundings

_PULL_BOUND = 120.0  # seconds

# Podman 4.3.1 leaves out of a layer what has a cache mount's name, at the root of the file system, if the store lies in
# the directory that the cache mount is in as well: nanoclaw's /pnpm is lost where the store is in /root/.cache, as its
# build mounts /root/.cache/pnpm. So Podman sees the store elsewhere.
_ELSEWHERE = 'mount --no-mtab --bind "$1" "$2" && shift 2 && exec "$@"'


class Store:
    """Images in a directory that nobody else uses; gone with the block."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        self.directory = directory
        self.scratch = scratch
        self._surroundings = Surroundings(scratch / f"{directory.name}-podman")
        self._runroot = scratch / directory.name
        self._seen_at = scratch / f"{directory.name}-store"

    def __enter__(self) -> Store:
        self.directory.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("rm", "-rf", "--", str(self.directory), str(self._runroot))

    def twin(self, directory: Path) -> Store:
        """A second store with the same images, which takes no room of its own."""
        # Podman's own database is bound to its directory, and knows nothing that images need.
        script = 'cp -al -- "$1" "$2" && rm -rf -- "$2/libpod" "$2/db.sql"'
        done = self._run("sh", "-c", script, "sh", str(self.directory), str(directory))
        if done.returncode != 0:
            raise HostProblem(f"The image store could not be copied: {done.stderr.strip()}")
        return Store(directory, self.scratch)

    def build(self, context: Path, tag: str) -> None:
        """Build a Dockerfile's image. Raises HostProblem with the end of the build's output where it fails."""
        self._podman("build", "--isolation", "chroot", "--tag", tag, str(context), doing=f"building {tag}")

    def pull(self, name: str) -> bool:
        """Fetch an image from its registry; whether that worked, within a bound: a network may swallow packets."""
        bounded = ["timeout", "-k", "5", f"{_PULL_BOUND:g}", *self._command("pull", "--quiet", name)]
        return self._run(*bounded).returncode == 0

    def load(self, archive: Path) -> None:
        """Take the image out of an archive that ``save`` wrote."""
        # ``podman load`` unpacks the archive in a shared directory before it reads it. A colon in a path would end it.
        link = self.scratch / f"{self.directory.name}-archive"
        link.symlink_to(archive)
        self._podman("pull", "--quiet", f"docker-archive:{link}", doing=f"loading {archive.name}")
        link.unlink()

    def save(self, name: str, archive: Path) -> None:
        """Write an image into an archive."""
        self._podman("save", "--quiet", "--output", str(archive), name, doing=f"saving {name}")

    def map_for(self, name: str, uid: int) -> None:
        """Make the copy of an image that ``--userns=keep-id`` needs for an account of that uid.

        Podman makes it at the first run and keeps it; from a store that it may only read, it would at every run.
        """
        ids = [f"0:1:{uid}", f"{uid}:0:1", f"{uid + 1}:{uid + 1}:{namespace.IDS - uid}"]
        maps = [word for each in ids for word in ("--uidmap", each, "--gidmap", each)]
        self._podman("create", "--name", f"map-{uid}", *maps, name, "true", doing="mapping the image's owners")
        self._podman("rm", f"map-{uid}", doing="mapping the image's owners")

    def size(self) -> int:
        """Bytes on disk."""
        return int(self._run("du", "-s", "-B1", str(self.directory)).stdout.split()[0])

    def _podman(self, *args: str, doing: str) -> None:
        done = self._run(*self._command(*args))
        if done.returncode != 0:
            said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-12:])
            raise HostProblem(f"On this machine, {doing} failed:\n{said}")

    def _command(self, *args: str) -> list[str]:
        self._seen_at.mkdir(exist_ok=True)
        return [
            "sh", "-c", _ELSEWHERE, "sh", str(self.directory), str(self._seen_at),
            "podman", "--root", str(self._seen_at), "--runroot", str(self._runroot), "--storage-driver", "overlay",
            *args,
        ]  # fmt: skip

    def _run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return namespace.run(argv, own=0, rest=1, env=self._surroundings.environment())


def tools_missing() -> list[str]:
    """The programs that making images needs and that this machine lacks."""
    return namespace.missing("podman", "mmdebstrap", "mke2fs", *namespace.programs())
