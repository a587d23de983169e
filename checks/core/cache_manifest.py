"""A folder of the cache that is whole: its files' sizes, written down last. What was cut short is built anew."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from checks.core.bounded import read_json

_FILE = "sealed.json"


def write(folder: Path) -> None:
    """Write down that the folder is whole as it is now; nothing in it may change from here on."""
    (folder / _FILE).write_text(json.dumps(_sizes(folder)))


def is_complete(folder: Path) -> bool:
    """Whether the folder is there and every file of it has the size that it was sealed with."""
    with contextlib.suppress(OSError, ValueError):
        return bool(read_json(folder / _FILE) == _sizes(folder))
    return False


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != _FILE}
