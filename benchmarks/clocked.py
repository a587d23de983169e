"""A host that notes when its commands run, so that what is left of a case's time is our own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from checks.hosts.base import Host
from checks.hosts.process import Completed, Process
from checks.hosts.through import Through


class Clocked(Through):
    """That host; ``spans`` are its commands' starts and ends, in seconds of the monotonic clock."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.spans: list[tuple[float, float]] = []
        self._began: dict[int, float] = {}

    def start(
        self, argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 20
    ) -> Process:
        began = time.monotonic()
        process = super().start(argv, stdin=stdin, env=env, timeout=timeout)
        self._began[id(process)] = began
        return process

    def wait(self, process: Process, timeout: float = 20) -> Completed:
        try:
            return super().wait(process, timeout)
        finally:
            self.spans.append((self._began.pop(id(process)), time.monotonic()))


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds in which at least one of the spans runs."""
    total, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total
