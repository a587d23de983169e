"""Complete agents: their own image, nanoclaw's arguments, a question in, the service's answer out."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
import secrets
import shlex
from collections.abc import Sequence

import pytest

from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.engine import isolation
from checks.engine.case_context import CaseContext
from checks.engine.docker import run, shell
from checks.engine.expect import expect
from checks.nanoclaw import contract, driver, running, workspace
from checks.nanoclaw.contract import IMAGE_UID, MAX_AGENTS, MAX_OUTPUT, STOP_TIMEOUT
from checks.nanoclaw.provider import AgentHandle
from checks.nanoclaw.running import Question, RunningAgent, expect_answer
from checks.nanoclaw.workspace import Workspace

GROUP = "Nanoclaw integration"

_MAPPING = "permission-denied-in-the-workspace"
_ANSWER = "the-agent-does-not-answer"

# Tries each mount (kind:path) inside the container. Writing must succeed on rw and fail on ro, except for /dev/null,
# which hides the secrets.
_INSIDE = """
echo "uid $(id -u) gid $(id -g) HOME $HOME TZ $TZ"
for mount; do
    path=${mount#*:}
    [ -d "$path" ] && path=$path/.verify
    case $mount in
        rw:*) echo here >"$path" || echo "can't write $path" ;;
        ro:*) [ -c "$path" ] || ! (echo gone >"$path") 2>/dev/null || echo "could write $path" ;;
    esac
done
cat /workspace/project/.env 2>/dev/null || true
"""

_FOREIGN = 'find "$@" ! \\( -user "$(id -u)" -group "$(id -g)" \\) -printf "%p %U:%G\\n"'

_PROCESSES = "grep -h -s -E '^(Name|Pid|Uid):' /proc/[0-9]*/status"
_PROCESS = re.compile(r"Name:\t(.+)\nPid:\t(\d+)\nUid:\t\d+\t(\d+)\t")  # the second of its uids is the effective one
_BUILT_UP_TO = 2.0
"""The slowness up to which an agent's own Dockerfile is built without being asked for."""
_HELPERS_TIMEOUT = 5.0  # seconds on ordinary hardware; they exit by themselves shortly after their container


def expect_at_home(ctx: CaseContext, agent: RunningAgent, place: Workspace) -> None:
    """Fail unless the running agent has the expected user, and can write exactly its writable mounts."""
    mounts = [f"{'ro' if each.readonly else 'rw'}:{each.target}" for each in place.mounts]
    done = ctx.host.run([ctx.facts.engine, "exec", agent.name, *shell(_INSIDE, *mounts)])
    uid, gid = (IMAGE_UID, IMAGE_UID) if ctx.uid == IMAGE_UID else (ctx.uid, ctx.facts.gid)
    wanted = f"uid {uid} gid {gid} HOME /home/node TZ {running.ZONE}"
    got = done.stdout.strip() if done.returncode == 0 else f"status {done.returncode}: {done.stderr.strip()}"
    expect(got == wanted, f"{wanted}, rw mounts written, ro mounts refused", got)
    for mount in place.mounts:
        if not mount.readonly:
            left = ctx.read(f"{ctx.relative(mount.source)}/.verify")
            expect(left == "here\n", f"what the agent wrote to {mount.target} to be in {mount.source}", left)


def expect_isolated(ctx: CaseContext, agent: RunningAgent, place: Workspace) -> None:
    """Fail unless the running agent sees nothing of the host but its mounts."""
    secret = secrets.token_hex(8)
    script = shell(isolation.SCRIPT, ctx.write("secret", secret))
    inside = ctx.host.run([ctx.facts.engine, "exec", agent.name, *script])
    expect(inside.returncode == 0, "a shell in the agent's container", inside.stderr.strip())
    asked = [each.target for each in (*place.mounts, *place.gateway)]
    isolation.expect_isolated(ctx, inside.stdout, secret, asked)
    reference = ctx.engine(*run(ctx.probe, *script, options=["--rm"]).with_options(ctx.docker.flags).words)
    isolation.expect_nothing_added(inside.stdout, reference, asked)


def expect_ours(ctx: CaseContext, place: Workspace) -> None:
    """Fail unless the host user owns every file in the writable mounts."""
    directories = [mount.source for mount in place.mounts if not mount.readonly]
    found = ctx.host.run(shell(_FOREIGN, *directories))
    engines = place.mount_points()
    foreign = [line for line in lines_of(found.stdout) if line.rpartition(" ")[0] not in engines]
    expect(
        found.returncode == 0 and not foreign,
        "every file to belong to the host user",
        "\n".join(foreign) or found.stderr,
    )


def expect_transcript(ctx: CaseContext, question: Question, place: Workspace) -> None:
    """Fail unless the session's transcript is on the host: without it the next session starts without memory."""
    # -r neither follows links nor reads devices and FIFOs.
    found = ctx.run_in(f"{place.claude}/projects", 'grep -r -l -F -D skip -- "$1" .', question.answer)
    expect(found.returncode == 0, f"a transcript with the answer in {place.claude}/projects", found.stderr or "none")


def network_helpers(ctx: CaseContext) -> set[str]:
    """The account's running network helpers, each as name and process id."""
    done = ctx.host.run(shell(_PROCESSES))
    processes = _PROCESS.findall(done.stdout)
    expect(bool(processes), "the host's processes in /proc", done.stderr.strip() or "none")
    return {
        f"{name} {pid}" for name, pid, uid in processes if int(uid) == ctx.uid and re.search("pasta|slirp4netns", name)
    }


def expect_no_new_helpers(ctx: CaseContext, before: set[str]) -> None:
    """Fail unless all network helpers that were not running before exit within seconds."""
    left: set[str] = set()

    def none_left() -> bool:
        nonlocal left
        left = network_helpers(ctx) - before
        return not left

    gone = poll(none_left, timeout=_HELPERS_TIMEOUT * ctx.slowness, interval=0.5)
    expect(gone, "the agent's network helpers to exit", ", ".join(sorted(left)))


def converse_by_streams(ctx: CaseContext, handle: AgentHandle, *, is_main: bool = False) -> None:
    """Run an agent of nanoclaw 1.x from start to end."""
    image, question = handle.image(ctx), handle.question(ctx)
    place = workspace.for_streams(ctx, handle.agent, is_main=is_main)
    with running.streams(ctx, place, image, question, is_main=is_main) as agent:
        expect_answer(agent)
        expect_at_home(ctx, agent, place)
        expect_isolated(ctx, agent, place)
        done = agent.close()
    if done.returncode != 0:
        raise agent.failure("the agent to exit with status 0 after _close", f"status {done.returncode}", done)
    sessions = {output.session for output in agent.outputs()}
    expect(all(sessions), "a session id in every output", repr(sessions))
    ctx.expect_gone(agent.name)
    left = ctx.run_in(f"{place.exchange}/input", "ls -A")
    expect(
        left.returncode == 0 and "_close" not in left.stdout, "the agent to consume _close", left.stdout or left.stderr
    )
    expect_transcript(ctx, question, place)
    expect_ours(ctx, place)


@pytest.mark.case("Service on the host reached from a container", fix="a-container-does-not-reach-the-host")
def test_reach(ctx: CaseContext, streams_or_databases_handle: AgentHandle) -> None:
    ctx.record.observe("url", streams_or_databases_handle.url(ctx))


@pytest.mark.case("docker build of the agent's own Dockerfile", fix="an-image-does-not-build")
def test_agent_build(ctx: CaseContext, streams_or_databases_handle: AgentHandle, slow: bool) -> None:
    if ctx.host.slowness > _BUILT_UP_TO and not slow:
        pytest.skip("takes half an hour on a host as slow as an emulated one; run it with --slow")
    image = streams_or_databases_handle.build(ctx)
    # The programs of the image that agents of 1.x and 2.x need.
    script = "node --version && git --version && bash --version | head -1 && id -un && ls -d /workspace/group"
    done = ctx.docker(run(image, "-c", script, options=["--rm", "--entrypoint", "sh"]))
    expect(done.returncode == 0, "node, git, bash and /workspace/group in the image", done.stderr or done.stdout)
    expect(lines_of(done.stdout)[-2:] == ["node", "/workspace/group"], "the image's user to be node", done.stdout)


@pytest.mark.case("Full agent container invocation", fix=_MAPPING)
def test_streams_passing_user(ctx_passing_user: CaseContext, streams_handle: AgentHandle) -> None:
    converse_by_streams(ctx_passing_user, streams_handle, is_main=True)


@pytest.mark.case("Full agent container invocation for uid 1000, without --user", fix=_MAPPING)
def test_streams_image_uid(ctx_of_image_uid: CaseContext, streams_handle: AgentHandle) -> None:
    converse_by_streams(ctx_of_image_uid, streams_handle)


def apart(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """The differences of two command lines, one a line."""
    found = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if kind != "equal":
            mine, other = shlex.join(ours[a:b]), shlex.join(theirs[c:d])
            found.append({"insert": f"also {other}", "delete": f"without {mine}"}.get(kind, f"{other} for {mine}"))
    return found


@pytest.mark.case(
    "nanoclaw's own runContainerAgent()",
    fix=_ANSWER,
    against="nanoclaw's own code calls docker here, without the flags",
)
def test_own_code(ctx: CaseContext, checkout_handle: AgentHandle) -> None:
    image, question = checkout_handle.image(ctx), checkout_handle.question(ctx)
    driven = driver.drive(ctx, checkout_handle.agent, image, question)
    results = [output.get("result") for output in driven.outputs]
    expect(
        question.answer in results,
        f"the service's own words, “{question.answer}”",
        f"{results}, and finally {driven.end}",
    )
    expect(driven.end.get("status") == "success", "runContainerAgent() to succeed", driven.end)
    # Its docker command must equal the one that the cases above run, argument by argument.
    runs = [call for call in driven.calls if call.argv[:1] == ["run"]]
    expect(len(runs) == 1, "one “docker run”", [call.argv for call in driven.calls])
    name = runs[0].argv[runs[0].argv.index("--name") + 1]
    known = re.fullmatch(rf"nanoclaw-{workspace.GROUP}-\d{{13}}", name)
    expect(known is not None, f"a name nanoclaw-{workspace.GROUP}-MILLISECONDS", name)
    place = workspace.for_streams(ctx, checkout_handle.agent)
    ours = contract.run_streams(
        name=name, zone=running.ZONE, uid=ctx.uid, gid=ctx.facts.gid, mounts=place.mounts, image=image
    ).words
    asks = list(runs[0].argv)
    expect(
        asks == ours,
        f"the command that the cases run: {ours}",
        f"nanoclaw's own command: {'; '.join(apart(ours, asks))}",
    )
    stdin = contract.input_of(
        prompt=question.prompt, group=workspace.GROUP, is_main=False, secrets=question.credentials
    )
    expect(runs[0].stdin == hashlib.sha256(stdin).hexdigest(), "the stdin that the cases send", "different content")
    ctx.record.observe("docker_seconds", round(runs[0].seconds, 1))
    ctx.expect_gone(name)


@pytest.mark.case("Second message to a running agent", fix=_ANSWER)
def test_streams_follow_up(ctx: CaseContext, streams_handle: AgentHandle) -> None:
    image, question = streams_handle.image(ctx), streams_handle.question(ctx)
    place = workspace.for_streams(ctx, streams_handle.agent)
    with running.streams(ctx, place, image, question) as agent:
        expect_answer(agent)
        agent.ask_again()
        expect_answer(agent)
        agent.close()


@pytest.mark.case("Agent in a directory with spaces", fix=_MAPPING)
def test_agent_in_directory_with_spaces(ctx: CaseContext, streams_handle: AgentHandle) -> None:
    # A minimal agent that writes its input to its group's directory.
    source = """
        import fs from 'node:fs';
        const input = fs.readFileSync(0, 'utf8');
        fs.writeFileSync('/workspace/group/input.json', input);
        const result = fs.readFileSync('/workspace/global/CLAUDE.md', 'utf8');
        const said = JSON.stringify({ status: 'success', result });
        console.log(`---NANOCLAW_OUTPUT_START---\\n${said}\\n---NANOCLAW_OUTPUT_END---`);
    """
    image, question = streams_handle.image(ctx), streams_handle.question(ctx)
    place = workspace.for_streams(ctx, streams_handle.agent, project="my own  nanoclaw", source=source)
    with running.streams(ctx, place, image, question) as agent:
        got = agent.answer()
        done = agent.ended("its answer")
    expect(got == "# Global memory\n", "the content of its read-only mount", got)
    left = ctx.read(f"my own  nanoclaw/groups/{workspace.GROUP}/input.json")
    expect(question.prompt in left, f"its input, with “{question.prompt}”, in its group's directory", left)
    expect(done.returncode == 0, "exit status 0", done.returncode)


@pytest.mark.case("Agent output larger than 10MB", fix="the-container-does-not-start")
def test_agent_output_large(ctx: CaseContext, streams_handle: AgentHandle) -> None:
    # A user's group may replace the agent's source: here by one with large output.
    size = MAX_OUTPUT + 500_000
    source = f"""
        const result = 'x'.repeat({size});
        const said = JSON.stringify({{ status: 'success', result, newSessionId: 'none' }});
        process.stdout.write(`---NANOCLAW_OUTPUT_START---\\n${{said}}\\n---NANOCLAW_OUTPUT_END---\\n`);
    """
    image, question = streams_handle.image(ctx), streams_handle.question(ctx)
    place = workspace.for_streams(ctx, streams_handle.agent, source=source)
    with running.streams(ctx, place, image, question) as agent:
        got = agent.answer()
        done = agent.ended("its answer")
    expect(got == "x" * size, f"a result of {size} characters, unchanged", f"{len(got)} characters")
    expect(done.returncode == 0, "exit status 0", done.returncode)


def expect_all_listed(ctx: CaseContext, agents: Sequence[RunningAgent], *filters: str) -> None:
    """Fail unless each agent answers, and “docker ps” then lists all of them: none was asked to exit."""
    for agent in agents:
        expect_answer(agent)
    listed = ctx.docker("ps", *filters, "--format", "{{.Names}}").stdout.split()
    missing = [agent.name for agent in agents if agent.name not in listed]
    expect(not missing, f"“docker ps” to list all {len(agents)} agents", f"a list without {missing}")


@pytest.mark.case("5 agents at once", fix=_ANSWER)
def test_agents_at_once(ctx: CaseContext, streams_handle: AgentHandle) -> None:
    image = streams_handle.image(ctx)
    with contextlib.ExitStack() as stack:
        agents = []
        for n in range(MAX_AGENTS):
            place = workspace.for_streams(ctx, streams_handle.agent, project=f"agent-{n}")
            question = streams_handle.question(ctx)
            asked = running.streams(ctx, place, image, question, at_once=MAX_AGENTS)
            agents.append(stack.enter_context(asked))
        expect_all_listed(ctx, agents, "--filter", "name=nanoclaw-")
        for agent in agents:
            ctx.write(f"{agent.workspace.exchange}/input/_close", "")
        ends = [agent.ended("_close").returncode for agent in agents]
    expect(ends == [0] * MAX_AGENTS, "all agents to exit with status 0", ends)


@pytest.mark.case("Agent that hangs is stopped", fix="docker-stop-is-slow")
def test_agent_that_hangs(ctx: CaseContext, streams_handle: AgentHandle) -> None:
    # Like nanoclaw: `docker stop`, and SIGKILL for the client if that fails or takes more than 15 s.
    image, question = streams_handle.image(ctx), streams_handle.question(ctx, silent=True)
    place = workspace.for_streams(ctx, streams_handle.agent)
    helpers = network_helpers(ctx)
    with running.streams(ctx, place, image, question) as agent:
        bound = running.ANSWER_TIMEOUT * ctx.slowness
        if not question.conversation.request_received.wait(bound):
            raise agent.silent()
        stop = ctx.docker("stop", agent.name, within=["timeout", str(STOP_TIMEOUT * ctx.host.slowness)], timeout=30)
        ctx.record.observe("stop_seconds", round(stop.seconds, 1))
        if stop.returncode != 0:
            agent.kill_client()
        else:
            status = agent.ended("docker stop").returncode
            expect(status == 137, "docker run to exit with 137 (SIGKILL)", status)
    ctx.expect_gone(agent.name)
    expect_no_new_helpers(ctx, helpers)
