"""Evidence of what was found out on a host: a file that a run writes, and that is read by what is rendered from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from checks.core import files
from checks.core.bounded import read_json
from checks.core.errors import WrongUsage
from checks.evidence import run
from checks.hosts import identity, recipe
from checks.hosts.base import Facts

VERSION = 1


@dataclass(frozen=True)
class Source:
    """Where findings come from."""

    host: str
    profile: str
    facts: Facts
    agent: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def stem(self) -> str:
        """What a file of the host's own is called, but for its ending."""
        return self.host.replace("/", "_")

    def leave(self, path: Path, found: Mapping[str, Any], seconds: float) -> Path:
        """Write what was found, making the directory; the path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {
            "version": VERSION,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(seconds),
            "host": {"name": self.host, "profile": self.profile, **self.facts.as_json()},
            "agent": self.agent,
            **found,
        }
        files.replace_json(path, data)
        return path


def load_validated(path: Path, schema: Path, what: str) -> Mapping[str, Any]:
    """What a file has. Raises WrongUsage where it is no evidence of ``what``, or is not of the host that it names."""
    try:
        data: Mapping[str, Any] = read_json(path)
        jsonschema.validate(data, read_json(schema))
        jsonschema.validate(data["host"], read_json(run.SCHEMA)["properties"]["host"])
    except (OSError, ValueError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else error
        raise WrongUsage(f"{path} is no evidence of {what}: {reason}.") from error
    name = data["host"]["name"]
    if name in recipe.known() and (wrong := identity.fact_mismatches(recipe.load(name), data["host"])):
        raise WrongUsage(f"{path} is not evidence of {name}: {' '.join(wrong)}", "Run that host again.")
    return data
