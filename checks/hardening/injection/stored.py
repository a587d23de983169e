"""Evidence of what the options set, and of the recommended configuration in force: written, and read where it can be
believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from checks.core import files
from checks.core.bounded import read_json
from checks.core.errors import WrongUsage
from checks.evidence.stored import DIRECTORY
from checks.hardening.injection.settings import Setting
from checks.hosts import identity, recipe

OPTIONS, CHECK = DIRECTORY / "injection" / "options", DIRECTORY / "injection" / "check"

_CELL = {
    "type": "object",
    "required": ["in_force", "seen"],
    "properties": {"in_force": {"type": "boolean"}, "seen": {"type": "string"}, "refused": {"type": "string"}},
    "additionalProperties": False,
}
_HOST = {
    "type": "object",
    "required": ["name", "profile", "version", "engine", "distribution", "uid", "cgroups", "init"],
}
_SCHEMAS: Mapping[Path, Mapping[str, Any]] = {
    OPTIONS: {
        "type": "object",
        "required": ["host", "started", "options", "failing"],
        "properties": {
            "host": _HOST,
            "started": {"type": "string"},
            "failing": {"type": "object", "additionalProperties": {"type": "string"}},
            "options": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["id", "title", "unmodified", "settings", "others"],
                    "properties": {
                        "settings": {
                            "type": "object",
                            "required": list(Setting),
                            "additionalProperties": _CELL,
                        },
                    },
                },
            },
        },
    },
    CHECK: {
        "type": "object",
        "required": ["host", "started", "agent", "findings", "missing"],
        "properties": {
            "host": _HOST,
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
    },
}


def write(kind: Path, evidence: Mapping[str, Any]) -> Path:
    """Store what was seen on a throwaway host; the file's path."""
    kind.mkdir(parents=True, exist_ok=True)
    path = kind / f"{evidence['host']['name']}.json"
    files.replace_json(path, evidence)
    return path


def committed(kind: Path) -> list[dict[str, Any]]:
    """All evidence of that kind, the oldest Podman first. Raises WrongUsage where one can't be believed."""
    return sorted(
        (read(path, kind) for path in kind.glob("*.json")), key=lambda each: _version(each["host"]["version"])
    )


def read(path: Path, kind: Path) -> dict[str, Any]:
    """One file. Raises WrongUsage where it is no evidence, or is not of the host that it names."""
    try:
        data: dict[str, Any] = read_json(path)
        jsonschema.validate(data, _SCHEMAS[kind])
    except (OSError, ValueError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else error
        raise WrongUsage(f"{path} is no evidence of a run: {reason}.") from error
    host = data["host"]
    if host["name"] != path.stem or host["name"] not in recipe.known():
        raise WrongUsage(f"{path} is evidence of {host['name']}, and not of a throwaway host of its own name.")
    if wrong := identity.fact_mismatches(recipe.load(host["name"]), host):
        raise WrongUsage(f"{path} is not evidence of {host['name']}: {' '.join(wrong)}", "Run that host again.")
    return data


def _version(text: str) -> list[int]:
    return [int(part) for part in text.split("-", maxsplit=1)[0].split(".")]
