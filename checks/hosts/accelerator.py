"""Whether KVM works here, tested by booting a kernel: the device node alone proves nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from checks.core import files
from checks.core.run_directories import cache

_TIMEOUT = 12.0  # seconds; a working KVM prints the kernel's first line within one


@dataclass(frozen=True)
class Accelerator:
    """How QEMU runs the guest's processors. ``slowness`` is relative to ordinary hardware, measured roughly."""

    name: str
    options: tuple[str, ...]
    slowness: float
    kernel: str = ""
    """Additions to the kernel's command line."""
    sharing: tuple[str, ...] = ()
    """The options if other guests run at the same time; a saved state resumes with either."""
    shared_environment: tuple[str, ...] = ()
    """Environment of the engine's programs if other guests run at the same time."""

    @property
    def label(self) -> str:
        """A name for these options: a saved state resumes only with the options it was saved with."""
        digest = hashlib.sha256(" ".join((*self.options, self.kernel)).encode()).hexdigest()
        return f"{self.name}-{digest[:8]}"


KVM = Accelerator("kvm", ("-accel", "kvm", "-cpu", "host"), 1.0)
# clearcpuid stops the kernel from using three instructions (by number: older kernels don't know the names). cx16 (141):
# with QEMU 7.2's emulation a 6.12 kernel panics in its slab allocator; programs keep it, because Bun needs it. erms and
# fsrm (297, 580): emulated string instructions work byte by byte, and a container takes 10 % longer.
# mitigations=off: the mitigations are indirect jumps, which are slow in emulation.
# With other guests, all processors share one thread: 10 % less CPU time, and no processor waits for a descheduled one.
# GOMAXPROCS=1 then makes a container 12 % faster. Containers don't get the variable.
TCG = Accelerator(
    "tcg", ("-accel", "tcg,thread=multi", "-cpu", "max"), 3.0, "clearcpuid=141,297,580 mitigations=off",
    sharing=("-accel", "tcg,thread=single", "-cpu", "max"), shared_environment=("GOMAXPROCS=1",),
)  # fmt: skip


def usable(kernel: Path) -> Accelerator:
    """KVM if it boots that kernel within seconds, else TCG. The result is cached until the next boot."""
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
            deadline = time.monotonic() + _TIMEOUT
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
