"""Atomic writes of a run's files."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from checks.core import redaction, terminal
from checks.core.output_paths import foreign


def replace(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write or replace a file atomically; a link stays a link. Raises OSError, with nothing changed.

    A new file is readable by all, an existing one keeps its mode; ``private``: only the owner can read it. Devices and
    pipes are written to directly: as root, a rename would replace /dev/null.
    """
    if why := foreign(path):
        raise PermissionError(errno.EPERM, why, str(path))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if not private:  # mkstemp makes it 0600
            temporary.chmod(path.stat().st_mode if path.exists() else 0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write a value as indented JSON. Raises OSError, with nothing changed.

    Secrets are masked, and characters that control a terminal are escaped.
    """
    text = terminal.json_escaped(redaction.redacted_text(json.dumps(value, indent=1, ensure_ascii=False)))
    replace(path, f"{text}\n".encode(), private=private)
