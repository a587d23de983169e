"""``docs/COMPATIBILITY.md``: the committed evidence as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.core.paths import DEFAULT_GUEST, ROOT
from checks.core.rendering import render_template
from checks.documents.picture import svg
from checks.evidence import store
from checks.evidence.model import AgentVerification, Case, Verification
from checks.hosts import recipe
from checks.matrix import differences, expectations, overview
from checks.matrix.details import MARKS, NOT_TESTED
from checks.matrix.expectations import Expectations, ExpectedFailure, Verdict
from checks.matrix.overview import REFERENCE

DOCUMENT = ROOT / "docs" / "COMPATIBILITY.md"
PICTURE = ROOT / "docs" / "images" / "verify.svg"


def files() -> Mapping[Path, str]:
    """The document, and the picture of a report."""
    return {
        DOCUMENT: text(
            store.committed(Verification),
            expectations.load(),
            differences.explanations(),
            store.committed(AgentVerification),
        ),
        PICTURE: svg(store.find(DEFAULT_GUEST)),
    }


def text(
    all_evidence: Sequence[Verification],
    known: Expectations,
    why: Sequence[differences.Explanation],
    of_agents: Sequence[AgentVerification] = (),
) -> str:
    """The document. Hosts are sorted by their engine's version, Docker Engine first."""
    evidence = sorted(all_evidence, key=overview.order)
    main = [each for each in evidence if overview.is_main(each)]
    stock = [each for each in evidence if each not in main]
    reasons: list[ExpectedFailure] = []
    tables = [
        _table("As recommended", main, known, reasons),
        *([_table("Stock: Podman without the recommended setting", stock, known, reasons)] if stock else []),
    ]
    explained, unexplained = _differences(main, why, known)
    return render_template(
        "compatibility.md.j2",
        **overview.support(main, {}),
        agents=[_agent(each, known) for each in sorted(of_agents, key=overview.order)],
        hosts=[_host(each) for each in main],
        tables=tables,
        reasons=reasons,
        skipped=_skipped(evidence),
        versions=_versions(main),
        compared=any(each.name == REFERENCE for each in main),
        differences=explained,
        unexplained=unexplained,
    )


def _agent(each: AgentVerification, known: Expectations) -> dict[str, Any]:
    """A run with nanoclaw's own agent, as a row."""
    failed = [case for case in each.cases if case.outcome == "failed"]
    skipped = [case for case in each.cases if case.outcome == "skipped"]
    return {
        "version": each.nanoclaw[0],
        "commit": each.nanoclaw[1],
        "engine": f"{overview.engine(each)} ({each.name})",
        "passed": sum(case.outcome == "passed" for case in each.cases),
        "failed": [f"{case.label} ({known.judge(case, each.host)})" for case in failed],
        "skipped": [f"{case.label}: {case.reason}" for case in skipped],
        "tested": each.started[:10],
    }


def _host(each: Verification) -> dict[str, str]:
    facts = each.host
    return {
        "name": each.name,
        "description": recipe.load(each.name).description.split(":")[0],
        "engine": overview.engine(each),
        "kernel": facts.kernel,
        "cgroups": facts.cgroups,
        "network": facts.network.split(" ")[0],
        "storage": facts.storage,
        "tested": each.started[:10],
    }


def _table(
    title: str, evidence: Sequence[Verification], known: Expectations, reasons: list[ExpectedFailure]
) -> dict[str, Any]:
    """One table. Cells refer to ``reasons`` by number; new ones are added there."""

    def cell(each: Verification, case: Case | None) -> str:
        if case is None:
            return NOT_TESTED
        verdict = known.judge(case, each.host)
        reason = known.of(case.id, each.host) if verdict is Verdict.EXPECTED_FAILURE else None
        if reason is None:
            return f"{MARKS[verdict]}{'' if verdict.good else ' (unexpected)'}"
        if reason not in reasons:
            reasons.append(reason)
        return f"{MARKS[verdict]} {reasons.index(reason) + 1}"

    return {
        "title": title,
        "hosts": [f"{each.name} ({each.host.version})" for each in evidence],
        "rows": [
            {"label": label, "cells": [cell(each, each.case(case)) for each in evidence]}
            for case, label in _labels(evidence).items()
        ],
    }


def _labels(evidence: Iterable[Verification]) -> dict[str, str]:
    """The labels of all cases, by their ids, in the report's order."""
    return {case.id: case.label for each in evidence for case in each.cases}


def _skipped(evidence: Sequence[Verification]) -> list[dict[str, Any]]:
    hosts: dict[tuple[str, str], list[str]] = {}
    for each in evidence:
        for case in each.cases:
            if case.outcome == "skipped":
                hosts.setdefault((case.label, case.reason), []).append(each.name)
    return [{"label": label, "reason": reason, "hosts": names} for (label, reason), names in hosts.items()]


def _versions(main: Sequence[Verification]) -> list[dict[str, Any]]:
    """The versions of Podman on which each pattern fails and passes, except those that pass on all."""
    podmans = [each for each in main if each.host.engine == "podman" and overview.is_standard(each)]
    rows = []
    for case, label in _labels(podmans).items():
        by_outcome: dict[str, list[str]] = {"failed": [], "passed": [], "skipped": []}
        for each in podmans:
            if found := each.case(case):
                by_outcome[found.outcome].append(each.host.version)
        if by_outcome["failed"]:
            rows.append({"label": label, "bad": by_outcome["failed"], "good": by_outcome["passed"]})
    return rows


def _differences(
    main: Sequence[Verification], why: Sequence[differences.Explanation], known: Expectations
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The differences from the reference: by explanation, and those without one."""
    reference = next((each for each in main if each.name == REFERENCE), None)
    explained: dict[tuple[str, str], list[str]] = {}
    unexplained: dict[tuple[str, str], list[str]] = {}
    for each in main if reference else ():
        assert reference
        for reason, found in differences.by_reason(reference, each, why, known).items():
            if reason:
                explained.setdefault((reason.because, reason.entry), []).append(each.name)
            for key in {(difference.label, difference.field): None for difference in found} if not reason else ():
                unexplained.setdefault(key, []).append(each.name)
    return (
        [{"because": because, "entry": entry, "hosts": hosts} for (because, entry), hosts in explained.items()],
        [{"label": label, "field": field, "hosts": hosts} for (label, field), hosts in unexplained.items()],
    )
