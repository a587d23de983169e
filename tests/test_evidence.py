from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from checks.engine.docker import Record
from checks.evidence.run import SCHEMA, CaseResult, Evidence
from checks.hosts.process import Completed
from tests.fakes import FACTS

RAN = Completed(("docker", "run", "--label", "nanoclaw-verify=abc", "x"), 1, b"\xff" * 3000, b"", 0.5)


def evidence(*cases: CaseResult) -> Evidence:
    return Evidence("debian-13", "stock", FACTS, cases=list(cases))


def case(outcome: str, **more: str) -> CaseResult:
    return CaseResult("a-case", "Group", "A case", outcome, 1.0, Record([RAN], {"owner": "1:1"}), **more)


def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_evidence_of_every_outcome_fits_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    evidence(case("passed"), case("failed", expected="a", got="b"), case("skipped", reason="c")).write(path)
    validator().validate(json.loads(path.read_text()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["evidence.json"]


def test_long_outputs_are_kept_by_their_digest() -> None:
    command = evidence(case("passed")).as_json()["cases"][0]["commands"][0]
    assert command["stdout"]["bytes"] == 3000
    assert len(command["stdout"]["text"]) == 2000
    assert command["argv"] == ["docker", "run", "x"]


@pytest.mark.parametrize(
    "broken",
    [
        case("passed", expected="a", got="b"),
        case("failed"),
        case("skipped"),
        case("perhaps"),
        CaseResult("a", "Group", "A", "passed", 1.0, Record()),
    ],
    ids=[
        "passed with a mismatch",
        "failed without",
        "skipped without a reason",
        "no outcome",
        "passed without a command",
    ],
)
def test_evidence_that_proves_nothing_does_not_fit(broken: CaseResult) -> None:
    assert list(validator().iter_errors(evidence(broken).as_json()))
