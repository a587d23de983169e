"""Starting, interacting with, stopping and finding containers."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Sequence

import pytest

from checks.core.process import Completed
from checks.engine import isolation
from checks.engine.case_context import CaseContext
from checks.engine.docker import run
from checks.engine.expect import expect, expect_run, shown

GROUP = "Container lifecycle"

GRACE = 10  # seconds that `docker stop` waits before it kills


@pytest.mark.case("docker run -i --rm", fix="the-container-does-not-start")
def test_run(ctx: CaseContext) -> None:
    name = ctx.name("run")
    script = 'echo "to stdout"; echo "to stderr" >&2; exit 1'
    done = ctx.docker(run(ctx.probe, "sh", "-c", script, options=["-i", "--rm", "--name", name]))
    expect_run(done, status=1, stdout="to stdout\n", stderr_has="to stderr\n")
    expect("to stdout" not in done.stderr, "stdout and stderr to be separate", done.stderr)
    ctx.expect_gone(name)


@pytest.mark.case("docker run --name", fix="the-container-does-not-start")
def test_run_name(ctx: CaseContext) -> None:
    name, script = ctx.name("named"), "trap 'exit 5' TERM; echo ready; sleep 600 & wait"
    for kind in (["-i", "--rm"], ["--rm"]):  # of nanoclaw 1.x, and of 2.0
        options = [*kind, "--name", name, "-v", f"{ctx.make('data')}:/data"]
        command = run(ctx.probe, "sh", "-c", script, options=options)
        with ctx.docker.interactive(command) as session:
            session.expect("ready\n")
            ctx.await_running(name)
            record = isolation.recorded(ctx, name)
            # A name in use stays with its container.
            expect_run(ctx.docker(run(ctx.probe, "true", options=["--rm", "--name", name])), status=125)
            ctx.await_running(name)
            expect_run(ctx.docker("stop", name, timeout=30))
            session.read_rest()
            expect(session.status() == 5, "the container's own exit status on SIGTERM, 5", session.status())
        ctx.expect_gone(name)
        ctx.engine("run", "-d", *ctx.docker.argv(command)[2:])
        isolation.expect_same_record(record, isolation.recorded(ctx, name))
        ctx.engine("rm", "-f", name)


@pytest.mark.case("docker run passes the exit status on", fix="the-container-does-not-start")
def test_run_status(ctx: CaseContext) -> None:
    directory = ctx.make("data")
    ctx.write("data/not-executable", "#!/bin/sh\n")
    wanted = {
        0: ["true"],
        125: ["sh", "-c", "echo run >>/data/runs; exit 125"],  # also the exit status of Podman's own errors
        126: ["/data/not-executable"],
        127: ["/no/such/command"],
        143: ["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"],
    }
    ends = ctx.docker.at_once(
        *(run(ctx.probe, *command, options=["--rm", "-v", f"{directory}:/data"]) for command in wanted.values())
    )
    for status, done in zip(wanted, ends, strict=True):
        expect_run(done, status=status, stdout="")
    runs = ctx.read("data/runs")
    expect(runs == "run\n", "a container that fails to run once", runs)


@pytest.mark.case("docker run of an image that does not exist", fix="the-container-does-not-start")
def test_run_missing_image(ctx: CaseContext) -> None:
    done = ctx.docker(run("localhost/nanoclaw-verify/no-such-image:latest", "true", options=["--rm", "--pull=never"]))
    expect_run(done, status=125, stdout="")
    expect("no-such-image" in done.stderr, "a message that names the image", done.stderr)


@pytest.mark.case("docker run with stdin piping", fix="the-container-does-not-start")
def test_stdin(ctx: CaseContext) -> None:
    text = 'first line\n{"second": "line, “with” ümlauts\\u0000"}\n\n  the last, without an end'
    name = ctx.name("stdin")
    done = ctx.docker(run(ctx.probe, "cat", options=["-i", "--rm", "--name", name]), stdin=text.encode())
    expect_run(done, stdout=text)
    ctx.expect_gone(name)
    # What a terminal or a decoder in between would change, and the keys that detach a client.
    data = b"a\r\nb\rc\0d\x04\x1b[1me\x10\x11f\xff"
    done = ctx.docker(run(ctx.probe, "cat", options=["-i", "--rm"]), stdin=data)
    expect(done.returncode == 0 and done.stdout_bytes == data, f"{data!r} to arrive unchanged", repr(done.stdout_bytes))


@pytest.mark.case("docker run with 1 MB of JSON on stdin", fix="the-container-does-not-start")
def test_stdin_large(ctx: CaseContext) -> None:
    data = json.dumps({"prompt": "".join(f"{n} “é”\n" for n in range(90_000)), "end": secrets.token_hex(8)}).encode()
    assert len(data) > 1_000_000
    done = ctx.docker(run(ctx.probe, "sha256sum", options=["-i", "--rm"]), stdin=data, timeout=30)
    expect_run(done)
    got, wanted = done.stdout.split()[:1], hashlib.sha256(data).hexdigest()
    expect(got == [wanted], f"all {len(data)} bytes to arrive unchanged, by their SHA-256", done.stdout)
    # And back at the same time: neither direction may wait for the end of the other.
    done = ctx.docker(run(ctx.probe, "cat", options=["-i", "--rm"]), stdin=data, timeout=30)
    same = done.returncode == 0 and done.stdout_bytes == data
    expect(same, f"all {len(data)} bytes back, unchanged", f"{len(done.stdout_bytes)} bytes")


@pytest.mark.case("docker run without -i leaves stdin alone", fix="the-container-does-not-start")
def test_stdin_ignored(ctx: CaseContext) -> None:
    # nanoclaw 2.x runs without -i: a container that reads stdin gets end-of-file at once.
    done = ctx.docker(
        run(ctx.probe, "sh", "-c", "cat; echo went on", options=["--rm"]), stdin=b"not for the container\n"
    )
    expect_run(done, stdout="went on\n")


@pytest.mark.case("docker run shows stdout and stderr as they come", fix="the-container-does-not-start")
def test_output_as_it_comes(ctx: CaseContext) -> None:
    # Without -i, like nanoclaw 2.x, which reads its agents' output while they work.
    name, word = ctx.name("live"), secrets.token_hex(4)
    script = f"trap exit TERM; echo out {word}; echo err {word} >&2; sleep 600 & wait"
    with ctx.docker.interactive(run(ctx.probe, "sh", "-c", script, options=["--rm", "--name", name])) as session:
        session.expect(f"(out|err) {word}\n")
        session.expect(f"(out|err) {word}\n")
        ctx.await_running(name)
        expect_run(ctx.docker("stop", name, timeout=30))
        session.read_rest()
    done = ctx.docker(run(ctx.probe, "sh", "-c", "seq -s , 1 30000 >&2", options=["--rm"]))
    wanted = ",".join(str(n) for n in range(1, 30001)) + "\n"
    expect(done.stderr.endswith(wanted), f"all {len(wanted)} bytes of stderr", f"{len(done.stderr)}")


@pytest.mark.case("docker run -i, line by line", fix="the-container-does-not-start")
def test_interactive(ctx: CaseContext) -> None:
    name, word = ctx.name("lines"), secrets.token_hex(4)
    script = (
        '[ -t 0 ] && echo terminal || echo pipe; while read -r line; do echo "answer to $line"; done; echo end of input'
    )
    with ctx.docker.interactive(run(ctx.probe, "sh", "-c", script, options=["-i", "--rm", "--name", name])) as session:
        session.expect("pipe\n")
        for turn in ("one", "two"):  # answers arrive while stdin is still open
            session.send_line(f"{word} {turn}")
            session.expect(f"answer to {word} {turn}\n")
        session.close_stdin()
        rest = session.read_rest()
        expect(rest == "end of input\n", "“end of input” after EOF, and nothing else", rest)
        expect(session.status() == 0, "exit status 0", session.status())
    ctx.expect_gone(name)
    last = run(ctx.probe, "sh", "-c", "read -r line; echo last $line; exit 6", options=["-i", "--rm"])
    with ctx.docker.interactive(last) as session:  # the client ends with the container, though its stdin stays open
        session.send_line(word)
        session.expect(f"last {word}\n")
        session.read_rest()
        expect(session.status() == 6, "the container's own exit status, 6", session.status())


@pytest.mark.case("docker run -it sees a terminal, -i does not", fix="the-container-does-not-start")
def test_terminal(ctx: CaseContext) -> None:
    script = "for fd in 0 1 2; do [ -t $fd ] && echo $fd=terminal || echo $fd=none; done; read -r line; echo got $line"
    for flags, wanted in ((("-it",), "terminal"), (("-i",), "none")):
        with ctx.docker.interactive(run(ctx.probe, "sh", "-c", script, options=[*flags, "--rm"]), tty=True) as session:
            for fd in (0, 1, 2):
                got = session.expect(f"{fd}=(terminal|none)\r?\n").strip()
                expect(got == f"{fd}={wanted}", f"{fd}={wanted} with {' '.join(flags)}", got)
            session.send_line("typed")
            session.expect("got typed\r?\n")
            session.read_rest()
            expect(session.status() == 0, f"exit status 0 with {' '.join(flags)}", session.status())


@pytest.mark.case("docker run --entrypoint", fix="the-container-does-not-start")
def test_entrypoint(ctx: CaseContext) -> None:
    # nanoclaw 2.x starts its agent in this way.
    message = 'echo "entrypoint ${PROBE_ENTRYPOINT:-replaced}'
    words = ["", "a  b", "--rm", "-v", "-e", "A=b", ""]  # options after the image belong to the container's command
    replaced, kept, ran = ctx.docker.at_once(
        run(ctx.probe, "-c", f'{message}, argument $1"', "bash", "two words", options=["--rm", "--entrypoint", "bash"]),
        run(ctx.probe, "sh", "-c", 'printf "<%s>" "$@"', "sh", *words, options=["--rm"]),
        run(ctx.probe, "sh", "-c", f'{message}"', options=["--rm"]),
    )
    expect_run(replaced, stdout="entrypoint replaced, argument two words\n")
    expect_run(kept, stdout="<><a  b><--rm><-v><-e><A=b><>")
    expect_run(ran, stdout="entrypoint ran\n")


@pytest.mark.case("docker run --entrypoint /bin/echo with unread input", fix="the-output-of-a-short-command-is-lost")
def test_entrypoint_reads_nothing(ctx: CaseContext) -> None:
    # nanoclaw's setup tests its image in this way. Podman can lose the output of a command that exits before its stdin
    # was read. Up to three attempts; the number of lost outputs is recorded as evidence.
    flags = ("-i", "--rm", "--entrypoint", "/bin/echo")
    for lost in range(3):
        done = ctx.docker(run(ctx.probe, "Container OK", options=flags), stdin=b"{}\n")
        ctx.record.observe("outputs_lost", lost)
        expect(done.returncode == 0, "exit status 0", f"exit status {done.returncode}")
        expect(done.stdout in ("Container OK\n", ""), "Container OK", done.stdout)
        if done.stdout:
            return
    expect(False, "Container OK in one of three runs", "no output in all three")


def pid_of(ctx: CaseContext, name: str) -> str:
    """The host's process id of a container's first process."""
    done = ctx.host.run([ctx.facts.engine, "container", "inspect", "--format", "{{.State.Pid}}", name])
    expect(done.returncode == 0, f"a container named {name}", done.stderr)
    return done.stdout.strip()


def expect_stopped(ctx: CaseContext, done: Completed, name: str) -> None:
    """Fail the case unless `docker stop` succeeded and printed the name it was given, like Docker."""
    expect_run(done)
    # Podman before 4.0 prints the container's id.
    form = "[0-9a-f]{64}" if ctx.facts.engine == "podman" and ctx.facts.version.startswith("3.") else name
    expect(re.fullmatch(f"{form}\n", done.stdout) is not None, f"stdout to be {form}", f"stdout {shown(done.stdout)}")


@pytest.mark.case("docker stop", fix="docker-stop-is-slow")
def test_stop(ctx: CaseContext) -> None:
    name = ctx.name("stop")
    longer = f"{name}-longer"
    ctx.start_unrelated(longer)
    nobody = longer[:-4]  # a prefix of a name must not match
    expect(
        ctx.docker("stop", nobody).returncode not in (0, 124, 137),
        "a failure to stop what is not there",
        "exit status 0",
    )
    # The container takes 2 s to handle SIGTERM: a stop that returns too early is detected.
    script = 'trap "echo stopping; sleep 2; echo stopped; exit 42" TERM; echo ready; sleep 600 & wait'
    with ctx.docker.interactive(run(ctx.probe, "sh", "-c", script, options=["-i", "--rm", "--name", name])) as session:
        session.expect("ready\n")
        pid = pid_of(ctx, name)
        done = ctx.docker("stop", name, timeout=30)
        gone = ctx.host.run(["test", "!", "-e", f"/proc/{pid}"]).returncode == 0
        expect_stopped(ctx, done, name)
        expect(gone, "the container's process gone when `docker stop` returns", f"process {pid} alive")
        expect(
            done.seconds < GRACE, f"an end before the {GRACE} s after which it would be killed", f"{done.seconds:.1f} s"
        )
        rest = session.read_rest()
        expect(rest == "stopping\nstopped\n", "the container's own words on SIGTERM, “stopping” and “stopped”", rest)
        expect(session.status() == 42, "the container's own exit status, 42", session.status())
    left = ctx.engine("ps", "--format", "{{.Names}}").split()
    expect(longer in left, "the other container to keep running", left)
    ctx.remove_unrelated()
    ctx.expect_gone(name)


@pytest.mark.case("docker stop -t 1", fix="docker-stop-is-slow")
def test_stop_in_one_second(ctx: CaseContext) -> None:
    name = ctx.name("stubborn")
    script = 'trap "echo not yet" TERM; echo ready; while :; do sleep 600 & wait $!; done'
    with ctx.docker.interactive(run(ctx.probe, "sh", "-c", script, options=["-i", "--rm", "--name", name])) as session:
        session.expect("ready\n")
        done = ctx.docker("stop", "-t", "1", name, timeout=30)
        expect_stopped(ctx, done, name)
        bound = 1 + 2 * ctx.slowness
        expect(
            1 <= done.seconds < bound,
            f"SIGKILL after 1 s, and docker to exit within {bound:g} s",
            f"{done.seconds:.1f} s",
        )
        rest = session.read_rest()
        expect(rest == "not yet\n", "SIGTERM first, answered by the container's “not yet”", rest)
        expect(session.status() == 137, "exit status 137 (SIGKILL)", session.status())
    ctx.expect_gone(name)


@pytest.mark.case("docker rm -f", fix="docker-stop-is-slow")
def test_remove(ctx: CaseContext) -> None:
    name, idle = ctx.name("removed"), ctx.name("idle")
    ctx.create_unrelated(idle)
    with ctx.docker.interactive(
        run(ctx.probe, "sh", "-c", "trap exit TERM; echo ready; sleep 600 & wait", options=["-i", "--name", name])
    ) as session:
        session.expect("ready\n")
        ctx.await_running(name)
        pid = pid_of(ctx, name)
        done = ctx.docker("rm", "-f", name, timeout=30)
        gone = ctx.host.run(["test", "!", "-e", f"/proc/{pid}"]).returncode == 0
        expect_run(done)
        expect(gone, "the container's process gone when `docker rm -f` returns", f"process {pid} still running")
        expect(done.seconds < GRACE, f"docker to exit within {GRACE} s", f"{done.seconds:.1f} s")
        session.read_rest()
    ctx.expect_gone(name)
    left = ctx.engine("ps", "-a", "--format", "{{.Names}}").split()
    expect(idle in left, "the other container to be left alone", left)
    expect_run(ctx.docker("rm", "-f", idle))  # a container that is not running
    left = ctx.engine("ps", "-a", "--format", "{{.Names}}").split()
    expect(idle not in left, f"{idle}, which did not run, removed", left)
    ctx.forget_unrelated(idle)


class SimilarContainers:
    """Containers with different names and labels, for filters to tell apart.

    The case starts the agent through the shim, like nanoclaw. The others are started by the engine directly.
    """

    def __init__(self, ctx: CaseContext) -> None:
        tag = secrets.token_hex(4)
        stamp = time.time_ns() // 1_000_000
        self.slug = f"slug-{tag}"
        self.filter = f"nanoclaw-{tag}-"
        self.agent = f"nanoclaw-{tag}-{stamp}"
        self.inner = f"my-nanoclaw-{tag}-{stamp}"  # contains the filter: Docker does not anchor the match
        self.other = f"other-{tag}"
        self.idle = f"nanoclaw-{tag}-idle"
        self.agent_flags = ("--label", f"nanoclaw-install={self.slug}")
        ctx.start_unrelated(self.inner, "--label", f"nanoclaw-install={self.slug}-longer")
        ctx.start_unrelated(self.other)
        ctx.create_unrelated(self.idle, "--label", f"nanoclaw-install={self.slug}")


def names(ctx: CaseContext, *args: str) -> Sequence[str]:
    """The names that `docker ps ARGS --format '{{.Names}}'` prints."""
    done = ctx.docker("ps", *args, "--format", "{{.Names}}")
    expect_run(done)
    return sorted(done.stdout.split())


@pytest.mark.case("docker ps --filter", fix="docker-ps-shows-the-wrong-containers")
def test_ps_filters(ctx: CaseContext) -> None:
    similar = SimilarContainers(ctx)
    with ctx.docker.interactive(
        run(
            ctx.probe,
            "sh",
            "-c",
            "echo ready; cat",
            options=["-i", "--rm", "--name", similar.agent, *similar.agent_flags],
        )
    ) as session:
        session.expect("ready\n")
        wanted = sorted([similar.agent, similar.inner])
        got = names(ctx, "--filter", f"name={similar.filter}")
        expect(got == wanted, f"the running containers with {similar.filter} in their name: {wanted}", got)
        got = names(ctx, "-a", "--filter", f"name={similar.filter}")
        expect(got == sorted([*wanted, similar.idle]), "with -a also the container that is not running", got)
        # The image of each of them contains the filter of nanoclaw 1.x in its name.
        got = names(ctx, "--filter", "name=nanoclaw-")
        named = all("nanoclaw-" in name for name in got) and {similar.agent, similar.inner} <= set(got)
        expect(named, f"running containers matched by their names alone, {wanted} among them", got)
        session.close_stdin()
        session.read_rest()


@pytest.mark.case("docker ps --filter label=", fix="docker-ps-shows-the-wrong-containers")
def test_ps_label(ctx: CaseContext) -> None:
    similar = SimilarContainers(ctx)
    label = f"label=nanoclaw-install={similar.slug}"
    with ctx.docker.interactive(
        run(
            ctx.probe,
            "sh",
            "-c",
            "echo ready; cat",
            options=["-i", "--rm", "--name", similar.agent, *similar.agent_flags],
        )
    ) as session:
        session.expect("ready\n")
        got = names(ctx, "--filter", label)
        expect(got == [similar.agent], f"the one running container with exactly that label: {similar.agent}", got)
        got = names(ctx, "-a", "--filter", label)
        expect(got == sorted([similar.agent, similar.idle]), "with -a also the container that is not running", got)
        session.close_stdin()
        session.read_rest()
    got = names(ctx, "--filter", label)
    expect(got == [], "none after the container has exited", got)


@pytest.mark.case("docker ps --format with .Label", fix="docker-ps---format-does-not-know-label")
def test_ps_label_column(ctx: CaseContext) -> None:
    name = ctx.name("label")
    project, service = "com.docker.compose.project", "com.docker.compose.service"
    flags = ("--label", f"{project}={name}", "--label", f"{service}=agent one")
    with ctx.docker.interactive(
        run(ctx.probe, "sh", "-c", "echo ready; cat", options=["-i", "--rm", "--name", name, *flags])
    ) as session:
        session.expect("ready\n")
        form = f'{{{{.Names}}}}|{{{{.Label "{service}"}}}}'
        done = ctx.docker("ps", "-a", "--filter", f"label={project}={name}", "--format", form)
        expect_run(done, stdout=f"{name}|agent one\n")
        session.close_stdin()
        session.read_rest()
