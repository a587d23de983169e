"""What SIGTERM, SIGHUP and SIGINT do during a run: they interrupt it, but not its cleanup."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from checks.core.errors import Interrupted

_ALL = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _Waiting:
    """How many blocks hold signals, and the name of one that has arrived in them."""

    blocks = 0
    name = ""


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Make them raise Interrupted in the block, so that it cleans up."""
    before = {each: signal.signal(each, _arrived) for each in _ALL}
    try:
        yield
    finally:
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
