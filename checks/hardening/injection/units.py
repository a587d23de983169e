"""The environments of nanoclaw's units, as systemd describes them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from checks.core.errors import HostProblem
from checks.core.lines import lines_of

_RELEVANT = re.compile(
    "(PATH|HOME|TMPDIR|CONTAINERS_(CONF|CONF_OVERRIDE|STORAGE_CONF|REGISTRIES_CONF)|CONTAINER_(HOST|CONNECTION)|"
    "PODMAN_USERNS|XDG_(CONFIG_HOME|DATA_HOME|RUNTIME_DIR))="
)


@dataclass(frozen=True)
class UnitEnvironment:
    """What a unit of nanoclaw's adds to the environment of the account's services."""

    variables: tuple[str, ...]
    """Those that Podman or the search for docker reads, ``NAME=VALUE`` each: others may hold a key."""
    files: tuple[str, ...]
    """Files with more of them, which systemd reads at each start."""


def assignments(environment: str) -> list[str]:
    """The assignments in a unit's Environment=, as systemd prints them. Raises HostProblem for another text."""
    try:
        return shlex.split(environment)
    except ValueError as error:
        raise HostProblem(f"The environment of nanoclaw's unit can't be read: {error}.") from error


def environment_of(shown: str) -> UnitEnvironment:
    """What ``systemctl show`` prints of a unit's Environment and EnvironmentFiles. Raises HostProblem."""
    values: dict[str, list[str]] = {}
    for line in lines_of(shown):
        name, _, value = line.partition("=")
        values.setdefault(name, []).append(value)
    variables = [
        word for value in values.get("Environment", []) for word in assignments(value) if _RELEVANT.match(word)
    ]
    named = [value.rpartition(" (ignore_errors=")[0] for value in values.get("EnvironmentFiles", [])]
    return UnitEnvironment(tuple(variables), tuple(filter(None, named)))
