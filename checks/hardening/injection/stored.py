"""Evidence of what the options set, and of the recommended configuration in force, as built-in types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from packaging.version import Version

from checks.evidence import model, store
from checks.evidence.model import InjectionCheck, InjectionOptions

OPTIONS, CHECK = InjectionOptions, InjectionCheck

Kind = type[InjectionOptions] | type[InjectionCheck]


def write(kind: Kind, values: Mapping[str, Any], directory: Path | None = None) -> Path:
    """Store what was measured on a throwaway host; the file's path."""
    header = {"version": model.VERSION, "project": store.project()}
    return store.save(store.build(kind, {**header, **values}), directory)


def committed(kind: Kind) -> list[dict[str, Any]]:
    """All evidence of that kind, the oldest Podman first. Raises WrongUsage where some can't be loaded."""
    found = sorted(store.committed(kind), key=lambda each: Version(each.host.version))
    return [msgspec.to_builtins(each) for each in found]
