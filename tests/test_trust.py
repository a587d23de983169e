"""What the results of sabotages mean, and what is said of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from checks.core.errors import Exit, WrongUsage
from checks.documents import mutation
from checks.engine.docker import Record
from checks.evidence.run import CaseResult
from checks.mutation import catalogue, stored
from checks.mutation.catalogue import Mutation
from checks.mutation.command import SabotageOptions, not_run, report, suits
from checks.mutation.verdict import MutationStatus, Pair, judge, score, status
from checks.mutation.worker import BROKEN, FAILED, PASSED, SKIPPED, UNUSABLE, TaskOutcome, judged
from checks.runner.plugin import CRASHED, CaseInfo
from tests.fakes import FACTS

ROOT = Path(__file__).parents[1]
FAULT = Mutation("ro-dropped", "Drops :ro", ("read-only",), (), re.compile("refused"), 1.0, "", "go\n")
EVEN = replace(FAULT, name="notice", equivalent="it changes nothing")
GOOD = TaskOutcome(PASSED)
CAUGHT = TaskOutcome(FAILED, "all four attempts refused", "two")


def pair(got: TaskOutcome, faultless: TaskOutcome = GOOD, sabotage: Mutation = FAULT) -> Pair:
    return judge(sabotage, "read-only", "Read-only bind mount", got, faultless)


@pytest.mark.parametrize(
    ("got", "faultless", "sabotage", "verdict", "end"),
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
        (CAUGHT, TaskOutcome(SKIPPED, got="no such account"), FAULT, MutationStatus.NOT_RUN, Exit.OK),
        (GOOD, GOOD, EVEN, MutationStatus.TOLERATED, Exit.OK),
        (CAUGHT, GOOD, EVEN, MutationStatus.REFUSED, Exit.CASE_FAILED),
    ],
)
def test_only_a_case_that_names_the_fault_has_caught_it(
    got: TaskOutcome, faultless: TaskOutcome, sabotage: Mutation, verdict: MutationStatus, end: Exit
) -> None:
    found = pair(got, faultless, sabotage)
    assert found.verdict is verdict
    assert status([found]) == end
    assert verdict in report([found], 61.0)


def test_a_sabotage_is_caught_when_every_case_named_has_caught_it() -> None:
    other = replace(FAULT, name="other")
    pairs = [pair(CAUGHT), pair(GOOD), pair(CAUGHT, sabotage=other), pair(GOOD, sabotage=EVEN)]
    assert score(pairs) == "caught 1/2 sabotages (2/3 by case)"
    assert status(pairs) == Exit.CASE_FAILED


def test_what_was_not_run_counts_neither_way() -> None:
    pairs = [pair(CAUGHT), pair(CAUGHT, TaskOutcome(SKIPPED, got="runs an agent"), replace(FAULT, name="other"))]
    assert score(pairs) == "caught 1/1 sabotages (1/1 by case)"
    assert "read-only: runs an agent" in report(pairs, 1.0)


def test_a_missed_sabotage_is_told_with_what_docker_does() -> None:
    told = report([pair(GOOD)], 1.0)
    assert "read-only under ro-dropped: missed" in told
    assert "caught 0/1" in told


def test_a_case_that_breaks_has_not_failed() -> None:
    result = CaseResult("x", "g", "l", "failed", 1.0, Record(), expected=CRASHED, got="IndexError")
    assert judged(result).outcome == BROKEN
    assert judged(replace(result, expected="exit status 0")).outcome == FAILED
    assert judged(replace(result, outcome="skipped", reason="no account")) == TaskOutcome(
        SKIPPED, got="no account", seconds=1.0
    )


def test_cases_that_take_long_are_left_out_with_their_reason(cases: list[CaseInfo]) -> None:
    by_id = {case.id: case for case in cases}
    assert not_run(by_id["run"], SabotageOptions()) == ""
    assert not_run(by_id["reach"], SabotageOptions()) == ""
    assert "--agents" in not_run(by_id["agents-at-once"], SabotageOptions())
    assert not_run(by_id["agents-at-once"], SabotageOptions(agents=True)) == ""
    assert "--slow" in not_run(by_id["agent-build"], SabotageOptions(agents=True))


def test_a_case_goes_to_an_account_that_suits_it(cases: list[CaseInfo]) -> None:
    by_id = {case.id: case for case in cases}
    assert [suits(by_id["workspace-of-image-uid"], uid) for uid in (1500, 1000)] == [False, True]
    assert [suits(by_id["workspace-passing-user"], uid) for uid in (1500, 1000)] == [True, False]
    assert [suits(by_id["run"], uid) for uid in (1500, 1000)] == [True, True]


def test_the_document_says_what_was_seen_and_what_has_changed_since(tmp_path: Path, cases: list[CaseInfo]) -> None:
    file = tmp_path / "debian-13.json"
    stored.write(file, "debian-13", FACTS, [pair(CAUGHT)], started=datetime(2026, 1, 2, tzinfo=UTC), seconds=61.4)
    told = mutation.text([stored.read(file)], [FAULT], cases)
    assert "**Caught 1/1 sabotages (1/1 by case)**" in told
    assert (
        "| Read-only bind mount | `ro-dropped` | Drops :ro | caught | expected all four attempts refused; got two |"
        in told
    )
    changed = mutation.text([stored.read(file)], [replace(FAULT, script="go again\n")], cases)
    assert "**Caught 0/0 sabotages (0/0 by case)**" in changed
    assert "Read-only bind mount under `ro-dropped`: new, or changed since." in changed


def test_without_evidence_the_document_claims_nothing(cases: list[CaseInfo]) -> None:
    told = mutation.text([], [FAULT], cases)
    assert "Nothing is said yet" in told
    assert "aught 0/0" not in told


def test_what_is_no_evidence_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"version": 99}')
    with pytest.raises(WrongUsage, match="is of version 99"):
        stored.read(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(WrongUsage, match="is no evidence"):
        stored.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--host", "local"], "“local” is no throwaway host with Podman."),
        (["--host", "docker-engine"], "“docker-engine” is no throwaway host with Podman."),
        (["--only", "nonsense"], "No sabotage matches “nonsense”."),
        (["--json", "/no/such/directory/x.json"], "--json: the directory /no/such/directory does not exist."),
    ],
)
def test_wrong_usage_is_one_clear_line(args: list[str], line: str) -> None:
    argv = [sys.executable, "-m", "invoke", "--search-root", str(ROOT), "sabotage", *args]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == Exit.WRONG_USAGE
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_every_case_named_is_in_the_evidence_that_stands_there() -> None:
    for file in mutation.EVIDENCE.glob("*.json"):
        known = {(each["sabotage"], each["case"]) for each in json.loads(file.read_text())["results"]}
        wanted = {(each.name, case) for each in catalogue.load() for case in each.cases}
        assert wanted - known == set()
