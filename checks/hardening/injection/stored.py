"""Evidence that the installed configuration is in force: one file for each throwaway host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from checks.core import files
from checks.core.bounded import read_json
from checks.core.errors import WrongUsage
from checks.evidence.stored import DIRECTORY
from checks.hosts import identity, recipe

CHECK = DIRECTORY / "injection" / "check"

_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["host", "started", "agent", "findings", "missing"],
    "properties": {
        "host": {
            "type": "object",
            "required": ["name", "profile", "version", "engine", "distribution", "uid", "cgroups", "init"],
        },
        "findings": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["what", "held", "seen"],
                "properties": {"held": {"type": "boolean"}},
            },
        },
        "missing": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def write(evidence: Mapping[str, Any], directory: Path = CHECK) -> Path:
    """Store what was seen on a throwaway host; the file's path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{evidence['host']['name']}.json"
    files.replace_json(path, evidence)
    return path


def committed(directory: Path = CHECK) -> list[dict[str, Any]]:
    """All evidence, the oldest Podman first. Raises WrongUsage for an invalid file."""
    return sorted((read(path) for path in directory.glob("*.json")), key=lambda each: _version(each["host"]["version"]))


def read(path: Path) -> dict[str, Any]:
    """One file. Raises WrongUsage if it is invalid, or not from the host that it names."""
    try:
        data: dict[str, Any] = read_json(path)
        jsonschema.validate(data, _SCHEMA)
    except (OSError, ValueError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else error
        raise WrongUsage(f"{path} is not evidence of a run: {reason}.") from error
    host = data["host"]
    if host["name"] != path.stem or host["name"] not in recipe.known():
        raise WrongUsage(f"{path} is evidence of {host['name']}, not of the throwaway host {path.stem}.")
    if wrong := identity.foreign(recipe.load(host["name"]), host):
        raise WrongUsage(f"{path} is not evidence of {host['name']}: {' '.join(wrong)}", "Run that host again.")
    return data


def _version(text: str) -> list[int]:
    return [int(part) for part in text.split("-", maxsplit=1)[0].split(".")]
