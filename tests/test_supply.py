from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.core import run_directories
from checks.core.progress import Progress
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import AS_IS, PreparedHost
from checks.hosts.process import TimedOut
from checks.nanoclaw import provider, service_url
from checks.nanoclaw.agent import stub_agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.images import base, disks
from checks.nanoclaw.provider import AgentProvider
from tests.fakes import FakeHost

AGENT = stub_agent()[AgentProtocol.STREAMS]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[run_directories.Run]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with run_directories.new_run() as run:
        yield run


class Desk:
    """A supply and a bench on a fake host. What docker is asked is noted, a line a call."""

    def __init__(self, tmp_path: Path, run: run_directories.Run, *, docker: str, podman: str) -> None:
        self._calls = tmp_path / "calls"
        self._calls.write_text("")
        docker = f'echo "$1" >>{self._calls}; {docker}'
        host = FakeHost(tmp_path, {"docker": docker, "podman": podman}).pretend()
        owner = RunScope(run.id, run.id)
        self.ctx = CaseContext(host, owner, "case", Record(), factor=0.05)
        self.ctx._directory = str(tmp_path)
        self.provider = AgentProvider(PreparedHost(host, AS_IS, owner, run), Progress())

    def calls(self) -> list[str]:
        return self._calls.read_text().split()


def test_a_build_that_failed_is_not_tried_again(tmp_path: Path, run: run_directories.Run) -> None:
    desk = Desk(tmp_path, run, docker="echo no such file >&2; exit 125", podman="exit 0")
    for _ in range(2):
        with pytest.raises(Mismatch, match="status 125: no such file") as failure:
            desk.provider.image(AGENT, desk.ctx)
        assert failure.value.fix == provider.ENTRY
    assert desk.calls() == ["build"]


def test_a_service_that_was_not_reached_is_not_asked_for_again(tmp_path: Path, run: run_directories.Run) -> None:
    desk = Desk(tmp_path, run, docker="exit 1", podman="exit 0")
    for _ in range(2):
        with pytest.raises(Mismatch, match="works") as failure:
            desk.provider.url(desk.ctx)
        assert failure.value.fix == service_url.ENTRY
    desk.provider.close()
    assert desk.calls() == ["run"]


def test_what_did_not_end_is_not_waited_for_again(tmp_path: Path, run: run_directories.Run) -> None:
    desk = Desk(tmp_path, run, docker="exec sleep 60", podman="exit 0")
    with pytest.raises(TimedOut):
        desk.provider.url(desk.ctx)
    with pytest.raises(Mismatch, match="timed out after 2 s"):
        desk.provider.url(desk.ctx)
    desk.provider.close()


@pytest.mark.parametrize(
    ("podman", "how"),
    [
        ('[ "$2" = exists ]', base.FROM_REGISTRY),
        ('[ "$1" = pull ]', base.FROM_REGISTRY),
        ('[ "$1" = load ]', base.SUBSTITUTE),
    ],
    ids=["there before", "pulled", "neither"],
)
def test_the_base_is_told_as_it_came(
    tmp_path: Path, run: run_directories.Run, monkeypatch: pytest.MonkeyPatch, podman: str, how: str
) -> None:
    monkeypatch.setattr(disks, "base_archive", lambda run, progress: b"")
    desk = Desk(tmp_path, run, docker="exit 0", podman=podman)
    assert desk.provider.build(AGENT, desk.ctx).endswith(":nanoclaw-agent")
    assert desk.provider.image_base == how


def test_what_a_disk_said_of_its_base_stands(tmp_path: Path, run: run_directories.Run) -> None:
    desk = Desk(tmp_path, run, docker="exit 0", podman="exit 0")
    desk.provider.image_base = base.SUBSTITUTE
    desk.provider.build(AGENT, desk.ctx)
    assert desk.provider.image_base == base.SUBSTITUTE
