"""Practical problems of docker's client: signals, silence, floods of output, names in use, many containers at once."""

from __future__ import annotations

import contextlib
import re
import secrets

import pytest

from checks.cases import edge_cases
from checks.cases.container_lifecycle import expect_stopped
from checks.cases.edge_cases import GRACE
from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.docker import Command, create, run, shell, start_attached
from checks.engine.expect import expect, expect_run

GROUP = edge_cases.GROUP

_START = "the-container-does-not-start"
_DEAF = 'trap "echo asked" TERM; echo ready; while :; do sleep 1; done'
_SILENCE = 62  # seconds; more than the usual limits of what closes idle connections
_STATUSES = (2, 3, 77, 100, 124, 126, 129, 130, 139, 143, 200, 255)
_SILENT = """
echo "$1"
sleep "$2"
echo "$1 again"
echo "$1 too" >&2
until [ -e /heard/it ]; do sleep 0.3; done
exit "$3"
"""
_MANY = 20
_MANY_TIMEOUT = 90.0  # seconds on ordinary hardware until all of them run

# Lines around the sizes at which pipes, and the engines' logs, split what they read; the last has no end.
_SIZES = (16383, 16384, 16385, 32768, 65535, 65536, 65537, 1_100_000)
_FLOOD = """
flood() {
    for size; do head -c "$size" /dev/zero | tr '\\0' "$letter"; echo; done
    printf 'last é'
}
letter=o flood "$@" &
letter=e flood "$@" >&2 &
wait
"""


# Runs a command as Node.js does: with sockets as its standard streams, which no program can open by their names.
_ON_SOCKETS = """
import shutil, socket, subprocess, sys, threading
pairs = [socket.socketpair() for _ in range(3)]
child = subprocess.Popen(sys.argv[1:], **dict(zip(("stdin", "stdout", "stderr"), [theirs for _, theirs in pairs])))
for _, theirs in pairs:
    theirs.close()
(stdin, _), *outputs = pairs
stdin.sendall(sys.stdin.buffer.read())
stdin.shutdown(socket.SHUT_WR)
copies = [
    threading.Thread(target=shutil.copyfileobj, args=(ours.makefile("rb"), stream.buffer))
    for (ours, _), stream in zip(outputs, (sys.stdout, sys.stderr))
]
for copy in copies:
    copy.start()
for copy in copies:
    copy.join()
status = child.wait()
sys.exit(status if status >= 0 else 128 - status)
"""


@pytest.mark.case("docker run with sockets as its standard streams", fix=_START)
def test_sockets_as_streams(ctx: CaseContext) -> None:
    if ctx.host.run(["python3", "-I", "-c", "import socket"]).returncode != 0:
        pytest.skip("needs python3 on the host")
    word = secrets.token_hex(8)
    command = run(ctx.probe, "sh", "-c", "cat; echo to stderr >&2; exit 3", options=["-i", "--rm"])
    done = ctx.docker(command, stdin=f"{word}\n".encode(), within=["python3", "-I", "-c", _ON_SOCKETS])
    expect_run(done, status=3, stdout=f"{word}\n", stderr_has="to stderr\n")
    expect_run(ctx.docker("ps", "-q", within=["python3", "-I", "-c", _ON_SOCKETS]))


@pytest.mark.case("SIGTERM to the client of docker run", fix="a-killed-client-leaves-its-container")
def test_client_sigterm(ctx: CaseContext) -> None:
    # systemd sends it to all processes of nanoclaw's service: the client passes it on, and waits for the container.
    name, pidfile = ctx.name("signals"), f"{ctx.directory}/client.pid"
    script = 'trap "echo got TERM; sleep 1; echo end; exit 42" TERM; echo ready; while :; do sleep 600 & wait $!; done'
    command = run(ctx.probe, *shell(script), options=["--rm", "--name", name])
    with ctx.docker.interactive(command, pidfile=pidfile) as session:
        session.expect("ready\n")
        sent = ctx.host.run(shell('kill -s TERM "$(cat "$1")"', pidfile))
        expect(sent.returncode == 0, "a running client", sent.stderr)
        rest = session.read_rest()
        # Podman 4.3 passes it on twice, and exits with 0.
        said = re.fullmatch("(got TERM\n){1,2}end\n", rest) is not None
        expect(said, "the container's own words on SIGTERM, “got TERM” and “end”", rest)
        ctx.record.observe("status", session.status())
    ctx.expect_gone(name)


@pytest.mark.case("SIGINT and SIGHUP to the client of docker run", fix="a-killed-client-leaves-its-container")
def test_client_signals(ctx: CaseContext) -> None:
    # Ctrl-C in a terminal, and its end, reach all processes of nanoclaw.
    signals = ("INT", "HUP")
    names = [ctx.name(f"signal-{signal.lower()}") for signal in signals]
    pidfiles = [f"{ctx.directory}/client-{signal}.pid" for signal in signals]
    script = 'trap "echo got $1; exit 42" "$1"; echo ready; while :; do sleep 600 & wait $!; done'
    with contextlib.ExitStack() as stack:
        sessions = []
        for signal, name, pidfile in zip(signals, names, pidfiles, strict=True):
            command = run(ctx.probe, *shell(script, signal), options=["--rm", "--name", name])
            sessions.append(stack.enter_context(ctx.docker.interactive(command, pidfile=pidfile)))
        for signal, session, pidfile in zip(signals, sessions, pidfiles, strict=True):
            session.expect("ready\n")
            sent = ctx.host.run(shell('kill -s "$1" "$(cat "$2")"', signal, pidfile))
            expect(sent.returncode == 0, "a running client", sent.stderr)
            rest = session.read_rest()
            expect(rest.startswith(f"got {signal}\n"), f"the container's own words on SIG{signal}", rest)
    for name in names:
        ctx.expect_gone(name)


@pytest.mark.case("Two containers that ignore SIGTERM stopped at once", fix="docker-stop-is-slow")
def test_stops_at_once(ctx: CaseContext) -> None:
    # nanoclaw stops agents that hang at the same time, and starts others meanwhile. Each stop waits for ten seconds.
    names = [ctx.name(f"deaf{number}") for number in (1, 2)]
    # Where everything takes longer, the grace period has to be longer, too.
    grace = round(GRACE * min(ctx.slowness, 3))
    options = () if ctx.slowness == 1 else ("-t", str(grace))
    agent = ctx.name("agent")
    ctx.start_unrelated(agent, script="echo ready; exec sleep 600")
    with contextlib.ExitStack() as stack:
        sessions = [
            stack.enter_context(
                ctx.docker.interactive(run(ctx.probe, *shell(_DEAF), options=["-i", "--rm", "--name", name]))
            )
            for name in names
        ]
        for session in sessions:
            session.expect("ready\n")
        stops = [
            stack.enter_context(ctx.docker.started(Command("stop", options, (name,)), timeout=60)) for name in names
        ]
        for session in sessions:
            session.expect("asked\n")
        listed, other, *others = ctx.docker.at_once(
            Command("ps", ("--format", "{{.Names}}"), ()),
            run(ctx.probe, "echo", "meanwhile", options=["--rm"]),
            Command("inspect", ("--format", "{{.State.Status}}"), (agent,)),
            Command("exec", (), (agent, "echo", "running")),
            Command("logs", (), (agent,)),
        )
        waiting = sum(stop.running() for stop in stops)
        expect(waiting == 2, "docker ps, run, inspect, exec and logs to end while both stops wait", f"{waiting} wait")
        expect_run(listed)
        expect_run(other, stdout="meanwhile\n")
        for done in others:
            expect_run(done)
        ends = [stop.end() for stop in stops]
        for done, name in zip(ends, names, strict=True):
            expect_stopped(ctx, done, name)
        # The grace period is real time on any host: one stop after the other would take it twice.
        apart = abs(ends[0].seconds - ends[1].seconds)
        expect(apart < grace - 2, "both stops to wait at the same time", f"one took {apart:.1f} s longer")
        for session in sessions:
            session.read_rest()
    for name in names:
        ctx.expect_gone(name)


@pytest.mark.case("Container that is silent for a minute, while others end", fix=_START)
def test_silent(ctx: CaseContext) -> None:
    # An agent that thinks, or waits for its next message, says nothing for minutes. nanoclaw 2.2 creates it before.
    word, heard = secrets.token_hex(8), ctx.make("heard")
    names = {42: ctx.name("silent"), 43: ctx.name("created")}

    def command(status: int) -> tuple[list[str], list[str]]:
        options = ["--rm", "--name", names[status], "-v", f"{heard}:/heard"]
        return shell(_SILENT, word, str(_SILENCE), str(status)), options

    words, options = command(43)
    expect_run(ctx.docker(create(ctx.probe, *words, options=options)))
    words, options = command(42)
    limit = _SILENCE + 60
    with (
        ctx.docker.started(start_attached(names[43]), timeout=limit) as second,
        ctx.docker.started(run(ctx.probe, *words, options=options), timeout=limit) as first,
    ):
        others = (run(ctx.probe, "sh", "-c", f"exit {status}", options=["--rm"]) for status in _STATUSES)
        got = [done.returncode for done in ctx.docker.at_once(*others)]
        expect(got == [*_STATUSES], f"their own exit statuses: {_STATUSES}", got)

        def spoken() -> list[bool]:
            return [f"{word} again\n" in each.so_far().stdout for each in (first, second)]

        # They go on only when they were heard.
        def known() -> bool:
            return all(spoken()) or not (first.running() and second.running())

        poll(known, timeout=_SILENCE + 30, interval=0.5)
        while_running = spoken()
        ctx.write("heard/it", "")
        for each, status in ((first, 42), (second, 43)):
            expect_run(each.end(), status=status, stdout=f"{word}\n{word} again\n", stderr_has=f"{word} too\n")
    expect(all(while_running), "both containers' words while they still run", f"heard: {while_running}")
    for name in names.values():
        ctx.expect_gone(name)


@pytest.mark.case("Both output streams flooded at once", fix=_START)
def test_streams_flooded(ctx: CaseContext) -> None:
    sizes = [str(size) for size in _SIZES]
    done = ctx.docker(run(ctx.probe, *shell(_FLOOD, *sizes), options=["--rm"]), timeout=60)
    expect_run(done)
    for name, got, letter in (("stdout", done.stdout, "o"), ("stderr", done.stderr, "e")):
        wanted = "".join(letter * size + "\n" for size in _SIZES) + "last é"
        # The shim may print a message of its own first.
        same = got.endswith(wanted) if name == "stderr" else got == wanted
        expect(same, f"all {len(wanted)} characters of {name}, unchanged", f"{len(got)} characters")


@pytest.mark.case("Name free again when docker run returns", fix="docker-stop-is-slow")
def test_name_free_again(ctx: CaseContext) -> None:
    name = ctx.name("again")
    for turn in range(3):
        word = secrets.token_hex(4)
        done = ctx.docker(run(ctx.probe, "echo", word, options=["--rm", "--name", name]))
        expect(done.returncode == 0 and done.stdout == f"{word}\n", f"run {turn + 1} to print {word}", done.stderr)
    ctx.expect_gone(name)


@pytest.mark.case(f"{_MANY} containers at once", fix=_START)
def test_many_at_once(ctx: CaseContext) -> None:
    shared, words = ctx.make("shared"), [secrets.token_hex(8) for _ in range(_MANY)]
    # Each waits for all the others: they run at the same time. Each then ends at once after its last line.
    script = """
        began=$(date +%s)
        touch "/shared/up-$1"
        until [ "$(ls /shared | grep -c ^up-)" -eq "$2" ]; do
            sleep 0.3
            [ "$(($(date +%s) - began))" -lt "$3" ] || exit 9
        done
        seconds=0
        until [ -e /shared/listed ]; do
            sleep 1
            seconds=$((seconds + 1))
            [ "$seconds" -lt "$3" ] || exit 9
        done
        echo "$1 $(cat /own/word)"
    """
    limit = str(round(_MANY_TIMEOUT * ctx.slowness))
    names = [ctx.name(f"many{number}") for number in range(_MANY)]
    with contextlib.ExitStack() as stack:
        clients = []
        for number, (name, word) in enumerate(zip(names, words, strict=True)):
            own = ctx.make(f"own-{number}")
            ctx.write(f"own-{number}/word", word)
            options = ["--rm", "--name", name, "-v", f"{own}:/own:ro", "-v", f"{shared}:/shared"]
            command = run(ctx.probe, *shell(script, str(number), str(_MANY), limit), options=options)
            clients.append(stack.enter_context(ctx.docker.started(command, timeout=120)))

        def failed() -> bool:
            return any(each.so_far().returncode > 0 for each in clients)

        def all_up() -> bool:
            return len(ctx.host.run(["ls", shared]).stdout.split()) == _MANY

        # One that fails would let the others wait in vain.
        limits = {"timeout": _MANY_TIMEOUT * ctx.slowness, "interval": 0.5}
        if poll(lambda: failed() or all_up(), **limits) and not failed():
            listed = ctx.docker("ps", "--format", "{{.Names}}")
            missing = set(names) - set(listed.stdout.split())
            ctx.write("shared/listed", "")
            poll(lambda: failed() or not any(each.running() for each in clients), **limits)
            expect(not missing, f"all {_MANY} to be listed while they run", f"not {', '.join(sorted(missing))}")
        for client in clients:
            if client.so_far().returncode > 0:
                expect_run(client.end())
        for number, (client, word) in enumerate(zip(clients, words, strict=True)):
            expect_run(client.end(), stdout=f"{number} {word}\n")
    left = set(ctx.engine("ps", "-a", "--format", "{{.Names}}").split()) & set(names)
    expect(not left, "nothing left of the containers", sorted(left))
