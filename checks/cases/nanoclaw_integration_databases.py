"""Complete agents of nanoclaw 2.x: a question and an answer in the session's databases."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from checks.cases import nanoclaw_integration
from checks.cases.nanoclaw_integration import (
    expect_all_listed,
    expect_at_home,
    expect_isolated,
    expect_no_new_helpers,
    expect_ours,
    expect_transcript,
    network_helpers,
)
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.core.process import Completed
from checks.engine.case_context import CaseContext
from checks.engine.expect import expect
from checks.nanoclaw import running, workspace
from checks.nanoclaw.contract import MAX_AGENTS, MAX_OUTPUT
from checks.nanoclaw.provider import AgentHandle
from checks.nanoclaw.running import expect_answer

GROUP = nanoclaw_integration.GROUP

_MAPPING = "permission-denied-in-the-workspace"
_ANSWER = "the-agent-does-not-answer"

_DATABASES = FIXTURES / "databases"
_EVENTS = FIXTURES / "events"
_SHIM = 200  # bytes of a message of the shim, at most
_ROUNDS = 100
_STEP_TIMEOUT = 15.0  # seconds on ordinary hardware; the first has the start of the agent
_DELAY = 5.0  # seconds on ordinary hardware, to a scheduled message
_CLOCK = 2.0  # seconds by which it may be early: times are in whole seconds, and measured after it was sent

# Sends an answer as an agent of nanoclaw 2.x.
_REPLY = """
import { Database } from 'bun:sqlite';
function reply(text) {
    const outbound = new Database('/workspace/outbound.db');
    outbound.exec('PRAGMA journal_mode = DELETE');
    outbound.query("INSERT INTO messages_out (id, seq, timestamp, kind, content) VALUES ('1', 1, '', 'chat', ?)")
        .run(JSON.stringify({ text }));
    outbound.close();
}
"""


def converse_by_databases(ctx: CaseContext, handle: AgentHandle) -> None:
    """Run an agent of nanoclaw 2.x from start to end."""
    image, question = handle.image(ctx), handle.question(ctx)
    place = workspace.for_databases(ctx, handle.agent, prompt=question.prompt)
    with running.databases(ctx, place, image, question) as agent:
        expect_answer(agent)
        expect_at_home(ctx, agent, place)
        expect_isolated(ctx, agent, place)
        listed = ctx.docker("ps", "--filter", f"label=nanoclaw-install={ctx.run}", "--format", "{{.Names}}")
        expect(agent.name in listed.stdout.split(), f"“docker ps” with its label to list {agent.name}", listed.stdout)
        agent.close()
    ctx.expect_gone(agent.name)
    expect_transcript(ctx, question, place)
    expect_ours(ctx, place)


@pytest.mark.case("Full agent container invocation with session databases", fix=_MAPPING)
def test_databases_passing_user(ctx_passing_user: CaseContext, databases_handle: AgentHandle) -> None:
    converse_by_databases(ctx_passing_user, databases_handle)


@pytest.mark.case("Full agent container invocation with session databases for uid 1000, without --user", fix=_MAPPING)
def test_databases_image_uid(ctx_of_image_uid: CaseContext, databases_handle: AgentHandle) -> None:
    converse_by_databases(ctx_of_image_uid, databases_handle)


@pytest.mark.case("Second message, then a scheduled one, to a running agent with session databases", fix=_ANSWER)
def test_databases_follow_up(ctx: CaseContext, databases_handle: AgentHandle) -> None:
    image, question = databases_handle.image(ctx), databases_handle.question(ctx)
    place = workspace.for_databases(ctx, databases_handle.agent, prompt=question.prompt)
    with running.databases(ctx, place, image, question) as agent:
        expect_answer(agent)
        agent.ask_again()
        expect_answer(agent)
        delay = _DELAY * ctx.slowness
        agent.ask_again(later=delay)
        early = agent.question.conversation.request_received.wait(delay - _CLOCK)
        expect(not early, f"no request to the service before the time of the message, {delay:g} s later", "a request")
        expect_answer(agent)
        agent.close()


@pytest.mark.case("Agent with session databases in a directory with spaces", fix=_MAPPING)
def test_databases_in_directory_with_spaces(ctx: CaseContext, databases_handle: AgentHandle) -> None:
    # A minimal agent whose answer is the content of a read-only mount.
    source = f"""
        import fs from 'node:fs';
        {_REPLY}
        reply(fs.readFileSync('/workspace/agent/CLAUDE.md', 'utf8'));
    """
    image, question = databases_handle.image(ctx), databases_handle.question(ctx)
    place = workspace.for_databases(
        ctx, databases_handle.agent, prompt=question.prompt, project="my own  nanoclaw", source=source
    )
    with running.databases(ctx, place, image, question) as agent:
        got = agent.answer()
        done = agent.ended("its answer")
    expect(got == "# Andy\n", "the content of its read-only mount", got)
    expect(done.returncode == 0, "exit status 0", done.returncode)


@pytest.mark.case("Agent with session databases that logs more than 10MB", fix="the-container-does-not-start")
def test_databases_output_large(ctx: CaseContext, databases_handle: AgentHandle) -> None:
    # nanoclaw reads what an agent logs, to both streams. The agent answers after its last line.
    size = MAX_OUTPUT + 500_000
    source = f"""
        {_REPLY}
        for (const stream of [process.stdout, process.stderr]) {{
            await new Promise((written) => stream.write('x'.repeat({size}), written));
        }}
        reply('logged');
    """
    image, question = databases_handle.image(ctx), databases_handle.question(ctx)
    place = workspace.for_databases(ctx, databases_handle.agent, prompt=question.prompt, source=source)
    with running.databases(ctx, place, image, question) as agent:
        got = agent.answer()
        done = agent.ended("its answer")
    expect(got == "logged", "its answer", got)
    for name, kept, whole, more in (
        ("stdout", done.stdout_bytes, done.stdout_extent, 0),
        ("stderr", done.stderr.encode(), done.stderr_extent, _SHIM),
    ):
        logged = whole.bytes if whole else len(kept)
        expect(size <= logged <= size + more, f"{size} bytes on {name}", f"{logged} bytes")
    expect(done.returncode == 0, "exit status 0", done.returncode)


@pytest.mark.case("5 agents with session databases at once", fix=_ANSWER)
def test_databases_at_once(ctx: CaseContext, databases_handle: AgentHandle) -> None:
    image = databases_handle.image(ctx)
    with contextlib.ExitStack() as stack:
        agents = []
        for n in range(MAX_AGENTS):
            question = databases_handle.question(ctx)
            place = workspace.for_databases(ctx, databases_handle.agent, prompt=question.prompt, project=f"agent-{n}")
            asked = running.databases(ctx, place, image, question, at_once=MAX_AGENTS)
            agents.append(stack.enter_context(asked))
        expect_all_listed(ctx, agents, "--filter", f"label=nanoclaw-install={ctx.run}")
        for agent in agents:
            agent.close()
    for agent in agents:
        ctx.expect_gone(agent.name)


@pytest.mark.case("Agent with session databases that hangs is stopped", fix="docker-stop-is-slow")
def test_databases_that_hangs(ctx: CaseContext, databases_handle: AgentHandle) -> None:
    image, question = databases_handle.image(ctx), databases_handle.question(ctx, silent=True)
    place = workspace.for_databases(ctx, databases_handle.agent, prompt=question.prompt)
    helpers = network_helpers(ctx)
    with running.databases(ctx, place, image, question) as agent:
        if not question.conversation.request_received.wait(running.ANSWER_TIMEOUT * ctx.slowness):
            raise agent.silent()
        status = agent.close().returncode
        # It has a second to end by itself, which it needs, depending on what it does just then.
        expect(status in (137, 143), "docker run to exit with 137 (SIGKILL) or 143 (SIGTERM)", status)
    ctx.expect_gone(agent.name)
    expect_no_new_helpers(ctx, helpers)


def on_host(ctx: CaseContext, programs: Path, *words: str, timeout: float = 30) -> Completed:
    """Run the part of nanoclaw's host on the files of a session."""
    return ctx.host.run(["python3", "-I", "-", *words], stdin=(programs / "host.py").read_bytes(), timeout=timeout)


@pytest.mark.case("Databases that the host and an agent write at once", fix=_MAPPING)
def test_databases_of_both_sides(ctx: CaseContext, databases_handle: AgentHandle) -> None:
    if ctx.host.run(["python3", "-I", "-c", "import sqlite3"]).returncode != 0:
        pytest.skip("needs python3 on the host")
    image, question = databases_handle.image(ctx), databases_handle.question(ctx)
    source = (_DATABASES / "agent.ts").read_text()
    place = workspace.for_databases(ctx, databases_handle.agent, prompt=question.prompt, source=source)
    session = place.path(place.exchange)
    with running.databases(ctx, place, image, question) as agent:
        limit = _STEP_TIMEOUT * ctx.slowness
        used = on_host(ctx, _DATABASES, session, "use", str(_ROUNDS), str(limit), timeout=60 + 5 * limit)
        steps = "messages and replies\nlock of the host\nlock of the agent\nunfinished transaction\n"
        if used.stdout != steps:
            last = lines_of(used.stdout.strip() or used.stderr.strip())[-1:]
            raise agent.failure(steps.strip().replace("\n", ", "), " ".join(last), agent.client.so_far())
        ctx.engine("kill", agent.name)
        agent.ended("its end by SIGKILL")
    ctx.expect_gone(agent.name)
    checked = on_host(ctx, _DATABASES, session, "check")
    wanted = f"{_ROUNDS + 2} replies\n"  # and those to the first message, and after its lock
    expect(checked.stdout == wanted, f"a whole database with {wanted}", checked.stdout or checked.stderr)


@pytest.mark.case("File events and Unix sockets across an agent's mount", fix=_MAPPING)
def test_databases_events_and_sockets(ctx: CaseContext, databases_handle: AgentHandle) -> None:
    if ctx.host.run(["python3", "-I", "-c", "import ctypes"]).returncode != 0:
        pytest.skip("needs python3 on the host")
    image, question = databases_handle.image(ctx), databases_handle.question(ctx)
    source = (_EVENTS / "agent.ts").read_text()
    place = workspace.for_databases(ctx, databases_handle.agent, prompt=question.prompt, source=source)
    with running.databases(ctx, place, image, question) as agent:
        limit = _STEP_TIMEOUT * ctx.slowness
        talked = on_host(ctx, _EVENTS, place.path(place.exchange), str(limit), timeout=5 * limit)
        steps = "events of both sides\nsocket of the agent\nsocket of the host\n"
        if talked.stdout != steps:
            last = lines_of(talked.stdout.strip() or talked.stderr.strip())[-1:]
            raise agent.failure(steps.strip().replace("\n", ", "), " ".join(last), agent.client.so_far())
        agent.close()
    ctx.expect_gone(agent.name)
