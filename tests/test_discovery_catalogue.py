"""The report of `invoke patterns`: which commands are covered or accepted, the recall, and recorded commands."""

import os
import subprocess
from pathlib import Path

import pytest

from checks.core import strict_toml
from checks.core.errors import Exit, WrongUsage
from checks.core.paths import FIXTURES
from checks.nanoclaw.discovery import patterns as command
from checks.nanoclaw.discovery.catalogue import Catalogue, catalogue, judge
from checks.nanoclaw.discovery.discover import Found, discover
from checks.nanoclaw.discovery.facts import FACTS, compare
from checks.nanoclaw.discovery.form import form_of
from tests.discovery import write

KNOWN = strict_toml.convert(
    {
        "covered": [{"command": "docker run --rm -v A:B IMAGE", "cases": ["a-case"]}],
        "exception": [
            {"command": "docker logs NAME", "files": ["scripts/*.ts", "setup.sh"], "reason": "a developer's"},
            {"command": "container *", "files": ["*"], "reason": "macOS only"},
            {"arguments": "library.add", "adds": "-v A:B", "files": ["src/runner.ts"], "reason": "read in its source"},
            {"unread": "…command…*", "files": ["src/runner.ts"], "reason": "read by hand"},
        ],
    },
    Catalogue,
    "a test",
)


def place(*words: str, file: str) -> Found:
    return Found(file, 1, form_of(["docker", *words]))


@pytest.mark.parametrize(
    ("file", "excused"),
    [
        ("scripts/a.ts", True),
        ("scripts/further/a.ts", True),
        ("setup.sh", True),
        ("setup/scripts/a.ts", False),
        ("scripts/a.sh", False),
        ("src/container-runner.ts", False),
    ],
)
def test_an_exception_is_one_for_the_files_that_it_names(file: str, excused: bool) -> None:
    assert (judge(place("logs", "x", file=file), KNOWN).problem == "") == excused


def test_an_exception_does_not_excuse_what_nanoclaw_itself_runs() -> None:
    for file, excused in (("setup/a.ts", True), ("src/a.ts", False)):
        apple = Found(file, 1, form_of(["container", "system", "start"]))
        assert (judge(apple, KNOWN).problem == "") == excused


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "docker logs NAME", "reason": "none"},
        {"files": ["*"], "reason": "nothing is excepted"},
        {"files": ["*"], "reason": "two things", "command": "docker ps", "unread": "x"},
    ],
)
def test_an_exception_is_complete(entry: dict[str, object]) -> None:
    with pytest.raises(WrongUsage, match="a test, exception"):
        strict_toml.convert({"exception": [entry]}, Catalogue, "a test")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--rm", "IMAGE"], "a-case"),
        (["run", "--rm", "--…library.add", "IMAGE"], "a-case; read in its source"),
        (["run", "--gpus=all", "--…library.add", "IMAGE"], "NO CASE"),
        (["run", "--rm", "--…library.more", "IMAGE"], "NOT FOLLOWED: arguments from library.more"),
        (["run", "--…flags", "--…args", "IMAGE"], "NOT FOLLOWED: arguments from args, flags"),
        (["…command…"], "NOT FOLLOWED: arguments from command"),
    ],
)
def test_the_report_names_what_could_not_be_followed(words: list[str], said: str) -> None:
    assert judge(place(*words, file="src/runner.ts"), KNOWN).text == said


def test_what_is_not_followed_is_accepted_for_a_reason_only() -> None:
    assert judge(Found("src/runner.ts", 1, None, "…command… ps"), KNOWN).text == "exception: read by hand"
    assert judge(Found("src/other.ts", 1, None, "…command… ps"), KNOWN).text == "NOT FOLLOWED"


def test_the_cases_of_the_catalogue_exist() -> None:
    text = "".join(path.read_text() for path in (Path(__file__).parents[1] / "checks" / "cases").glob("*.py"))
    for entry in catalogue().covered:
        for case in entry.cases:
            assert f"def test_{case.replace('-', '_')}(" in text, case


def test_a_filter_and_a_format_are_part_of_what_is_asked() -> None:
    def form(*words: str) -> object:
        return form_of(["docker", "ps", *words])

    assert form("--filter", "name=a") == form("--filter", "name=b") != form("--filter", "label=a")
    assert form("--format", "{{.Names}}") != form("--format", "{{.ID}}")
    assert form("--filter=name=a") == form("--filter", "name=a")


def checkout(directory: Path, source: str) -> str:
    write(directory, **{"package.json": '{"version": "9.9.9"}', "src/container-runner.ts": source})
    return str(directory)


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("execSync('docker info')", Exit.OK, "1 places, 0 not covered"),
        ("execSync('docker run --gpus all IMAGE')", Exit.CASE_FAILED, "NO CASE"),
        ("execSync('docker info'); execSync(command)", Exit.CASE_FAILED, "NOT FOLLOWED"),
        ("execSync('ls')", Exit.CASE_FAILED, "No place in src/"),
    ],
)
def test_the_status_says_whether_all_is_covered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, status: Exit, said: str
) -> None:
    assert command.patterns(checkout(tmp_path, source)) is status
    assert said in capsys.readouterr().out


def test_a_checkout_without_a_version_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, **{"src/container-runner.ts": "execSync('docker info')"})
    assert command.patterns(str(tmp_path)) is Exit.OK
    assert "nanoclaw ?: 1 places" in capsys.readouterr().out


RECORDER = FIXTURES / "discovery" / "docker"


@pytest.mark.parametrize(
    ("run", "status", "said"),
    [
        (["stop", "-t", "1", "a name\nof two lines"], Exit.OK, "1 forms of commands were recorded, 0 of them"),
        (["stop", "--signal", "KILL", "x"], Exit.CASE_FAILED, "not found in the sources: docker stop --signal"),
        (["rm", "x"], Exit.CASE_FAILED, "not found in the sources: docker rm"),
    ],
)
def test_a_recorded_command_must_be_one_of_the_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: list[str], status: Exit, said: str
) -> None:
    directory = tmp_path / "recorded"
    directory.mkdir()
    done = subprocess.run(
        [RECORDER, *run], env={**os.environ, "DOCKER_RECORD": str(directory), "DOCKER_REAL": "/bin/echo"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == " ".join(run) + "\n"
    source = checkout(tmp_path / "nanoclaw", "execSync(`docker stop -t 1 ${name}`)")
    assert command.patterns(source, recorded=str(directory)) is status
    assert said in capsys.readouterr().out


def test_a_recording_without_commands_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    source = checkout(tmp_path / "nanoclaw", "execSync('docker info')")
    assert command.patterns(source, recorded=str(tmp_path / "empty")) is Exit.CASE_FAILED
    assert command.patterns(source, recorded=str(tmp_path / "nothing")) is Exit.WRONG_USAGE
    (tmp_path / "empty" / "x").write_text("docker ps")
    assert command.patterns(source, recorded=str(tmp_path / "empty")) is Exit.WRONG_USAGE
    assert "not a recorded command" in capsys.readouterr().err


def test_a_version_without_a_list_has_no_recall(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.patterns(checkout(tmp_path, "execSync('docker info')"), recall=True) is Exit.WRONG_USAGE
    assert "no list for nanoclaw 9.9.9" in capsys.readouterr().err


HEADINGS = [line.split() for line in FACTS.read_text().splitlines() if line.startswith("@")]
VERSIONS = sorted({version for words in HEADINGS for version in words[3:]})


def source(version: str) -> Path:
    """The checkout of a version in $NANOCLAW_CHECKOUTS, a directory with one of each version of the list."""
    directory = Path(os.environ.get("NANOCLAW_CHECKOUTS", "/nonexistent")) / version
    if not directory.is_dir():
        pytest.skip(f"$NANOCLAW_CHECKOUTS has no {version}")
    return directory


@pytest.mark.parametrize("version", VERSIONS)
def test_every_command_of_a_version_has_a_case_or_an_exception(version: str) -> None:
    known, places = catalogue(), discover(source(version))
    assert len(places) > 50
    assert [(each.file, each.text) for each in places if judge(each, known).problem] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_command_that_a_reader_found_is_found(version: str) -> None:
    directory = source(version)
    places = discover(directory)
    whole, hot = compare(places, directory, version), compare(places, directory, version, hot=True)
    assert whole
    assert hot
    assert (whole.missed, hot.missed, hot.wrong) == ([], [], [])
    assert len(whole.wrong) <= 5
