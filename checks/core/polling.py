"""Waiting for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def poll(condition: Callable[[], T], *, timeout: float, interval: float) -> T:
    """Call ``condition`` until its result is true or ``timeout`` seconds have passed; return the last result.

    ``interval`` is the pause between two calls, in seconds. An exception of ``condition`` ends the wait.
    """
    deadline = time.monotonic() + timeout
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(interval)
    return result
