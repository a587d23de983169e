"""The pytest plugin that makes a session a verification: host, fixtures, report, evidence."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from checks.core import redaction
from checks.core.errors import HostProblem, Problem, WrongUsage
from checks.core.lines import lines_of
from checks.core.outcome import decisive, lacking, own_fault
from checks.core.paths import GUIDE
from checks.core.process import TimedOut
from checks.core.progress import Progress, counted
from checks.core.selection import selected
from checks.engine.case_context import CaseContext, accounts_for, remove_containers
from checks.engine.docker import Record
from checks.engine.expect import Mismatch, expect
from checks.engine.leaks import LeakDetector
from checks.evidence.acceptance import accepted_ids
from checks.evidence.run import CRASHED, CaseResult, Evidence
from checks.guide import catalogue
from checks.guide.explain import find_matches
from checks.guide.facts import Kind
from checks.hosts.base import SHARED, Host, directories_of
from checks.runner.report import Report

if TYPE_CHECKING:
    from checks.engine.prepared_host import PreparedHost

_NO_ENTRY = "a-case-fails-that-has-no-entry-here"
_RECORD = pytest.StashKey[Record]()

HostFactory = Callable[[], contextlib.AbstractContextManager["PreparedHost"]]


def run_pytest(arguments: Sequence[str], plugins: Sequence[object]) -> int:
    """Run pytest in this process, without PYTEST_ADDOPTS and PYTEST_PLUGINS of the user's shell; its exit status.

    Raises the KeyboardInterrupt that stopped it: pytest itself ends with a status that it also has for other reasons.
    """
    names = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    interruption = _Interruption()
    try:
        status = pytest.main(list(arguments), plugins=[*plugins, interruption])
    finally:
        os.environ.update(before)
    if interruption.seen:
        raise interruption.seen
    return status


class _Interruption:
    """Keeps the KeyboardInterrupt that pytest caught; its own Interrupted means that it could not collect."""

    seen: KeyboardInterrupt | None = None

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        caught = excinfo.value
        if isinstance(caught, KeyboardInterrupt) and not isinstance(caught, pytest.Session.Interrupted):
            self.seen = caught


@dataclass(frozen=True)
class CaseInfo:
    """The description of a case in its module and marker."""

    id: str
    group: str
    label: str
    fix: str
    """The troubleshooting entry for its failure."""
    against: str = ""
    """Why its containers can't get hardening flags; empty if they can."""
    node: str = ""
    """Its name to pytest."""
    asks: frozenset[str] = frozenset()
    """The fixtures that it requests."""

    @property
    def names(self) -> Sequence[str]:
        """The names that ``--only`` matches."""
        return (self.id, self.label, self.group)


def case_info(item: pytest.Item) -> CaseInfo:
    """The description of a case. Raises UsageError for a wrong marker."""
    marker, where = item.get_closest_marker("case"), f"{item.path.name}::{item.name}"
    if marker is None:
        raise pytest.UsageError(f"{where} has no @pytest.mark.case")
    if len(marker.args) != 1:
        raise pytest.UsageError(f"{where}: @pytest.mark.case needs a label: @pytest.mark.case(“docker run --rm”)")
    if unknown := sorted(set(marker.kwargs) - {"fix", "against"}):
        raise pytest.UsageError(f"{where}: @pytest.mark.case has “fix” and “against”, not “{unknown[0]}”")
    module = item.getparent(pytest.Module)
    group = str(getattr(module.obj, "GROUP", "")) if module else ""
    fix = marker.kwargs.get("fix", _NO_ENTRY)
    against = str(marker.kwargs.get("against", ""))
    asks = frozenset(getattr(item, "fixturenames", ()))
    name = item.name.removeprefix("test_").replace("_", "-")
    return CaseInfo(name, group, str(marker.args[0]), fix, against, item.nodeid, asks)


class VerificationPlugin:
    """The plugin of one session. It prepares the host after collection, if there are cases to run."""

    def __init__(
        self,
        prepared: HostFactory,
        report: Report,
        progress: Progress,
        *,
        only: Sequence[str] = (),
        factor: float = 1.0,
        keep: bool = False,
        verbose: bool = False,
        flags: Sequence[str] = (),
        accept: Sequence[str] = (),
        accept_file: str = "",
        again: Collection[str] | None = None,
    ) -> None:
        """``again``: the ids of the cases to run, of those that ``only`` selects; None for all."""
        self._flags = flags
        self._accept = accept
        self._accept_file = accept_file
        self._accepted: Mapping[str, str] = {}
        self._open = prepared
        self._report = report
        self._progress = progress
        self._only = only
        self._again = again
        self._ids: set[str] = set()
        self._factor = factor
        self._keep = keep
        self._verbose = verbose
        self._prepared: PreparedHost | None = None
        self._watches: dict[int, LeakDetector] = {}
        self.problem: Problem | None = None
        self.evidence: Evidence | None = None
        self.kept: list[CaseContext] = []
        self.listed: list[CaseInfo] = []
        self.broken: list[str] = []
        self.crash: BaseException | None = None
        self._catalogue = catalogue.load()  # a malformed catalogue is reported before any case runs

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line(
            "markers",
            "case(label, fix=entry, against=reason): a case of the report; the troubleshooting entry for its failure;"
            " why its containers can't get hardening flags",
        )

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._ids.add(case_info(item).id)  # also those that this nanoclaw can't have may be accepted

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(_why_not_loaded(report))

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        self.crash = excinfo.value
        return True  # run_pytest's caller raises it again

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        known = [case_info(item) for item in items]
        try:
            chosen = selected(self._only, [each.names for each in known])
            self._accepted = accepted_ids(self._accept, self._accept_file, self._ids)
            if self._again is not None:
                chosen = [each.id in self._again and wanted for each, wanted in zip(known, chosen, strict=True)]
        except Problem as problem:
            self.problem = problem
            chosen = [False] * len(items)
        dropped = [item for item, wanted in zip(items, chosen, strict=True) if not wanted]
        items[:] = [item for item, wanted in zip(items, chosen, strict=True) if wanted]
        config.hook.pytest_deselected(items=dropped)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.listed = [case_info(item) for item in session.items]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        if session.config.option.collectonly or not session.items or self.broken:
            return (yield)
        with contextlib.ExitStack() as stack:
            try:
                prepared = self._prepared = stack.enter_context(self._open())
                self.evidence = Evidence(prepared.host.name, prepared.profile, prepared.host.facts())
                self._report.begin()
                self._report.host(self.evidence)
            except Problem as problem:
                self.problem = problem
                session.items.clear()  # the loop has to run, with no items
            try:
                return (yield)
            finally:
                self._scrub()
                self._prepared = None  # closed by the stack from here on

    def _scrub(self) -> None:
        """Remove everything from a host that received a secret: an agent may have written it in any form."""
        if not self._prepared or not self._prepared.run.kept or not redaction.protecting():
            return
        for account in self._prepared.accounts:
            run = self._prepared.owner.run
            remove_containers(account, run)
            if not account.remove_private_directories(directories_of(run)):
                self.problem = HostProblem(
                    f"The directories of --live on {account.name} could not be removed; they may contain the key.",
                    "Remove everything that was kept: invoke clean",
                )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        assert self.evidence
        label = case_info(item).label
        reported = len(self.evidence.cases)
        if self._verbose:
            self._report.note(f"\n# {label}")
        quiet = contextlib.nullcontext()  # its commands are shown
        with quiet if self._verbose else counted(self._progress, label, reported + 1, len(self.listed)):
            result = yield
        for case in self.evidence.cases[reported:]:  # after the spinner is gone
            self._report.case(case)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        error = decisive(call.excinfo.value) if call.excinfo else None
        if error and lacking(error):  # of the program itself, not of the case
            error = HostProblem(f"This machine lacks something: {error or type(error).__name__}.", "See ulimit -a.")
        if isinstance(error, Problem):  # the host failed, not the case
            self.problem = error
            item.session.shouldstop = str(error)
        elif call.when == "call" or report.outcome != "passed":
            self._add(item, report, error)
        return report

    def _add(self, item: pytest.Item, report: pytest.TestReport, error: BaseException | None) -> None:
        assert self.evidence
        info = case_info(item)
        seconds = report.duration
        if self.evidence.cases and self.evidence.cases[-1].id == info.id:
            if self.evidence.cases[-1].outcome != "passed":
                return  # its teardown failed too; report the first failure only
            seconds += self.evidence.cases.pop().seconds
        record = item.stash.setdefault(_RECORD, Record())
        result = CaseResult(info.id, info.group, info.label, report.outcome, seconds, record)
        if report.outcome == "failed":
            result.expected, result.got = map(redaction.redacted_text, _explained(error, report))
            if not result.crashed:  # the guide has nothing about faults of this project
                name = (error.fix if isinstance(error, Mismatch) else "") or self._entry_for(result) or info.fix
                known = self._catalogue.get(name)
                result.fix, result.entry = known.quick_fix if known else "", f"{GUIDE}#{name}"
            if reason := self._accepted.get(info.id):
                result.accepted = reason
                report.outcome, report.longrepr = "skipped", (str(item.path), 0, reason)  # the run has not failed
        if result.outcome == "skipped" and isinstance(report.longrepr, tuple):
            result.reason = report.longrepr[2].removeprefix("Skipped: ")
        self.evidence.cases.append(result)

    def _entry_for(self, failed: CaseResult) -> str:
        """The troubleshooting entry that matches a failure's text; empty if none does.

        Only the last command counts, and only if it failed: earlier ones may have failed as expected. Warnings are not
        the cause of a failure.
        """
        last = failed.record.commands[-1:]
        texts = [failed.got, *(done.stderr for done in last if done.returncode != 0)]
        matches = (match for text in texts for match in find_matches(text, self._catalogue))
        return next((match.entry.id for match in matches if match.kind is not Kind.WARNING), "")

    @property
    def accepted(self) -> Mapping[str, str]:
        """The reasons for which failures are accepted, by the ids of the cases; after the collection."""
        return self._accepted

    @property
    def prepared(self) -> PreparedHost:
        """The prepared host; available while cases run."""
        assert self._prepared
        return self._prepared

    # Fixtures

    @pytest.fixture
    def record(self, request: pytest.FixtureRequest) -> Record:
        """The commands and observations of the case."""
        return request.node.stash.setdefault(_RECORD, Record())  # type: ignore[no-any-return]

    @pytest.fixture
    def ctx(self, request: pytest.FixtureRequest, record: Record) -> Iterator[CaseContext]:
        """A context on the default account."""
        assert self._prepared
        yield from self._context(self._prepared.host, request, record)

    @pytest.fixture
    def ctx_passing_user(self, request: pytest.FixtureRequest, record: Record) -> Iterator[CaseContext]:
        """A context on an account whose uid is neither 0 nor 1000: nanoclaw passes --user."""
        yield from self._context(self._account(image_uid=False), request, record)

    @pytest.fixture
    def ctx_of_image_uid(self, request: pytest.FixtureRequest, record: Record) -> Iterator[CaseContext]:
        """A context on an account whose uid is 1000, like the image's: nanoclaw does not pass --user."""
        yield from self._context(self._account(image_uid=True), request, record)

    def _account(self, *, image_uid: bool) -> Host:
        assert self._prepared
        account = accounts_for(self._prepared.accounts, image_uid=image_uid)
        if account is None:
            uid = self._prepared.host.facts().uid
            wanted = "1000" if image_uid else "neither 0 nor 1000"
            pytest.skip(f"needs an account whose uid is {wanted}; this account has uid {uid}")
        return account

    def _context(self, account: Host, request: pytest.FixtureRequest, record: Record) -> Iterator[CaseContext]:
        assert self._prepared
        info = case_info(request.node)
        if self._flags and info.against:
            pytest.skip(f"not run with hardening flags: {info.against}")
        watch = self._watch(account)
        ctx = CaseContext(
            account, self._prepared.owner, info.id, record, factor=self._factor, flags=self._flags, watch=watch
        )
        failed_before = request.session.testsfailed
        yield ctx
        if self._prepared is None:
            return  # the run was interrupted: the host is closed already
        left = []
        if request.session.testsfailed == failed_before:
            if self._prepared.guest is None:  # the unrelated containers of a throwaway host go with the host
                ctx.remove_unrelated()
            left = watch.new()
            if not left:
                return
        del self._watches[ctx.uid]  # objects left by a failed case are not a leak of the next one
        if self._keep:
            self._prepared.keep()
            self.kept.append(ctx)
        else:
            remove_containers(account, self._prepared.owner.run)
        expect(not left, "nothing of the case left on the host", "\n".join(left))

    def _watch(self, account: Host) -> LeakDetector:
        """The account's leak detector, shared by its cases; a new one after a failed case."""
        assert self._prepared
        uid = account.facts().uid
        if uid not in self._watches:
            owner = self._prepared.owner
            self._watches[uid] = LeakDetector(
                account, owner.run, exclusive=self._prepared.exclusive, factor=self._factor,
                ignored_prefix=f"{SHARED}/{directories_of(owner.run)}-",
            )  # fmt: skip
            self._watches[uid].begin()
        return self._watches[uid]


def _why_not_loaded(report: pytest.CollectReport) -> str:
    """The file, and the last line of Python's traceback with its place: pytest marks that with an E."""
    lines = [line.removeprefix("E").strip() for line in lines_of(report.longreprtext) if line.startswith("E  ")]
    name = re.escape(report.nodeid.rpartition("/")[2])
    places = re.findall(rf"{name}(?:\", line |:)(\d+)", report.longreprtext)
    return ": ".join([report.nodeid, *(f"line {each}" for each in places[-1:]), *(lines[-1:] or ["it is wrong"])])


def require_end(plugin: VerificationPlugin, status: int) -> None:
    """Raise what stopped a run of ``run_pytest``, unless every chosen case has run."""
    if plugin.broken:
        raise WrongUsage(f"A module of cases can't be loaded: {'; '.join(plugin.broken)}")
    if plugin.problem:
        raise plugin.problem
    if plugin.crash:
        raise plugin.crash
    if status == pytest.ExitCode.USAGE_ERROR:
        raise WrongUsage("The cases can't be collected: see the message of pytest above.")
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest exited with {status!r}")


def _explained(error: BaseException | None, report: pytest.TestReport) -> tuple[str, str]:
    """What was expected and what the case got, for each way to fail."""
    if isinstance(error, Mismatch):
        return error.expected, error.got
    if isinstance(error, TimedOut):
        return f"“{error.program}” to exit", f"timed out after {error.timeout:g} s"
    if isinstance(error, EOFError):
        return "more output", str(error)
    return CRASHED, own_fault(error) if isinstance(error, Exception) else report.longreprtext
