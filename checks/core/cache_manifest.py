"""The manifest of a cached directory: its files' sizes, written last. An incomplete directory is rebuilt."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from checks.core.bounded import read_json

_FILE = "manifest.json"


def write(directory: Path) -> None:
    """Write the manifest of a complete directory, which must not change afterwards."""
    (directory / _FILE).write_text(json.dumps(_sizes(directory)))


def is_complete(directory: Path) -> bool:
    """Whether the directory has a manifest and every file has the size in it."""
    with contextlib.suppress(OSError, ValueError):
        return bool(read_json(directory / _FILE) == _sizes(directory))
    return False


def _sizes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(directory.iterdir()) if path.name != _FILE}
