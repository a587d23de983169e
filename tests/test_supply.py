from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from checks.core import run_directories
from checks.core.process import TimedOut
from checks.core.progress import Progress
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import AS_IS, PreparedHost
from checks.hosts.guest import Guest
from checks.nanoclaw import provider, service_url
from checks.nanoclaw.agent import stub_agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.images import base, disks
from checks.nanoclaw.provider import AgentProvider
from tests.fakes import FakeHost

AGENT = stub_agent()[AgentProtocol.STREAMS]


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds make no directory in /var/tmp."""
    path = tmp_path / "shared"
    path.mkdir(mode=0o700)
    monkeypatch.setattr("checks.hosts.base.SHARED", str(path))


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
        ("case $1 in pull | tag | rmi) ;; *) exit 1 ;; esac", base.FROM_REGISTRY),
        ("case $1 in load | tag | rmi) ;; *) exit 1 ;; esac", base.SUBSTITUTE),
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


def test_a_new_name_of_a_disks_image_keeps_its_mapped_layers(
    tmp_path: Path, run: run_directories.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "_DISKS", str(tmp_path / "disks"))
    stores = [tmp_path / "disks" / "1500" / "overlay-images", tmp_path / "own" / "overlay-images"]
    for store in stores:
        store.mkdir(parents=True)
    (stores[0] / "images.json").write_text('[{"id": "1", "mapped-layers": ["2"]}, {"id": "3"}]')
    copied = '[{"id": "1", "names": ["new"]}, {"id": "4"}]'
    podman = f"""case $1 in
        tag) printf '%s' '{copied}' >{stores[1]}/images.json; echo "$2 $3" >{tmp_path}/tagged ;;
        info) echo {tmp_path}/own ;;
    esac"""
    desk = Desk(tmp_path, run, docker="exit 1", podman=podman)
    prepared = desk.provider._prepared
    desk.provider._prepared = PreparedHost(
        prepared.host, "recommended", prepared.owner, run, cast("Guest", SimpleNamespace())
    )
    desk.provider.images[str(AGENT.context), 1500] = "image"
    desk.provider.tag(AGENT, desk.ctx, "new")
    assert (tmp_path / "tagged").read_text() == "image new\n"
    records = json.loads((stores[1] / "images.json").read_text())
    assert records == [{"id": "1", "names": ["new"], "mapped-layers": ["2"]}, {"id": "4"}]


@pytest.mark.parametrize(
    ("found", "name"), [("host.containers.internal", "host.docker.internal"), ("169.254.1.2", "169.254.1.2")]
)
def test_agents_of_2_x_reach_the_gateway_where_containers_reach_the_service(
    tmp_path: Path, run: run_directories.Run, found: str, name: str
) -> None:
    desk = Desk(tmp_path, run, docker="exit 1", podman="exit 0")
    desk.provider._url = f"http://{found}:80"
    access = desk.provider.gateway(desk.ctx).admit(desk.provider.service(desk.ctx).conversation())
    desk.provider.close()
    assert f"@{name}:" in access.environment["HTTPS_PROXY"]
