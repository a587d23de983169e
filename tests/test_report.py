from __future__ import annotations

import io

from checks.core.progress import plain_console
from checks.engine.docker import Record
from checks.evidence.model import Outcome
from checks.evidence.run import CaseResult, Evidence
from checks.hosts.process import Completed
from checks.runner.report import Report
from tests.fakes import FACTS


def result(outcome: Outcome, label: str, group: str = "Bind mounts", **more: str) -> CaseResult:
    ran = Completed(
        ("docker", "run", "--label", "nanoclaw-verify=abc", "-v", "/a b:/c", "image"), 1, b"out\n", b"denied\n", 2.0
    )
    return CaseResult(label, group, label, outcome, 1.0, Record([ran]), fix="docs/TROUBLESHOOTING.md#here", **more)


def printed(*cases: CaseResult) -> str:
    out = io.StringIO()
    report = Report(plain_console(file=out))
    report.begin()
    evidence = Evidence("debian-13", "stock", FACTS, cases=list(cases))
    report.host(evidence)
    for case in cases:
        report.case(case)
    report.end(evidence)
    return out.getvalue()


def test_the_layout_is_the_plans() -> None:
    text = printed(
        result("passed", "docker build", "Image operations"),
        result("passed", "docker stop", "Container lifecycle"),
        result("skipped", "Full agent container invocation", "Nanoclaw integration", reason="no image"),
    )
    lines = text.splitlines()
    assert lines[:2] == ["Docker→Podman Compatibility Tests", "=================================="]
    assert lines[4:] == [
        "",
        "Image operations:",
        "  [PASS] docker build",
        "",
        "Container lifecycle:",
        "  [PASS] docker stop",
        "",
        "Nanoclaw integration:",
        "  [SKIP] Full agent container invocation: no image",
        "",
        "Results: 2/3 passed, 1 skipped",
    ]


def test_a_failure_tells_what_was_run_expected_and_came_and_where_the_fix_is() -> None:
    text = printed(result("failed", "Read-write bind mount", expected="a file", got="none"))
    details = text.split("[FAIL] Read-write bind mount\n", 1)[1].split("\n\n")[0]
    assert [line.strip() for line in details.splitlines()] == [
        "ran:      docker run -v '/a b:/c' image",
        "status:   1 after 2.0 s",
        "stdout:   out",
        "stderr:   denied",
        "expected: a file",
        "got:      none",
        "fix:      docs/TROUBLESHOOTING.md#here",
    ]
    assert "Results: 0/1 passed" in text


def test_a_flood_of_output_is_cut_in_the_report() -> None:
    flood = result("failed", "x", expected="a", got="b")
    flood.record.commands[0] = Completed(("docker",), 1, b"0123456789\n" * 100_000, b"", 1.0)
    text = printed(flood)
    assert "(1100000 characters)" in text
    assert len(text) < 6000
