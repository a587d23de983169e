from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.errors import Exit, WrongUsage
from checks.documents import compatibility
from checks.engine import isolation
from checks.evidence import store
from checks.matrix import differences, expectations
from checks.matrix.compare import compare
from checks.matrix.differences import Difference, Explanation, Reason, between, reason
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


def test_a_hostile_command_line_is_compared_in_time() -> None:
    left, right = case("x"), case("x")
    for each, end in ((left, "a"), (right, "b")):
        word = 'if [ -n "${2:-}" ]; then\n' * 100_000 + end
        each.record.commands[0] = replace(each.record.commands[0], argv=("docker", word))
    began = time.process_time()
    between(stored("a", left), stored("b", right))
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["a" * 300 + ".json", "~nosuchuser/x.json"])
def test_a_path_that_is_none_is_wrong_usage(name: str) -> None:
    assert compare(name, "debian-13") == Exit.WRONG_USAGE


def test_a_case_that_was_skipped_did_not_run_on_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "debian-13", case("a"), case("b", "skipped"))
    assert compare(str(path), str(path)) == Exit.OK
    assert "1 cases ran on both." in capsys.readouterr().out


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


def test_an_explanation_of_a_command_takes_no_other_command(tmp_path: Path) -> None:
    a, b = stored("a", case("x", out="one")), stored("b", case("x", out="two"))
    for command, explained in (("^docker run image x$", True), ("^docker start ", False)):
        text = f'[[difference]]\nfield = "stdout"\ncommand = "{command}"\nbecause = "why"\nentry = "anchor"\n'
        found = reason(between(a, b)[0], a, b, explanations(tmp_path, text), Expectations())
        assert (found is not None) == explained


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
        (
            '[[difference]]\nfield = "x"\ncommand = "("\nentry = "y"\nbecause = "z"\n',
            "difference 1: “command” is not a regular expression: missing",
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


@pytest.mark.parametrize("host", ["debian-13", "debian-forky", "debian-experimental"])
def test_every_difference_between_the_stored_docker_engine_and_a_podman_5_or_later_is_explained(
    host: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = store.find("docker-engine"), store.find(host)
    found = differences.by_reason(a, b, differences.explanations(), expectations.load())
    assert [f"{each.case}: {each.field} of {each.command}" for each in found.get(None, [])] == []
    assert compare("docker-engine", host) is Exit.OK
    assert capsys.readouterr().out.endswith(" explained, 0 unexplained.\n")


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


def test_a_case_with_a_word_of_ten_letters_in_its_id_keeps_it() -> None:
    path = "/var/tmp/nanoclaw-verify-0123456789-file-attributes-HRWdwVQS6S/files"
    assert differences.normalized(f"-v {path}:/files") == "-v <directory>/file-attributes/files:/files"


def test_the_random_part_of_an_images_name_is_no_difference() -> None:
    name = "nanoclaw-verify-<id>-{0}:{0} and nanoclaw-verify-<id>-{1}:{1}"
    texts = [name.format(f"agent-{part}", f"packages-{part}") for part in ("c9f64d", "abcdef")]
    assert differences.normalized(texts[0]) == differences.normalized(texts[1])
    assert differences.normalized("an agent-runner of nanoclaw-agent-v2") == "an agent-runner of nanoclaw-agent-v2"


@pytest.mark.parametrize(
    "age", ["Less than a second", "1 second", "12 seconds", "About a minute", "3 minutes", "4 hours"]
)
def test_an_age_is_the_same_in_any_words(age: str) -> None:
    assert differences.normalized(f"Up {age}") == "Up <time>"


def test_the_inode_of_a_file_is_no_difference_and_its_mode_is_one() -> None:
    line = "./container-{} {} 5 8 2 {} 1795736792"
    assert len({differences.normalized(line.format("file", "81a0", inode)) for inode in (133147, 16556)}) == 1
    assert len({differences.normalized(line.format("file", mode, 16556)) for mode in ("81a0", "81a4")}) == 2


def test_the_capabilities_of_a_process_are_compared() -> None:
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        texts = [f"{name}:\t{each}" for each in ("00000000a80425fb", "00000000800405fb", "0000000000000000")]
        assert [differences.normalized(text) for text in texts] == texts


def test_what_earlier_runs_recorded_of_prune_is_not_compared() -> None:
    new, old = case("prune", out="one"), case("prune", out="one")
    asked = replace(old.record.commands[0], argv=("docker", "info", "--format", "{{.Store.GraphRoot}}"))
    old.record.commands.insert(0, asked)
    assert between(stored("a", new), stored("b", old)) == []


def test_the_isolation_script_of_earlier_runs_is_compared_with_todays() -> None:
    new, old, other = case("isolation"), case("isolation"), case("isolation")
    path = "/var/tmp/nanoclaw-verify-0123456789-isolation-X270KP4aaH/secret"
    earlier = re.sub(r"if .*?\nfi\n", "", isolation.SCRIPT, flags=re.DOTALL)
    assert earlier.count("\n") < isolation.SCRIPT.count("\n")
    for each, script, more in (
        (new, isolation.SCRIPT, ("31668", "c20ee50be8a1cfe3")),
        (old, earlier, ()),
        (other, earlier.replace("umask", ""), ()),
    ):
        words = ("docker", "run", "--rm", "image", "sh", "-c", script, "sh", path, *more)
        each.record.commands[0] = replace(each.record.commands[0], argv=words)
    assert between(stored("a", new), stored("b", old)) == []
    assert [each.field for each in between(stored("a", new), stored("b", other))] == ["commands"]


def test_evidence_of_a_stranger_does_not_keep_it_busy() -> None:
    known = [each for each in differences.explanations() if "isolation" in each.cases and each.field == "stdout"]
    a = "pid:" + 55 * (
        "\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\nopen:\n1\nopened\nopens stdout\nopens stderr\nknows localhost"
        "\nasks x\nrouted\nat 1:"
    )
    a = f"{a}{900 * chr(10)}given:\n".ljust(16_300, "/")
    began = time.process_time()
    for each in known:
        each.explains(Difference("isolation", "Isolation", "stdout", "docker run x", a, "pid: other"))
    assert known
    assert time.process_time() - began < 0.2


def test_what_any_text_separates_is_sought_in_its_order() -> None:
    explanation = Explanation(field="stdout", because="x", entry="y", a="^one.*two.*three$", b="")
    texts = {"one two three": True, "one two\n two three": True, "one three two": False, "two one three": False}
    for text, matches in texts.items():
        assert explanation.explains(Difference("c", "Case", "stdout", "docker run", text, "")) is matches
