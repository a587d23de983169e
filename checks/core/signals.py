"""What SIGTERM, SIGHUP and SIGINT do during a run: they interrupt it, but not its cleanup."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from checks.core.errors import Interrupted

_Hook = Callable[["sys.UnraisableHookArgs"], object]
_AGAIN = 0.05  # seconds after which the finalizer has ended, most likely; else it is sent once more
_ALL = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _Waiting:
    """How many blocks hold signals, and the name of one that has arrived in them."""

    blocks = 0
    name = ""


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Make them raise Interrupted in the block, so that it cleans up."""
    before = {each: signal.signal(each, _arrived) for each in _ALL}
    report, sys.unraisablehook = sys.unraisablehook, _sent_again(sys.unraisablehook)
    try:
        yield
    finally:
        sys.unraisablehook = report
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Raise Interrupted after the block, if one arrives in it: half done, a cleanup could not tell what it left."""
    _Waiting.blocks += 1
    try:
        yield
    finally:
        _Waiting.blocks -= 1
    if _Waiting.name and not _Waiting.blocks:
        name, _Waiting.name = _Waiting.name, ""
        _raise(name)


def _sent_again(report: _Hook) -> _Hook:
    """A hook that sends a signal again whose exception was ignored, as Python does with all that a finalizer raises."""

    def ignored(seen: sys.UnraisableHookArgs) -> None:
        name = str(seen.exc_value) if isinstance(seen.exc_value, Interrupted) else ""
        if name not in signal.Signals.__members__:
            report(seen)
            return
        for each in _ALL:
            signal.signal(each, _arrived)
        threading.Timer(_AGAIN, os.kill, (os.getpid(), signal.Signals[name])).start()

    return ignored


def _arrived(number: int, _: FrameType | None) -> None:
    name = signal.Signals(number).name
    if _Waiting.blocks:
        _Waiting.name = name
    else:
        _raise(name)


def _raise(name: str) -> NoReturn:
    for each in _ALL:
        signal.signal(each, signal.SIG_IGN)  # don't interrupt the cleanup
    raise Interrupted(name)
