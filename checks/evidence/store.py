"""Evidence files: written atomically, loaded only where valid and of the host that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from checks.core import bounded, files, version
from checks.core.errors import WrongUsage
from checks.core.owned_paths import opened_directory
from checks.core.paths import EVIDENCE, expanded
from checks.engine.prepared_host import profiles
from checks.evidence import model
from checks.evidence.capacity_model import Capacity
from checks.evidence.hardening_model import AllFlags, BrowserRun, CombinationRun, EachFlag, InjectionCheck
from checks.evidence.model import AgentVerification, MutationRun, Reproduction, Run, Verification
from checks.hosts import recipe
from checks.hosts.facts import Facts

T = TypeVar("T", bound=Run | Reproduction)

KINDS: tuple[Any, ...] = (
    Verification, AgentVerification, MutationRun, EachFlag, AllFlags, BrowserRun, CombinationRun, InjectionCheck,
    Capacity, Reproduction,
)  # fmt: skip
"""Every kind of evidence file."""


@dataclass(frozen=True)
class Provenance:
    """Where evidence comes from: the host, its profile and facts, and when the run started."""

    host: str
    profile: str
    facts: Facts
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def values(self) -> dict[str, Any]:
        """The fields that every ``Run`` has."""
        return {
            "version": model.VERSION,
            "project": project(),
            "started": self.started.isoformat(timespec="seconds"),
            "host": {"name": self.host, "profile": self.profile, **self.facts.as_json()},
        }


def project() -> dict[str, str]:
    """The version of the project that makes the evidence, and its commit if there is one."""
    return {"version": version.number(), **({"commit": version.commit()} if version.commit() else {})}


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a record from its values, each a built-in type or a part of the model. Raises ValueError for wrong ones."""
    record: T = msgspec.convert(msgspec.to_builtins(values), _decoded_as(kind))
    return record


def write(path: Path, record: Run | Reproduction, *, private: bool = False) -> Path:
    """Write a record; ``private``: readable by its owner alone. Returns the path."""
    files.replace_json(path, msgspec.to_builtins(record), private=private)
    return path


def save(record: Run | Reproduction, directory: Path | None = None) -> Path:
    """Write a record below a directory, by default that of committed evidence, under its own name; the path."""
    path = (directory or EVIDENCE / record.directory) / record.filename
    with opened_directory(path.parent, make=True):
        return write(path, record)


def load(path: Path, kind: type[T]) -> T:
    """Load a file. Raises WrongUsage where it isn't evidence of that kind, or isn't of the host that it names."""
    record = _decode(path, kind)
    if wrong := list(_mismatches(record)):
        raise WrongUsage(f"{path} is not evidence of {record.name}: {' '.join(wrong)}", "Run that host again.")
    return record


def committed(kind: type[T], directory: Path | None = None) -> list[T]:
    """Load all files of a kind, sorted by name. Raises WrongUsage as ``load`` does, and for a host not in fixtures."""
    directory = directory or EVIDENCE / kind.directory
    found = []
    for path in sorted(directory.glob("*/*.json" if issubclass(kind, Reproduction) else "*.json")):
        record = load(path, kind)
        if path != directory / record.filename:
            raise WrongUsage(f"{path} must be named {record.filename}, by what is in it.")
        if record.name not in recipe.known():
            raise WrongUsage(f"{path}: there is no host “{record.name}” in fixtures/hosts.")
        found.append(record)
    return found


def find(name: str, directory: Path = EVIDENCE) -> Verification:
    """Find the verification that ``name`` means: the path of a file, a host (its default profile), or HOST-PROFILE.

    Raises WrongUsage where there is none, or where it can't be loaded.
    """
    candidates = [expanded(name)] if name.endswith(".json") else [directory / f"{name}.json"]
    if name in recipe.known():
        candidates = [directory / f"{name}-{profile}.json" for profile in profiles(recipe.load(name))]
    for path in candidates:
        if path.is_file():
            return load(path, Verification)
    raise WrongUsage(
        f"There is no evidence of “{name}”.",
        "invoke matrix writes it for the hosts in fixtures; invoke verify --json FILE for any host.",
    )


def schema() -> dict[str, Any]:
    """The JSON schema of all kinds of evidence files."""
    references, definitions = msgspec.json.schema_components(KINDS, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Evidence of nanoclaw-podman-verify",
        "anyOf": list(references),
        "$defs": definitions,
    }


def _decoded_as(kind: Any) -> Any:
    """What a kind is decoded as: one with kinds of its own (``HardeningRun``) as any of these."""
    return reduce(or_, kind.__subclasses__() or [kind]) if kind.__struct_config__.tag_field else kind


def _decode(path: Path, kind: type[T]) -> T:
    try:
        record: T = msgspec.json.decode(bounded.read(path), type=_decoded_as(kind))
    except RecursionError:
        reason = "it is nested too deeply"
    except (OSError, ValueError) as error:
        message, _, place = str(error).partition(" - at ")
        reason = f"{place.strip('`')}: {message}" if place else message
    else:
        return record
    raise WrongUsage(f"{path} is not evidence of {kind.command}: {reason}.")


def _mismatches(record: Run | Reproduction) -> Iterator[str]:
    """Why the record can't be of the host that it names, a sentence each. Nothing is known of a user's own host."""
    if record.name not in recipe.known():
        return
    host = recipe.load(record.name)
    if record.profile not in profiles(host):
        yield f"{record.name} has no profile {record.profile}."
    if isinstance(record, Reproduction):
        yield from recipe.fact_mismatches(host, {"distribution": record.distribution, "version": record.podman})
    else:
        yield from recipe.fact_mismatches(host, msgspec.to_builtins(record.host))
