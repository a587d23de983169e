"""Whether KVM works here: found out by booting a kernel, since the device node alone proves nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from checks.core import files
from checks.core.run_directories import cache

_BOUND = 12.0  # seconds; a working KVM prints the kernel's first line within one


@dataclass(frozen=True)
class Accelerator:
    """How QEMU runs the guest's processors. ``slowness`` is measured against ordinary hardware, roughly."""

    name: str
    options: tuple[str, ...]
    slowness: float
    kernel: str = ""
    """What the kernel's command line needs for it."""
    sharing: tuple[str, ...] = ()
    """The options in place of those where other guests run at the same time; a state is resumed under either."""
    thrift: tuple[str, ...] = ()
    """What the engine's programs are told, by their environment, where they compete for this machine."""

    @property
    def label(self) -> str:
        """Tells states apart that were saved under different options: one can't be resumed under another's."""
        whole = hashlib.sha256(" ".join((*self.options, self.kernel)).encode()).hexdigest()
        return f"{self.name}-{whole[:8]}"


KVM = Accelerator("kvm", ("-accel", "kvm", "-cpu", "host"), 1.0)
# The kernel is told of three instructions that it must not use, by number, since older ones don't know the names; the
# processor keeps them. cx16 (141): with QEMU 7.2's emulation of it a 6.12 kernel panics in its slab allocator, and Bun
# does not start without. erms and fsrm (297, 580), by which it fills memory with one string instruction: emulated that
# goes byte by byte, and a container takes a tenth more.
# Its defences against flaws of real processors are indirect jumps, which emulation pays dearly for.
# Beside another guest its processors take turns in one thread: that takes a tenth less of this machine's time, and no
# processor waits for another one that this machine lets wait. There a second thread of Go's is at the cost of the
# first: with one, a container takes an eighth less. Containers are not told.
TCG = Accelerator(
    "tcg", ("-accel", "tcg,thread=multi", "-cpu", "max"), 3.0, "clearcpuid=141,297,580 mitigations=off",
    sharing=("-accel", "tcg,thread=single", "-cpu", "max"), thrift=("GOMAXPROCS=1",),
)  # fmt: skip


def usable(kernel: Path) -> Accelerator:
    """KVM where it boots that kernel within seconds, else TCG. The answer holds until this machine is restarted."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = cache() / f"accelerator-{boot_id}"
    if not answer.exists():
        for old in cache().glob("accelerator-*"):
            old.unlink(missing_ok=True)
        files.replace(answer, b"kvm" if _boots(kernel) else b"tcg")
    return KVM if answer.read_text() == "kvm" else TCG


def _boots(kernel: Path) -> bool:
    argv = [
        "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none", "-machine", "q35", *KVM.options, "-m", "512", "-kernel", str(kernel),
        "-append", "console=ttyS0 panic=-1", "-serial", "stdio",
    ]  # fmt: skip
    try:
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as qemu:
            assert qemu.stdout
            os.set_blocking(qemu.stdout.fileno(), False)
            seen = b""
            deadline = time.monotonic() + _BOUND
            try:
                while time.monotonic() < deadline and b"Linux version" not in seen:
                    seen += qemu.stdout.read() or b""
                    if qemu.poll() is not None:
                        seen += qemu.stdout.read() or b""
                        break
                    time.sleep(0.05)
            finally:
                qemu.kill()
            return b"Linux version" in seen
    except FileNotFoundError:
        return False
