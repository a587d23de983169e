"""Evidence files: where they stand, and reading one that can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from checks.core import files
from checks.core.bounded import read_json
from checks.core.errors import WrongUsage
from checks.core.paths import ROOT
from checks.engine.prepared_host import profiles
from checks.evidence.run import SCHEMA
from checks.hosts import identity, recipe

DIRECTORY = ROOT / "evidence"


@dataclass(frozen=True)
class Stored:
    """One run's evidence, as its file has it."""

    host: Mapping[str, Any]
    started: str
    cases: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """The host's name."""
        return str(self.host["name"])

    @property
    def profile(self) -> str:
        """The profile that the host had."""
        return str(self.host["profile"])

    def case(self, wanted: str) -> Mapping[str, Any] | None:
        """The case with that id, where it ran."""
        return next((case for case in self.cases if case["id"] == wanted), None)


def path_of(host: str, profile: str, directory: Path = DIRECTORY) -> Path:
    """Where the evidence of that host and profile stands."""
    return directory / f"{host}-{profile}.json"


def find(name: str, directory: Path = DIRECTORY) -> Stored:
    """The evidence that ``name`` means: a file's path, or a host (its default profile), or HOST-PROFILE.

    Raises WrongUsage where there is none, or where it can't be believed.
    """
    candidates = [Path(name)] if name.endswith(".json") else [directory / f"{name}.json"]
    if name in recipe.known():
        candidates = [path_of(name, profile, directory) for profile in profiles(recipe.load(name))]
    for path in candidates:
        if path.is_file():
            return read(path)
    raise WrongUsage(
        f"There is no evidence of “{name}”.",
        "invoke matrix makes it for the known hosts; invoke verify --json FILE too.",
    )


def committed(directory: Path = DIRECTORY) -> list[Stored]:
    """All evidence in the directory, by name."""
    return [read(path) for path in sorted(directory.glob("*.json"))]


def read(path: Path) -> Stored:
    """One file. Raises WrongUsage where it is no evidence, or is not of the host that it names."""
    try:
        data = read_json(path)
        jsonschema.validate(data, read_json(SCHEMA))
    except (OSError, ValueError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else error
        raise WrongUsage(f"{path} is no evidence of a run: {reason}.") from error
    found = Stored(data["host"], data["started"], tuple(data["cases"]))
    if wrong := list(_wrong(found)):
        raise WrongUsage(f"{path} is not evidence of {found.name}: {' '.join(wrong)}", "Run that host again.")
    return found


def join(parts: Sequence[Path], whole: Path) -> None:
    """Write the evidence of parts of a host's cases, run on copies of it, as that of one run.

    Raises WrongUsage where the parts can't be read or are not of the same host.
    """
    try:
        first, *others = [read_json(part) for part in parts]
    except (OSError, ValueError) as error:
        raise WrongUsage(f"The evidence of a part of the cases can't be read: {error}.") from error
    for other in others:
        if other["host"] != first["host"]:
            raise WrongUsage(f"Parts of {first['host']['name']}'s cases ran on hosts that differ.", "Run it again.")
        first["cases"] += other["cases"]
        first |= {"agent": other["agent"]} if "agent" in other else {}
        first["started"] = min(first["started"], other["started"])
    files.replace_json(whole, first)


def _wrong(found: Stored) -> Iterator[str]:
    if found.name not in recipe.known():
        return  # some user's own machine: there is nothing to hold it against
    what = recipe.load(found.name)
    if found.profile not in profiles(what):
        yield f"{found.name} has no profile {found.profile}."
    yield from identity.fact_mismatches(what, found.host)
