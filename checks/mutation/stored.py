"""What ``invoke sabotage`` saw, as a file: ``evidence/trust/HOST.json``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from checks.core import files
from checks.core.bounded import read_json
from checks.core.errors import WrongUsage
from checks.hosts.base import Facts
from checks.mutation.verdict import Pair

VERSION = 1
_KEPT = 400  # characters of what a case said


def write(path: Path, host: str, facts: Facts, pairs: Sequence[Pair], *, started: datetime, seconds: float) -> None:
    """Write it as JSON. ``seconds`` is the wall time of the whole."""
    data = {
        "version": VERSION,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds),
        "host": {"name": host, **facts.as_json()},
        "results": [
            {
                "sabotage": pair.sabotage.name, "digest": pair.sabotage.digest, "case": pair.case, "label": pair.label,
                "verdict": str(pair.verdict), "expected": pair.expected[:_KEPT], "got": pair.got[:_KEPT],
                "seconds": round(pair.seconds, 1),
            }
            for pair in pairs
        ],
    }  # fmt: skip
    files.replace_json(path, data)


def read(path: Path) -> dict[str, Any]:
    """What was written. Raises WrongUsage where it is not there or is something else."""
    try:
        data = read_json(path)
        version = data["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongUsage(f"{path} is no evidence of invoke sabotage: {error}.", f"Write it: --json {path}") from error
    if version != VERSION:
        raise WrongUsage(f"{path} is of version {version}; this is {VERSION}.", f"Write it again: --json {path}")
    return dict(data)
