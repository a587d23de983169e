"""``docs/PARALLEL.md``: the formula, the measurements, and their consequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.capacity import table
from checks.capacity.wslconfig.plan import BASE, CONTAINER, GB, PRESETS, Machine, plan, readable
from checks.core.errors import WrongUsage
from checks.core.paths import ROOT
from checks.core.rendering import render_template
from checks.engine import flags
from checks.evidence import store
from checks.evidence.capacity_model import Capacity, Container
from checks.hosts.base import TITLES
from checks.nanoclaw import contract

DOCUMENT = ROOT / "docs" / "PARALLEL.md"
MAX_AGENTS = 8
"""The largest number of agents in the formula's table."""


def files() -> Mapping[Path, str]:
    """The document."""
    return {DOCUMENT: text(store.committed(Capacity), flags.load().recommended())}


def text(evidence: Sequence[Capacity], recommended: Sequence[str]) -> str:
    """The document's text. Raises WrongUsage for evidence with other flags than those recommended now."""
    for each in evidence:
        if each.flags != list(recommended):
            raise WrongUsage(
                f"The evidence of {each.name} in evidence/parallel has other flags than the recommended ones.",
                f"Run invoke parallel --host {each.name} --evidence evidence/parallel again.",
            )
    containers = [
        container
        for each in evidence
        for container in (each.browser.container, *(turn.container for step in each.steps for turn in step.turns))
    ]
    return render_template(
        "parallel.md.j2",
        plans=[_plan_row(number) for number in range(1, MAX_AGENTS + 1)],
        rounded={n: readable(memory) for n, memory in PRESETS.items() if memory != plan(n).memory},
        container=readable(CONTAINER),
        base=readable(BASE),
        minutes=round(contract.TIMEOUT / 60),
        agents=contract.MAX_AGENTS,
        headings={"single": table.SINGLE, "at_once": table.AT_ONCE},
        hosts=[_host(each) for each in evidence],
        memory=table.size(max((each.memory for each in containers if each.memory is not None), default=None)),
        tasks=max((each.tasks or 0 for each in containers), default=0),
        pids=next(int(word.partition("=")[2]) for word in recommended if word.startswith("--pids-limit=")),
    )


def _plan_row(number: int) -> dict[str, Any]:
    needed, without_browser = plan(number), plan(number, browser=False)
    memory = needed.memory
    while needed.crowds(Machine(memory, needed.processors)):
        memory += GB
    return {
        "containers": number,
        **needed.settings(),
        "without": without_browser.settings()["memory"],
        "host": readable(memory),
    }


def _host(capacity: Capacity) -> dict[str, Any]:
    host, steps, load = capacity.host, capacity.steps, capacity.steps[0].host
    single = next((step.turns[0].container for step in steps if step.agents == 1 and step.turns), Container())
    containers = [single, capacity.browser.container]
    largest = table.largest(capacity)
    swap_used = max(step.host.swap_used for step in steps)
    return {
        "name": host.name,
        "title": f"{host.name} ({host.distribution}, kernel {host.kernel}, {TITLES[host.engine]} {host.version}, "
        f"{host.profile} profile, {capacity.started[:10]})",
        "agent": capacity.agent,
        "processors": host.cpus,
        "total": table.size(load.total),
        "swap": table.size(load.swap) if load.swap else "no swap",
        "available": table.size(load.available),
        "emulated": capacity.slowness > 1,
        "timeout": steps[0].timeout,
        "flags": " ".join(capacity.flags),
        "single": table.single(capacity),
        "at_once": table.at_once(capacity),
        "largest": largest,
        "too_many": table.smallest_too_many(capacity),
        "formula": readable(plan(largest).memory) if largest else "",
        "sampled": [name for name in ("memory", "tasks") if any(name not in each.kernel_peaks for each in containers)],
        "counted": all(each.memory is not None for each in containers),
        "swap_used": table.size(swap_used) if swap_used else "",
    }
