"""A separate image store on this machine. Building in it needs neither cgroups nor an OCI runtime."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from checks.core import tools
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.core.process import Completed
from checks.hosts import namespace
from checks.nanoclaw.images.surroundings import Surroundings, configuration, credentials

_PULL_TIMEOUT = 120.0  # seconds

# A Dockerfile of a checkout is a stranger's program, and there is no OCI runtime that isolates it: only a chroot, which
# this capability leaves, and which shares processes, /proc/sys and /sys with the host. The ids of a build are this
# account's: as root it could change the kernel's settings. apt, npm and useradd need none of these.
_DROPPED = ("CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_NET_RAW", "CAP_AUDIT_WRITE")
# Where the process before it in a command is killed, so is all that follows.
_PROCESSES = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

_IN_OWN_ROOT = FIXTURES / "nanoclaw" / "build-root.sh"
_PROGRAMS = ("findmnt", "pivot_root", "umount")
"""That it needs, besides those of a namespace."""


class Store:
    """Images in a private directory, removed at the end of the block."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        self.directory = directory
        self.scratch = scratch
        # All that a build can write to, and so Podman's --runroot as well: its path has 50 characters at most. For this
        # account alone: it gets files of private checkouts.
        self._work = scratch / directory.name
        # A build that found a way to write there does not know the name of the next one's.
        self._surroundings = Surroundings(self._work / f"podman-{secrets.token_hex(8)}")
        self._seen_at = self._work / "store"
        self._root = scratch / f"{directory.name}-root"

    def __enter__(self) -> Store:
        self.directory.mkdir(exist_ok=True)
        return self

    def _require_work(self) -> None:
        if not self._work.exists():
            self._work.mkdir(mode=0o700)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("rm", "-rf", "--", str(self.directory), str(self._work))

    def clone(self, directory: Path) -> Store:
        """A second store with the same images, as hard links."""
        # Podman's database is bound to its directory, and images don't need it.
        script = 'cp -al -- "$1" "$2" && rm -rf -- "$2/libpod" "$2/db.sql"'
        done = self._run("sh", "-c", script, "sh", str(self.directory), str(directory))
        if done.returncode != 0:
            raise HostProblem(f"The image store could not be copied: {done.stderr.strip()}")
        return Store(directory, self.scratch)

    def build(self, context: Path, tag: str) -> None:
        """Build a Dockerfile's image. Raises HostProblem with the end of its output if it fails."""
        self._build("--tag", tag, str(context.resolve()), doing=f"building {tag}", reads=[context])

    def build_archive(self, context: Path, dockerfile: Path, archive: Path) -> None:
        """Build a Dockerfile, and write the files of its last stage to a tar archive. Raises HostProblem like build."""
        output = self._work / "output.tar"  # without a comma in its path
        options = ["--file", str(dockerfile.resolve()), "--output", f"type=tar,dest={output}"]
        self._build(*options, str(context.resolve()), doing=f"building {archive.name}", reads=[context, dockerfile])
        shutil.move(output, archive)

    def pull(self, name: str) -> bool:
        """Pull an image from its registry; whether that worked before a timeout: a network may drop packets."""
        pull = self._command("pull", "--quiet", name, reads=credentials())
        bounded = ["timeout", "-k", "5", f"{_PULL_TIMEOUT:g}", *pull]
        return self._run(*bounded).returncode == 0

    def load(self, archive: Path) -> None:
        """Load the image of an archive that ``save`` wrote."""
        # ``podman load`` would unpack the archive in a shared directory first. The link avoids a colon in the path.
        self._require_work()
        link = self._work / "archive"
        link.symlink_to(archive.resolve())
        self._podman("pull", "--quiet", f"docker-archive:{link}", doing=f"loading {archive.name}", reads=[archive])
        link.unlink()

    def tag(self, name: str, another: str) -> None:
        """Give an image another name."""
        self._podman("tag", name, another, doing=f"naming {name}")

    def save(self, name: str, archive: Path) -> None:
        """Save an image as an archive."""
        output = self._work / "saved.tar"
        self._podman("save", "--quiet", "--output", str(output), name, doing=f"saving {name}")
        shutil.move(output, archive)

    def map_for(self, name: str, uid: int) -> None:
        """Make the id-mapped copy of an image that ``--userns=keep-id`` needs for an account of that uid.

        Podman makes it at the first run and keeps it; with a read-only store, it would make it at every run.
        """
        ids = [f"0:1:{uid}", f"{uid}:0:1", f"{uid + 1}:{uid + 1}:{namespace.IDS - uid}"]
        maps = [word for each in ids for word in ("--uidmap", each, "--gidmap", each)]
        self._podman("create", "--name", f"map-{uid}", *maps, name, "true", doing="mapping the image's owners")
        self._podman("rm", f"map-{uid}", doing="mapping the image's owners")

    def size(self) -> int:
        """Bytes on disk."""
        done = self._run("du", "-s", "-B1", str(self.directory))
        found = re.match(r"(\d{1,18})\s", done.stdout)
        if not found:
            raise HostProblem(f"The size of {self.directory} can't be read: {done.stderr.strip() or 'no output'}.")
        return int(found[1])

    def write_disk(self, label: str, uid: int, subordinate: int, disk: Path) -> None:
        """Write the store to a new ext4 disk, for the guest's account ``uid``.

        In a rootless store, the account's own id owns root's files of images; subordinate ids, from ``subordinate`` on,
        own the others.
        """
        size = self.size()
        room = size + size // 5 + (256 << 20)
        done = namespace.run(
            ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-L", label,
             "-d", str(self.directory), str(disk),
             f"{room >> 10}k"],
            own=uid, rest=subordinate,
        )  # fmt: skip
        if done.returncode != 0:
            raise HostProblem(
                f"A disk could not be made: {done.stderr.strip()}", "Check the free disk space of the cache."
            )

    def _build(self, *args: str, doing: str, reads: Sequence[Path]) -> None:
        dropped = [f"--cap-drop={each}" for each in _DROPPED]
        self._podman("build", "--isolation", "chroot", *dropped, *args, doing=doing, reads=reads)

    def _podman(self, *args: str, doing: str, reads: Sequence[Path] = ()) -> None:
        done = self._run(*self._command(*args, reads=reads))
        if done.returncode != 0:
            output = "\n".join(lines_of(done.stderr.strip() or done.stdout.strip())[-12:])
            raise HostProblem(f"On this machine, {doing} failed:\n{output}")

    def _command(self, *args: str, reads: Sequence[Path] = ()) -> list[str]:
        self._require_work()
        for each in (self._seen_at, self._root):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        program = shutil.which("podman", path=tools.path())
        shown = [*reads, *configuration(), *([Path(program)] if program else [])]
        return [
            *_PROCESSES, "sh", str(_IN_OWN_ROOT), str(self.directory), str(self._seen_at), str(self._root),
            str(self._work), *(word for each in shown for word in ("read", str(each.resolve()))), "run",
            "podman", "--root", str(self._seen_at), "--runroot", str(self._work), "--storage-driver", "overlay",
            *args,
        ]  # fmt: skip

    def _run(self, *argv: str) -> Completed:
        self._require_work()
        return namespace.run(argv, own=0, rest=1, env=self._surroundings.environment())


def tools_missing() -> list[str]:
    """The missing programs for building images."""
    return namespace.missing("podman", "mmdebstrap", "mke2fs", *_PROGRAMS, *namespace.programs())
