"""The report of a run as a picture, drawn from its evidence."""

from __future__ import annotations

import io
import re

import msgspec

from checks.core.lines import lines_of
from checks.core.progress import Console
from checks.engine.docker import Record
from checks.evidence.model import Verification
from checks.evidence.run import CaseResult, Evidence
from checks.hosts.facts import Facts
from checks.runner.report import Report

_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def svg(stored: Verification) -> str:
    """The report as a terminal shows it, in SVG; the same text for the same evidence."""
    run = evidence(stored)
    screen = Console(record=True, file=io.StringIO(), width=1000, highlight=False, markup=False, soft_wrap=True)
    report = Report(screen)
    report.begin()
    report.host(run)
    for case in run.cases:
        report.case(case)
    report.end(run)
    widest = max(len(line) for line in lines_of(screen.export_text(clear=False)))
    screen.width = widest + 1
    title = f"invoke verify --host {run.host}"
    # A picture in a document must not call anyone.
    return _WEB_FONT.sub("", screen.export_svg(title=title, unique_id="report"))


def evidence(stored: Verification) -> Evidence:
    """The run as the report needs it, without what its commands printed."""
    host = msgspec.structs.asdict(stored.host)
    facts = Facts(**{key: value for key, value in host.items() if key not in ("name", "profile")}, home="")
    cases = [
        CaseResult(
            case.id, case.group, case.label, case.outcome, case.seconds, Record(),
            case.expected or "", case.got or "", case.reason,
        )
        for case in stored.cases
    ]  # fmt: skip
    return Evidence(stored.name, stored.profile, facts, cases=cases)
