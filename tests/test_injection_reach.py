"""What a container reaches, as it says itself; on real hosts `invoke inject --check --host HOST` asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.core.errors import HostProblem
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.evidence.hardening_model import Reach
from checks.hardening.injection import reach
from tests.fakes import FakeHost

ANSWERS = """
case $1:$3 in
network:*) [ "$2" = rm ] || echo "$*" >>"$LOG" ;;
run:--network=*) echo asked ;;
run:*) for last; do :; done; echo "$word host"; echo "$word network"; echo asked ;;
esac
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.setattr(reach, "_START", "echo 10.0.2.15")
    monkeypatch.setattr(reach, "_STOP", f"touch {tmp_path}/stopped")
    monkeypatch.setattr("checks.hardening.injection.reach.secrets.token_hex", lambda _: "word")
    (tmp_path / "root").mkdir()
    return FakeHost(tmp_path / "root")


def measured(tmp_path: Path, root: FakeHost, podman: str) -> list[Reach]:
    (tmp_path / "account").mkdir()
    account = FakeHost(tmp_path / "account", {"podman": f"word=word LOG={tmp_path}/log\n{podman}"}).pretend()
    ctx = CaseContext(account, RunScope("run1", "run1"), "reach", Record())
    return list(reach.measure(ctx, root, [reach.DEFAULT, reach.INTERNAL]))


def test_what_answers_on_each_network_is_told(tmp_path: Path, root: FakeHost) -> None:
    default, internal = measured(tmp_path, root, ANSWERS)
    assert (default.network, default.reached) == ("default", ["host", "network"])
    assert (internal.network, internal.reached, internal.error) == ("internal", [], "")
    assert (tmp_path / "log").read_text() == "network create --internal nanoclaw-reach-run1-internal\n"
    assert (tmp_path / "stopped").exists()


def test_a_container_that_could_not_ask_has_reached_nothing_known(tmp_path: Path, root: FakeHost) -> None:
    found = measured(tmp_path, root, "echo 'word loopback'; echo 'Error: no nft' >&2; exit 126")
    assert {(each.error, *each.reached) for each in found} == {("Error: no nft",)}


def test_services_that_do_not_start_are_a_problem_of_the_host(
    tmp_path: Path, root: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_START", "exit 1")
    with pytest.raises(HostProblem, match="starting services to reach"):
        measured(tmp_path, root, ANSWERS)
    assert (tmp_path / "stopped").exists()
