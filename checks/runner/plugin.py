"""The pytest plugin that makes a session a verification: host, fixtures, report, evidence."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from checks.core import redaction
from checks.core.errors import HostProblem, Problem
from checks.core.paths import GUIDE
from checks.core.progress import Progress
from checks.core.selection import selected
from checks.engine.case_context import CaseContext, accounts_for, directories_of, remove_containers
from checks.engine.docker import Record
from checks.engine.expect import Mismatch, expect
from checks.engine.leaks import LeakDetector
from checks.evidence.run import CaseResult, Evidence
from checks.guide import catalogue
from checks.guide.explain import find_entries
from checks.hosts.base import SHARED, Host
from checks.hosts.process import TimedOut
from checks.runner.report import Report

if TYPE_CHECKING:
    from checks.engine.prepared_host import PreparedHost

CRASHED = "the case to run to its end"
"""What was expected of a case that broke by itself: it neither held nor found a mismatch."""

_NO_ENTRY = "a-case-fails-that-has-no-entry-here"
_RECORD = pytest.StashKey[Record]()

StageFactory = Callable[[], contextlib.AbstractContextManager["PreparedHost"]]


def run_pytest(arguments: Sequence[str], plugins: Sequence[object]) -> int:
    """Run pytest in this process, without what the user's shell wants of other projects' tests; its exit status."""
    names = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        return pytest.main(list(arguments), plugins=list(plugins))
    finally:
        os.environ.update(before)


@dataclass(frozen=True)
class CaseInfo:
    """What a case's module and marker say of it."""

    id: str
    group: str
    label: str
    fix: str
    """The guide's entry on its failure."""
    against: str = ""
    """Why hardening flags can't be set on its containers; empty where they can."""
    node: str = ""
    """Its name to pytest."""
    asks: frozenset[str] = frozenset()
    """The fixtures that it asks for."""

    @property
    def names(self) -> Sequence[str]:
        """What ``--only`` is matched against."""
        return (self.id, self.label, self.group)


def about(item: pytest.Item) -> CaseInfo:
    """A case's own description. A case without a label is a mistake in the project."""
    marker = item.get_closest_marker("case")
    if marker is None:
        raise pytest.UsageError(f"{item.nodeid} has no @pytest.mark.case")
    module = item.getparent(pytest.Module)
    group = str(getattr(module.obj, "GROUP", "")) if module else ""
    fix = marker.kwargs.get("fix", _NO_ENTRY)
    against = str(marker.kwargs.get("against", ""))
    asks = frozenset(getattr(item, "fixturenames", ()))
    name = item.name.removeprefix("test_").replace("_", "-")
    return CaseInfo(name, group, str(marker.args[0]), fix, against, item.nodeid, asks)


class VerificationPlugin:
    """One session's plugin. ``prepared`` is opened when the cases are known, and only if one is to run."""

    def __init__(
        self,
        prepared: StageFactory,
        report: Report,
        progress: Progress,
        *,
        only: Sequence[str] = (),
        factor: float = 1.0,
        keep: bool = False,
        verbose: bool = False,
        flags: Sequence[str] = (),
    ) -> None:
        self._flags = flags
        self._open = prepared
        self._report = report
        self._progress = progress
        self._only = only
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
        self._catalogue = catalogue.load()  # now: a malformed one is told before anything runs

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line(
            "markers",
            "case(label, fix=entry, against=reason): a case of the report; where its fix is written up; why it can't be"
            " tried with hardening flags on its containers",
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(report.longreprtext)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        self.crash = excinfo.value
        return True  # who called pytest raises it again

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        known = [about(item) for item in items]
        try:
            chosen = selected(self._only, [each.names for each in known])
        except Problem as problem:
            self.problem = problem
            chosen = [False] * len(items)
        dropped = [item for item, wanted in zip(items, chosen, strict=True) if not wanted]
        items[:] = [item for item, wanted in zip(items, chosen, strict=True) if wanted]
        config.hook.pytest_deselected(items=dropped)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.listed = [about(item) for item in session.items]

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
                session.items.clear()  # the loop has to go round, with nothing to run
            try:
                return (yield)
            finally:
                self._scrub()
                self._prepared = None  # from here on it is taken down

    def _scrub(self) -> None:
        """Keep nothing on a host that was told a secret: an agent can write it in any form, also into a file's name."""
        assert self._prepared
        if not self._prepared.run.kept or not redaction.protecting():
            return
        for account in self._prepared.accounts:
            run = self._prepared.owner.run
            remove_containers(account, run)
            if not account.remove_private_directories(directories_of(run)):
                self.problem = HostProblem(
                    f"On {account.name}, the directories of --live, which may hold the key, could not be removed.",
                    "Remove all that was kept: invoke clean",
                )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        assert self.evidence
        label = about(item).label
        told = len(self.evidence.cases)
        if self._verbose:
            self._report.note(f"\n# {label}")
        with self._progress.step(label) if self._progress.live and not self._verbose else contextlib.nullcontext():
            result = yield
        for case in self.evidence.cases[told:]:  # only now: the spinner is gone
            self._report.case(case)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, Problem):  # the host, not the case
            self.problem = error
            item.session.shouldstop = str(error)
        elif call.when == "call" or report.outcome != "passed":
            self._add(item, report, error)
        return report

    def _add(self, item: pytest.Item, report: pytest.TestReport, error: BaseException | None) -> None:
        assert self.evidence
        what = about(item)
        seconds = report.duration
        if self.evidence.cases and self.evidence.cases[-1].id == what.id:
            if self.evidence.cases[-1].outcome != "passed":
                return  # its tear-down failed as well; the first failure says it
            seconds += self.evidence.cases.pop().seconds
        record = item.stash.setdefault(_RECORD, Record())
        result = CaseResult(what.id, what.group, what.label, report.outcome, seconds, record)
        fix = what.fix
        if report.outcome == "failed":
            result.expected, result.got = map(redaction.redacted_text, _explained(error, report))
            told = error.fix if isinstance(error, Mismatch) else ""
            fix = told or self._looked_up(result) or fix
        result.fix = f"{GUIDE}#{fix}"
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            result.reason = report.longrepr[2].removeprefix("Skipped: ")
        self.evidence.cases.append(result)

    def _looked_up(self, failed: CaseResult) -> str:
        """The guide's entry on what the failure says; empty where it says nothing that one is on.

        Of the commands only the last one is heard, and only if it failed: others may have failed as the case wanted.
        A warning stands beside what failed, and is not it.
        """
        last = failed.record.commands[-1:]
        said = [failed.got, *(done.stderr for done in last if done.returncode != 0)]
        return next(
            (entry.id for text in said for entry in find_entries(text, self._catalogue) if not entry.warning), ""
        )

    @property
    def prepared(self) -> PreparedHost:
        """The stage; open while cases run."""
        assert self._prepared
        return self._prepared

    # Fixtures

    @pytest.fixture
    def record(self, request: pytest.FixtureRequest) -> Record:
        """What the case does and sees."""
        return request.node.stash.setdefault(_RECORD, Record())  # type: ignore[no-any-return]

    @pytest.fixture
    def ctx(self, request: pytest.FixtureRequest, record: Record) -> Iterator[CaseContext]:
        """The default account's bench."""
        assert self._prepared
        yield from self._context(self._prepared.host, request, record)

    @pytest.fixture
    def ctx_passing_user(self, request: pytest.FixtureRequest, record: Record) -> Iterator[CaseContext]:
        """A bench of an account for which nanoclaw passes --user: its uid is neither 0 nor 1000."""
        yield from self._context(self._account(image_uid=False), request, record)

    @pytest.fixture
    def ctx_of_image_uid(self, request: pytest.FixtureRequest, record: Record) -> Iterator[CaseContext]:
        """A bench of an account for which nanoclaw passes no --user: its uid is 1000, the image's own."""
        yield from self._context(self._account(image_uid=True), request, record)

    def _account(self, *, image_uid: bool) -> Host:
        assert self._prepared
        account = accounts_for(self._prepared.accounts, image_uid=image_uid)
        if account is None:
            uid = self._prepared.host.facts().uid
            wanted = "1000" if image_uid else "neither 0 nor 1000"
            pytest.skip(f"needs an account whose uid is {wanted}; this host's is {uid}")
        return account

    def _context(self, account: Host, request: pytest.FixtureRequest, record: Record) -> Iterator[CaseContext]:
        assert self._prepared
        what = about(request.node)
        if self._flags and what.against:
            pytest.skip(f"not with the hardening flags on: {what.against}")
        watch = self._watch(account)
        ctx = CaseContext(
            account, self._prepared.owner, what.id, record, factor=self._factor, flags=self._flags, watch=watch
        )
        failed_before = request.session.testsfailed
        yield ctx
        if self._prepared is None:
            return  # the case was interrupted: pytest tears it down when its host is gone already
        left = []
        if request.session.testsfailed == failed_before:
            if self._prepared.guest is None:  # a throwaway host takes its bystanders along
                ctx.clear()
            left = watch.new()
            if not left:
                return
        del self._watches[ctx.uid]  # what a failed case leaves is no fault of the next one
        if self._keep:
            self._prepared.keep()
            self.kept.append(ctx)
        else:
            remove_containers(account, self._prepared.owner.run)
        expect(not left, "nothing of the case left on the host", "\n".join(left))

    def _watch(self, account: Host) -> LeakDetector:
        """The account's watch, which goes on from case to case; it begins anew where it is no longer to be trusted."""
        assert self._prepared
        uid = account.facts().uid
        if uid not in self._watches:
            owner = self._prepared.owner
            self._watches[uid] = LeakDetector(
                account,
                owner.run,
                alone=self._prepared.alone,
                apart=f"{SHARED}/{directories_of(owner.run)}-",
                factor=self._factor,
            )
            self._watches[uid].begin()
        return self._watches[uid]


def _explained(error: BaseException | None, report: pytest.TestReport) -> tuple[str, str]:
    """What was expected and what came, of any way for a case to fail."""
    if isinstance(error, Mismatch):
        return error.expected, error.got
    if isinstance(error, TimedOut):
        return f"an end within {error.timeout:g} s", "none: it was killed"
    if isinstance(error, EOFError):
        return "more output", str(error)
    return CRASHED, report.longreprtext
