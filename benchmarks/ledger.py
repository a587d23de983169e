"""When something is under way on a host, and when the verifier is busy with itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from checks.core.process import Completed, Process
from checks.hosts.base import Host
from checks.hosts.prefixed import PrefixedHost


class Ledger:
    """Adds up the time in which no command is under way, between the first one and the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._since: float | None = None
        self._idle = 0.0

    def began(self) -> None:
        """A command begins."""
        with self._lock:
            if self._under_way == 0 and self._since is not None:
                self._idle += time.monotonic() - self._since
            self._under_way += 1

    def ended(self) -> None:
        """A command has ended."""
        with self._lock:
            self._under_way -= 1
            self._since = time.monotonic()

    def idle(self) -> float:
        """Seconds."""
        return self._idle


class Timed(PrefixedHost):
    """A host whose commands are noted."""

    def __init__(self, host: Host, ledger: Ledger) -> None:
        super().__init__(host)
        self._ledger = ledger

    def accounts(self) -> Sequence[Host]:
        return [self, *(Timed(each, self._ledger) for each in self.host.accounts() if each is not self.host)]

    def start(
        self, argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 20
    ) -> Process:
        self._ledger.began()
        return super().start(argv, stdin=stdin, env=env, timeout=timeout)

    def wait(self, process: Process, timeout: float = 20) -> Completed:
        try:
            return super().wait(process, timeout)
        finally:
            self._ledger.ended()
