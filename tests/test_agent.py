from pathlib import Path

import pytest

from checks.core.errors import HostProblem, WrongUsage
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
    assert one.name == f"nanoclaw 9.9 ({tmp_path / '1'})"
    assert one.context == tmp_path / "1" / "container"


def test_a_directory_that_is_no_checkout_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match=r"is not a nanoclaw checkout: src/container-runner\.ts is missing"):
        agent.of_checkout(tmp_path)


def test_a_design_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="speaks an unknown protocol"):
        agent.of_checkout(checkout(tmp_path / "3", "fetch('http://agent')"))


def test_a_checkout_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="can't be read"):
        agent.of_checkout(checkout(tmp_path / "4", "", version="no json"))


def test_a_checkout_is_looked_for_where_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NANOCLAW_DIR", raising=False)
    assert agent.find("") is None
    checkout(tmp_path / "nanoclaw", "")
    assert agent.find("") == tmp_path / "nanoclaw"
    monkeypatch.setenv("NANOCLAW_DIR", "/from/environment")
    assert agent.find("") == Path("/from/environment")
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
    with pytest.raises(HostProblem, match=r"git clone failed: .*--nanoclaw DIR"):
        fetch()


def test_the_smoke_tests_own_options_come_first_and_the_rest_is_dockers() -> None:
    assert _parsed(["--host", "debian-13", "--nanoclaw=/x", "--read-only", "--tmpfs", "/tmp"]) == (
        {"--host": "debian-13", "--nanoclaw": "/x"},
        ["--read-only", "--tmpfs", "/tmp"],
    )
    for wrong in (["--host"], ["read-only"]):
        with pytest.raises(WrongUsage):
            _parsed(wrong)
