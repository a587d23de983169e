"""Evidence of how many agents a host can run at once: a file a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.core.paths import ROOT
from checks.evidence import source

DIRECTORY = ROOT / "evidence" / "parallel"
SCHEMA = Path(__file__).with_name("capacity.schema.json")


def committed(directory: Path = DIRECTORY) -> Sequence[Mapping[str, Any]]:
    """All evidence in the directory, by name. Raises WrongUsage where some can't be believed."""
    return [read(path) for path in sorted(directory.glob("*.json"))]


def read(path: Path) -> Mapping[str, Any]:
    """One file. Raises WrongUsage where it is no evidence, or is not of the host that it names."""
    return source.load_validated(path, SCHEMA, "invoke parallel")
