"""Cases of the report, run by the plugin on a host that is pretended."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from checks.core.errors import HostProblem, Interrupted, WrongUsage
from checks.core.paths import GUIDE
from checks.core.progress import Progress, plain_console
from checks.core.run_directories import Run
from checks.engine.case_context import RunScope
from checks.engine.leaks import LeakDetector
from checks.engine.prepared_host import AS_IS, PreparedHost
from checks.guide import catalogue
from checks.runner.collection import CASES
from checks.runner.plugin import VerificationPlugin, require_end, run_pytest
from checks.runner.report import Report
from tests.fakes import FakeHost

FAILING = """
import pytest
from checks.engine.expect import Mismatch

@pytest.mark.case("Knows better", fix="of-the-case")
def test_knows_better(ctx):
    raise Mismatch("this", "that", fix="of-the-failure")

@pytest.mark.case("Knows no better", fix="of-the-case")
def test_knows_no_better(ctx):
    raise Mismatch("this", "that")
"""

ENDING = """
import pytest

@pytest.mark.case("Ends", fix="of-the-case")
def test_ends(ctx):
    {how}
"""


def verified(tmp_path: Path, cases: str, *more: str, accept: Sequence[str] = ()) -> tuple[VerificationPlugin, int]:
    """The plugin after a run of these cases, and the status of pytest."""

    @contextlib.contextmanager
    def prepared() -> Iterator[PreparedHost]:
        host = FakeHost(tmp_path, {"podman": "exit 0"}).pretend()
        run = secrets.token_hex(5)  # in no name of what other tests leave on this machine meanwhile
        yield PreparedHost(host, AS_IS, RunScope(run, run), Run(run, tmp_path, tmp_path))

    file = tmp_path / f"{tmp_path.name}.py"  # a name of its own, as modules have
    file.write_text(cases)
    plugin = VerificationPlugin(prepared, Report(plain_console(file=io.StringIO())), Progress(), accept=accept)
    settings = str(CASES.parent / "pytest.ini")
    options = ["-c", settings, "--rootdir", str(tmp_path), "-p", "no:cacheprovider", *more]
    return plugin, pytest.main([str(file), *options], plugins=[plugin])


def test_a_failures_own_entry_goes_before_its_cases(tmp_path: Path) -> None:
    plugin, status = verified(tmp_path, FAILING)
    assert status == pytest.ExitCode.TESTS_FAILED
    assert plugin.evidence
    assert [case.entry.partition("#")[2] for case in plugin.evidence.cases] == ["of-the-failure", "of-the-case"]


def test_the_fix_of_a_failure_is_in_its_evidence(tmp_path: Path) -> None:
    name, entry = next(iter(catalogue.load().items()))
    plugin, _ = verified(tmp_path, FAILING.replace("of-the-case", name))
    assert plugin.evidence
    failed = plugin.evidence.cases[-1]
    assert (failed.fix, failed.entry) == (entry.quick_fix, f"{GUIDE}#{name}")


def test_an_accepted_failure_is_in_the_evidence_and_does_not_fail_the_run(tmp_path: Path) -> None:
    plugin, status = verified(tmp_path, FAILING, accept=["knows-better", "knows-no-better"])
    assert status == pytest.ExitCode.OK
    assert plugin.evidence
    assert [(case.outcome, case.accepted, case.got, case.failed, case.reason) for case in plugin.evidence.cases] == [
        ("failed", "--accept", "that", False, ""),
        ("failed", "--accept", "that", False, ""),
    ]


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("", "has no @pytest.mark.case"),
        ("@pytest.mark.case()", "needs a label"),
        ('@pytest.mark.case("Ends", entry="of-the-case")', "not “entry”"),
    ],
)
def test_a_wrong_marker_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], marker: str, message: str
) -> None:
    _, status = verified(tmp_path, f"import pytest\n\n{marker}\ndef test_ends(ctx):\n    pass\n")
    assert status == pytest.ExitCode.USAGE_ERROR
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
    assert "test_ends" in printed.out + printed.err


def test_only_what_is_accepted_is(tmp_path: Path) -> None:
    plugin, status = verified(tmp_path, FAILING, accept=["knows-better"])
    assert status == pytest.ExitCode.TESTS_FAILED
    assert plugin.evidence
    assert [case.failed for case in plugin.evidence.cases] == [False, True]


def test_no_case_runs_if_an_accepted_id_is_unknown(tmp_path: Path) -> None:
    plugin, _ = verified(tmp_path, FAILING, accept=["knows-nothing"])
    assert isinstance(plugin.problem, WrongUsage)
    assert not plugin.evidence


@pytest.mark.parametrize(
    ("how", "status", "looks"),
    [("pass", pytest.ExitCode.OK, 1), ("raise KeyboardInterrupt", pytest.ExitCode.INTERRUPTED, 0)],
)
def test_what_a_case_left_is_looked_for_unless_it_was_interrupted_and_its_host_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, status: int, looks: int
) -> None:
    looked: list[LeakDetector] = []

    def left(watch: LeakDetector) -> list[str]:
        looked.append(watch)
        return []

    monkeypatch.setattr(LeakDetector, "begin", lambda watch: None)
    monkeypatch.setattr(LeakDetector, "new", left)
    plugin, ended = verified(tmp_path, ENDING.format(how=how))
    assert (ended, len(looked)) == (status, looks)
    assert plugin.problem is None


TEARDOWNS = """
import pytest
from checks.core.errors import HostProblem
from checks.engine.expect import Mismatch

@pytest.fixture
def first():
    yield
    raise {first}

@pytest.fixture
def second():
    yield
    raise {second}

@pytest.mark.case("Ends", fix="of-the-case")
@pytest.mark.usefixtures("ctx", "first", "second")
def test_ends():
    pass
"""


@pytest.mark.parametrize(("first", "second"), [("HostProblem('it went')", "ValueError"), ("ValueError", "MemoryError")])
def test_a_host_that_fails_several_teardowns_is_no_failed_case(tmp_path: Path, first: str, second: str) -> None:
    plugin, _ = verified(tmp_path, TEARDOWNS.format(first=first, second=second))
    assert isinstance(plugin.problem, HostProblem)
    assert plugin.evidence
    assert [case.outcome for case in plugin.evidence.cases] == ["passed"]


def test_the_first_of_several_errors_of_a_teardown_is_reported(tmp_path: Path) -> None:
    plugin, _ = verified(tmp_path, TEARDOWNS.format(first="Mismatch('this', 'that')", second="ValueError"))
    assert plugin.evidence
    assert [(case.expected, case.got) for case in plugin.evidence.cases] == [("this", "that")]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, Interrupted])
def test_an_interrupt_that_pytest_caught_is_raised_again(tmp_path: Path, raised: type[KeyboardInterrupt]) -> None:
    name = raised.__name__
    case = tmp_path / f"test_{name}.py"
    case.write_text(f"from {raised.__module__} import {name}\ndef test_ends():\n    raise {name}\n")
    with pytest.raises(raised):
        run_pytest([str(case), "-p", "no:cacheprovider"], plugins=[])


def test_a_file_that_cannot_be_collected_is_no_interrupt(tmp_path: Path) -> None:
    case = tmp_path / "test_uncollectable.py"
    case.write_text("raise ValueError\n")
    assert run_pytest([str(case), "-p", "no:cacheprovider"], plugins=[]) == pytest.ExitCode.INTERRUPTED


def test_an_error_of_the_case_itself_names_the_error_and_its_traceback(tmp_path: Path) -> None:
    plugin, _ = verified(tmp_path, ENDING.format(how="ctx.no_such_attribute"))
    assert plugin.evidence
    case = plugin.evidence.cases[0]
    assert case.crashed
    assert "AttributeError: 'CaseContext' object has no attribute 'no_such_attribute'" in case.got
    assert "in test_ends" in Path(case.got.partition("Traceback: ")[2]).read_text()
    assert (case.fix, case.entry) == ("", "")


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        ("def test_ends(ctx)\n    pass\n", r"\.py: line 1: SyntaxError: expected ':'"),
        ("from checks.engine.docker import runn\n", r"\.py: .*ImportError: cannot import name 'runn'"),
    ],
)
@pytest.mark.parametrize("only", [[], ["something"]])
def test_a_module_that_can_not_be_loaded_is_named_with_the_reason(
    tmp_path: Path, cases: str, reason: str, only: list[str]
) -> None:
    (tmp_path / "broken.py").write_text(cases)
    console = plain_console(file=io.StringIO())
    plugin = VerificationPlugin(contextlib.nullcontext, Report(console), Progress(), only=only)  # type: ignore[arg-type]
    options = ["-c", str(CASES.parent / "pytest.ini"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    status = pytest.main([str(tmp_path / "broken.py"), *options], plugins=[plugin])
    with pytest.raises(WrongUsage, match=reason):
        require_end(plugin, status)
