"""What the tool itself must not do: tell secrets, trust any host, listen for everyone, leave files open to all."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from checks.core.paths import ROOT
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.evidence.run import CaseResult, Evidence
from checks.hosts import build
from checks.nanoclaw import running, workspace
from checks.nanoclaw.agent import stub_agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.running import Question
from checks.nanoclaw.service import Conversation
from tests.fakes import FACTS, FakeHost

KEY = "sk-ant-the-users-own-key"


@pytest.fixture
def ctx(tmp_path: Path) -> CaseContext:
    host = FakeHost(tmp_path, {"docker": f'printf "%s\\n" "$@" >{tmp_path}/argv; cat >/dev/null'})
    ctx = CaseContext(
        host.pretend(replace(FACTS, docker=f"{tmp_path}/bin/docker")), RunScope("run", "run"), "case", Record()
    )
    ctx._directory = str(tmp_path)
    return ctx


def asked(ctx: CaseContext, protocol: AgentProtocol) -> list[str]:
    """What was shown of everything that was run to ask an agent of that design, with a key of the real service."""
    shown: list[str] = []
    ctx.host.echo = shown.append
    question = Question("What?", "That.", Conversation(KEY, "That."))
    agent = stub_agent()[protocol]
    if protocol is AgentProtocol.STREAMS:
        with running.streams(ctx, workspace.for_streams(ctx, agent), "image", question) as started:
            started.client.end()
    else:
        place = workspace.for_databases(ctx, agent, prompt="What?")
        with running.databases(ctx, place, "image", question) as started:
            started.client.end()
    return shown


@pytest.mark.parametrize("protocol", AgentProtocol)
def test_the_users_key_is_on_no_command_line_and_in_no_evidence(
    ctx: CaseContext, tmp_path: Path, protocol: AgentProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = asked(ctx, protocol)
    assert shown
    assert KEY not in "\n".join(shown)
    assert KEY not in (tmp_path / "argv").read_text()
    evidence = Evidence("h", "recommended", FACTS)
    evidence.cases.append(CaseResult("id", "group", "label", "passed", 1.0, ctx.record))
    assert KEY not in str(msgspec.json.encode(evidence.record()))


def test_guests_listen_on_the_loopback_address_and_their_keys_are_pinned() -> None:
    machine = (ROOT / "checks/hosts/machine.py").read_text()
    assert re.findall(r"hostfwd=tcp:([^:]*):", machine) == ["127.0.0.1"]
    guest = (ROOT / "checks/hosts/guest.py").read_text()
    assert "StrictHostKeyChecking=yes" in guest
    everything = "".join(path.read_text() for path in (ROOT / "checks").rglob("*.py"))
    assert not re.search(r"StrictHostKeyChecking=(no|accept-new|off)", everything)


def test_private_keys_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        build.make_keys(tmp_path)
    finally:
        os.umask(before)
    for key in (build.CLIENT_KEY, build.HOST_KEY):
        assert (tmp_path / key).stat().st_mode & 0o777 == 0o600


def test_no_file_of_the_project_may_be_written_by_everyone() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    assert [path for path in files if path.is_file() and path.stat().st_mode & 0o002] == []


def test_no_shell_is_asked_to_split_words_here() -> None:
    """``shell=True`` and ``os.system`` would make a command line of a string."""
    everything = {path: path.read_text() for path in (ROOT / "checks").rglob("*.py")}
    assert [path for path, text in everything.items() if re.search(r"shell=True|os\.system\(|os\.popen\(", text)] == []
