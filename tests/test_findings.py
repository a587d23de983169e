"""The doctor's findings: their severity, what is accepted, and the forms for other programs."""

from __future__ import annotations

import json
import os
import stat
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from checks.core import terminal
from checks.core.errors import Exit, WrongUsage
from checks.engine.docker import Record
from checks.evidence import acceptance, checklist
from checks.evidence.checklist import Result
from checks.evidence.hardening_model import CheckResult
from checks.evidence.model import Outcome
from checks.evidence.run import CaseResult
from checks.guide import catalogue, doctor, findings, snapshot
from checks.guide.diagnosis import diagnose
from checks.guide.host_checks import CHECKS
from checks.hardening.injection import command
from checks.runner import verify
from tests.test_doctor import changed, taken

ENTRIES = catalogue.load()
LINGER = "agents-stop-when-the-user-logs-out"
BROKEN = changed("newuidmap=", "linger=", "docker_version=Emulate Docker CLI", "docker_version=podman version 5.4.2")


def states(text: str, *accepted: str) -> dict[str, str]:
    host = taken(text)
    found = findings.results(host, diagnose(host, ENTRIES), ENTRIES, dict.fromkeys(accepted, "known"))
    return {each.id: each.state for each in found}


def test_every_check_has_one_result_and_a_severity() -> None:
    assert set(states(changed())) == set(CHECKS)
    assert set(findings._CHECKS) <= set(CHECKS)


def test_a_finding_blocks_degrades_or_is_a_note_and_the_rest_is_fine() -> None:
    found = states(BROKEN)
    assert found["newuidmap-is-missing"] == "blocks"
    assert found[LINGER] == "degrades"
    assert found["every-docker-command-prints-emulate-docker-cli-using-podman"] == "note"
    assert found["docker-command-not-found"] == "fine"


def test_what_only_nanoclaw_2_needs_is_a_note_until_it_is_installed() -> None:
    lines = ["compose=", "compose_version=", "nft=", "restart="]
    installed = states(changed(*lines, "nanoclaw_2=nanoclaw-v2-12ab34cd.service"))
    for id_ in (
        "docker-compose-is-not-available",
        "a-bridge-network-needs-nft",
        "services-of-a-compose-file-stay-down-after-a-boot",
    ):
        assert states(changed(*lines))[id_] == "note"
        assert installed[id_] == "degrades"


@pytest.mark.parametrize(
    ("lines", "check"),
    [
        (["docker_version=", "podman_version="], "a-network-helper-is-missing"),
        (["init=init"], LINGER),
        (["info="], "containers-start-slowly-and-the-disk-fills-up"),
        (["controllers="], "the-cgroup-controller-cpu-is-not-available"),
    ],
)
def test_a_check_that_lacks_what_it_needs_is_not_tested_and_not_fine(lines: list[str], check: str) -> None:
    assert states(changed(*lines))[check] == "not tested"


def test_notes_and_accepted_findings_do_not_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = changed("docker_version=Emulate Docker CLI", "docker_version=podman version 5.4.2")
    monkeypatch.setattr(snapshot, "take", lambda _: taken(note))
    assert doctor.doctor() is Exit.OK
    monkeypatch.setattr(snapshot, "take", lambda _: taken(changed("linger=")))
    assert doctor.doctor() is Exit.CASE_FAILED
    assert doctor.doctor(accept=[LINGER]) is Exit.OK
    file = tmp_path / "accepted.toml"
    for until, status in (("2999-01-31", Exit.OK), ("2020-01-31", Exit.CASE_FAILED)):
        file.write_text(f'[[accept]]\nid = "{LINGER}"\nreason = "agents run by day"\nuntil = {until}\n')
        assert doctor.doctor(accept_file=str(file)) is status
    assert f"{LINGER} was accepted until 2020-01-31, and is not any more" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "accept = 5", '[[accept]]\nid = "nonsense"\nreason = "x"\nuntil = 2020-01-01\n'])
def test_a_file_of_accepted_findings_that_is_not_valid_is_wrong_usage(text: str, tmp_path: Path) -> None:
    (tmp_path / "accepted.toml").write_text(text)
    with pytest.raises(WrongUsage):
        acceptance.accepted_ids((), str(tmp_path / "accepted.toml"), ENTRIES, date(2026, 1, 1))


def test_two_entries_of_one_id_are_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "accepted.toml"
    entry = f'[[accept]]\nid = "{LINGER}"\nreason = "x"\nuntil = '
    file.write_text("".join(f"{entry}{until}\n" for until in ("2020-01-31", "2999-01-31")))
    for read in (acceptance.tell_ended, lambda file: acceptance.accepted_ids((), file, ENTRIES)):
        with pytest.raises(WrongUsage, match="two entries"):
            read(str(file))


def test_a_reason_begins_no_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "accepted.toml"
    file.write_text(f'[[accept]]\nid = "{LINGER}"\nreason = "x)\\n[PASS] forged"\nuntil = 2999-01-31\n')
    assert acceptance.accepted_ids((), str(file), ENTRIES) == {LINGER: "x)\\n[PASS] forged (until 2999-01-31)"}


def test_an_unknown_id_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.doctor(accept=["nonsense"]) is Exit.WRONG_USAGE
    assert "“nonsense” is not an id that can be accepted" in capsys.readouterr().err


def test_json_and_junit_have_every_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(snapshot, "take", lambda _: taken(BROKEN))
    json_file, junit_file = tmp_path / "a.json", tmp_path / "a.xml"
    assert doctor.doctor(json=str(json_file), junit=str(junit_file), accept=[LINGER]) is Exit.CASE_FAILED
    read = json.loads(json_file.read_text())
    assert read["summary"] == {"blocks": 1, "notes": 1, "accepted": 1, "fine": len(CHECKS) - 5, "not tested": 2}
    first = read["results"][0]
    assert (first["id"], first["state"], first["fix"]) == ("newuidmap-is-missing", "blocks", "Install `uidmap`")
    suite = ElementTree.parse(junit_file).getroot()[0]  # noqa: S314 - our own
    counted = {name: int(suite.attrib[name]) for name in ("tests", "failures", "skipped")}
    assert counted == {"tests": len(CHECKS), "failures": 1, "skipped": 2}
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.text == "Install `uidmap`"


FOUND = Result(id="a", title="A: b, c", state="blocks", observed="50%\n::error::x", fix="do it")


@pytest.mark.parametrize(("variable", "printed"), [("true", True), ("", False)])
def test_findings_are_annotations_in_github_actions_alone(
    variable: str, printed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", variable)
    checklist.annotate([FOUND, Result(id="b", title="B", state="fine")])
    out = capsys.readouterr().out
    assert out == ("::error title=A%3A b%2C c::50%25%0A\\::error::x Fix: do it\n" if printed else "")


def test_no_output_of_a_container_is_a_workflow_command(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "::add-mask::x\n  ::error::y\na ##[error]z ::b"
    assert terminal.clean(text) == text
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert terminal.clean(text) == "\\::add-mask::x\n  \\::error::y\na #\\#[error]z ::b"


def test_a_check_of_the_hardening_that_fails_is_a_finding() -> None:
    evidence = SimpleNamespace(
        results=[CheckResult(name=n, passed=p, observed=n) for n, p in (("User", True), ("Memory", False))],
        missing={"cpus": "no cpu"},
    )
    for accepted, state in ((False, "degrades"), (True, "accepted")):
        found = command._results(evidence, accept_missing=accepted)  # type: ignore[arg-type]
        assert [each.state for each in found] == ["fine", "degrades", state]


def test_a_failed_case_is_a_finding_with_its_fix() -> None:
    case = CaseResult(
        "run", "Group", "docker run", "failed", 1.0, Record(), expected="a", got="b", entry="x#y", fix="do it"
    )
    made = verify._result(case)
    assert (made.state, made.title, made.observed, made.fix) == ("blocks", "docker run", "expected a; got b", "do it")


@pytest.mark.parametrize(
    ("outcome", "accepted", "state"),
    [("passed", "", "fine"), ("skipped", "", "not tested"), ("failed", "known", "accepted")],
)
def test_every_outcome_of_a_case_has_its_state(outcome: Outcome, accepted: str, state: str) -> None:
    made = verify._result(CaseResult("run", "Group", "docker run", outcome, 1.5, Record(), accepted=accepted))
    assert (made.state, made.accepted, made.seconds) == (state, accepted, 1.5)


def test_the_files_of_an_earlier_run_are_not_those_of_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    json_file, junit = tmp_path / "a.json", tmp_path / "a.xml"
    for file in (json_file, junit):
        file.write_text("an earlier success")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert doctor.doctor(host="ssh://nobody@127.0.0.1:9", json=str(json_file), junit=str(junit)) is Exit.HOST_UNUSABLE
    assert json.loads(json_file.read_text())["summary"] == {"errors": 1}
    assert '<error message="The run did not reach its end: ssh://nobody@127.0.0.1:9 can' in junit.read_text()


def test_a_pipe_gets_the_results_alone() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb") as pipe:
        with checklist.reported("invoke doctor", "local", json=f"/dev/fd/{writing}"):
            assert pipe.read() is None
        os.close(writing)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("red \x1b[31m\0")])
def test_the_report_of_a_run_that_was_interrupted_has_an_error(tmp_path: Path, error: BaseException) -> None:
    junit = tmp_path / "a.xml"
    with pytest.raises(type(error)), checklist.reported("invoke verify", "local", junit=str(junit), private=True):
        raise error
    suite = ElementTree.parse(junit).getroot()[0]  # noqa: S314 - our own
    assert {name: suite.attrib[name] for name in ("tests", "errors", "failures")} == {
        "tests": "1", "errors": "1", "failures": "0"
    }  # fmt: skip
    assert [each.get("message", "")[:31] for each in suite.iter("error")] == ["The run did not reach its end: "]
    assert stat.S_IMODE(junit.stat().st_mode) == 0o600
