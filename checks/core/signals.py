"""What SIGTERM, SIGHUP, SIGINT and a lost reader do during a run: they interrupt it, but not its cleanup."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from checks.core.errors import Interrupted, ReaderGone

_Hook = Callable[["sys.UnraisableHookArgs"], object]
_AGAIN = 0.05  # seconds after which the finalizer has ended, most likely; else it is sent once more
_ALL = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _State:
    """How many blocks hold interruptions, one that has arrived in them, and whether one has ended the run."""

    blocks = 0
    waiting: Interrupted | None = None
    ended = False


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Make them raise Interrupted in the block, so that it cleans up."""
    _State.ended = False
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
    _State.blocks += 1
    try:
        yield
    finally:
        _State.blocks -= 1
    if _State.waiting and not _State.blocks:
        waiting, _State.waiting = _State.waiting, None
        _raise(waiting)


def reader_gone() -> None:
    """Interrupt the run because nobody reads its output. Does nothing if it is being cleaned up already."""
    if _State.ended:
        return
    if _State.blocks:
        _State.waiting = _State.waiting or ReaderGone()
        return
    _State.ended = True
    raise ReaderGone


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
    if _State.blocks:
        _State.waiting = Interrupted(name)
    else:
        _raise(Interrupted(name))


def _raise(interruption: Interrupted) -> NoReturn:
    for each in _ALL:
        signal.signal(each, signal.SIG_IGN)  # don't interrupt the cleanup
    _State.ended = True
    raise interruption
