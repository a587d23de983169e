"""The report of a run as a picture, drawn from its evidence."""

from __future__ import annotations

import io
import re

from checks.core.progress import Console
from checks.engine.docker import Record
from checks.evidence.run import CaseResult, Evidence
from checks.evidence.stored import Stored
from checks.hosts.base import Facts
from checks.runner.report import Report

_WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def svg(stored: Stored) -> str:
    """The report as a terminal shows it, in SVG; the same text for the same evidence."""
    run = evidence(stored)
    screen = Console(record=True, file=io.StringIO(), width=1000, highlight=False, markup=False, soft_wrap=True)
    report = Report(screen)
    report.begin()
    report.host(run)
    for case in run.cases:
        report.case(case)
    report.end(run)
    widest = max(len(line) for line in screen.export_text(clear=False).splitlines())
    screen.width = widest + 1
    title = f"invoke verify --host {run.host}"
    # A picture in a document must not call anyone.
    return _WEB_FONT.sub("", screen.export_svg(title=title, unique_id="report"))


def evidence(stored: Stored) -> Evidence:
    """The run as the report needs it, without what its commands printed."""
    host = {key: value for key, value in stored.host.items() if key not in ("name", "profile")}
    cases = [
        CaseResult(
            case["id"], case["group"], case["label"], case["outcome"], case["seconds"], Record(),
            case.get("expected", ""), case.get("got", ""), case.get("reason", ""),
        )
        for case in stored.cases
    ]  # fmt: skip
    return Evidence(stored.name, stored.profile, Facts(**host, home=""), cases=cases)
