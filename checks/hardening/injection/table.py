"""The options and what each of them sets on a host, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from checks.hardening.injection.settings import Setting


def of_host(evidence: Mapping[str, Any]) -> str:
    """The table of one host. + in force, – not, ! docker refuses; what others get is the last column."""
    host = evidence["host"]
    rows = [
        [option["id"], *(mark(option["settings"][each]) for each in Setting), others(option)]
        for option in evidence["options"]
    ]
    text = tabulate(rows, headers=["", *Setting, "other containers"], disable_numparse=True)
    titles = "\n".join(f"  {option['id']}: {option['title']}" for option in evidence["options"])
    failing = "\n".join(f"  {what}: {how}" for what, how in evidence["failing"].items())
    return (
        f"{host['name']}: {host['distribution']}, Podman {host['version']} (+ in force, – not, ! refused)\n\n{text}\n\n"
        f"{titles}\n\nWhen a part of E is missing or broken:\n{failing}"
    )


def others(option: Mapping[str, Any]) -> str:
    """What the option changes in other containers: what stands in nanoclaw's own command is in no other."""
    return str(option["others"]) if option["unmodified"] else "not reached"


def mark(cell: Mapping[str, Any]) -> str:
    """A setting's mark."""
    return "!" if cell.get("refused") else "+" if cell["in_force"] else "–"
