"""The matrix as a page of its own: no script, no other file, light and dark."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from checks.core.rendering import render_template
from checks.evidence.model import Command
from checks.hosts.base import TITLES
from checks.matrix.expectations import Expectations, Verdict
from checks.matrix.run import Job

_CELLS = {
    Verdict.PASSED: ("passed", "✓"),
    Verdict.SKIPPED: ("skipped", "–"),
    Verdict.EXPECTED_FAILURE: ("known", "✗"),
    Verdict.FAILED: ("failed", "✗"),
    Verdict.UNEXPECTED_PASS: ("surprise", "!"),
}
_NOT_RUN = {"kind": "none", "mark": "–", "title": "not run there"}


def render(jobs: Sequence[Job], expectations: Expectations) -> str:
    """The page."""
    tested = [job for job in jobs if job.evidence]
    return render_template(
        "matrix.html.j2",
        when=datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        jobs=[_head(job) for job in tested],
        groups=_groups(tested, expectations),
        untested=[job for job in jobs if job.evidence is None],
        failures=list(_failures(tested, expectations)),
    )


def _head(job: Job) -> dict[str, str]:
    assert job.evidence
    facts = job.evidence.host
    return {"host": job.host, "profile": job.profile, "engine": f"{TITLES[facts.engine]} {facts.version}"}


def _groups(jobs: Sequence[Job], expectations: Expectations) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, str]] = {}
    for job in jobs:
        for case in job.evidence.cases if job.evidence else ():
            groups.setdefault(case.group, {}).setdefault(case.id, case.label)
    return [
        {
            "name": name,
            "rows": [
                {"label": label, "cells": [_cell(job, case, expectations) for job in jobs]}
                for case, label in cases.items()
            ],
        }
        for name, cases in groups.items()
    ]


def _cell(job: Job, wanted: str, expectations: Expectations) -> dict[str, str]:
    assert job.evidence
    case = job.evidence.case(wanted)
    if case is None:
        return _NOT_RUN
    verdict = expectations.judge(case, job.evidence.host)
    kind, mark = _CELLS[verdict]
    known = expectations.of(wanted, job.evidence.host)
    reason = known.because if known else case.reason or case.got
    return {"kind": kind, "mark": mark, "title": f"{verdict}: {reason}" if reason else str(verdict)}


def _failures(jobs: Sequence[Job], expectations: Expectations) -> Iterator[dict[str, Any]]:
    for job in jobs:
        assert job.evidence
        for case in job.evidence.cases:
            verdict = expectations.judge(case, job.evidence.host)
            if verdict in (Verdict.PASSED, Verdict.SKIPPED):
                continue
            kind, mark = _CELLS[verdict]
            known = expectations.of(case.id, job.evidence.host)
            yield {
                "id": f"{job.host}-{job.profile}-{case.id}",
                "kind": kind,
                "mark": mark,
                "host": f"{job.host} ({job.profile})",
                "label": case.label,
                "verdict": str(verdict),
                "because": known.because if known else "",
                "entry": known.entry if known else "",
                "expected": case.expected or "a failure",
                "got": case.got or "none: it passed",
                "commands": [_command(command) for command in case.commands[-3:]],
            }


def _command(command: Command) -> dict[str, Any]:
    return {
        "argv": shlex.join(command.argv),
        "status": command.status,
        "stdout": command.stdout.text,
        "stderr": command.stderr.text,
    }
