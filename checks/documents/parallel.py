"""``docs/PARALLEL.md``: the formula's table, what was measured on which host, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from checks.capacity import table
from checks.capacity.wslconfig.plan import BASE, CONTAINER, GB, Machine, plan, spoken
from checks.capacity.wslconfig.render import PRESETS
from checks.core.errors import WrongUsage
from checks.core.paths import ROOT
from checks.core.rendering import render_template
from checks.engine import flags
from checks.evidence import store
from checks.evidence.model import Capacity
from checks.hosts.base import TITLES
from checks.nanoclaw import contract

DOCUMENT = ROOT / "docs" / "PARALLEL.md"
MOST = 8
"""The largest number of agents of the formula's table."""


def files() -> Mapping[Path, str]:
    """The document."""
    evidence = [msgspec.to_builtins(each) for each in store.committed(Capacity)]
    return {DOCUMENT: text(evidence, flags.load().recommended())}


def text(evidence: Sequence[Mapping[str, Any]], recommended: Sequence[str]) -> str:
    """The document. Raises WrongUsage where evidence is of other flags than the recommended ones of today."""
    for each in evidence:
        if each["flags"] != list(recommended):
            name = each["host"]["name"]
            raise WrongUsage(
                f"The evidence of {name} in evidence/parallel is of other flags than the recommended ones.",
                f"Run invoke parallel --host {name} --evidence evidence/parallel again.",
            )
    containers = [container for each in evidence for container in _containers(each)]
    return render_template(
        "parallel.md.j2",
        plans=[_planned(number) for number in range(1, MOST + 1)],
        rounded={n: spoken(memory) for n, memory in PRESETS.items() if memory != plan(n).memory},
        container=spoken(CONTAINER),
        base=spoken(BASE),
        minutes=round(contract.TIMEOUT / 60),
        agents=contract.MAX_AGENTS,
        headings={"alone": table.ALONE, "at_once": table.AT_ONCE},
        hosts=[_measured(each) for each in evidence],
        taken=table.size(max((each["memory"] for each in containers if "memory" in each), default=None)),
        tasks=max((each["tasks"] for each in containers if "tasks" in each), default=0),
        pids=next(int(word.partition("=")[2]) for word in recommended if word.startswith("--pids-limit=")),
    )


def _containers(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What each container of some evidence took."""
    yield found["browser"]["container"]
    for step in found["steps"]:
        for turn in step["turns"]:
            yield turn["container"]


def _planned(number: int) -> dict[str, Any]:
    wanted, without = plan(number), plan(number, browser=False)
    return {"containers": number, **wanted.settings(), "without": without.settings()["memory"], "host": _roomy(number)}


def _roomy(number: int) -> str:
    """The least memory of a Windows machine of which a quarter is left, in whole GB."""
    wanted = plan(number)
    memory = wanted.memory
    while wanted.crowds(Machine(memory, wanted.processors)):
        memory += GB
    return spoken(memory)


def _measured(found: Mapping[str, Any]) -> dict[str, Any]:
    host, steps = found["host"], found["steps"]
    first = steps[0]["host"]
    single: Mapping[str, Any] = next(
        (step["turns"][0]["container"] for step in steps if step["agents"] == 1 and step["turns"]), {}
    )
    taken = [single, found["browser"]["container"]]
    return {
        "name": host["name"],
        "title": f"{host['name']} ({host['distribution']}, kernel {host['kernel']}, {TITLES[host['engine']]} "
        f"{host['version']}, {host['profile']} profile, {found['started'][:10]})",
        "agent": found["agent"],
        "processors": host["cpus"],
        "total": table.size(first["total"]),
        "swap": table.size(first["swap"]) if first["swap"] else "no swap",
        "available": table.size(first["available"]),
        "emulated": found["slowness"] > 1,
        "bound": steps[0]["bound"],
        "flags": " ".join(found["flags"]),
        "alone": table.alone(found),
        "at_once": table.at_once(found),
        "largest": table.largest(found),
        "too_many": table.least_too_many(found),
        "formula": spoken(plan(table.largest(found)).memory) if table.largest(found) else "",
        "sampled": sorted(
            {name for each in taken for name in ("memory", "tasks") if name not in each.get("counted", [])}
        ),
        "counted": all("memory" in each for each in taken),
        "swapped": table.size(most) if (most := max(step["host"]["swapped"] for step in steps)) else "",
    }
