"""Files that a run leaves behind: written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def replace(path: Path, data: bytes) -> None:
    """Write a file, whether it was there or not; a link stays a link. Raises OSError, with nothing changed.

    A device or a pipe is written to: as root a rename would put a file in the place of /dev/null.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        aside.chmod(path.stat().st_mode if path.exists() else 0o644)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def replace_json(path: Path, value: Any) -> None:
    """Write a value as JSON that a person can read, and a diff can be read of. Raises OSError, with nothing changed."""
    replace(path, f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode())
