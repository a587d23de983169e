"""``docs/TRUST.md``: what was injected, what was caught, what cannot be; from the evidence and the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.core.paths import ROOT
from checks.core.rendering import render_template
from checks.matrix.table import clock
from checks.mutation import catalogue, stored
from checks.mutation.catalogue import Mutation
from checks.mutation.faults.catalogue import FAULTS
from checks.mutation.verdict import MutationStatus, Pair, score
from checks.runner.plugin import CaseInfo
from checks.runner.verify import all_cases

DOCUMENT = ROOT / "docs" / "TRUST.md"
EVIDENCE = ROOT / "evidence" / "trust"


def files() -> Mapping[Path, str]:
    """The document."""
    evidence = [stored.read(file) for file in sorted(EVIDENCE.glob("*.json"))]
    return {DOCUMENT: text(evidence, catalogue.load(), all_cases())}


def text(evidence: Sequence[Mapping[str, Any]], sabotages: Sequence[Mutation], cases: Sequence[CaseInfo]) -> str:
    """The document."""
    hosts = [_host(each, sabotages, cases) for each in evidence]
    return render_template("trust.md.j2", hosts=hosts, faults=FAULTS)


def _host(seen: Mapping[str, Any], sabotages: Sequence[Mutation], cases: Sequence[CaseInfo]) -> dict[str, Any]:
    """What one host's evidence says of every sabotage, as it is now, and every case of it."""
    results = {(each["sabotage"], each["case"]): each for each in seen["results"]}
    pairs = [
        _pair(results.get((sabotage.name, case.id)), sabotage, case)
        for case in cases
        for sabotage in sabotages
        if case.id in sabotage.cases
    ]
    faults = [pair for pair in pairs if not pair.sabotage.equivalent]
    return {
        "facts": seen["host"],
        "date": seen["started"][:10],
        "minutes": clock(seen["seconds"]),
        "score": score(pairs),
        "ran": [pair for pair in faults if pair.verdict is not MutationStatus.NOT_RUN],
        "left_out": [pair for pair in faults if pair.verdict is MutationStatus.NOT_RUN],
        "even": [pair for pair in pairs if pair.sabotage.equivalent],
    }


def _pair(found: Mapping[str, Any] | None, sabotage: Mutation, case: CaseInfo) -> Pair:
    if found is None or found["digest"] != sabotage.digest:
        return Pair(sabotage, case.id, case.label, MutationStatus.NOT_RUN, got="new, or changed since")
    verdict = MutationStatus(found["verdict"])
    return Pair(sabotage, case.id, case.label, verdict, _cell(found["expected"]), _cell(found["got"]))


def _cell(said: str) -> str:
    """A failure's words as a cell of a table: one line, not too long."""
    line = " ".join(said.replace("|", "\\|").replace("`", "'").split())
    return line if len(line) <= 120 else f"{line[:120]}…"
