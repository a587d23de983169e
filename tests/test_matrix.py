from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from checks.core.errors import Exit, WrongUsage
from checks.core.progress import Progress
from checks.documents import compatibility, picture
from checks.evidence import store
from checks.evidence.model import AgentVerification, Outcome
from checks.matrix import expectations, report
from checks.matrix.command import JobLog, MatrixOptions, matrix, status
from checks.matrix.expectations import Expectations, ExpectedFailure, Verdict
from checks.matrix.run import CASES, Job, State, jobs_of
from checks.nanoclaw.contract import AgentProtocol
from checks.runner.plugin import CaseInfo
from tests.evidence import DEBIAN_12, DEBIAN_13, case, stored

GATEWAY = ExpectedFailure(
    cases=("host-gateway",), because="known from 4.7 on", entry="an-entry", engine="podman", below="4.7"
)
KNOWN = Expectations(expected_failure=(GATEWAY,))


def expected(**facts: str) -> ExpectedFailure:
    return ExpectedFailure(cases=("a",), because="b", entry="c", **facts)


def job(*cases: object, facts: object = DEBIAN_12, name: str = "debian-12") -> Job:
    return Job(name, "recommended", State.DONE, evidence=stored(name, *cases, facts=facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "facts", "verdict"),
    [
        ("failed", DEBIAN_12, Verdict.EXPECTED_FAILURE),
        ("passed", DEBIAN_12, Verdict.UNEXPECTED_PASS),
        ("failed", DEBIAN_13, Verdict.FAILED),
        ("passed", DEBIAN_13, Verdict.PASSED),
        ("skipped", DEBIAN_12, Verdict.SKIPPED),
        ("failed", replace(DEBIAN_13, version="4.10.0"), Verdict.FAILED),
    ],
)
def test_an_outcome_is_judged_by_what_is_known_of_its_host(outcome: Outcome, facts: object, verdict: Verdict) -> None:
    evidence = job(case("host-gateway", outcome), facts=facts).evidence
    assert evidence
    assert KNOWN.judge(evidence.cases[0], evidence.host) is verdict


@pytest.mark.parametrize("key", ["cgroups", "init", "profile", "host"])
def test_an_expectation_holds_only_where_all_its_facts_do(key: str) -> None:
    evidence = stored("debian-13", case("a", "failed"))
    value = getattr(evidence.host, "name" if key == "host" else key)
    assert expected(**{key: value}).applies(evidence.host)
    assert not expected(**{key: "another"}).applies(evidence.host)


def test_since_is_the_first_version_on_which_it_holds() -> None:
    host = stored("debian-13").host
    assert expected(since="5.4.2").applies(host)
    assert not expected(since="5.4.3").applies(host)


def test_rhels_own_version_of_podman_is_compared_by_its_numbers() -> None:
    host = stored("rhel9", facts=replace(DEBIAN_13, version="4.9.4-rhel")).host
    assert expected(below="4.10").applies(host)
    assert expected(since="4.9.4").applies(host)
    assert not expected(since="4.9.5").applies(host)


def test_every_committed_expectation_names_cases_that_exist(cases: list[CaseInfo]) -> None:
    named = {name for known in expectations.load().expected_failure for name in known.cases}
    assert named <= {each.id for each in cases}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[expected_failure]]\ncases = ["a"]\nbecause = "b"\n', "expected_failure 1: “entry” is missing"),
        ('[[expected_failure]]\ncases = ["a"]\nbecause = "b"\nentry = "c"\ncolour = 1\n', "“colour” is not a key"),
        ("[[expected_failure]", "can't be read"),
    ],
)
def test_a_malformed_expectation_is_refused_with_file_key_and_reason(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "expectations.toml").write_text(text)
    with pytest.raises(WrongUsage, match=message):
        expectations.load(tmp_path / "expectations.toml")


@pytest.mark.parametrize(
    ("jobs", "wanted"),
    [
        ([job(case("host-gateway", "failed"), case("a"))], Exit.OK),
        ([job(case("host-gateway", "passed"))], Exit.CASE_FAILED),
        ([job(case("a", "failed"))], Exit.CASE_FAILED),
        ([job(case("a")), Job("debian-11", "stock", State.ERROR)], Exit.HOST_UNUSABLE),
        ([job(case("a", "failed")), Job("debian-11", "stock", State.ERROR)], Exit.CASE_FAILED),
        ([Job("ubuntu-22.04", "stock", State.NOT_TESTED)], Exit.NOT_TESTED),
        ([job(case("a")), Job("ubuntu-22.04", "stock", State.NOT_TESTED)], Exit.OK),
    ],
)
def test_a_matrix_has_one_exit_status(jobs: list[Job], wanted: Exit) -> None:
    assert status(jobs, KNOWN) is wanted


def test_the_summary_tells_known_failures_apart_from_others_and_says_why() -> None:
    output = report.summary(
        [
            job(case("host-gateway", "failed"), case("a", "failed", got="a surprise"), case("b", "skipped")),
            Job("debian-11", "stock", State.ERROR, message="no disk"),
        ],
        KNOWN,
    )
    assert "Case host-gateway: expected failure: known from 4.7 on (docs/TROUBLESHOOTING.md#an-entry)" in output
    assert "Case a: failed: expected something; got a surprise" in output
    assert "Case b: skipped: no such thing here" in output
    assert "debian-11 (stock) was not tested: no disk" in output
    assert "unexpected" in output
    assert "host error" in output


def test_a_docker_host_is_run_with_its_one_profile_and_others_with_both() -> None:
    assert [(each.host, each.profile) for each in jobs_of(["docker-engine", "debian-13"])] == [
        ("docker-engine", "stock"), ("debian-13", "recommended"), ("debian-13", "stock"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        MatrixOptions(host=["nonsense"]),
        MatrixOptions(at_once="3"),
        MatrixOptions(at_once="x"),
        MatrixOptions(html="/no/such/directory/x.html"),
        MatrixOptions(evidence="/no/such/directory/evidence"),
    ],
)
def test_wrong_usage_of_the_matrix_is_a_line_and_its_status(
    options: MatrixOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert matrix(options) is Exit.WRONG_USAGE
    assert capsys.readouterr().err.startswith("Wrong usage: ")


def test_without_a_terminal_each_step_and_each_end_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    running = Job("debian-12", "stock", State.RUNNING, phase="Building it")
    lines = JobLog([running], Progress())
    lines.update()
    lines.update()
    running.state, running.phase, running.message = State.ERROR, "", "no disk"
    lines.update()
    assert capsys.readouterr().err.splitlines() == [
        "debian-12 (stock): Building it …", "debian-12 (stock): host error: no disk",
    ]  # fmt: skip


def test_the_picture_shows_the_report_of_the_evidence_and_calls_nobody() -> None:
    one = stored("debian-13", case("x"), case("y", "failed", got="another end"))
    drawn = picture.svg(one)
    assert drawn == picture.svg(one)
    words = re.sub(r"<[^>]+>", " ", html.unescape(drawn)).replace("\xa0", " ")
    assert "Podman 5.4.2" in words
    assert "Case x" in words
    assert "another end" in words
    assert "Results: 1/2 passed" in words
    assert "url(" not in drawn.replace("url(#", "")


def of_agent(agent: str) -> AgentVerification:
    made = msgspec.to_builtins(stored("debian-13", case("message"), case("killed", "failed")))
    return store.build(AgentVerification, {**made, "agent": agent})


def test_evidence_of_nanoclaws_own_agent_names_its_version_and_commit_and_has_a_file_of_its_own() -> None:
    made = of_agent("nanoclaw 2.2.0 (commit 58dc63edbbf2); built on node:22-slim")
    assert made.nanoclaw == ("2.2.0", "58dc63edbbf2")
    assert (made.directory, made.filename) == ("nanoclaw", "debian-13-2.2.0.json")
    text = compatibility.text([stored("debian-13", case("stop"))], Expectations(), [], [made])
    assert "| 2.2.0 (58dc63edbbf2) | Podman 5.4.2 (debian-13) | 1 | Case killed (failed) | none |" in text


@pytest.mark.parametrize("agent", ["the project's stub agent, not nanoclaw's own", "nanoclaw 2.2.0 (commit unknown)"])
def test_evidence_of_another_agent_is_none_of_nanoclaws(agent: str) -> None:
    with pytest.raises(ValueError, match="must be “nanoclaw VERSION"):
        of_agent(agent)


def test_a_nanoclaw_checkout_is_run_with_the_default_profile_and_the_cases_that_start_its_agent() -> None:
    jobs = jobs_of(["debian-13", "debian-12"], "/home/u/nanoclaw")
    assert [(each.host, each.profile, each.nanoclaw) for each in jobs] == [
        ("debian-13", "recommended", "/home/u/nanoclaw"),
        ("debian-12", "recommended", "/home/u/nanoclaw"),
    ]


def test_a_checkout_that_is_none_is_refused_before_a_host_is_booted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert matrix(MatrixOptions(nanoclaw=str(tmp_path))) is Exit.WRONG_USAGE
    assert "is not a nanoclaw checkout" in capsys.readouterr().err


def test_a_checkout_of_1_x_is_not_asked_for_the_whole_app_of_2_x() -> None:
    assert "Whole nanoclaw" in CASES[AgentProtocol.DATABASES]
    assert CASES[AgentProtocol.STREAMS] == ("Nanoclaw integration",)
