"""Faults under a whole nanoclaw: how they are caused and undone, and when their cases are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from checks.core import strict_toml
from checks.core.errors import WrongUsage
from checks.core.run_directories import Run
from checks.engine.case_context import RunScope
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost
from checks.hosts.guest import Guest
from checks.mutation.catalogue import Mutation
from checks.mutation.command import SabotageOptions, not_run
from checks.mutation.whole import WholeTrials
from checks.mutation.worker import BROKEN, PASSED, TaskOutcome
from checks.nanoclaw.agent import stub_agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.provider import AgentProvider
from checks.runner.plugin import CaseInfo
from tests.fakes import FACTS, FakeHost
from tests.test_agent import checkout

CASE = CaseInfo("whole-message", "Whole nanoclaw", "A message", "entry", asks=frozenset({"whole"}))
DROP_IN = ".config/systemd/user/nanoclaw-v2-.service.d/90-mutation.conf"


class Trials(WholeTrials):
    """Trials whose service only notes what is done, and what its account has at that moment."""

    def __init__(self, directory: Path) -> None:
        account = FakeHost(directory, {"systemctl": "true", "id": "echo me"})
        (directory / "root").mkdir()
        guest = cast("Guest", SimpleNamespace(root=FakeHost(directory / "root", {})))
        run = Run("run", directory, directory)
        ready = PreparedHost(
            account.pretend(replace(FACTS, home=str(directory))), "recommended", RunScope("r", "r"), run, guest
        )
        super().__init__(ready, stub_agent()[AgentProtocol.DATABASES], cast("AgentProvider", None), "/wrappers")
        self.drop_in, self.broken = directory / DROP_IN, directory / "broken"
        self.done: list[str] = []
        self.starting = True
        control = SimpleNamespace(stop=self._noting("stop"), start=self._noting("start"))
        self._whole = cast(
            "Any",
            SimpleNamespace(
                installed=lambda _: SimpleNamespace(
                    control=control, starts=lambda: 1, remove_agents=self._noting("agents"), await_start=self._await
                )
            ),
        )

    def _noting(self, what: str) -> Callable[[], None]:
        def note() -> None:
            state = "broken" if self.drop_in.exists() and self.broken.exists() else "sound"
            self.done.append(f"{what} {state}")

        return note

    def _await(self, before: int) -> None:
        if not self.starting:
            raise Mismatch("a start", "none")

    def without_fault(self, case: CaseInfo) -> TaskOutcome:
        self._noting("case")()
        return TaskOutcome(PASSED)


def mutation(**values: Any) -> Mutation:
    return strict_toml.convert({"name": "m", "description": "d", "cases": ["whole-message"], **values}, Mutation, "m")


def fault(directory: Path) -> Mutation:
    """A fault that is a file of root's, whose name the account's name is part of."""
    file = directory / "broken"
    return mutation(
        failure="x",
        **{"break": [{"user": "root", "run": [f'[ "$account" = me ]; touch {file}']}]},
        undo=[{"run": [f"rm {file}"]}],
    )


def test_a_fault_is_there_while_its_case_runs_and_the_service_starts_anew_before_and_after(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    assert trials.outcome(fault(tmp_path), CASE).outcome == PASSED
    assert trials.done == [
        *("stop sound", "agents sound", "start broken", "case broken"),
        *("stop broken", "agents broken", "start sound"),
    ]
    assert not trials.drop_in.exists()
    assert not trials.broken.exists()


def test_the_service_calls_the_docker_with_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials, seen = Trials(tmp_path), list[str]()
    monkeypatch.setattr(trials, "without_fault", lambda _: seen.append(trials.drop_in.read_text()))
    trials.outcome(mutation(failure="x", script="exit 1"), CASE)
    assert seen == [
        "[Service]\nEnvironment=PATH=%h/.local/share/nanoclaw-docker:/wrappers/m:/usr/local/bin:/usr/bin:/bin:%h/.local/bin\n"
    ]


def test_a_service_that_does_not_start_is_no_detected_fault(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    trials.starting = False
    outcome = trials.outcome(fault(tmp_path), CASE)
    assert outcome.outcome == BROKEN
    assert "expected a start; got none" in outcome.got
    assert not trials.broken.exists()


@pytest.mark.parametrize("key", ["break", "undo"])
def test_a_change_of_the_host_without_its_counterpart_is_refused(key: str) -> None:
    with pytest.raises(WrongUsage, match="“break” and “undo”"):
        mutation(failure="x", **{key: [{"run": ["true"]}]})


def test_a_change_of_the_host_changes_the_digest() -> None:
    first, second = (
        mutation(failure="x", **{"break": [{"run": [each]}]}, undo=[{"run": ["true"]}]) for each in ("true", "false")
    )
    assert first.digest != second.digest != mutation(failure="x").digest


def test_cases_of_a_whole_nanoclaw_need_agents_and_a_checkout_of_2_x(tmp_path: Path) -> None:
    assert "--agents" in not_run(CASE, SabotageOptions(), [1500, 1000])
    old = checkout(tmp_path / "1", "---NANOCLAW_OUTPUT_START---")
    assert "--nanoclaw" in not_run(CASE, SabotageOptions(agents=True, nanoclaw=str(old)), [1500, 1000])
    new = checkout(tmp_path / "2", "exec bun run /app/src/index.ts", databases=True)
    assert not not_run(CASE, SabotageOptions(agents=True, nanoclaw=str(new)), [1500, 1000])
