from __future__ import annotations

import json
from pathlib import Path

import pytest

from checks.core import version
from checks.core.process import Completed
from checks.engine.docker import Record
from checks.evidence import store
from checks.evidence.model import Outcome, Verification
from checks.evidence.run import CaseResult, Evidence
from tests.evidence import DEBIAN_13

RAN = Completed(("docker", "run", "--label", "nanoclaw-verify=abc", "x"), 1, b"\xff" * 3000, b"", 0.5)


def evidence(*cases: CaseResult) -> Evidence:
    return Evidence("debian-13", "stock", DEBIAN_13, cases=list(cases))


def case(outcome: Outcome, **more: str) -> CaseResult:
    return CaseResult("a-case", "Group", "A case", outcome, 1.0, Record([RAN], {"owner": "1:1"}), **more)


def test_evidence_of_every_outcome_is_written_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    made = evidence(case("passed"), case("failed", expected="a", got="b"), case("skipped", reason="c"))
    made.write(path)
    loaded = store.load(path, Verification)
    assert loaded == made.record()
    assert loaded.project
    assert loaded.project.version == version.number()
    assert [entry.name for entry in tmp_path.iterdir()] == ["evidence.json"]
    assert "expected" not in json.loads(path.read_text())["cases"][0]


def test_long_outputs_are_kept_by_their_digest() -> None:
    command = evidence(case("passed")).record().cases[0].commands[0]
    assert command.stdout.bytes == 3000
    assert len(command.stdout.text) == 2000
    assert command.argv == ["docker", "run", "x"]


@pytest.mark.parametrize(
    "broken",
    [
        case("skipped"),
        case("perhaps"),  # type: ignore[arg-type]
        CaseResult("a", "Group", "A", "passed", 1.0, Record()),
        CaseResult("A!", "Group", "A", "passed", 1.0, Record([RAN])),
    ],
    ids=["skipped without a reason", "no outcome", "passed without a command", "no id"],
)
def test_evidence_that_proves_nothing_is_not_made(broken: CaseResult) -> None:
    with pytest.raises(ValueError, match=r"."):
        evidence(broken).record()


@pytest.mark.parametrize(("key", "value"), [("expected", "a"), ("got", "b"), ("expected", None)])
def test_a_failed_case_and_no_other_has_a_mismatch(tmp_path: Path, key: str, value: str | None) -> None:
    path = tmp_path / "evidence.json"
    evidence(case("passed") if value else case("failed", expected="a", got="b")).write(path)
    data = json.loads(path.read_text())
    data["cases"][0][key] = value
    path.write_text(json.dumps(data))
    with pytest.raises(Exception, match=r"cases\[0\]: a failed case, and no other, has “expected” and “got”"):
        store.load(path, Verification)
