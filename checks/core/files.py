"""Files that a run leaves behind: written whole or not at all."""

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
    """Write a file, whether it was there or not; a link stays a link. Raises OSError, with nothing changed.

    A new file can be read by all, one that was there keeps its mode; ``private``: only its owner can read it, either
    way. A device or a pipe is written to: as root a rename would put a file in the place of /dev/null.
    """
    if why := foreign(path):
        raise PermissionError(errno.EPERM, why, str(path))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if not private:  # mkstemp makes it 0600
            aside.chmod(path.stat().st_mode if path.exists() else 0o644)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def replace_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write a value as JSON that a person can read, and a diff can be read of. Raises OSError, with nothing changed.

    No secret is in it that is protected, and no character that a terminal would obey: those are escaped.
    """
    text = terminal.json_escaped(redaction.redacted_text(json.dumps(value, indent=1, ensure_ascii=False)))
    replace(path, f"{text}\n".encode(), private=private)
