"""Reading untrusted files: bounded in size, JSON bounded in depth, with clear errors."""

from __future__ import annotations

import errno
import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from checks.core.lines import lines_of

LARGEST = 64 * 2**20
"""Bytes; much more than the largest evidence file."""

_LARGEST_TOML = 256 * 2**10  # characters; the longest containers.conf of a distribution has 30,000
_MAX_DOTS = 200  # in a line


class TooLarge(ValueError):
    """A file is larger than the limit."""


def read(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a regular file. Raises OSError, and TooLarge (a ValueError).

    Pipes and devices are refused: they may never end, or never begin.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise TooLarge(f"it is larger than {_in_words(largest)}")
    return data


def read_text(path: Path, largest: int = LARGEST) -> str:
    """The same as UTF-8 text. Also raises UnicodeDecodeError (a ValueError)."""
    return read(path, largest).decode()


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """The value of a JSON file. Raises OSError and ValueError."""
    return parsed(read(path, largest))


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also if it is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parsed_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text that somebody else wrote. Raises ValueError, also if it would take too long to parse.

    The time of the standard library's parser grows with the square of the parts of a key.
    """
    if len(text) > _LARGEST_TOML:
        raise TooLarge(f"it is larger than {_in_words(_LARGEST_TOML)}")
    if any(line.count(".") > _MAX_DOTS for line in lines_of(text)):
        raise ValueError(f"a line has more than {_MAX_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _in_words(size: int) -> str:
    return f"{size // 2**20} MB" if size >= 2**20 else f"{size // 2**10} KB" if size >= 2**10 else f"{size} bytes"
