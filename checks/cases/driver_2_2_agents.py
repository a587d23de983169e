"""What an agent of nanoclaw 2.2 gets and gives: `create` and `start` keep what `run` keeps for earlier versions."""

from __future__ import annotations

import secrets

import pytest

from checks.cases import driver_2_2
from checks.cases.driver_2_2 import READY, docker_of_service, session, start  # noqa: F401 - of each case here
from checks.cases.environment_and_user import KEYS, NARROW, VALUES
from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.docker import shell, start_attached
from checks.engine.expect import expect, expect_run
from checks.nanoclaw import session_driver
from checks.nanoclaw.contract import Mount

GROUP = driver_2_2.GROUP

_STARTS = "the-container-does-not-start"
_MOUNTS = "a-bind-mount-is-empty-inside-the-container"
_PARTING = 4  # seconds in which an agent could be ended because its client was
_LINE = "0123456789abcdefghijklmnopqrstuvwxyz é\n"
_LINES = 8000  # 320,000 bytes: more than any buffer between


@pytest.mark.case("Environment of a created container", fix=_STARTS)
def test_created_environment(ctx: CaseContext) -> None:
    agent, leak = session(ctx), secrets.token_hex(8)
    # nanoclaw's service has the keys of everything that its user uses, and may have another umask.
    leaks = dict.fromkeys(("NOT_PASSED", *KEYS), leak)
    command = agent.create("umask >&2; cat /proc/self/environ")
    values = [word for name, value in VALUES.items() for word in ("-e", f"{name}={value}")]
    expect_run(ctx.docker(command.with_options(values), within=NARROW, env=leaks))
    done = ctx.docker(start_attached(agent.name), within=NARROW, env=leaks)
    expect_run(done, stderr_has="0022\n")
    seen = dict(entry.partition("=")[::2] for entry in done.stdout.split("\0"))
    for name, value in VALUES.items():
        expect(seen.get(name) == value, f"{name} to be {value!r}", seen.get(name, "not set"))
    leaked = [name for name, value in seen.items() if leak in value or name == "NOT_PASSED"]
    expect(not leaked, "the client's own environment to stay outside", f"{', '.join(leaked)} inside")


@pytest.mark.case("Mounts of a created container", fix=_MOUNTS)
def test_created_mounts(ctx: CaseContext) -> None:
    agent, word = session(ctx), secrets.token_hex(8)
    state, shared = ctx.make("two  spaces, a comma"), ctx.make("shared")
    file, kept = ctx.write("settings.json", word), ctx.write("shared/kept", word)
    mounts = [
        Mount(state, "/workspace/agent"),
        Mount(shared, "/workspace/shared", readonly=True),
        Mount(file, "/workspace/agent-settings.json", readonly=True),
    ]
    looks = ["stat", "-c", "%a %u", state, shared, file, kept]
    before = ctx.host.run(looks).stdout
    script = (
        "cat shared/kept agent-settings.json; (echo x >shared/new; echo x >shared/kept; echo x >agent-settings.json)"
        f" 2>/dev/null; echo {word} >agent/made; umask 077; echo {word} >agent/private"
    )
    expect_run(ctx.docker(agent.create(f"cd /workspace; {script}", mounts=mounts)))
    expect_run(start(ctx, agent.name), stdout=word * 2)
    got = ctx.host.run(["sh", "-c", 'cd "$1" && ls && cat made private', "sh", state]).stdout
    expect(got == f"made\nprivate\n{word}\n{word}\n", f"what the agent wrote, {word} twice", got)
    got = ctx.host.run(["sh", "-c", 'ls "$1" && cat "$1/kept" "$2"', "sh", shared, file]).stdout
    expect(got == f"kept\n{word}{word}", "the read-only mounts to be unchanged", got)
    after = ctx.host.run(looks).stdout
    expect(after == before, "modes and owners of what is mounted to be unchanged", f"{after}, before {before}")
    missing, source = session(ctx, "missing"), Mount(f"{state}/no", "/workspace/none")
    done = ctx.docker(missing.create("echo ran; ls -d /workspace/none", mounts=[source]))
    if done.returncode == 0:  # Docker makes a directory that is missing
        done = start(ctx, missing.name)
    refused = done.stdout == "" and done.returncode not in (0, 124, 137)
    expect(refused or "\n/" in done.stdout, "no agent without a mount that was asked for", done.stdout)


@pytest.mark.case("docker start --attach passes the exit status on", fix=_STARTS)
def test_created_status(ctx: CaseContext) -> None:
    killed, broken, word = session(ctx), session(ctx, "broken"), secrets.token_hex(8)
    for turn in range(2):  # the name is free again when the client returns
        expect_run(ctx.docker(killed.create(f"exit {turn + 3}")))
        expect_run(start(ctx, killed.name), status=turn + 3)
    killed.created(READY)
    with ctx.docker.interactive(start_attached(killed.name)) as client:
        client.expect("ready\n")
        ctx.engine("kill", killed.name)
        client.read_rest()
        expect(client.status() == 137, "exit status 137 of an agent that is killed", client.status())
    ctx.expect_gone(killed.name)
    source = ctx.make("going")
    expect_run(ctx.docker(broken.create(f"echo {word}", mounts=[Mount(source, "/workspace/agent")])))
    ctx.host.run(["rmdir", "--", source])
    done = start(ctx, broken.name)
    expect_failed(done.returncode, "a start without the directory that is mounted")
    expect(word not in done.stdout, "no agent without its directory", done.stdout)
    ctx.docker("rm", "--force", broken.name, timeout=30)
    done = start(ctx, session(ctx, "none").name)
    expect_failed(done.returncode, "a start of a container that is not there")


def expect_failed(status: int, what: str) -> None:
    """Fail the case unless an exit status is docker's own failure, in time."""
    expect(status not in (0, 124, 137), f"{what} to fail", f"exit status {status}")


@pytest.mark.case("docker start --attach keeps 320,000 bytes of each stream", fix=_STARTS)
def test_created_output(ctx: CaseContext) -> None:
    agent = session(ctx)
    write = f"yes '{_LINE.rstrip()}' | head -n {_LINES}"
    agent.created(f"{write} & {write} >&2; wait")
    done = start(ctx, agent.name)
    expect_run(done)
    for stream, text in (("stdout", done.stdout), ("stderr", done.stderr)):
        got = text if stream == "stdout" else text[-len(_LINE) * _LINES :]  # podman-docker writes a notice first
        expect(got == _LINE * _LINES, f"{_LINES} equal lines on {stream}", f"{len(got)} characters")


@pytest.mark.case("An agent outlives the client of docker start, and others start meanwhile", fix=_STARTS)
def test_created_outlives(ctx: CaseContext) -> None:
    # The clients end with nanoclaw's host process; the next one adopts the agents.
    agent, other = session(ctx), session(ctx, "other")
    agent.created(READY)
    other.created("echo started")
    pidfile = f"{ctx.directory}/client.pid"
    with ctx.docker.interactive(start_attached(agent.name), pidfile=pidfile) as client:
        client.expect("ready\n")
        expect_run(start(ctx, other.name), stdout="started\n")  # though the first one's client waits
        ctx.host.run(shell('kill -KILL "$(cat "$1")"', pidfile))
        ended = poll(lambda: agent.name not in running(ctx), timeout=_PARTING * ctx.slowness, interval=1)
        expect(not ended, f"the agent to run {_PARTING * ctx.slowness:g} s after its client was killed", "it ended")
        expect_run(ctx.docker(*session_driver.status(agent.name)), stdout="running|0\n")
        expect_run(ctx.docker("stop", "-t", "1", agent.name, timeout=30))
    ctx.expect_gone(agent.name)


def running(ctx: CaseContext) -> list[str]:
    """The names of the running containers, as the engine itself lists them."""
    return ctx.engine("ps", "--format", "{{.Names}}").split()
