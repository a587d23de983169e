"""A signal during a run."""

from __future__ import annotations

import os
import signal
import time

import pytest

from checks.core.errors import Interrupted
from checks.core.signals import raising
from tests.patience import AT_ONCE


class Finalized:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(1000):
            time.sleep(0)


@pytest.mark.filterwarnings("error")
def test_a_signal_that_arrives_in_a_finalizer_still_interrupts() -> None:
    """Python ignores what a finalizer raises."""
    began = time.monotonic()
    with raising(), pytest.raises(Interrupted, match="SIGHUP"):
        finalize_and_wait()
    assert time.monotonic() - began < AT_ONCE


def finalize_and_wait() -> None:
    made = Finalized()
    del made
    time.sleep(60)
