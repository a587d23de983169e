"""Practical problems: unusual paths, many agents at once, large output, agents that hang, clients that are killed."""

from __future__ import annotations

import contextlib
import hashlib
import secrets

import pytest

from checks.cases.container_lifecycle import expect_stopped
from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.docker import InteractiveSession, run, shell
from checks.engine.expect import expect, expect_run

GROUP = "Edge cases"

AT_ONCE = 5  # nanoclaw's MAX_CONCURRENT_CONTAINERS
_MARGIN = 10  # seconds for containers that start at once, more than one after another would take
MAX_OUTPUT = 10_485_760  # bytes; nanoclaw's CONTAINER_MAX_OUTPUT_SIZE
GRACE = 10  # seconds between SIGTERM and SIGKILL of `docker stop`
STOP_TIMEOUT = 15  # seconds after which nanoclaw kills a `docker stop` that has not returned
IGNORES_TERM = 'trap "" TERM; echo ready; while :; do sleep 1; done'
READS_ON = ("sh", "-c", "echo ready; cat")


@pytest.mark.case("Mount path with spaces", fix="permission-denied-in-the-workspace")
def test_mount_path_with_spaces(ctx: CaseContext) -> None:
    word = secrets.token_hex(8)
    directory = ctx.make("My Group's  Földer $HOME")
    ctx.write("My Group's  Földer $HOME/in", word)
    script = 'cat "/work space/in" && cp "/work space/in" "/work space/out file"'
    done = ctx.docker(run(ctx.probe, "sh", "-c", script, options=["--rm", "-v", f"{directory}:/work space"]))
    expect_run(done, stdout=word)
    got = ctx.read("My Group's  Földer $HOME/out file")
    expect(got == word, f"the file to contain what the container wrote, {word}", got)


@pytest.mark.case("Container name with timestamp", fix="docker-ps-shows-the-wrong-containers")
def test_name_with_timestamp(ctx: CaseContext) -> None:
    # Two containers of a group, started a moment apart: milliseconds tell them apart, the common part finds both.
    group = "Family-Chat-" + "x" * 52  # a group's directory name has up to 64 characters, including capitals
    first, second = ctx.name(group), ctx.name(group)
    shared = first.rsplit("-", 1)[0]
    with contextlib.ExitStack() as sessions:
        clients = [
            sessions.enter_context(
                ctx.docker.interactive(run(ctx.probe, *command, options=["-i", "--rm", "--name", name]))
            )
            for name, command in ((first, ("sh", "-c", IGNORES_TERM)), (second, READS_ON))
        ]
        for session in clients:
            session.expect("ready\n")
        done = ctx.docker("ps", "--filter", f"name={shared}-", "--format", "{{.Names}}")
        expect_run(done)
        expect(sorted(done.stdout.split()) == sorted([first, second]), f"both names: {first}, {second}", done.stdout)
        expect_run(ctx.docker("stop", "-t", "1", first, timeout=30))
        running = ctx.engine("ps", "--format", "{{.Names}}").split()
        expect(first not in running and second in running, f"{first} to be stopped and {second} to be running", running)
        clients[1].close_stdin()
        for session in clients:
            session.read_rest()
    ctx.expect_gone(first)
    ctx.expect_gone(second)


@pytest.mark.case("Multiple simultaneous containers", fix="the-container-does-not-start")
def test_simultaneous(ctx: CaseContext) -> None:
    shared = ctx.make("shared")
    words = [secrets.token_hex(8) for _ in range(AT_ONCE)]
    # Each waits for all the others: if they did not run at the same time, none would exit.
    script = (
        "touch /shared/up-$N; until [ $(ls /shared | grep -c ^up-) -eq 5 ]; do sleep 0.2; done;"
        'echo "$N $(cat) $(cat /own/word)"; echo "$N" > /own/answer; echo "err $N" >&2; exit "$1"'
    )
    statuses = (1, 2, 126, 139, 255)  # 1 is what an agent fails with
    alone = ctx.docker(run(ctx.probe, "true", options=["--rm"]))
    expect_run(alone)
    limit = AT_ONCE * alone.seconds + _MARGIN
    with contextlib.ExitStack() as stack:
        agents = []
        for n, word in enumerate(words):
            own = ctx.make(f"own-{n}")
            ctx.write(f"own-{n}/word", word)
            options = [
                "-i", "--rm", "--name", ctx.name(f"agent{n}"), "-e", f"N={n}", "-v", f"{own}:/own",
                "-v", f"{shared}:/shared",
            ]  # fmt: skip
            asked = run(ctx.probe, "sh", "-c", script, "sh", str(statuses[n]), options=options)
            agents.append(stack.enter_context(ctx.docker.started(asked, stdin=f"to {n}: {word}".encode())))
        up: list[str] = []

        def all_up() -> bool:
            up[:] = ctx.host.run(["ls", shared]).stdout.split()
            return len(up) == AT_ONCE

        poll(all_up, timeout=limit, interval=0.5)
        in_time = len(up)
        for n, (agent, word) in enumerate(zip(agents, words, strict=True)):
            done = agent.end()
            expect_run(done, status=statuses[n], stdout=f"{n} to {n}: {word} {word}\n", stderr_has=f"err {n}\n")
            got = ctx.read(f"own-{n}/answer")
            expect(got == f"{n}\n", f"agent {n}'s answer to be in its own directory", got)
    wanted = f"all {AT_ONCE} containers up within {limit:.0f} s, as one alone takes {alone.seconds:.1f} s"
    expect(in_time == AT_ONCE, wanted, f"{in_time} up")


@pytest.mark.case("Container output larger than 10MB", fix="the-container-does-not-start")
def test_large_output(ctx: CaseContext) -> None:
    # Twelve long lines, like an agent's JSON: Podman logs each line separately, and a million short lines take minutes.
    # Characters of several bytes are across every border at which the output can be read.
    lines, numbers = 12, 100_000
    between = "€".encode()
    wanted = b"".join(
        between.join(b"%d" % n for n in range(line * numbers, (line + 1) * numbers)) + b"\n" for line in range(lines)
    )
    assert len(wanted) > MAX_OUTPUT
    script = "line=0; while [ $line -lt $1 ]; do seq -s € $((line*$2)) $((line*$2+$2-1)); line=$((line+1)); done"
    command = ("sh", "-c", script, "sh", str(lines), str(numbers))
    done = ctx.docker(run(ctx.probe, *command, options=["-i", "--rm"]), timeout=60)
    expect(done.returncode == 0, "exit status 0", f"exit status {done.returncode}")
    same = hashlib.sha256(done.stdout_bytes).digest() == hashlib.sha256(wanted).digest()
    expect(same, f"all {len(wanted)} bytes unchanged", f"{len(done.stdout_bytes)} bytes")


@pytest.mark.case("Container timeout", fix="docker-stop-is-slow")
def test_timeout(ctx: CaseContext) -> None:
    # nanoclaw stops an agent that hangs with `docker stop` and a timeout of 15 s. Podman sends SIGKILL after 10 s.
    name = ctx.name("hangs")
    with ctx.docker.interactive(
        run(ctx.probe, "sh", "-c", IGNORES_TERM, options=["-i", "--rm", "--name", name])
    ) as session:
        session.expect("ready\n")
        done = ctx.docker("stop", name, timeout=30)
        expect_stopped(ctx, done, name)
        ctx.record.observe("stop_seconds", round(done.seconds, 1))
        expect(done.seconds >= GRACE - 1, f"no SIGKILL before the {GRACE} s of grace", f"{done.seconds:.1f} s")
        # The grace period is real time. The rest of the work takes longer on an emulated processor.
        bound = GRACE + (STOP_TIMEOUT - GRACE) * ctx.host.slowness
        expect(done.seconds < bound, f"“docker stop” to exit within {bound:g} s", f"{done.seconds:.1f} s")
        session.read_rest()
        expect(session.status() == 137, "the client to exit with 137 (SIGKILL)", session.status())
    ctx.expect_gone(name)


def kill_client(ctx: CaseContext, session: InteractiveSession, pidfile: str) -> None:
    """Kill the docker client with SIGKILL, like nanoclaw after its timeout, and close its stdin, like Node."""
    killed = ctx.host.run(shell('kill -KILL "$(cat "$1")"', pidfile))
    expect(killed.returncode == 0, "a running client to kill", killed.stderr)
    session.close_stdin()


@pytest.mark.case("Killed client leaves no container", fix="a-killed-client-leaves-its-container")
def test_killed_client(ctx: CaseContext) -> None:
    # An agent that reads stdin exits when its client is killed, because its stdin ends.
    name = ctx.name("orphan")
    pidfile = f"{ctx.directory}/client.pid"
    flags = ("-i", "--rm", "--name", name)
    with ctx.docker.interactive(run(ctx.probe, *READS_ON, options=flags), pidfile=pidfile) as session:
        session.expect("ready\n")
        kill_client(ctx, session, pidfile)
        ctx.expect_gone(name)


@pytest.mark.case("Orphan of a killed client is found and stopped", fix="a-killed-client-leaves-its-container")
def test_orphan_clean_up(ctx: CaseContext) -> None:
    # An agent that does not read stdin outlives its client, on Docker too. nanoclaw looks for orphans when it starts.
    # This one ignores SIGTERM, because older Podman versions forward one when their client is killed.
    name = ctx.name("deaf-orphan")
    pidfile = f"{ctx.directory}/client.pid"
    flags = ("-i", "--rm", "--name", name)
    with ctx.docker.interactive(run(ctx.probe, "sh", "-c", IGNORES_TERM, options=flags), pidfile=pidfile) as session:
        session.expect("ready\n")
        kill_client(ctx, session, pidfile)
        ctx.await_running(name)
        done = ctx.docker("ps", "--filter", f"name={name.rsplit('-', 1)[0]}-", "--format", "{{.Names}}")
        expect_run(done, stdout=f"{name}\n")
        expect_stopped(ctx, ctx.docker("stop", "-t", "1", done.stdout.strip(), timeout=30), name)
        ctx.expect_gone(name)
