"""Reproductions: what is run and judged, and what the recorded ones say."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checks.core.errors import Exit, WrongUsage
from checks.core.progress import Progress
from checks.documents import troubleshooting
from checks.engine.case_context import RunScope
from checks.engine.prepared_host import PreparedHost
from checks.evidence import store
from checks.evidence.model import Shown
from checks.guide import catalogue, records, reproduce, snapshot
from checks.guide.catalogue import Step
from checks.guide.diagnosis import LOOKS, findings
from checks.guide.explain import found
from checks.guide.records import Reproduced
from checks.guide.reproduce import Attempt, Failed, Guests, ReproduceOptions
from checks.guide.reproduction import Commands, Reproduction, Sign, Symptom, Who
from checks.guide.snapshot import HostSnapshot
from tests.fakes import FACTS, FakeHost

ENTRIES = catalogue.load()
RECORDED = records.load(ENTRIES)
ALL = [record for several in RECORDED.values() for record in several]
BY_FILE = store.committed(Reproduced)


# What is committed


def test_at_least_20_entries_were_reproduced_and_mended() -> None:
    assert sum(any(record.mended for record in several) for several in RECORDED.values()) >= 20


def test_no_record_is_of_commands_that_the_catalogue_has_not() -> None:
    assert [record.filename for record in BY_FILE if record not in ALL] == []


@pytest.mark.parametrize("record", BY_FILE, ids=lambda record: f"{record.entry} on {record.host}")
def test_a_record_shows_what_it_claims(record: Reproduced) -> None:
    how = ENTRIES[record.entry].reproduce
    assert how
    assert how.symptom.sign.shown(record.broken.status, record.broken.output)
    assert record.captured in record.broken.output
    assert (record.unbroken is None) == (not how.breaking)
    assert (record.mended is None) == bool(how.unmended)
    for sound in (record.unbroken, record.mended):
        if sound:
            assert how.mended.shown(sound.status, sound.output)
            assert not how.symptom.sign.shown(sound.status, sound.output)


@pytest.mark.parametrize("record", BY_FILE, ids=lambda record: f"{record.entry} on {record.host}")
def test_the_doctor_names_a_recorded_breakage_first(record: Reproduced) -> None:
    now = [each.entry.id for each in findings(record.look, ENTRIES)]
    how = ENTRIES[record.entry].reproduce
    assert how
    if record.entry not in LOOKS or how.unseen:
        return
    assert record.entry in now
    if how.breaking:
        assert next(each for each in now if each not in record.healthy) == record.entry


def test_the_doctor_finds_nothing_on_the_recommended_host() -> None:
    sound = [record.healthy for record in ALL if (record.host, record.profile) == ("debian-13", "recommended")]
    assert sound
    assert all(healthy == [] for healthy in sound)


def test_the_document_says_of_each_record_where_it_was() -> None:
    guide = troubleshooting.DOCUMENT.read_text()
    for id_, several in RECORDED.items():
        part = guide.split(f"### {ENTRIES[id_].title}\n")[1].split("\n### ")[0]
        for record in several:
            assert str(record.place) in part
            if ENTRIES[id_].matched(catalogue.Lines([record.captured])):
                assert records.message(record.captured) in part


@pytest.mark.parametrize("record", BY_FILE, ids=lambda record: f"{record.entry} on {record.host}")
def test_a_captured_message_finds_its_entry(record: Reproduced) -> None:
    if ENTRIES[record.entry].matched(catalogue.Lines([record.captured])):
        assert found(record.captured, ENTRIES)[0].id == record.entry
        assert found(record.broken.output, ENTRIES)[0].id == record.entry


@given(st.text(alphabet=st.characters(codec="ascii", categories=["Ll", "Zs"]), max_size=200))
def test_text_without_any_message_has_no_entry(text: str) -> None:
    words = " ".join(each for each in text.split() if len(each) < 6)  # no message is made of such words alone
    assert found(words, ENTRIES) == []


# What decides


class FakeGuests(Guests):
    """Hands out this machine as an unbroken host."""

    def __init__(self, host: FakeHost) -> None:
        super().__init__(ENTRIES, Progress())
        self.thrown = 0
        guest = SimpleNamespace(root=host, recipe=SimpleNamespace(accounts={"nanoclaw": None}))
        self._ready = PreparedHost(
            host, "recommended", RunScope("run", "prepared"), cast("Any", None), cast("Any", guest)
        )

    def take(self, host: str, profile: str) -> PreparedHost:
        return self._ready

    def discard(self) -> None:
        self.thrown += 1


SIGHT: list[str] = []


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[FakeGuests, Reproduced]]:
    """Break (a file is made), look for the symptom (the file is there) and mend (it is removed)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "broken"
    SIGHT.clear()

    def sight(_: object) -> HostSnapshot:
        named = ["/no/hooks"] if file.exists() else []
        return HostSnapshot({"uid": ["1500"], "now": ["0"], "docker": ["x"], "hooks_missing": [*named, *SIGHT]}, 0.0)

    monkeypatch.setattr(snapshot, "look", sight)
    monkeypatch.setattr(reproduce, "findings", lambda look, entries: _named(look))

    def run(fix: str = 'rm "$file"', breaking: str = 'touch "$file"', unmended: str = "", **more: Any) -> Any:
        how = Reproduction(
            host="debian-13",
            profile="recommended",
            variables={"file": str(file)},
            breaking=_commands(breaking),
            given=(),
            symptom=Symptom(
                _commands('[ ! -e "$file" ] || { echo "it is broken" >&2; exit 3; }')[0],
                Sign(3, re.compile("it is broken")),
            ),
            mended=Sign(0, re.compile("")),
            unmended=unmended,
            unseen="",
            undo=(),
        )
        how = dataclasses.replace(how, **more)
        entry = dataclasses.replace(
            ENTRIES["a-hook-that-is-missing-hardens-nothing"], fix=(Step("", _commands(fix)[0], ""),), reproduce=how
        )
        guests = FakeGuests(FakeHost(tmp_path).pretend())
        return guests, Attempt(entry, how, ENTRIES, Progress()).on(guests, "debian-13")

    return run


def _named(look: HostSnapshot) -> Sequence[Any]:
    ids = ["a-hook-that-is-missing-hardens-nothing"] if "/no/hooks" in look.all("hooks_missing") else []
    ids = [*(each for each in look.all("hooks_missing") if each != "/no/hooks"), *ids]
    return [SimpleNamespace(entry=SimpleNamespace(id=each)) for each in ids]


def _commands(script: str) -> tuple[Commands, ...]:
    return (Commands(Who.ACCOUNT, tuple(script.splitlines())),)


def test_what_was_seen_is_recorded(attempt: Any, tmp_path: Path) -> None:
    guests, record = attempt()
    assert guests.thrown == 1
    assert record.unbroken == Shown(0, "")
    assert record.broken == Shown(3, "it is broken\n")
    assert record.mended == Shown(0, "")
    assert record.captured == "it is broken"
    assert record.findings == ["a-hook-that-is-missing-hardens-nothing"]
    assert (record.podman, record.host) == (FACTS.version, "fake")
    path = store.save(record, tmp_path)
    assert store.load(path, Reproduced) == replace(record, healthy=[])


def test_a_host_that_takes_it_back_is_handed_on(attempt: Any) -> None:
    assert attempt(undo=_commands("true"))[0].thrown == 0


def test_one_that_can_not_is_thrown_away(attempt: Any) -> None:
    assert attempt(undo=_commands("false"))[0].thrown == 1


def test_one_that_is_not_as_it_was_is_thrown_away(attempt: Any) -> None:
    assert attempt(undo=_commands('touch "$file"'))[0].thrown == 1


def test_a_fix_that_is_beyond_the_host_is_not_run(attempt: Any) -> None:
    _, record = attempt(fix="exit 9", unmended="it wants another kernel")
    assert record.mended is None


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"breaking": "true"}, "the symptom was not seen. Exit status 0; it said: nothing"),
        ({"breaking": "false\ntrue"}, "breaking the host went wrong"),
        ({"fix": "true"}, "the mended host does not show what a sound one does. Exit status 3; it said: it is broken"),
        ({"fix": 'false\nrm "$file"'}, "the guide's fix went wrong at “false"),
        ({"mended": Sign(0, re.compile("well"))}, "the unbroken host does not show what a sound one does"),
        ({"mended": Sign(3, re.compile("")), "breaking": 'touch "$file"', "fix": "true"}, "the unbroken host"),
        ({"symptom": Symptom(_commands("echo always")[0], Sign(0, re.compile("always")))}, "shows the symptom as well"),
    ],
)
def test_an_entry_that_is_not_as_the_guide_says_fails(attempt: Any, given_: dict[str, Any], told: str) -> None:
    with pytest.raises(Failed, match=told):
        attempt(**given_)


def test_a_doctor_who_names_another_entry_first_fails_it(attempt: Any, tmp_path: Path) -> None:
    SIGHT.append("docker-is-not-the-shim")
    with pytest.raises(Failed, match="the doctor named docker-is-not-the-shim, a-hook"):
        attempt()


def test_a_doctor_who_sees_nothing_fails_it(attempt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "findings", lambda look, entries: [])
    with pytest.raises(Failed, match="the doctor named nothing"):
        attempt()


# Files


def _written(tmp_path: Path, **changes: Any) -> Path:
    record = replace(BY_FILE[0], **changes)
    return store.save(record, tmp_path)


def test_a_record_of_other_commands_proves_nothing(tmp_path: Path) -> None:
    _written(tmp_path, ran={**BY_FILE[0].ran, "fix": ["account: true"]})
    assert records.load(ENTRIES, tmp_path) == {}
    _written(tmp_path)
    assert list(records.load(ENTRIES, tmp_path)) == [BY_FILE[0].entry]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.pop("broken"), "missing required field `broken`"),
        (lambda data: data.update(mended="yes"), r"\$.mended"),
        (lambda data: data.update(colour=1), "unknown field `colour`"),
        (lambda data: data.update(host="elsewhere"), "must be named elsewhere/"),
    ],
)
def test_a_file_that_no_reproduction_wrote_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    path = _written(tmp_path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(WrongUsage, match=reason) as refused:
        records.load(ENTRIES, tmp_path)
    assert path.name in str(refused.value)


def test_the_document_counts_and_tells_what_was_run(tmp_path: Path) -> None:
    record = next(each for each in BY_FILE if each.mended and each.unbroken)
    told = troubleshooting.text(ENTRIES, {record.entry: [record, replace(record, host="other", podman="9.9.9")]})
    assert f"1 of the {len(ENTRIES)} entries were reproduced" in told
    assert f"Reproduced on {record.place}, other (Podman 9.9.9): broken on purpose" in told
    assert "Reproduced on" not in troubleshooting.text(ENTRIES, {}).split("## Quick reference table")[1]


# Asking


def test_a_list_is_printed_and_nothing_started(capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.reproduce(ReproduceOptions(list=True)) is Exit.OK
    told = capsys.readouterr().out.splitlines()
    assert len(told) == sum(1 for each in ENTRIES.values() if each.reproduce)
    assert reproduce.reproduce(ReproduceOptions(list=True, only=("newuidmap",), host="debian-forky")) is Exit.OK
    assert capsys.readouterr().out.split() == ["debian-forky", "newuidmap-is-missing"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ReproduceOptions(only=("no such entry",)), "No entry matches"),
        (ReproduceOptions(only=("whatsapp",)), "can be reproduced"),
        (ReproduceOptions(host="debian-99"), "There is no host"),
        (ReproduceOptions(host="docker-engine"), "has no Podman to break"),
        (ReproduceOptions(host="ubuntu-24.04"), "No entry is made for"),
        (ReproduceOptions(host="local"), "There is no host"),
        (ReproduceOptions(evidence="/no/such/directory"), "does not exist"),
    ],
)
def test_wrong_usage_is_told(options: ReproduceOptions, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.reproduce(options) is Exit.WRONG_USAGE
    assert reason in capsys.readouterr().err
