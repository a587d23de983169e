"""A throwaway host: built and prepared once, then resumed for every run on a temporary overlay."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import msgspec

from checks.core import cache_manifest, signals, tools
from checks.core.bounded import read_json
from checks.core.errors import HostProblem
from checks.core.locks import locked
from checks.core.polling import poll
from checks.core.process import Completed
from checks.core.progress import Progress
from checks.core.run_directories import Run, cache
from checks.hosts import build, namespace
from checks.hosts.accelerator import Accelerator, usable
from checks.hosts.base import Host
from checks.hosts.facts import Facts, facts_digest
from checks.hosts.machine import Machine, overlay
from checks.hosts.recipe import Recipe
from checks.hosts.ssh import SshHost

Prepare = Callable[[Sequence[Host]], None]
"""Prepares the accounts of a freshly booted guest, before its state is saved."""

_DOWN_TIMEOUT = 60.0  # seconds on ordinary hardware
_UP_TIMEOUT = 300.0  # seconds; a guest under emulation boots in 30 to 50
_BASE = "base"
GUEST_DISK = "disk.qcow2"
"""The disk of a guest, in the directory of its run."""

_MOUNT = """
mkdir -p "$2"
for round in $(seq 50); do # until the kernel has detected it
    mount -o ro,noatime "LABEL=$1" "$2" 2>/dev/null && break
    sleep 0.2
done
mountpoint -q "$2" || mount -o ro,noatime "LABEL=$1" "$2" || exit
echo "LABEL=$1 $2 ext4 ro,noatime,nofail 0 0" >>/etc/fstab # for the next boot
"""
_FACTS = f"facts-{facts_digest()}.json"


class GuestAccount(SshHost):
    """An account of a guest, reached by SSH on a forwarded port."""

    def __init__(self, account: str, guest: Guest) -> None:
        super().__init__(
            f"{account}@127.0.0.1",
            sockets=guest.run.sockets,
            port=guest.machine.port,
            options=[
                "-F", "none", "-i", str(guest.boot / build.CLIENT_KEY), "-o", "IdentitiesOnly=yes",
                "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={guest.run.directory / 'known_hosts'}",
                "-o", "HostKeyAlias=guest", "-o", "GlobalKnownHostsFile=none",
            ],
            name=guest.recipe.name,
        )  # fmt: skip
        self.slowness = guest.accelerator.slowness
        self._guest = guest

    def accounts(self) -> Sequence[Host]:
        return self._guest.members

    def wrap_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return super().wrap_command([*self._guest.settings, *argv], tty=tty)

    def check(self, completed: Completed) -> Completed:
        if completed.returncode == 255 and not self._guest.machine.alive():
            raise HostProblem(
                f"QEMU exited unexpectedly ({self.name}): {self._guest.machine.last_output() or 'no output'}.",
                "Run again. If it recurs, check this machine's free memory and disk space.",
            )
        return super().check(completed)


class Guest:
    """A running guest and its accounts."""

    def __init__(
        self, recipe: Recipe, boot: Path, machine: Machine, accelerator: Accelerator, run: Run, *, sharing: bool = False
    ) -> None:
        self.recipe = recipe
        self.boot = boot
        self.machine = machine
        self.accelerator = accelerator
        self.run = run
        self._sharing = sharing
        shared = accelerator.shared_environment if sharing else ()
        self.settings = ("env", *shared) if shared else ()
        key = (boot / f"{build.HOST_KEY}.pub").read_text().split()
        (run.directory / "known_hosts").write_text(f"guest {key[0]} {key[1]}\n")
        self.root = GuestAccount("root", self)
        self.members: list[Host] = [GuestAccount(account, self) for account in recipe.accounts]
        self._attached: list[Path] = []

    def await_up(self) -> None:
        """Wait until the guest answers, and set its clock."""
        if not poll(self._answers, timeout=_UP_TIMEOUT, interval=0.2):
            raise HostProblem(
                f"The guest {self.recipe.name} timed out after {_UP_TIMEOUT:g} s: {self.machine.last_output()}",
                "Check this machine's load, then run again.",
            )

    def _answers(self) -> bool:
        if not self.machine.alive():
            raise HostProblem(f"The guest {self.recipe.name} did not start: {self.machine.last_output()}")
        # A resumed guest's clock shows the time at which its state was saved.
        set_clock = self.root.wrap_command(["date", "--set", f"@{time.time():.0f}"])
        try:
            done = subprocess.run(set_clock, capture_output=True, timeout=15, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def save_facts(self, file: Path) -> None:
        """Save each account's facts, which stay the same in the saved state: asking again takes seconds."""
        with ThreadPoolExecutor() as pool:
            facts = list(pool.map(lambda account: asdict(account.facts()), self.members))
        file.write_text(json.dumps(facts))

    def load_facts(self, file: Path) -> None:
        """Load the facts that ``save_facts`` saved."""
        try:
            saved = msgspec.convert(read_json(file), list[Facts])
            for account, facts in zip(self.members, saved, strict=True):
                account.remember(facts)
        except ValueError as error:
            raise HostProblem(
                f"The saved state of {self.recipe.name} can't be read: {error}.", "Remove it: invoke clean --cache"
            ) from error

    def attach_disk(self, disk: Path, label: str, directory: str) -> None:
        """Attach a disk and mount its file system, found by label, read-only on ``directory``."""
        self.machine.attach(disk)
        self.root.run_checked(["sh", "-c", _MOUNT, "sh", label, directory], doing=f"mounting the disk {label}")
        self._attached.append(disk)

    def reboot(self) -> None:
        """Shut the guest down, and boot it again with the disks that are attached. Forwarded ports are closed."""
        self.root.run_checked(["systemctl", "--no-block", "poweroff"], doing="shutting down")
        if not poll(lambda: not self.machine.alive(), timeout=_DOWN_TIMEOUT * self.accelerator.slowness, interval=0.2):
            raise HostProblem(f"The guest {self.recipe.name} did not shut down: {self.machine.last_output()}")
        self.close()
        self.machine = Machine(
            boot=self.boot, disk=self.run.directory / GUEST_DISK, console=self.run.directory / "console.log",
            memory=self.recipe.memory, accelerator=self.accelerator, kernel=_kernel(self.recipe),
            disks=self._attached, sharing=self._sharing,
        )  # fmt: skip
        for account in (self.root, *self.members):
            assert isinstance(account, GuestAccount)
            account.port = self.machine.port
        self.await_up()

    def close(self) -> None:
        """Close the connections and power off."""
        for account in (*self.members, self.root):
            account.close()
        self.machine.off()


@contextlib.contextmanager
def resumed(
    recipe: Recipe, run: Run, prepare: Prepare, progress: Progress, *, outlive: bool = False, sharing: bool = False
) -> Iterator[Guest]:
    """A prepared, running guest of that recipe until the block ends; with ``outlive``, a kept guest runs on.

    ``sharing``: other guests run at the same time.
    """
    boot, accelerator, ready = _ready(recipe, run, prepare, progress)
    disk = run.directory / GUEST_DISK
    with progress.step(f"Resuming {recipe.name} ({accelerator.name})"):
        overlay(disk, ready / "disk.qcow2")
        machine = Machine(
            boot=boot, disk=disk, console=run.directory / "console.log", memory=recipe.memory,
            accelerator=accelerator, kernel=_kernel(recipe), resume=ready / "state", outlive=outlive,
            sharing=sharing,
        )  # fmt: skip
        guest = Guest(recipe, boot, machine, accelerator, run, sharing=sharing)
        try:
            guest.load_facts(ready / _FACTS)
            guest.await_up()
        except BaseException:
            with signals.held():
                guest.close()
            raise
    try:
        yield guest
    finally:
        if not run.kept:
            with signals.held():
                guest.close()


def built(recipe: Recipe) -> bool:
    """Whether the cache has the host of the current recipe."""
    return cache_manifest.is_complete(_directory(recipe) / _BASE)


def require_tools() -> None:
    """Raise HostProblem if this machine lacks programs for building and running a guest."""
    if missing := tools_missing():
        raise HostProblem(
            f"Programs for throwaway hosts are not installed: {', '.join(missing)}.",
            "Install them with: scripts/install.sh guest",
        )


def tools_missing() -> list[str]:
    """The missing programs for building and running a guest."""
    programs = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs", "ssh", "ssh-keygen", "setpriv")
    return namespace.missing(*programs, *namespace.programs())


def _directory(recipe: Recipe) -> Path:
    return cache() / "hosts" / f"{recipe.name}-{recipe.digest}"


def _ready(recipe: Recipe, run: Run, prepare: Prepare, progress: Progress) -> tuple[Path, Accelerator, Path]:
    """The directories of the built and the prepared guest, made if missing by one run at a time."""
    directory = _directory(recipe)
    boot = directory / _BASE
    directory.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"Waiting for another run, which is building {recipe.name}"
    with locked(directory.parent / f"{recipe.name}.lock", progress, waiting):
        try:
            if not cache_manifest.is_complete(boot):
                _report_if_incomplete(boot, progress)
                shutil.rmtree(directory, ignore_errors=True)
                with progress.step(f"Building {recipe.name} from its distribution’s packages (once, 1-2 minutes)"):
                    work = run.directory / _BASE
                    work.mkdir()
                    build.build(recipe, work, run)
                    cache_manifest.write(work)
                    _forget_older(recipe)
                    directory.mkdir(exist_ok=True)
                    work.rename(boot)
            accelerator = usable(boot / build.KERNEL)
            ready = directory / f"ready-{accelerator.label}-{_qemu_version()}"
            if not (cache_manifest.is_complete(ready) and (ready / _FACTS).exists()):
                _report_if_incomplete(ready, progress)
                _prepare(recipe, boot, accelerator, ready, run, prepare, progress)
        except OSError as error:
            raise HostProblem(
                f"{recipe.name} could not be built in {directory.parent}: {error.strerror or error}.",
                "Check the free disk space and the owner of the directory.",
            ) from error
    return boot, accelerator, ready


def _report_if_incomplete(directory: Path, progress: Progress) -> None:
    if directory.is_dir():
        progress.say(f"The cached {directory} is incomplete, or of another version of this project; rebuilding it.")


def _prepare(
    recipe: Recipe, boot: Path, accelerator: Accelerator, ready: Path, run: Run, prepare: Prepare, progress: Progress
) -> None:
    work = run.directory / "ready"
    work.mkdir()
    overlay(work / "disk.qcow2", boot / build.DISK)
    with (
        progress.step(f"Booting {recipe.name} for the first time ({accelerator.name})"),
        Machine(
            boot=boot, disk=work / "disk.qcow2", console=run.directory / "first-boot.log", memory=recipe.memory,
            accelerator=accelerator, kernel=_kernel(recipe),
        ) as machine,
    ):  # fmt: skip
        guest = Guest(recipe, boot, machine, accelerator, run)
        guest.await_up()
        with progress.step("Building the probe image on it"):
            prepare(guest.members)
            guest.save_facts(work / _FACTS)
        guest.root.run_checked(["sync"], doing="writing to disk")
        for account in (*guest.members, guest.root):
            account.close()
        with progress.step("Saving its state"):
            machine.save(work / "state")
    cache_manifest.write(work)
    for old in ready.parent.glob("ready-*"):
        shutil.rmtree(
            old, ignore_errors=True
        )  # states of another QEMU or other options; a running guest keeps its files open
    work.rename(ready)


def _kernel(recipe: Recipe) -> str:
    # The kernel passes unknown parameters to the first process as environment variables.
    return f"init=/usr/local/sbin/plain-init CGROUPS={recipe.cgroups}" if recipe.init == "plain" else ""


def _forget_older(recipe: Recipe) -> None:
    """Remove hosts of older versions of the recipe from the cache."""
    for old in _directory(recipe).parent.glob(f"{recipe.name}-*"):
        if old.is_dir() and old.name.removeprefix(f"{recipe.name}-").isalnum():
            shutil.rmtree(old, ignore_errors=True)


def _qemu_version() -> str:
    found = re.search(r"version ([^\s(]+)", tools.run(["qemu-system-x86_64", "--version"]).stdout)
    return found[1] if found else "unknown"
