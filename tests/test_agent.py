import os
import subprocess
from pathlib import Path

import pytest

from checks.core.errors import HostProblem, WrongUsage
from checks.core.paths import ROOT
from checks.nanoclaw import agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.fetch import fetch
from checks.nanoclaw.smoke import _parsed


def checkout(directory: Path, runner: str, *, databases: bool = False, version: str = '{"version": "9.9"}') -> Path:
    source = directory / "container" / "agent-runner" / "src"
    source.mkdir(parents=True)
    (directory / "src").mkdir()
    (directory / "src" / "container-runner.ts").write_text(runner)
    (directory / "container" / "Dockerfile").write_text("FROM node:22-slim\n")
    (directory / "package.json").write_text(version)
    if databases:
        (source / "db").mkdir()
    return directory


def test_the_design_of_a_checkout_is_read_off_its_sources(tmp_path: Path) -> None:
    one = agent.of_checkout(checkout(tmp_path / "1", "const START = '---NANOCLAW_OUTPUT_START---';"))
    other = agent.of_checkout(checkout(tmp_path / "2", "exec bun run /app/src/index.ts", databases=True))
    assert (one.protocol, other.protocol) == (AgentProtocol.STREAMS, AgentProtocol.DATABASES)
    assert one.name == "nanoclaw 9.9 (commit unknown)"
    assert one.context == tmp_path / "1" / "container"


def test_a_directory_that_is_no_checkout_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match=r"is not a nanoclaw checkout: src/container-runner\.ts is missing"):
        agent.of_checkout(tmp_path)


def test_only_a_directory_is_taken_for_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for wrong in ("pipe", "file", "nothing", "file/below", "n" * 300):
        monkeypatch.setenv("NANOCLAW_DIR", str(tmp_path / wrong))
        for option in (str(tmp_path / wrong), ""):
            with pytest.raises(WrongUsage, match=r"is not a directory, or you can't read it|can't be opened"):
                agent.find(option)
    assert agent.find(str(tmp_path)) == tmp_path


def test_a_design_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="speaks an unknown protocol"):
        agent.of_checkout(checkout(tmp_path / "3", "fetch('http://agent')"))


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ("no json", r"it is not valid JSON \(Expecting value: line 1 column 1 \(char 0\)\)"),
        ("[" * 100_000, r"it is not valid JSON \(it is nested too deeply\)"),
        ("[]", "it must contain a JSON object, and contains an array"),
        ("7", "it must contain a JSON object, and contains a number"),
        ("NaN", "it must contain a JSON object, and contains a number"),
        ('"1.2.0"', "it must contain a JSON object, and contains a string"),
        ("null", "it must contain a JSON object, and contains null"),
        ("true", "it must contain a JSON object, and contains a boolean"),
        ('{"version": 2}', "its version must be a string, and is a number"),
        ('{"version": {"a": 1}}', "its version must be a string, and is an object"),
    ],
    ids=lambda text: text[:12],
)
def test_a_package_file_that_is_not_valid_is_named_with_the_reason(tmp_path: Path, package: str, why: str) -> None:
    wanted = rf"^package\.json of the nanoclaw checkout {tmp_path}/4 can't be read: {why}\.$"
    with pytest.raises(WrongUsage, match=wanted):
        agent.of_checkout(checkout(tmp_path / "4", "", version=package))


def test_a_source_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    directory = checkout(tmp_path / "4", "")
    (directory / "src" / "container-runner.ts").write_bytes(b"\xff")
    with pytest.raises(
        WrongUsage, match=r"^src/container-runner\.ts of the nanoclaw checkout .* can't be read: 'utf-8'"
    ):
        agent.of_checkout(directory)


def test_any_version_can_be_written_to_a_report(tmp_path: Path) -> None:
    found = agent.of_checkout(
        checkout(tmp_path / "4", "---NANOCLAW_OUTPUT_START---", version=r'{"version": "1\ud800"}')
    )
    assert found.name.encode() == b"nanoclaw 1? (commit unknown)"


def test_the_name_has_the_commit_of_a_git_checkout(tmp_path: Path) -> None:
    directory = checkout(tmp_path / "4", "---NANOCLAW_OUTPUT_START---")

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.check_output(["git", "-C", directory, *identity, *arguments], text=True)

    git("init", "--quiet")
    git("config", "core.fsmonitor", f"touch {tmp_path}/ran")  # a program that git may run for other commands
    git("commit", "--quiet", "--allow-empty", "--message=x")
    (tmp_path / "ran").unlink(missing_ok=True)
    assert agent.of_checkout(directory).name.endswith(f" (commit {git('rev-parse', 'HEAD')[:12]})")
    assert not (tmp_path / "ran").exists()


def test_a_repository_that_the_environment_names_is_not_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = checkout(tmp_path / "4", "---NANOCLAW_OUTPUT_START---")
    (directory / ".git").mkdir()
    monkeypatch.setenv("GIT_DIR", str(ROOT / ".git"))  # as in a hook of git
    assert agent.of_checkout(directory).name.endswith(" (commit unknown)")


def test_a_checkout_is_looked_for_where_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NANOCLAW_DIR", raising=False)
    assert agent.find("") is None
    checkout(tmp_path / "nanoclaw", "")
    assert agent.find("") == tmp_path / "nanoclaw"
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("NANOCLAW_DIR", str(tmp_path / "other"))
    assert agent.find("") == tmp_path / "other"
    (tmp_path / "asked").mkdir()
    assert agent.find("~/asked") == tmp_path / "asked"


def test_a_directory_that_only_has_the_usual_name_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NANOCLAW_DIR", raising=False)
    (tmp_path / "nanoclaw").mkdir()
    assert agent.find("") is None
    monkeypatch.setenv("NANOCLAW_DIR", str(tmp_path / "nanoclaw"))
    with pytest.raises(WrongUsage, match="is not a nanoclaw checkout"):
        agent.available("")


def test_without_a_checkout_the_stub_agent_serves_both_protocols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NANOCLAW_DIR", raising=False)
    agents = agent.available("")
    assert set(agents) == set(AgentProtocol)
    for each in agents.values():
        assert (each.source / "index.ts").is_file()
        assert each.checkout is None
        assert "stub agent" in each.name


def test_without_a_network_fetch_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "url.file:///nowhere/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://")
    with pytest.raises(HostProblem, match=r"git (clone|fetch) failed: .*--nanoclaw DIR"):
        fetch()


def test_the_smoke_tests_own_options_come_first_and_the_rest_is_dockers() -> None:
    assert _parsed(["--host", "debian-13", "--nanoclaw=/x", "--read-only", "--tmpfs", "/tmp"]) == (
        {"--host": "debian-13", "--nanoclaw": "/x"},
        ["--read-only", "--tmpfs", "/tmp"],
    )
    for wrong in (["--host"], ["read-only"]):
        with pytest.raises(WrongUsage):
            _parsed(wrong)
