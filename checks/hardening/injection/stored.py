"""Evidence that the installed configuration is in force: one file for each throwaway host, as built-in types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from packaging.version import Version

from checks.evidence import model, store
from checks.evidence.model import InjectionCheck


def write(values: Mapping[str, Any], directory: Path | None = None) -> Path:
    """Store what was measured on a throwaway host; the file's path."""
    header = {"version": model.VERSION, "project": store.project()}
    return store.save(store.build(InjectionCheck, {**header, **values}), directory)


def committed() -> list[dict[str, Any]]:
    """All evidence, the oldest Podman first. Raises WrongUsage for an invalid file."""
    found = sorted(store.committed(InjectionCheck), key=lambda each: Version(each.host.version))
    return [msgspec.to_builtins(each) for each in found]
