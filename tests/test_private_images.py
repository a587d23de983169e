"""The case that lets docker delete every image does so in a store of its own, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.cases import setup_and_skills_images as cases
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from tests.fakes import FakeHost

LOGGED = 'echo "${XDG_DATA_HOME:-own} $*" >>"$(dirname "$0")/../ran"'


def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> CaseContext:
    """A case's context where ``docker info`` prints this store, and every other command succeeds."""
    monkeypatch.setattr("checks.hosts.base.SHARED", str(tmp_path))
    docker = f'{LOGGED}\n[ "$1" != info ] || echo "{store}"\n[ "$1" != run ] || printf "none\\nbuilt\\n"'
    host = FakeHost(tmp_path, {"docker": docker, "podman": LOGGED}).pretend()
    return CaseContext(host, RunScope("run", "run"), "prune", Record())


def ran(tmp_path: Path) -> list[tuple[str, str]]:
    """The data directory of each command that ran, and its subcommand."""
    words = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    return [(line[0], line[1]) for line in words]


@pytest.mark.parametrize("store", ["/home/test/.local/share/containers/storage", "", "$XDG_DATA_HOME/containers"])
def test_nothing_is_removed_where_docker_keeps_to_the_accounts_own_store(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context(tmp_path, monkeypatch, store)
    with pytest.raises(pytest.skip.Exception, match="would delete them"):
        cases.test_prune(ctx)
    assert [command for _, command in ran(tmp_path)] == ["info"]


def test_every_command_that_builds_or_removes_uses_the_store_of_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context(tmp_path, monkeypatch, "$XDG_DATA_HOME/containers/storage")
    with pytest.raises(Mismatch):  # the second image prints another word here
        cases.test_prune(ctx)
    own = {command for data, command in ran(tmp_path) if data == "own"}
    private = {command for data, command in ran(tmp_path) if data == f"{ctx.directory}/data"}
    assert (own, private) == ({"save"}, {"info", "load", "build", "create", "run", "builder"})
