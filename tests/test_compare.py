from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.errors import Exit, WrongUsage
from checks.documents import compatibility
from checks.matrix import differences
from checks.matrix.compare import compare
from checks.matrix.differences import Reason, between, reason
from checks.matrix.expectations import Expectations, ExpectedFailure
from tests.evidence import DEBIAN_12, DOCKER, case, stored, write
from tests.fakes import FACTS

GATEWAY = ExpectedFailure(cases=("x",), because="Known from 4.7 on.", entry="an-entry", engine="podman", below="4.7")
BANNER = "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.\n"


def test_what_is_new_in_every_run_is_no_difference() -> None:
    a = stored("a", case("x", out="id 0123456789abcdef\n", err=BANNER + "took 1.5s at 2026-01-01 10:00:00\n"))
    b = stored("b", case("x", out="id fedcba9876543210\n", err="took 12ms at 2027-02-02 11:11:11\n"))
    assert between(a, b) == []


@pytest.mark.parametrize(
    ("left", "right", "field"),
    [
        (case("x"), case("x", status=1), "status"),
        (case("x", out="one"), case("x", out="two"), "stdout"),
        (case("x", err="one"), case("x", err="two"), "stderr"),
        (case("x", owner="0:0"), case("x", owner="1500:1500"), "effect owner"),
        (case("x"), case("x", "failed", got="an error"), "outcome"),
    ],
)
def test_each_kind_of_difference_is_seen(left: object, right: object, field: str) -> None:
    found = between(stored("a", left), stored("b", right))  # type: ignore[arg-type]
    assert [each.field for each in found] == [field]


def test_a_command_that_only_one_of_them_ran_is_a_difference() -> None:
    left, right = case("x"), case("x")
    right.record.commands.append(replace(right.record.commands[0], argv=("docker", "stop")))
    assert [each.field for each in between(stored("a", left), stored("b", right))] == ["commands"]


def test_a_figure_that_was_measured_is_no_difference() -> None:
    assert between(stored("a", case("x", stop_seconds=1.5)), stored("b", case("x", stop_seconds=2.5))) == []


def test_of_a_skipped_case_nothing_is_said() -> None:
    a, b = stored("a", case("x")), stored("b", case("x", "skipped"))
    assert between(a, b) == []
    assert differences.only_on_one(a, b) == ["x"]


@given(st.text(), st.text(alphabet="0123456789abcdef", min_size=12, max_size=64))
def test_normalising_is_done_once_and_for_all(words: str, hexadecimal: str) -> None:
    once = differences.normalized(f"{words} {hexadecimal}")
    assert differences.normalized(once) == once


def explanations(tmp_path: Path, text: str) -> Sequence[differences.Explanation]:
    (tmp_path / "differences.toml").write_text(text)
    return differences.explanations(tmp_path / "differences.toml")


def test_an_explanation_takes_what_it_describes_and_nothing_else(tmp_path: Path) -> None:
    known = explanations(
        tmp_path, '[[difference]]\ncases = ["x"]\nfield = "stderr"\na = "one"\nbecause = "why"\nentry = "anchor"\n'
    )
    b = stored("b", case("x", err="two"))
    for text, why in (("one", Reason("why", "anchor")), ("three", None)):
        a = stored("a", case("x", err=text))
        assert reason(between(a, b)[0], a, b, known, Expectations()) == why


def test_a_failure_that_is_expected_explains_its_difference_and_another_one_does_not() -> None:
    expected = Expectations(expected_failure=(GATEWAY,))
    a = stored("docker-engine", case("x"), profile="stock", facts=DOCKER)
    for facts, why in ((DEBIAN_12, Reason("Known from 4.7 on.", "an-entry")), (FACTS, None)):
        b = stored("b", case("x", "failed", got="an error"), facts=facts)
        for left, right in ((a, b), (b, a)):
            assert reason(between(left, right)[0], left, right, [], expected) == why


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[difference]]\nfield = "x"\nentry = "y"\n', "difference 1: “because” is missing"),
        (
            '[[difference]]\nfield = "("\nentry = "y"\nbecause = "z"\n',
            "difference 1: “field” is not a regular expression: missing",
        ),
        ('[[difference]]\nfield = "x"\nentry = "y"\nbecause = "z"\nx = 1\n', "“x” is not a key"),
    ],
)
def test_a_malformed_explanation_is_refused_with_file_key_and_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        explanations(tmp_path, text)


def test_comparing_with_a_difference_that_nobody_explained_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path, "docker-engine", case("x", out="one"), profile="stock", facts=DOCKER)
    b = write(tmp_path, "debian-13", case("x", out="two"))
    assert compare(str(a), str(b)) is Exit.CASE_FAILED
    output = capsys.readouterr().out
    assert "Case x (x): stdout" in output
    assert "1 differences: 0 explained, 1 unexplained." in output
    assert compare(str(a), str(a)) is Exit.OK


def test_the_document_tells_versions_reasons_and_differences() -> None:
    evidence = [
        stored("docker-engine", case("x"), profile="stock", facts=DOCKER),
        stored("debian-13", case("x")),
        stored("debian-12", case("x", "failed", got="invalid IP address"), facts=DEBIAN_12),
    ]
    known = Expectations(expected_failure=(GATEWAY,))
    output = compatibility.text(evidence, known, [])
    assert "| Pattern | docker-engine (26.1.5) | debian-12 (4.3.1) | debian-13 (5.4.2) |" in output
    assert "| Case x | ✓ | ✗ 1 | ✓ |" in output
    assert "1. Known from 4.7 on. [More](TROUBLESHOOTING.md#an-entry)." in output
    assert "| Case x | 4.3.1 | 5.4.2 |" in output
    assert "- Known from 4.7 on. (debian-12) [More](TROUBLESHOOTING.md#an-entry)." in output
    assert "Not explained:" not in output


@pytest.mark.parametrize(
    "path",
    [
        "/var/tmp/nanoclaw-verify-0123456789-read-only-file-Ab3dEf6hI9/agent",
        "/var/tmp/nanoclaw-verify-0123456789-work-1500/read-only-file/agent",
    ],
    ids=["now", "in older evidence"],
)
def test_a_cases_directory_is_the_same_in_every_run(path: str) -> None:
    assert differences.normalized(f"-v {path}:/agent") == "-v <directory>/read-only-file/agent:/agent"
