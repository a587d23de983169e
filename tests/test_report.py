from __future__ import annotations

import contextlib
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.errors import HostProblem
from checks.core.process import Completed
from checks.core.progress import Progress, counted, plain_console
from checks.engine.docker import Record
from checks.evidence.model import Outcome
from checks.evidence.run import CaseResult, Evidence
from checks.runner.report import Report, failure
from tests.fakes import FACTS


def result(outcome: Outcome, label: str, group: str = "Bind mounts", **more: str) -> CaseResult:
    ran = Completed(
        ("docker", "run", "--label", "nanoclaw-verify=abc", "-v", "/a b:/c", "image"), 1, b"out\n", b"denied\n", 2.0
    )
    guide = {"fix": "Do this", "entry": "docs/TROUBLESHOOTING.md#here"}
    return CaseResult(label, group, label, outcome, 1.0, Record([ran]), **{**guide, **more})


def printed(*cases: CaseResult, verbose: bool = False) -> str:
    out = io.StringIO()
    report = Report(plain_console(file=out), verbose=verbose)
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
        "Results: 2/3 passed, 1 skipped (debian-13)",
    ]


def details(text: str) -> list[str]:
    below = text.split("[FAIL] ", 1)[1].split("\n\n", maxsplit=1)[0]
    return [line.strip() for line in below.splitlines()[1:]]


def test_a_failure_tells_what_was_run_expected_and_came_and_its_fix() -> None:
    text = printed(
        result("failed", "Read-write bind mount", expected="a file", got="none"),
        result("failed", "Another", expected="a", got="b"),
    )
    assert details(text)[:6] == [
        "ran:      docker run -v '/a b:/c' image → 1",
        "expected: a file",
        "got:      none; stderr: denied",
        "fix:      Do this",
        "more:     docs/TROUBLESHOOTING.md#here",
        "[FAIL] Another",
    ]
    assert text.endswith("Failed: Read-write bind mount; Another\nResults: 0/2 passed, 2 failed (debian-13)\n")


def test_a_verbose_report_has_the_output_of_each_command() -> None:
    text = printed(result("failed", "Read-write bind mount", expected="a file", got="none"), verbose=True)
    assert details(text) == [
        "ran:      docker run -v '/a b:/c' image",
        "status:   1 after 2.0 s",
        "stdout:   out",
        "stderr:   denied",
        "expected: a file",
        "got:      none",
        "fix:      Do this",
        "more:     docs/TROUBLESHOOTING.md#here",
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300)


@given(label=st.just("x"), expected=TEXTS, got=TEXTS, fix=TEXTS, argument=TEXTS, anchor=st.integers(0, 100))
def test_a_failed_case_takes_at_most_seven_rows_of_a_terminal(
    label: str, expected: str, got: str, fix: str, argument: str, anchor: int
) -> None:
    failed = result(
        "failed", label, expected=expected, got=got, fix=fix, entry="docs/TROUBLESHOOTING.md#" + "a" * anchor
    )
    failed.record.commands[0] = Completed(("docker", argument), 125, b"", got.encode(), 1.0)
    rows = [f"  [FAIL] {label}", *(f"{' ' * 9}{line}" for line in failure(failed, verbose=False))]
    assert sum(max(1, math.ceil(len(row) / 80)) for row in rows) <= 7


def test_a_flood_of_output_is_cut_in_a_verbose_report() -> None:
    flood = result("failed", "x", expected="a", got="b")
    flood.record.commands[0] = Completed(("docker",), 1, b"0123456789\n" * 100_000, b"", 1.0)
    text = printed(flood, verbose=True)
    assert "(1100000 characters)" in text
    assert len(text) < 6000


@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), HostProblem("the host is gone")])
def test_a_run_that_was_stopped_says_what_it_has_found_so_far(stopped: BaseException) -> None:
    out = io.StringIO()
    report = Report(plain_console(file=out))
    report.case(result("passed", "a"))
    report.case(result("failed", "docker build"))
    report.case(result("skipped", "c", reason="none"))
    with pytest.raises(type(stopped)), report.summarized_if_stopped():
        raise stopped
    assert out.getvalue().endswith(
        "\nThe run did not reach its end. So far:\nFailed: docker build\nResults: 1/3 passed, 1 failed, 1 skipped\n"
    )


def test_a_run_that_was_stopped_before_its_first_case_has_no_summary() -> None:
    out = io.StringIO()
    with pytest.raises(HostProblem), Report(plain_console(file=out)).summarized_if_stopped():
        raise HostProblem("no docker")
    assert out.getvalue() == ""


def test_the_shims_notice_does_not_hide_the_reason() -> None:
    notice = "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.\n"
    case = result("failed", "--cpus", expected="a limit", got=f"status 1: {notice}no controllers")
    assert "got:      status 1: no controllers; stderr: denied" in "\n".join(failure(case, verbose=False))


@pytest.mark.parametrize(("terminal", "shown"), [(True, ["docker info (2 of 3)"]), (False, [])])
def test_a_running_case_is_counted_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, shown: list[str]
) -> None:
    steps: list[str] = []

    def step(_: Progress, what: str) -> contextlib.AbstractContextManager[None]:
        steps.append(what)
        return contextlib.nullcontext()

    monkeypatch.setattr(Progress, "live", terminal)
    monkeypatch.setattr(Progress, "step", step)
    with counted(Progress(), "docker info", 2, 3):
        assert steps == shown
