"""A verification in a process of its own, into which a fault is injected."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from checks.core import run_directories, run_processes
from checks.core.bounded import read_json
from checks.core.errors import HostProblem
from checks.core.paths import ROOT
from checks.core.polling import poll

_TIMEOUT = 420.0  # seconds; the longest that a run may take, with the building of its host
_POLL = 0.05


class Running:
    """A running verification."""

    def __init__(
        self, host: str, only: Sequence[str], *, root: Path = ROOT, settings: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> None:  # fmt: skip
        argv = [
            *before, sys.executable, "-u", "-m", "invoke", "verify", "--host", host, "--verbose",
            *(word for pattern in only for word in ("--only", pattern)),
        ]  # fmt: skip
        environment = {key: value for key, value in os.environ.items() if key != run_processes.MARK}
        self.child = subprocess.Popen(
            argv, cwd=root, env={**environment, **(settings or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        cache = (settings or {}).get("XDG_CACHE_HOME")
        self._cache = Path(cache) / run_directories.PROGRAM if cache else run_directories.cache()
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.id = ""
        """The run's id, once it has started."""

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return "".join(self._lines)

    def await_line(self, text: str) -> None:
        """Wait until it has printed a line that contains ``text``."""
        poll(lambda: text in self.output or self.child.poll() is not None, timeout=_TIMEOUT, interval=_POLL)
        if text not in self.output:
            raise HostProblem(f"The run did not reach “{text}”:\n{self.output[-800:]}")
        self.id = self.id or self._id()

    def await_end(self) -> int:
        """Wait for its exit status; -9 after SIGKILL. Raises HostProblem on a timeout."""
        try:
            status = self.child.wait(_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            self.end()
            raise HostProblem(f"The run did not end within {_TIMEOUT:g} s.") from error
        self._reader.join(5)
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.child.send_signal(number)

    def qemu(self) -> int:
        """The process id of its QEMU."""
        for pid in run_processes.processes_of(self.id):
            if run_processes.words(pid)[:1] == ["qemu-system-x86_64"]:
                return pid
        raise HostProblem("The run has no QEMU.")

    def on_guest(self, script: str) -> None:
        """Run a script as the guest's root, over a separate connection."""
        words = next(
            words for pid in run_processes.processes_of(self.id) if (words := run_processes.words(pid))[:1] == ["ssh"]
        )
        options = [
            word for at, word in enumerate(words)
            if word in ("-p", "-F", "-i") or (at and words[at - 1] in ("-p", "-F", "-i"))
        ]  # fmt: skip
        known = next(word for word in words if word.startswith("UserKnownHostsFile="))
        argv = [
            "ssh", *options, "-o", known, "-o", "HostKeyAlias=guest", "-o", "BatchMode=yes", "-o", "ControlPath=none",
            "-o", "LogLevel=ERROR", "--", "root@127.0.0.1", shlex.join(["sh", "-c", script]),
        ]  # fmt: skip
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)

    def end(self) -> None:
        """Kill it and all its processes, if any are left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def leftovers(self) -> list[str]:
        """What it left on this machine: processes, directories, mounts."""
        return run_directories.leftovers(self.id, self._cache) if self.id else []

    def _read(self) -> None:
        assert self.child.stdout
        self._lines.extend(self.child.stdout)

    def _id(self) -> str:
        for note in (self._cache / "runs").glob("*/run.json"):
            if read_json(note).get("pid") == self.child.pid:
                return note.parent.name
        return ""


@contextlib.contextmanager
def running(
    host: str, *only: str, root: Path = ROOT, settings: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Iterator[Running]:
    """Start a run; it is killed at the end of the block if it still runs."""
    run = Running(host, only, root=root, settings=settings, before=before)
    try:
        yield run
    finally:
        run.end()
