"""A QEMU process: a virtual machine with a console, a forwarded port and a state that can be saved."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from qemu.qmp.legacy import QEMUMonitorProtocol

from checks.core import tools
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.hosts.accelerator import Accelerator

_MOVE_TIMEOUT = 120.0  # seconds to save or load a state
_KERNEL = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 panic=-1"
_SLOTS = 4  # disks that can be attached to a running machine


class Machine:
    """A running virtual machine on direct kernel boot.

    ``disk`` is a qcow2 file of its own. ``resume`` is a state that ``save`` wrote. ``kernel`` is added to the kernel's
    command line. ``disks`` are raw and read-only, as for ``attach``. ``sharing``: other guests run at the same time.
    QEMU is killed when this process exits, unless ``outlive`` is set.
    """

    def __init__(
        self,
        *,
        boot: Path,
        disk: Path,
        console: Path,
        memory: int,
        accelerator: Accelerator,
        kernel: str = "",
        resume: Path | None = None,
        outlive: bool = False,
        sharing: bool = False,
        disks: Sequence[Path] = (),
    ) -> None:
        self.console = console
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as files:
            files.enter_context(theirs)
            inherited = [theirs.fileno()]
            incoming: list[str] = []
            if resume:
                state = files.enter_context(resume.open("rb"))
                inherited.append(state.fileno())
                incoming = ["-incoming", f"fd:{state.fileno()}"]
            argv = [
                *([] if outlive else ["setpriv", "--pdeathsig", "KILL"]),
                "qemu-system-x86_64", "-name", "nanoclaw-verify", "-nodefaults", "-no-user-config", "-no-reboot",
                "-display", "none", "-machine", "q35,usb=off,vmport=off",
                *((accelerator.sharing if sharing else ()) or accelerator.options),
                "-smp", str(min(4, os.cpu_count() or 1)), "-m", str(memory),
                "-kernel", str(boot / "vmlinuz"), "-initrd", str(boot / "initrd.img"),
                "-append", " ".join((_KERNEL, accelerator.kernel, kernel)),
                "-drive", f"file={_escaped(disk)},if=virtio,format=qcow2,cache=unsafe,discard=unmap",
                *(word for each in disks
                  for word in ("-drive", f"file={_escaped(each)},if=virtio,format=raw,readonly=on")),
                "-netdev", "user,id=n0,net=192.168.76.0/24,hostfwd=tcp:127.0.0.1:0-192.168.76.15:22",
                "-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci",
                *(word for slot in range(_SLOTS)
                  for word in ("-device", f"pcie-root-port,id=slot{slot},chassis={slot},slot={slot}")),
                "-serial", f"file:{console}",
                "-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control", *incoming,
            ]  # fmt: skip
            self._errors = files.enter_context(Path(f"{console}.err").open("w+b"))
            try:
                self._qemu = subprocess.Popen(
                    argv,
                    pass_fds=inherited,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise HostProblem(f"{error.filename} is not installed.", "Run scripts/install.sh guest.") from error
        self._attached = 0
        self._errors_path = Path(f"{console}.err")
        self._monitor = QEMUMonitorProtocol(ours)
        try:
            self._monitor.connect()
            self.port = self._forwarded_port()
            if resume:
                self._resume()
        except Exception as error:
            self.off()
            raise HostProblem(f"QEMU did not start: {self.last_output() or error}") from error

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.off()

    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self._qemu.poll() is None

    def last_output(self) -> str:
        """The last output of QEMU, or else the end of the guest's console."""
        for path, lines in ((self._errors_path, 2), (self.console, 3)):
            with contextlib.suppress(OSError):
                text = re.sub(r"\x1b\[[0-9;?!]*[A-Za-z]", "", path.read_text(errors="replace")).strip()
                if text:
                    return " / ".join(lines_of(text)[-lines:])
        return ""

    def attach(self, disk: Path) -> None:
        """Attach a raw disk, read-only, to the running machine. Several machines may share it."""
        name = f"disk{self._attached}"
        try:
            file = {"driver": "file", "filename": str(disk), "read-only": True}
            self._monitor.cmd("blockdev-add", **{"node-name": name, "driver": "raw", "read-only": True, "file": file})
            self._monitor.cmd("device_add", driver="virtio-blk-pci", bus=f"slot{self._attached}", drive=name, id=name)
        except Exception as error:
            raise HostProblem(f"The disk {disk} could not be attached to the guest: {error}") from error
        self._attached += 1

    def save(self, state: Path) -> None:
        """Save the machine's state to a file and exit; the disk stays in that state."""
        self._monitor.cmd("stop")
        self._monitor.cmd("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        with state.open("wb") as file:
            self._monitor.send_fd_scm(file.fileno())
            self._monitor.cmd("getfd", fdname="state")
            self._monitor.cmd("migrate", uri="fd:state")
            ended = poll(self._saved, timeout=_MOVE_TIMEOUT, interval=0.02)
        if not ended:
            raise HostProblem(f"Saving the guest's state timed out after {_MOVE_TIMEOUT:g} s.")
        if ended == "failed":
            raise HostProblem("Saving the guest's state failed.", "Check the free disk space of the cache.")
        with contextlib.suppress(Exception):  # the monitor's connection ends with it
            self._monitor.cmd("quit")
        self._qemu.wait(30)  # the disk's last writes

    def off(self) -> None:
        """Power off. Harmless if it is off already."""
        self._qemu.kill()
        self._qemu.wait()
        with contextlib.suppress(Exception):
            self._monitor.close()

    def _resume(self) -> None:
        # The machine was stopped when its state was saved: it is stopped after loading, too.
        if not poll(lambda: self._status("query-status") != "inmigrate", timeout=_MOVE_TIMEOUT, interval=0.02):
            raise HostProblem(f"Loading the guest's state timed out after {_MOVE_TIMEOUT:g} s.")
        self._monitor.cmd("cont")

    def _saved(self) -> str:
        status = self._status("query-migrate")
        return status if status in ("completed", "failed") else ""

    def _forwarded_port(self) -> int:
        # QEMU picked a free port by itself: no other run can take it.
        network = str(self._monitor.cmd("human-monitor-command", **{"command-line": "info usernet"}))
        found = re.search(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", network)
        if found is None:
            raise HostProblem("QEMU forwards no port to the guest.", network)
        return int(found[1])

    def _status(self, query: str) -> str:
        answer = self._monitor.cmd(query)
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""


def overlay(disk: Path, over: Path) -> None:
    """Make ``disk``, a qcow2 overlay of ``over`` for a guest's writes."""
    kind = "raw" if over.suffix == ".raw" else "qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(over), str(disk)]
    tools.run_checked(argv, doing="making an overlay disk")


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")  # how QEMU takes a comma inside an option
