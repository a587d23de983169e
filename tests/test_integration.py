"""What the cases with agents are made of, where no agent is needed."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from checks.cases import nanoclaw_integration as cases
from checks.core.process import Completed
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.nanoclaw import driver, running, workspace
from checks.nanoclaw.agent import of_checkout, stub_agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.gateway import CERTIFICATE, Access
from checks.nanoclaw.running import Question
from checks.nanoclaw.service import Conversation
from tests.fakes import FakeHost
from tests.patience import AT_ONCE, PATIENCE
from tests.test_agent import checkout

QUESTION = Question("?", "an answer", Conversation("key", "an answer"))


def ctx(tmp_path: Path, **programs: str) -> CaseContext:
    desk = CaseContext(FakeHost(tmp_path, programs).pretend(), RunScope("run", "run"), "case", Record())
    desk._directory = str(tmp_path / "case")
    (tmp_path / "case").mkdir()
    return desk


def test_an_agent_that_is_gone_fails_its_case_and_not_the_host(tmp_path: Path) -> None:
    desk = ctx(tmp_path, docker="exit 0", podman='echo "Error: no container $2" >&2; exit 125')
    place = workspace.for_streams(desk, stub_agent()[AgentProtocol.STREAMS])
    with (
        running.streams(desk, place, "image", QUESTION) as agent,
        pytest.raises(Mismatch, match=f"status 125: Error: no container {agent.name}"),
    ):
        cases.expect_at_home(desk, agent, place)


PROCESSES = (
    """printf 'Name:\\t%s\\nPid:\\t%s\\nUid:\\t0\\t%s\\t0\\t0\\n' systemd 1 0 pasta.avx2 7 1500 slirp4netns 8 1501"""
)


def test_network_helpers_are_those_of_the_account(tmp_path: Path) -> None:
    assert cases.network_helpers(ctx(tmp_path, grep=PROCESSES)) == {"pasta.avx2 7"}


def test_a_network_helper_that_stays_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "_HELPERS_TIMEOUT", 0)
    desk = ctx(tmp_path, grep=PROCESSES)
    cases.expect_no_new_helpers(desk, {"pasta.avx2 7"})
    with pytest.raises(Mismatch, match=r"the agent's network helpers to exit; got pasta\.avx2 7"):
        cases.expect_no_new_helpers(desk, set())


def test_processes_that_can_not_be_looked_at_are_not_none(tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="the host's processes in /proc"):
        cases.network_helpers(ctx(tmp_path, grep="exit 127"))


@pytest.mark.parametrize(
    ("stderr", "fix"),
    [
        ('Error: invalid IP address in add-host: "host-gateway"', "host-gateway-is-an-invalid-ip-address"),
        ("Error: EACCES: permission denied, mkdir debug", "permission-denied-in-the-workspace"),
        ("sh: can't create x: Read-only file system", "the-agent-does-not-answer"),
        ("Error: short-name resolution failed", ""),
    ],
)
def test_an_agents_failure_links_to_what_it_said(tmp_path: Path, stderr: str, fix: str) -> None:
    desk = ctx(tmp_path, docker=f"cat <<'end' >&2\n{stderr}\nend\nexit 125")
    place = workspace.for_databases(desk, stub_agent()[AgentProtocol.DATABASES], prompt="?")
    with running.databases(desk, place, "image", QUESTION) as agent, pytest.raises(Mismatch) as failure:
        agent.answer()
    assert "status 125" in failure.value.got
    assert stderr in failure.value.got
    assert failure.value.fix == fix


def test_an_agent_of_2_0_gets_the_options_of_the_gateway_where_nanoclaw_has_them(tmp_path: Path) -> None:
    desk = ctx(tmp_path, docker=f'printf "%s\\n" "$@" >{tmp_path}/argv')
    access = Access({"HTTPS_PROXY": "http://x:token@host.docker.internal:1", "ANTHROPIC_API_KEY": "placeholder"}, "PEM")
    question = Question("?", "an answer", Conversation("the-key", "an answer"), gateway=access)
    place = workspace.for_databases(desk, stub_agent()[AgentProtocol.DATABASES], prompt="?")
    with running.databases(desk, place, "image", question) as agent:
        agent.client.end()
    words = (tmp_path / "argv").read_text().splitlines()
    first = words.index("-e", words.index("-e") + 1)  # after the time zone
    certificate = words[first + 5].partition(":")[0]
    assert words[first : first + 7] == [
        *("-e", "HTTPS_PROXY=http://x:token@host.docker.internal:1", "-e", "ANTHROPIC_API_KEY=placeholder"),
        *("-v", f"{certificate}:{CERTIFICATE}:ro", "--add-host=host.docker.internal:host-gateway"),
    ]
    assert Path(certificate).read_text() == "PEM"
    assert "the-key" not in "\n".join(words)


@pytest.mark.parametrize(("delay", "answered"), [(0.4, True), (600, False)])
def test_an_answer_that_comes_after_its_message_is_completed_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay: float, answered: bool
) -> None:
    monkeypatch.setattr(running, "_COMPLETED_TIMEOUT", PATIENCE if answered else 0.5)
    desk = ctx(tmp_path, docker="exec sleep 600")
    place = workspace.for_databases(desk, stub_agent()[AgentProtocol.DATABASES], prompt="?")
    outbound = sqlite3.connect(f"{place.path(place.exchange)}/outbound.db", isolation_level=None)
    outbound.execute("INSERT INTO processing_ack VALUES ('message-1', 'completed', '')")
    answer = "INSERT INTO messages_out (id, seq, timestamp, kind, content) VALUES ('1', 1, '', 'chat', ?)"
    with running.databases(desk, place, "image", QUESTION) as agent, contextlib.closing(outbound):
        began = time.monotonic()
        writing = threading.Timer(delay, lambda: write(f"{place.path(place.exchange)}/outbound.db", answer))
        writing.start()
        try:
            if answered:
                assert agent.answer() == "late"
            else:
                with pytest.raises(Mismatch, match="no answer; docker is still running"):
                    agent.answer()
        finally:
            writing.cancel()
        assert time.monotonic() - began < AT_ONCE


def write(database: str, statement: str) -> None:
    """Send a late answer, from a thread of its own."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement, (json.dumps({"text": "late"}),))


def test_last_words_are_without_the_frames_of_a_stack() -> None:
    frames = "".join(f"    at somewhere (file:///src/{n}.ts:1:1)\n" for n in range(20))
    done = Completed((), 1, b"", f"Error: the reason\n{frames}\nNode.js v22\n".encode(), 0)
    assert running.last_output(done) == "Error: the reason\n\nNode.js v22"


@pytest.mark.parametrize(
    ("script", "got"),
    [
        ("echo 'Error: no pino' >&2; exit 1", "node exited with status 1; stderr of node: Error: no pino"),
        ("exit 13", "node exited with status 13; stderr of node: empty"),
        ("echo 'waiting for ever' >&2; exec sleep 60", r"timed out after 0\.\d s; stderr of node: waiting for ever"),
    ],
    ids=["an error", "without a word", "without an end"],
)
def test_nanoclaws_own_code_fails_with_what_node_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, got: str
) -> None:
    monkeypatch.setattr(driver, "ANSWER_TIMEOUT", 0.3)
    image = tmp_path / "image"
    for name, content in ((driver._NODE, f"#!/bin/sh\n{script}\n"), (driver._TYPESCRIPT, "// TypeScript")):
        (image / name).parent.mkdir(parents=True)
        (image / name).write_text(content)
        (image / name).chmod(0o755)
    desk = ctx(tmp_path, node="echo 18", podman=f"exec tar -C {image} -cf - .")
    own = of_checkout(checkout(tmp_path / "nanoclaw", "const START = '---NANOCLAW_OUTPUT_START---';"))
    with pytest.raises(Mismatch, match=f"runContainerAgent\\(\\) to return; got {got}"):
        driver.drive(desk, own, "image", QUESTION)


def test_two_command_lines_are_told_apart_by_what_differs() -> None:
    ours = ["run", "-i", "--rm", "image"]
    assert cases.apart(ours, ["run", "-i", "--rm", "--pids-limit", "5", "image"]) == ["also --pids-limit 5"]
    assert cases.apart(ours, ["run", "--rm", "image"]) == ["without -i"]
    assert cases.apart(ours, ["run", "-t", "--rm", "image"]) == ["-t for -i"]
    assert cases.apart(ours, ours) == []
