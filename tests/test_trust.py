"""The results of mutation tests: their meaning, and the report."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from checks.core import run_directories
from checks.core.errors import Exit, HostProblem
from checks.core.progress import Progress
from checks.documents import mutation
from checks.engine.docker import Record
from checks.evidence import store
from checks.evidence.model import MutationRun
from checks.evidence.run import CRASHED, CaseResult
from checks.evidence.store import Provenance
from checks.hosts.local import LocalHost
from checks.mutation import command
from checks.mutation.catalogue import Mutation
from checks.mutation.command import SabotageOptions, incomplete, not_run, report, sabotage, suits
from checks.mutation.verdict import MutationStatus, Trial, judge, results, score, status
from checks.mutation.worker import BROKEN, FAILED, PASSED, SKIPPED, UNUSABLE, TaskOutcome, outcome_of
from checks.runner.collection import all_cases
from checks.runner.plugin import CaseInfo
from tests.evidence import DEBIAN_13
from tests.fakes import FACTS
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[1]
FAULT = Mutation(
    name="ro-dropped", description="Drops :ro", cases=("read-only",), failure=re.compile("refused"), script="go"
)
EVEN = replace(FAULT, name="notice", failure=None, equivalent="it changes nothing")
CASE = CaseInfo("read-only", "Bind mounts", "Read-only bind mount", "")
GOOD = TaskOutcome(PASSED)
CAUGHT = TaskOutcome(FAILED, "all four attempts refused", "two")


def pair(got: TaskOutcome, without_fault: TaskOutcome = GOOD, mutation: Mutation = FAULT) -> Trial:
    return judge(mutation, CASE, got, without_fault)


def run(directory: Path, *trials: Trial, agent: str = "", day: int = 2) -> MutationRun:
    """The evidence of a run, as its file has it."""
    provenance = Provenance("debian-13", "recommended", DEBIAN_13, datetime(2026, 1, day, tzinfo=UTC))
    values = {**provenance.values(), "seconds": 61, "results": results(trials), "agent": agent}
    store.save(store.build(MutationRun, values), directory)
    return next(each for each in store.committed(MutationRun, directory) if each.agent == agent)


@pytest.mark.parametrize(
    ("got", "without_fault", "mutation", "verdict", "end"),
    [
        (CAUGHT, GOOD, FAULT, MutationStatus.CAUGHT, Exit.OK),
        (GOOD, GOOD, FAULT, MutationStatus.MISSED, Exit.CASE_FAILED),
        (TaskOutcome(SKIPPED, got="no session"), GOOD, FAULT, MutationStatus.MISSED, Exit.CASE_FAILED),
        (
            TaskOutcome(FAILED, "exit status 0", "exit status 1"),
            GOOD,
            FAULT,
            MutationStatus.OTHERWISE,
            Exit.CASE_FAILED,
        ),
        (TaskOutcome(BROKEN, CRASHED, "Traceback … refused"), GOOD, FAULT, MutationStatus.BROKEN, Exit.CASE_FAILED),
        (TaskOutcome(UNUSABLE, got="connection refused"), GOOD, FAULT, MutationStatus.HOST, Exit.HOST_UNUSABLE),
        (CAUGHT, TaskOutcome(FAILED, "x", "y"), FAULT, MutationStatus.FAILS_ANYWAY, Exit.CASE_FAILED),
        (CAUGHT, TaskOutcome(SKIPPED, got="no such account"), FAULT, MutationStatus.NOT_RUN, Exit.NOT_TESTED),
        (GOOD, GOOD, EVEN, MutationStatus.TOLERATED, Exit.OK),
        (CAUGHT, GOOD, EVEN, MutationStatus.REJECTED, Exit.CASE_FAILED),
    ],
)
def test_only_a_case_that_names_the_fault_has_caught_it(
    got: TaskOutcome, without_fault: TaskOutcome, mutation: Mutation, verdict: MutationStatus, end: Exit
) -> None:
    found = pair(got, without_fault, mutation)
    assert found.verdict is verdict
    assert status([found]) == end
    assert verdict in report([found], 61.0)


def test_a_mutation_is_caught_when_every_case_named_has_caught_it() -> None:
    other = replace(FAULT, name="other")
    pairs = [pair(CAUGHT), pair(GOOD), pair(CAUGHT, mutation=other), pair(GOOD, mutation=EVEN)]
    assert score(pairs) == "caught 1/2 mutations (2/3 by case)"
    assert status(pairs) == Exit.CASE_FAILED


def test_what_was_not_run_counts_neither_way() -> None:
    pairs = [pair(CAUGHT), pair(CAUGHT, TaskOutcome(SKIPPED, got="runs an agent"), replace(FAULT, name="other"))]
    assert score(pairs) == "caught 1/1 mutations (1/1 by case)"
    assert "read-only: runs an agent" in report(pairs, 1.0)


def test_a_missed_mutation_is_told_with_what_docker_does() -> None:
    output = report([pair(GOOD)], 1.0)
    assert "read-only under ro-dropped: missed" in output
    assert "caught 0/1" in output


def test_a_case_that_breaks_has_not_failed() -> None:
    result = CaseResult("x", "g", "l", "failed", 1.0, Record(), expected=CRASHED, got="IndexError")
    assert outcome_of(result).outcome == BROKEN
    assert outcome_of(dataclasses.replace(result, expected="exit status 0")).outcome == FAILED
    assert outcome_of(dataclasses.replace(result, outcome="skipped", reason="no account")) == TaskOutcome(
        SKIPPED, got="no account", seconds=1.0
    )


def test_cases_that_take_long_are_left_out_with_their_reason(cases: list[CaseInfo]) -> None:
    by_id = {case.id: case for case in cases}
    assert not_run(by_id["run"], SabotageOptions(), [1500, 1000]) == ""
    assert not_run(by_id["reach"], SabotageOptions(), [1500, 1000]) == ""
    assert "--agents" in not_run(by_id["agents-at-once"], SabotageOptions(), [1500, 1000])
    assert not_run(by_id["agents-at-once"], SabotageOptions(agents=True), [1500, 1000]) == ""
    assert "--slow" in not_run(by_id["agent-build"], SabotageOptions(agents=True), [1500, 1000])


def test_a_case_that_no_account_suits_is_left_out_with_its_reason(cases: list[CaseInfo]) -> None:
    by_id = {case.id: case for case in cases}
    assert not_run(by_id["workspace-of-image-uid"], SabotageOptions(), [1001]) == "needs an account whose uid is 1000"
    of_1000 = not_run(by_id["workspace-passing-user"], SabotageOptions(), [1000])
    assert of_1000 == "needs an account whose uid is not 1000"


@pytest.mark.parametrize(("listed", "kind"), [("ps", "containers"), ("images", "images")])
def test_an_account_with_containers_or_images_of_its_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, kind: str
) -> None:
    program = tmp_path / "podman"
    program.write_text(f'#!/bin/sh\n[ "$1" != {listed} ] || printf "%s\\n" 0123 0123 4567\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(command, "require_usable", lambda _: None)
    monkeypatch.setattr(LocalHost, "facts", lambda _: FACTS)
    with (
        pytest.raises(HostProblem, match=rf"This account has {kind} \(2\), which a faulty command may remove"),
        run_directories.new_run() as run,
        command._host("local", run, Progress()),
    ):
        pass


def test_a_case_goes_to_an_account_that_suits_it(cases: list[CaseInfo]) -> None:
    by_id = {case.id: case for case in cases}
    assert [suits(by_id["workspace-of-image-uid"], uid) for uid in (1500, 1000)] == [False, True]
    assert [suits(by_id["workspace-passing-user"], uid) for uid in (1500, 1000)] == [True, False]
    assert [suits(by_id["run"], uid) for uid in (1500, 1000)] == [True, True]


def test_the_document_says_what_was_seen_and_what_has_changed_since(tmp_path: Path, cases: list[CaseInfo]) -> None:
    evidence = run(tmp_path, pair(CAUGHT))
    output = mutation.text([evidence], [FAULT], cases)
    assert "**Caught 1/1 mutations (1/1 by case)**" in output
    assert (
        "| Read-only bind mount | `ro-dropped` | Drops :ro | caught | expected all four attempts refused; got two |"
        in output
    )
    changed = mutation.text([evidence], [replace(FAULT, script="go again")], cases)
    assert "**Caught 0/0 mutations (0/0 by case)**" in changed
    assert "Read-only bind mount under `ro-dropped`: not run yet." in changed


def test_without_evidence_the_document_claims_nothing(cases: list[CaseInfo]) -> None:
    output = mutation.text([], [FAULT], cases)
    assert "No run has written evidence yet" in output
    assert "aught 0/0" not in output


def test_what_has_not_run_yet_is_listed(tmp_path: Path, cases: list[CaseInfo]) -> None:
    evidence = run(tmp_path, pair(CAUGHT))
    case = [each for each in cases if each.id == "read-only"]

    def lines(runs: list[MutationRun], mutation: Mutation) -> list[str]:
        return [line for _, line in incomplete(runs, "debian-13", [mutation], case)]

    assert lines([evidence], FAULT) == []
    assert lines([evidence], replace(FAULT, script="go again")) == ["read-only under ro-dropped: not run yet"]
    assert lines([], FAULT) == ["There is no evidence of a run on debian-13."]
    assert lines([evidence], EVEN) == [
        "read-only: no mutation in fixtures/sabotage names this case",
        "read-only under notice: not run yet",
    ]


def test_a_run_with_a_nanoclaw_adds_its_cases_to_those_of_its_host(tmp_path: Path, cases: list[CaseInfo]) -> None:
    other = replace(FAULT, name="ro-late", cases=("read-only",))
    left_out = pair(GOOD, TaskOutcome(SKIPPED, got="needs a checkout"), other)
    first = run(tmp_path, pair(CAUGHT), left_out)
    of_agent = run(tmp_path, pair(CAUGHT, mutation=other), agent="nanoclaw 2.2.0 (commit 0123456789ab)", day=3)
    assert {each.name for each in tmp_path.rglob("*.json")} == {"debian-13.json", "debian-13-2.2.0.json"}
    assert "**Caught 1/1 mutations (1/1 by case)**" in mutation.text([first], [FAULT, other], cases)
    both = mutation.text([of_agent, first], [FAULT, other], cases)
    assert "**Caught 2/2 mutations (2/2 by case)**, on 2026-01-03, in 2:02 minutes" in both
    assert "The cases of a whole nanoclaw ran nanoclaw 2.2.0 (commit 0123456789ab)." in both
    left_out_later = run(tmp_path / "other", left_out, day=4)
    assert "Caught 2/2" in mutation.text([of_agent, first, left_out_later], [FAULT, other], cases)


@pytest.mark.parametrize(("only", "status"), [(["stdin"], 0), (["whole-setup"], 1), (["no-such-case"], 2)])
def test_one_case_can_be_asked_about(only: list[str], status: int) -> None:
    assert sabotage(SabotageOptions(check_complete=True, only=only)) == status


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--host", "auto"], "“auto” is not a host with Podman."),
        (["--host", "docker-engine"], "“docker-engine” is not a host with Podman."),
        (["--host", "local", "--agents"], "--agents and --slow are for throwaway hosts."),
        (["--only", "nonsense"], "No mutation matches “nonsense”."),
        (["--json", "/no/such/directory/x.json"], "--json: the directory /no/such/directory does not exist."),
    ],
)
def test_wrong_usage_is_one_clear_line(args: list[str], line: str) -> None:
    argv = [sys.executable, "-m", "invoke", "--search-root", str(ROOT), "sabotage", *args]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == Exit.WRONG_USAGE
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_every_case_of_a_whole_nanoclaw_is_run_as_one() -> None:
    whole = [case for case in all_cases() if case.id.startswith("whole-")]
    assert len(whole) > 5
    assert {"whole" in case.asks for case in whole} == {True}
