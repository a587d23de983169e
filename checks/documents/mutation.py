"""``docs/TRUST.md``: which mutations the cases caught, from the evidence and the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.core.paths import ROOT
from checks.core.rendering import render_template
from checks.evidence import store
from checks.evidence.model import MutationRun
from checks.matrix.report import clock
from checks.mutation import catalogue
from checks.mutation.catalogue import Mutation
from checks.mutation.faults.catalogue import FAULTS
from checks.mutation.verdict import MutationStatus, recorded, score
from checks.runner.collection import all_cases
from checks.runner.plugin import CaseInfo

DOCUMENT = ROOT / "docs" / "TRUST.md"
_MESSAGE = 120  # characters of a failure that the table quotes


def files() -> Mapping[Path, str]:
    """The document."""
    return {DOCUMENT: text(store.committed(MutationRun), catalogue.load(), all_cases())}


def text(evidence: Sequence[MutationRun], mutations: Sequence[Mutation], cases: Sequence[CaseInfo]) -> str:
    """The document."""
    hosts = dict.fromkeys(each.name for each in evidence)
    runs = [_host([each for each in evidence if each.name == host], mutations, cases) for host in hosts]
    return render_template("trust.md.j2", runs=runs, faults=FAULTS)


def _host(runs: Sequence[MutationRun], mutations: Sequence[Mutation], cases: Sequence[CaseInfo]) -> dict[str, Any]:
    """The results of a host's runs for every mutation and case as they are now."""
    trials = list(recorded(runs, mutations, cases))
    faults = [trial for trial in trials if not trial.mutation.equivalent]
    return {
        "host": runs[0].host,
        "date": max(run.started for run in runs)[:10],
        "minutes": clock(sum(run.seconds for run in runs)),
        "agents": [run.agent for run in runs if run.agent],
        "score": score(trials),
        "rows": [(trial, _cell(trial.expected), _cell(trial.got)) for trial in faults if trial.verdict.ran],
        "left_out": [trial for trial in faults if trial.verdict is MutationStatus.NOT_RUN],
        "not_run_yet": [trial for trial in trials if trial.verdict is MutationStatus.NOT_RUN_YET],
        "equivalent": [trial for trial in trials if trial.mutation.equivalent],
    }


def _cell(message: str) -> str:
    """A message as a cell of a table: one line, cut where it is long."""
    line = " ".join(message.replace("|", "\\|").replace("`", "'").split())
    return line if len(line) <= _MESSAGE else f"{line[:_MESSAGE]}…"
