"""Reproductions: how they run, and the committed records."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.progress import Progress
from checks.documents import troubleshooting
from checks.engine.case_context import RunScope
from checks.engine.prepared_host import PreparedHost
from checks.evidence import store
from checks.evidence.model import CommandResult
from checks.guide import catalogue, findings, records, reproduce, snapshot
from checks.guide.catalogue import Expected, HostCommands, Reproduction, Step, Symptom
from checks.guide.diagnosis import diagnose
from checks.guide.explain import find_entries
from checks.guide.host_checks import CHECKS
from checks.guide.records import ReproductionRecord
from checks.guide.reproduce import Attempt, Guests, ReproduceOptions, ReproductionFailed
from checks.guide.snapshot import HostSnapshot
from tests.fakes import FACTS, FakeHost

ENTRIES = catalogue.load()
RECORDED = records.load(ENTRIES)
ALL = [record for several in RECORDED.values() for record in several]
BY_FILE = store.committed(ReproductionRecord)


# Committed records


def test_at_least_20_entries_were_reproduced_and_fixed() -> None:
    assert sum(any(record.fixed for record in several) for several in RECORDED.values()) >= 20


def test_every_record_ran_the_commands_of_the_catalogue() -> None:
    assert [record.filename for record in BY_FILE if record not in ALL] == []


@pytest.mark.parametrize("record", BY_FILE, ids=lambda record: f"{record.entry} on {record.host}")
def test_a_record_matches_its_entry(record: ReproductionRecord) -> None:
    how = ENTRIES[record.entry].reproduce
    assert how
    assert how.symptom.matches(record.broken.exit_status, record.broken.output)
    assert record.error_line in record.broken.output
    assert (record.baseline is None) == (not how.breaking)
    assert (record.fixed is None) == bool(how.not_fixed)
    for healthy in (record.baseline, record.fixed):
        if healthy:
            assert how.fixed.matches(healthy.exit_status, healthy.output)
            assert not how.symptom.matches(healthy.exit_status, healthy.output)


@pytest.mark.parametrize("record", BY_FILE, ids=lambda record: f"{record.entry} on {record.host}")
def test_the_doctor_reports_a_recorded_problem_first(record: ReproductionRecord) -> None:
    now = [each.entry.id for each in diagnose(record.host_snapshot, ENTRIES)]
    how = ENTRIES[record.entry].reproduce
    assert how
    if record.entry not in CHECKS or how.not_diagnosed:
        return
    assert record.entry in now
    if how.breaking:
        assert next(each for each in now if each not in record.baseline_diagnoses) == record.entry


def test_the_doctor_finds_nothing_on_the_recommended_host() -> None:
    healthy = [
        record.baseline_diagnoses for record in ALL if (record.host, record.profile) == ("debian-13", "recommended")
    ]
    assert healthy
    notes = {id_ for id_, about in findings._CHECKS.items() if about.severity == "note"}
    assert [set(each) - notes for each in healthy if set(each) - notes] == []


def test_the_document_names_the_host_of_each_record() -> None:
    guide = troubleshooting.DOCUMENT.read_text()
    for id_, several in RECORDED.items():
        part = guide.split(f"### {ENTRIES[id_].title}\n")[1].split("\n### ")[0]
        for record in several:
            assert str(record.place) in part
            if ENTRIES[id_].match_length(catalogue.SearchText([record.error_line])):
                assert records.message(record.error_line) in part


@pytest.mark.parametrize("record", BY_FILE, ids=lambda record: f"{record.entry} on {record.host}")
def test_a_captured_message_finds_its_entry(record: ReproductionRecord) -> None:
    if ENTRIES[record.entry].match_length(catalogue.SearchText([record.error_line])):
        assert find_entries(record.error_line, ENTRIES)[0].id == record.entry
        assert find_entries(record.broken.output, ENTRIES)[0].id == record.entry


@given(st.text(alphabet=st.characters(codec="ascii", categories=["Ll", "Zs"]), max_size=200))
def test_text_without_any_message_has_no_entry(text: str) -> None:
    words = " ".join(each for each in text.split() if len(each) < 6)  # no message is made of such words alone
    assert find_entries(words, ENTRIES) == []


# One attempt


class FakeGuests(Guests):
    """Provides this machine as a throwaway host."""

    def __init__(self, host: FakeHost) -> None:
        super().__init__(ENTRIES, Progress())
        self.discarded = 0
        guest = SimpleNamespace(root=host, recipe=SimpleNamespace(accounts={"nanoclaw": None}))
        self._ready = PreparedHost(
            host, "recommended", RunScope("run", "prepared"), cast("Any", None), cast("Any", guest)
        )

    def take(self, host: str, profile: str) -> PreparedHost:
        return self._ready

    def discard(self) -> None:
        self.discarded += 1


ENTRY = "a-hook-that-is-missing-hardens-nothing"
OTHER_DIAGNOSES: list[str] = []


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[FakeGuests, ReproductionRecord]]:
    """Create a file (the problem), check that it exists (the symptom), and remove it (the fix)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "broken"
    OTHER_DIAGNOSES.clear()
    values = {"uid": ["1500"], "now": ["0"]}
    monkeypatch.setattr(snapshot, "take", lambda _: HostSnapshot(values, 0.0))

    def fake_diagnose(*_: object) -> list[SimpleNamespace]:
        ids = [*OTHER_DIAGNOSES, ENTRY] if file.exists() else OTHER_DIAGNOSES
        return [SimpleNamespace(entry=SimpleNamespace(id=each)) for each in ids]

    monkeypatch.setattr(reproduce, "diagnose", fake_diagnose)

    def run(fix: str = 'rm "$file"', breaking: str = 'touch "$file"', **more: Any) -> Any:
        symptom = _symptom('[ ! -e "$file" ] || { echo "it is broken" >&2; exit 3; }', 3, "it is broken")
        plan = Reproduction(
            host="debian-13", variables={"file": str(file)}, breaking=_commands(breaking), symptom=symptom
        )
        plan = replace(plan, **more)
        entry = replace(ENTRIES[ENTRY], fix=(Step(run=tuple(fix.splitlines())),), reproduce=plan)
        guests = FakeGuests(FakeHost(tmp_path).pretend())
        return guests, Attempt(entry, plan, ENTRIES, Progress()).run(guests, "debian-13")

    return run


def _symptom(command: str, exit_status: int, pattern: str) -> Symptom:
    return Symptom(run=(command,), exit_status=exit_status, pattern=re.compile(pattern))


def _commands(script: str) -> tuple[HostCommands, ...]:
    return (HostCommands(run=tuple(script.splitlines())),)


def test_an_attempt_is_recorded(attempt: Any, tmp_path: Path) -> None:
    guests, record = attempt()
    assert guests.discarded == 1
    assert record.baseline == CommandResult(exit_status=0, output="")
    assert record.broken == CommandResult(exit_status=3, output="it is broken\n")
    assert record.fixed == CommandResult(exit_status=0, output="")
    assert record.error_line == "it is broken"
    assert record.diagnoses == [ENTRY]
    assert (record.podman, record.host) == (FACTS.version, "fake")
    path = store.save(record, tmp_path)
    assert store.load(path, ReproductionRecord) == replace(record, baseline_diagnoses=[])


def test_a_guest_is_reused_after_undo(attempt: Any) -> None:
    assert attempt(undo=_commands("true"))[0].discarded == 0


@pytest.mark.parametrize("undo", ["false", 'touch "$file"'])
def test_a_guest_is_discarded_if_undo_fails_or_is_incomplete(attempt: Any, undo: str) -> None:
    assert attempt(undo=_commands(undo))[0].discarded == 1


def test_a_fix_that_can_not_be_tested_is_not_run(attempt: Any) -> None:
    _, record = attempt(fix="exit 9", not_fixed="it needs another kernel")
    assert record.fixed is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"breaking": "true"}, "the symptom did not appear. Exit status 0, output: none"),
        ({"breaking": "false\ntrue"}, "Causing the problem failed"),
        ({"fix": "true"}, "unexpected result after the fix. Exit status 3, output: it is broken"),
        ({"fix": 'false\nrm "$file"'}, "The fix failed at “false"),
        ({"fixed": Expected(pattern=re.compile("well"))}, "unexpected result before the problem was caused"),
        ({"fixed": Expected(exit_status=3), "breaking": 'touch "$file"', "fix": "true"}, "unexpected result before"),
        ({"symptom": _symptom("echo always", 0, "always")}, "the symptom appeared before"),
    ],
)
def test_an_entry_that_does_not_match_the_host_fails(attempt: Any, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ReproductionFailed, match=reason):
        attempt(**changes)


def test_another_diagnosis_before_the_entry_fails_it(attempt: Any) -> None:
    OTHER_DIAGNOSES.append("docker-is-not-the-shim")
    with pytest.raises(ReproductionFailed, match="the doctor reported docker-is-not-the-shim, a-hook"):
        attempt()


def test_a_missing_diagnosis_fails_the_entry(attempt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "diagnose", lambda *_: [])
    with pytest.raises(ReproductionFailed, match="the doctor reported nothing"):
        attempt()


# Files


def _written(tmp_path: Path, **changes: Any) -> Path:
    record = replace(BY_FILE[0], **changes)
    return store.save(record, tmp_path)


def test_a_record_of_other_commands_is_ignored(tmp_path: Path) -> None:
    _written(tmp_path, commands={**BY_FILE[0].commands, "fix": ["account: true"]})
    assert records.load(ENTRIES, tmp_path) == {}
    _written(tmp_path)
    assert list(records.load(ENTRIES, tmp_path)) == [BY_FILE[0].entry]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.pop("broken"), "missing required field `broken`"),
        (lambda data: data.update(fixed="yes"), r"\$.fixed"),
        (lambda data: data.update(colour=1), "unknown field `colour`"),
        (lambda data: data.update(host="elsewhere"), "must be named elsewhere/"),
    ],
)
def test_a_malformed_record_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str) -> None:
    path = _written(tmp_path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(WrongUsage, match=reason) as refused:
        records.load(ENTRIES, tmp_path)
    assert path.name in str(refused.value)


def test_the_document_counts_reproductions_and_names_hosts(tmp_path: Path) -> None:
    record = next(each for each in BY_FILE if each.fixed and each.baseline)
    printed = troubleshooting.text(ENTRIES, {record.entry: [record, replace(record, host="other", podman="9.9.9")]})
    assert f"Of {len(ENTRIES)} entries, 1 were reproduced" in printed
    assert f"Reproduced on {record.place}, other (Podman 9.9.9)." in printed
    assert "Reproduced on" not in troubleshooting.text(ENTRIES, {}).split("## Quick reference table")[1]


# Selection


def test_list_only_prints_the_entries(capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.reproduce(ReproduceOptions(list=True)) is Exit.OK
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == sum(1 for each in ENTRIES.values() if each.reproduce)
    assert reproduce.reproduce(ReproduceOptions(list=True, only=("newuidmap",), host="debian-forky")) is Exit.OK
    assert capsys.readouterr().out.split() == ["debian-forky", "newuidmap-is-missing"]


def test_the_entries_whose_title_matches_are_printed_before_a_host_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing_starts(*_: object, **__: object) -> None:
        raise HostProblem("no host here")

    monkeypatch.setattr(reproduce, "prepared", nothing_starts)
    assert reproduce.reproduce(ReproduceOptions(only=("nothing", "newuidmap-is"))) is Exit.HOST_UNUSABLE
    possible = sum(1 for each in ENTRIES.values() if each.reproduce)
    first, _, _ = " ".join(capsys.readouterr().err.split()).partition("[1/")
    for name in ("docker_opts-and-docker_default_opts-do-nothing", "newuidmap-is-missing"):
        assert name in first
    assert first.startswith("--only selects ")
    assert f" of {possible} entries: " in first


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ReproduceOptions(only=("no such entry",)), "No entry matching “no such entry” exists"),
        (ReproduceOptions(only=("whatsapp",)), "can be reproduced"),
        (ReproduceOptions(host="debian-99"), "There is no host"),
        (ReproduceOptions(host="docker-engine"), "does not run Podman"),
        (ReproduceOptions(host="ubuntu-24.04"), "No entry has ubuntu-24.04"),
        (ReproduceOptions(host="local"), "There is no host"),
        (ReproduceOptions(evidence="/no/such/directory"), "does not exist"),
    ],
)
def test_wrong_usage_is_reported(options: ReproduceOptions, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.reproduce(options) is Exit.WRONG_USAGE
    assert reason in capsys.readouterr().err
