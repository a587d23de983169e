"""From a recipe to a disk: mmdebstrap installs, mke2fs makes the file system. No loop device, no mount."""

from __future__ import annotations

import shutil
from pathlib import Path

from checks.core import tools
from checks.core.errors import HostProblem, NotTested
from checks.core.paths import FIXTURES
from checks.core.run_directories import Run
from checks.hosts import namespace, package_mirrors
from checks.hosts.recipe import Recipe

DISK = "disk.raw"
KERNEL = "vmlinuz"
INITRD = "initrd.img"
CLIENT_KEY = "client"
HOST_KEY = "host"

NEEDED = 4 << 30  # bytes of free disk that a build and its snapshot take, with room to spare
_SIZE = "12G"  # of the file system; the file is sparse

_EVERY_GUEST = (
    "systemd-sysv", "dbus-user-session", "libpam-systemd", "openssh-server", "iproute2", "kmod", "procps",
    "busybox-static",
)  # fmt: skip
_KERNELS = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
_COMPONENTS = {"debian": "main", "ubuntu": "main,universe"}


def build(recipe: Recipe, into: Path, run: Run) -> None:
    """Install the recipe's host into the directory ``into``: disk, kernel, initial ramdisk, keys.

    Raises HostProblem if a tool is missing, the disk is full or an archive can't be reached; NotTested if this machine
    has no mirror of that archive.
    """
    if shutil.disk_usage(into).free < NEEDED:
        raise HostProblem(
            f"Building {recipe.name} needs {NEEDED >> 30} GiB of free disk space in {into.parent}.",
            "Free disk space, or set XDG_CACHE_HOME to a directory with more space.",
        )
    namespace.require()
    make_keys(into)
    archive = into / "root.tar"
    try:
        _install(recipe, archive, into, run)
    except HostProblem as problem:
        if recipe.archive == "debian" or package_mirrors.mirror(recipe.archive):
            raise
        raise NotTested(
            f"{recipe.name} is not tested: its package archive is unreachable, or its keys are missing. {problem}"
        ) from problem
    _make_disk(archive, into)
    archive.unlink()


def make_keys(into: Path) -> None:
    """Make the guest's host key and the client key for it."""
    for key in (CLIENT_KEY, HOST_KEY):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", str(into / key)]
        tools.run_checked(argv, doing="making a guest's keys")


def _make_disk(archive: Path, into: Path) -> None:
    """Make kernel, initial ramdisk and disk from the root file system, whose files have many owners."""
    made = namespace.run([str(FIXTURES / "guest" / "make-disk.sh"), str(archive), str(into), _SIZE], own=0, rest=1)
    if made.returncode != 0:
        raise HostProblem(
            f"The disk of a host could not be made: {made.stderr.strip()}", "Check the free disk space of the cache."
        )


def _install(recipe: Recipe, archive: Path, keys: Path, run: Run) -> None:
    """Install the packages into a tar file with mmdebstrap."""
    include = (*_EVERY_GUEST, _KERNELS[recipe.archive], *recipe.packages)
    # Scripts and keys are passed by value: root of a plain user's namespace may be unable to read the user's files.
    tools.run_checked(
        [
            "mmdebstrap", "--quiet", "--variant=minbase", f"--architectures={recipe.architecture}",
            *(f"--aptopt={line.rstrip(';')}" for line in package_mirrors.apt_settings()),
            # The newest Release file of a moving suite may have expired on a mirror.
            *(['--aptopt=Acquire::Check-Valid-Until "false"'] if recipe.moving else []),
            f"--components={_COMPONENTS[recipe.archive]}", f"--include={','.join(include)}",
            f"--setup-hook={_script('newer.sh')}", f"--customize-hook={_script('customize.sh')}",
            recipe.suite, str(archive), *package_mirrors.mirror(recipe.archive),
        ],
        env={
            "TMPDIR": str(run.scratch),
            "ACCOUNTS": " ".join(
                f"{name}:{account.uid}:{account.subordinate}" for name, account in recipe.accounts.items()
            ),
            "ENGINE": recipe.engine,
            "SHIM": recipe.shim,
            "STORAGE": recipe.storage,
            "PLAIN_INIT": _script("plain-init.sh") if recipe.init == "plain" else "",
            "FIRST": recipe.suite,
            "NEWER": "".join(f"{suite} {' '.join(packages)}\n" for suite, packages in recipe.newer.items()),
            "CLIENT_KEY": (keys / f"{CLIENT_KEY}.pub").read_text(),
            "HOST_KEY": (keys / HOST_KEY).read_text(),
            "HOST_KEY_PUB": (keys / f"{HOST_KEY}.pub").read_text(),
        },
        doing=f"building {recipe.name}",
        remedy=f"Check that this machine reaches a mirror of {recipe.archive.capitalize()}.",
    )  # fmt: skip


def _script(name: str) -> str:
    return (FIXTURES / "guest" / name).read_text()
