"""Reading what others wrote: files of a bounded size, JSON of a bounded depth, with a message that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LARGEST = 64 * 2**20
"""Bytes of a file: many times what the largest evidence has."""


class TooLarge(ValueError):
    """A file has more bytes than are read."""


def read(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a file, which may be a device without an end. Raises OSError, and TooLarge (a ValueError)."""
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise TooLarge(f"it is larger than the {_spoken(largest)} that are read")
    return data


def read_text(path: Path, largest: int = LARGEST) -> str:
    """The same as text in UTF-8. Raises also UnicodeDecodeError (a ValueError)."""
    return read(path, largest).decode()


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """The value in a file of JSON. Raises OSError and ValueError."""
    return parsed(read(path, largest))


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also where it is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _spoken(size: int) -> str:
    return f"{size // 2**20} MB" if size >= 2**20 else f"{size // 2**10} KB" if size >= 2**10 else f"{size} bytes"
