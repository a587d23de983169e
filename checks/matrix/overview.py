"""The results of several hosts at a glance: verdicts on nanoclaw, hosts, a table of all cases, and what did not pass.

``docs/EVIDENCE.md`` and the HTML page show the same overview.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from checks.core.version import comparable
from checks.engine.prepared_host import profiles
from checks.evidence.model import Verification
from checks.guide.catalogue import Entry
from checks.hosts import recipe
from checks.hosts.facts import TITLES
from checks.matrix import minimum
from checks.matrix.details import MARKS, NOT_TESTED, Detail, details
from checks.matrix.expectations import Expectations, Verdict

REFERENCE = "docker-engine"
_NO_HOST = "not tested: no host with systemd and cgroup v2"


@dataclass(frozen=True)
class Untested:
    """A host with a profile that has no evidence, and why."""

    host: str
    profile: str
    reason: str


@dataclass(frozen=True)
class Overview:
    """The content of the page, as values for a template."""

    runs: Sequence[Verification]
    nanoclaws: Sequence[Mapping[str, Any]]
    engines: Sequence[Mapping[str, Any]]
    hosts: Sequence[Mapping[str, str]]
    groups: Sequence[Mapping[str, Any]]
    details: Sequence[Detail]
    untested: Sequence[Untested]
    dates: str

    @property
    def failures(self) -> Sequence[Detail]:
        """The cases that failed, or that passed although a failure was expected."""
        return [each for each in self.details if each.verdict is not Verdict.SKIPPED]

    @property
    def skipped(self) -> Sequence[Detail]:
        """The cases that were skipped."""
        return [each for each in self.details if each.verdict is Verdict.SKIPPED]


def overview(
    evidence: Sequence[Verification],
    untested: Sequence[Untested],
    expectations: Expectations,
    entries: Mapping[str, Entry],
) -> Overview:
    """The overview of these runs. Each host's main profile is before the others, sorted by engine and version."""
    runs = sorted(evidence, key=lambda run: (not is_main(run), order(run)))
    found = details(runs, expectations, entries)
    return Overview(
        runs,
        **support([run for run in runs if is_main(run)], found),
        hosts=[_host(run) for run in runs],
        groups=_groups(runs, found),
        details=list(found.values()),
        untested=untested,
        dates=_dates(runs),
    )


def order(run: Verification) -> tuple[bool, Version, bool, str]:
    """The sort key of a run: Docker Engine first, then by the engine's version."""
    facts = run.host
    return (facts.engine != "docker", comparable(facts.version), not is_standard(run), run.name)


def is_main(run: Verification) -> bool:
    """Whether the host had its main profile: the recommended one, and for Docker Engine its only one."""
    return run.profile == profiles(recipe.load(run.name))[0]


def is_standard(run: Verification) -> bool:
    """Whether the host has systemd and cgroup v2, so that it differs from others only by its engine's version."""
    return run.host.init == "systemd" and run.host.cgroups == "v2"


def engine(run: Verification) -> str:
    """The engine with its version."""
    return f"{TITLES[run.host.engine]} {run.host.version}"


def support(
    main: Sequence[Verification], found: Mapping[tuple[str, str, str], Detail]
) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Which nanoclaw works where: each nanoclaw, and each engine on a standard host with a verdict on each nanoclaw."""
    podmans = [run for run in main if run.host.engine == "podman" and is_standard(run)]
    pins = minimum.pins()
    return {
        "nanoclaws": [
            {
                "name": pin.name,
                "description": pin.description,
                "commit": pin.commit,
                "date": pin.date,
                "summary": minimum.summary(pin.name, podmans) if podmans else _NO_HOST,
            }
            for pin in pins
        ],
        "engines": [
            {"name": engine(run), "cells": [_verdict(pin.name, run, found) for pin in pins]}
            for run in [*(run for run in main if run.name == REFERENCE), *podmans]
        ],
    }


def _verdict(nanoclaw: str, run: Verification, found: Mapping[tuple[str, str, str], Detail]) -> dict[str, Any]:
    """A nanoclaw on an engine: the cell's text, its verdict in a word, and the cases that failed."""
    judged = minimum.support(nanoclaw, run)
    mark, _, rest = judged.cell.partition(" ")
    return {
        "cell": judged.cell,
        "mark": mark,
        "kind": "failed" if judged.failed else "passed" if judged.works else "untested",
        "word": "fails" if judged.failed else "works" if judged.works else "not tested",
        "note": "" if judged.failed else rest.removeprefix("not tested: "),
        "failed": [each for each in found.values() if each.run is run and each.case.label in judged.failed],
    }


def _host(run: Verification) -> dict[str, str]:
    project = run.project
    return {
        "name": run.name,
        "profile": run.profile,
        "engine": engine(run),
        "description": recipe.load(run.name).description.split(":")[0],
        "tested": run.started[:10],
        "project": " ".join([project.version, project.commit]).strip() if project else "not recorded",
        "agent": _agent(run.agent),
    }


def _agent(described: str) -> str:
    """Which agent answered: the project's stub agent, or the one of a checkout."""
    name = described.partition(";")[0]
    return "stub" if name.startswith("the project's ") else name or "none"


def _groups(runs: Sequence[Verification], found: Mapping[tuple[str, str, str], Detail]) -> list[dict[str, Any]]:
    """All cases by their group, in the report's order, each with a cell for every run."""
    groups: dict[str, dict[str, str]] = {}
    for run in runs:
        for case in run.cases:
            groups.setdefault(case.group, {}).setdefault(case.id, case.label)
    return [
        {
            "name": name,
            "rows": [
                {"label": label, "cells": [_cell(run, case, found) for run in runs]} for case, label in cases.items()
            ],
        }
        for name, cases in groups.items()
    ]


def _cell(run: Verification, case: str, found: Mapping[tuple[str, str, str], Detail]) -> dict[str, Any]:
    detail = found.get((run.name, run.profile, case))
    if detail is None and run.case(case) is None:
        return {"kind": "untested", "mark": NOT_TESTED, "word": "not tested on this host", "detail": None}
    verdict = detail.verdict if detail else Verdict.PASSED
    return {"kind": verdict.name.lower(), "mark": MARKS[verdict], "word": str(verdict), "detail": detail}


def _dates(runs: Sequence[Verification]) -> str:
    days = sorted({run.started[:10] for run in runs})
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "not tested"
