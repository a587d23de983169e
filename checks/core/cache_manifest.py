"""A directory of the cache that is whole: its files' sizes, written down last. What was cut short is built anew."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from checks.core.bounded import read_json

_FILE = "sealed.json"


def write(directory: Path) -> None:
    """Write down that the directory is whole as it is now; nothing in it may change from here on."""
    (directory / _FILE).write_text(json.dumps(_sizes(directory)))


def is_complete(directory: Path) -> bool:
    """Whether the directory is there and every file of it has the size that it was sealed with."""
    with contextlib.suppress(OSError, ValueError):
        return bool(read_json(directory / _FILE) == _sizes(directory))
    return False


def _sizes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(directory.iterdir()) if path.name != _FILE}
