"""The docker commands of nanoclaw's set-up, scripts and skills: looking into a running agent, and ending agents.

A skill is a text that Claude Code follows: it runs the commands in it, or shows them to the user. Sources: setup/,
scripts/ and .claude/skills/ of https://github.com/nanocoai/nanoclaw, versions 1.1.6 to 2.2.0.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from checks.cases.bind_mounts import READ_ONLY
from checks.cases.environment_and_user import KEYS
from checks.core.bounded import parsed
from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.core.process import Completed
from checks.engine.case_context import CaseContext
from checks.engine.docker import Command, InteractiveSession, run
from checks.engine.expect import expect, expect_readable, expect_run

GROUP = "Set-up and skills"

_STARTS = "the-container-does-not-start"
_MOUNTS = "a-bind-mount-is-empty-inside-the-container"
_LISTS = "docker-ps-shows-the-wrong-containers"
_ENDS = "docker-stop-is-slow"

_LOGS_TIMEOUT = 10.0  # seconds on ordinary hardware; the journal receives a line after the client
_STATE = "/home/node/.claude"
_GROUP = "/workspace/group"
"""The directory of an agent's state, in its container."""
_BLOCKED = "api.anthropic.com:0.0.0.0"
"""A host that an agent must not reach, and an address where nothing is."""

_READY = "trap 'echo stopping; exit 5' TERM; echo ready; sleep 600 & wait"


@contextlib.contextmanager
def agent(
    ctx: CaseContext, name: str, *options: str, before: str = "true", ended: int | None = None
) -> Iterator[InteractiveSession]:
    """An agent's container, started as nanoclaw 1.x does, which runs ``before`` and then waits.

    It is stopped after the block, unless the block ends it itself: with exit status ``ended``.
    """
    command = run(ctx.probe, "sh", "-c", f"{before}; {_READY}", options=["-i", "--rm", "--name", name, *options])
    with ctx.docker.interactive(command) as client:
        client.expect("ready\n")
        ctx.await_running(name)
        yield client
        if ended is None:
            expect_run(ctx.docker("stop", name, timeout=30))
            client.read_rest()
        wanted = 5 if ended is None else ended
        expect(client.status() == wanted, f"the agent to exit with {wanted}", client.status())
    ctx.expect_gone(name)


def inspected(ctx: CaseContext, name: str, form: str) -> str:
    """The output of ``docker inspect NAME --format FORM``."""
    done = ctx.docker("inspect", name, "--format", form)
    expect_run(done)
    return done.stdout


@pytest.mark.case("docker exec in a running agent", fix=_STARTS)
def test_exec(ctx: CaseContext) -> None:
    name, other, word = ctx.name("exec"), ctx.name("other"), secrets.token_hex(8)
    directory = ctx.make("state")
    rights = ("--cap-drop=SETFCAP", "--security-opt=no-new-privileges")
    options = (*rights, "-e", f"WORD={word}", "-v", f"{directory}:{_STATE}")
    ctx.start_unrelated(other)
    # What only this container has: its environment, its mount, its processes, and a file in its own /tmp.
    with agent(ctx, name, *options, before=f"echo own {word} > /tmp/own; id -u; echo made > {_STATE}/by-agent") as _:
        leak = secrets.token_hex(8)
        done = ctx.docker("exec", name, "env", env=dict.fromkeys(KEYS, leak))
        expect_run(done)
        expect(f"WORD={word}" in lines_of(done.stdout), f"the agent's variable WORD={word}", done.stdout)
        expect(leak not in done.stdout, "the client's own environment to stay outside", done.stdout)
        script = (
            f"cat /tmp/own {_STATE}/by-agent; echo aside >&2; id -u > {_STATE}/uid; grep -c {word} /proc/1/cmdline; pwd"
        )
        done = ctx.docker("exec", name, "sh", "-c", f"{script}; exit 3")
        expect_run(done, status=3, stdout=f"own {word}\nmade\n1\n/\n", stderr_has="aside\n")
        expect("made" not in done.stderr, "stdout and stderr to be separate", done.stderr)
        got, wanted = ctx.owner_of("state/uid"), ctx.owner_of("state/by-agent")
        expect(got == wanted, f"a file that it writes to belong to the agent's user, {wanted}", got)
        expect_run(ctx.docker("exec", name, "cat", "/no/such/file"), status=1)
        expect_run(ctx.docker("exec", name, "sh", "-c", "kill -TERM $$"), status=143)
        done = ctx.docker("exec", name, "seq", "1", "30000")
        expect_run(done, stdout="".join(f"{number}\n" for number in range(1, 30001)))
        answers = Command("exec", ("-i",), (name, "sh", "-c", "while read -r line; do echo got $line; done"))
        with ctx.docker.interactive(answers) as session:
            for turn in ("one", "two"):  # while stdin is still open
                session.send_line(turn)
                session.expect(f"got {turn}\n")
            session.close_stdin()
            session.read_rest()
        rights_of = "grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/$process/status"
        done = ctx.docker("exec", name, "sh", "-c", f"for process in 1 self; do {rights_of}; done")
        expect_run(done)
        lines = lines_of(done.stdout)
        same = len(lines) == 6 and lines[:3] == lines[3:]
        expect(same, "the same capabilities and filter as the container's first process", done.stdout)
        text = secrets.token_bytes(500_000).hex().encode()
        done = ctx.docker("exec", "-i", name, "sha256sum", stdin=text, timeout=30)
        expect_run(done, stdout=f"{hashlib.sha256(text).hexdigest()}  -\n")
        done = ctx.docker("exec", name[:-4], "true")  # a prefix of a name must not match
        expect(done.returncode not in (0, 124, 137), "a failure without that container", f"status {done.returncode}")


@pytest.mark.case("docker exec -it sees a terminal", fix=_STARTS)
def test_exec_terminal(ctx: CaseContext) -> None:
    # A user repeats a failed step of an agent's start by hand, and answers its questions.
    name, word = ctx.name("terminal"), secrets.token_hex(4)
    questions = f"echo {word}?; read -r line; echo got $line; exit 4"
    script = f"for fd in 0 1 2; do [ -t $fd ] || echo $fd=none; done; {questions}"
    with agent(ctx, name):
        command = Command("exec", ("-it",), (name, "sh", "-c", script))
        with ctx.docker.interactive(command, tty=True) as session:
            before = session.expect(rf"([0-2]=none\r?\n)*{word}\?\r?\n")
            expect("none" not in before, "a terminal as stdin, stdout and stderr", before)
            session.send_line("typed")
            session.expect("got typed\r?\n")
            session.read_rest()
            expect(session.status() == 4, "the exit status of the command in the container, 4", session.status())


@pytest.mark.case("docker logs of a running agent", fix=_STARTS)
def test_logs(ctx: CaseContext) -> None:
    name, other, word = ctx.name("logs"), ctx.name("other"), secrets.token_hex(8)
    ctx.start_unrelated(other, script=f"echo not {word}; trap exit TERM; sleep 600 & wait")
    done = Completed((), 0, b"", b"", 0)

    def complete() -> bool:
        nonlocal done
        done = ctx.docker("logs", name)
        text = f"{done.stdout}{done.stderr}"
        return done.returncode != 0 or ("ready\n" in text and f"err {word}\n" in text)

    long = "é" * 3000
    with agent(ctx, name, before=f"seq 1 300; echo {long}; echo out {word}; echo err {word} >&2"):
        poll(complete, timeout=_LOGS_TIMEOUT * ctx.slowness, interval=0.5)
        numbers = "".join(f"{number}\n" for number in range(1, 301))
        expect_run(done, stdout=f"{numbers}{long}\nout {word}\nready\n", stderr_has=f"err {word}\n")
        expect("out" not in done.stderr, "stdout and stderr to be separate", done.stderr)


@pytest.mark.case("docker inspect --format with .Mounts", fix=_MOUNTS)
def test_inspect_mounts(ctx: CaseContext) -> None:
    # A skill's removal deletes files in the directory that this prints.
    name, word = ctx.name("mounts"), secrets.token_hex(8)
    state, group = ctx.make("state of one"), ctx.make("group")
    options = ("-v", f"{group}:{_GROUP}", "-v", f"{state}:{_STATE}")
    form = '{{range .Mounts}}{{if eq .Destination "%s"}}{{.Source}}{{end}}{{end}}'
    places = (_STATE, _GROUP)
    writes = "; ".join(f"echo {word} of {place} > {place}/made" for place in places)
    with agent(ctx, name, *options, before=writes):
        for place in places:
            source = inspected(ctx, name, form % place).removesuffix("\n")
            got = ctx.host.run(["cat", f"{source}/made"]).stdout
            wanted = f"the host's directory of {place}, with the file that the agent wrote"
            expect(got == f"{word} of {place}\n", wanted, source)
        got = inspected(ctx, name, form % "/home/node/nothing")
        expect(got == "\n", "an empty line for a directory that is not mounted", got)


@pytest.mark.case("docker inspect --format with .Config.Env", fix=_STARTS)
def test_inspect_environment(ctx: CaseContext) -> None:
    name, word = ctx.name("environment"), secrets.token_hex(8)
    wanted = f"APP_URL=http://127.0.0.1:10254/{word}?a=b c"
    with agent(ctx, name, "-e", wanted, "-e", f"OTHER={word}"):
        lines = lines_of(inspected(ctx, name, "{{range .Config.Env}}{{println .}}{{end}}"))
        got = [line for line in lines if line.startswith("APP_URL=")]
        expect(got == [wanted], f"the variable in one line, {wanted}", got)
        inside = ctx.docker("exec", name, "cat", "/proc/1/environ").stdout.split("\0")
        expect(wanted in inside, "the container to have this variable", inside)


@pytest.mark.case("docker inspect --format with .HostConfig.ExtraHosts", fix=_STARTS)
def test_inspect_hosts(ctx: CaseContext) -> None:
    # The skill for local models makes Anthropic's address unreachable, and checks it in this way.
    name, plain = ctx.name("hosts"), ctx.name("plain")
    ctx.start_unrelated(plain)

    def listed(of: str) -> Any:
        return expect_readable(parsed, inspected(ctx, of, "{{json .HostConfig.ExtraHosts}}"), "JSON")

    with agent(ctx, name, f"--add-host={_BLOCKED}"):
        found = listed(name)
        expect(found == [_BLOCKED], f"a JSON list with {_BLOCKED}", found)
        hosts = ctx.docker("exec", name, "cat", "/etc/hosts").stdout
        host, _, address = _BLOCKED.partition(":")
        lines = [" ".join(line.split()) for line in lines_of(hosts) if host in line]
        expect(lines == [f"{address} {host}"], f"{host} to be {address} in the container", hosts)
        found = listed(plain)
        expect(not found, "no extra host of a container without --add-host", found)


@pytest.mark.case("Read-only bind mount by --mount", fix=_MOUNTS)
def test_mount_option(ctx: CaseContext) -> None:
    kept, word = secrets.token_hex(8), secrets.token_hex(8)
    project, group = ctx.make("project"), ctx.make("group")
    ctx.write("project/kept", kept)
    mount = f"type=bind,source={project},target=/workspace/project,readonly"
    options = ["-i", "--rm", "--mount", mount, "-v", f"{group}:/workspace/group"]
    script = f"cat; cat kept; echo broken > kept; echo {word} > ../group/made; touch new; cat kept"
    done = ctx.docker(run(ctx.probe, "sh", "-c", f"cd /workspace/project; {script}", options=options), stdin=b"in\n")
    expect_run(done, stdout=f"in\n{kept}{kept}", stderr_has=READ_ONLY)
    expect(done.stderr.count(READ_ONLY) == 2, f"both attempts refused with “{READ_ONLY}”", done.stderr)
    got = ctx.host.run(["sh", "-c", 'cd "$1" && ls && cat kept', "sh", project]).stdout
    expect(got == f"kept\n{kept}", "the host's directory to be unchanged", got)
    got = ctx.read("group/made")
    expect(got == f"{word}\n", f"the other mount to be writable, with {word}", got)


class Agents:
    """Containers that a user's agents may be, for lists of ids to tell apart."""

    def __init__(self, ctx: CaseContext) -> None:
        self.ctx, self.tag = ctx, secrets.token_hex(4)
        self.key = f"nanoclaw-session-{self.tag}"
        """A label of the agents of this case alone: the account may have others."""
        self.name = f"nanoclaw-v2-{self.tag}-{ctx.name('agent')}"
        self.other, self.ended = ctx.name("other"), f"nanoclaw-v2-{self.tag}-ended"
        self.second = f"nanoclaw-v2-{self.tag}-second"
        ctx.start_unrelated(self.other, f"--label={self.key}-longer=one")

    def start_second(self) -> None:
        """Start a second running agent."""
        self.ctx.start_unrelated(self.second, *self.options)

    @property
    def options(self) -> Sequence[str]:
        """The options of a running agent."""
        return ("--label", f"{self.key}=one")

    def leave(self) -> None:
        """Leave an agent that has ended."""
        self.ctx.leave_unrelated(self.ended, *self.options, status=7)

    def identity(self, name: str) -> str:
        """The host's view of a container's id."""
        return self.ctx.engine("container", "inspect", "--format", "{{.Id}}", name)

    def listed(self, *arguments: str) -> list[str]:
        """The ids that ``docker ps ARGUMENTS`` prints."""
        done = self.ctx.docker("ps", *arguments)
        expect_run(done)
        return done.stdout.split()

    def expect_listed(self, ids: Sequence[str], *names: str) -> None:
        """Fail unless these are the beginnings of the ids of exactly these containers."""
        wanted = sorted(self.identity(name) for name in names)
        matching = len(ids) == len(wanted) and all(
            len(short) >= 12 and whole.startswith(short) for short, whole in zip(sorted(ids), wanted, strict=True)
        )
        expect(matching, f"the ids of {', '.join(names)}: {', '.join(each[:12] for each in wanted)}", " ".join(ids))

    def expect_other_runs(self) -> None:
        """Fail unless the unrelated container still runs."""
        left = self.ctx.engine("ps", "--format", "{{.Names}}").split()
        expect(self.other in left, "the unrelated container to keep running", left)


@pytest.mark.case("docker ps -q, then stop by id", fix=_LISTS)
def test_ids_to_stop(ctx: CaseContext) -> None:
    # The update of nanoclaw waits until the same list is empty.
    agents = Agents(ctx)
    agents.leave()
    agents.start_second()
    with agent(ctx, agents.name, *agents.options, ended=5) as client:
        for label in (f"{agents.key}=one", agents.key):
            agents.expect_listed(agents.listed("-q", "--filter", f"label={label}"), agents.name, agents.second)
        ids = agents.listed("--filter", f"label={agents.key}", "-q")
        expect_run(ctx.docker("stop", *ids, timeout=30))
        rest = client.read_rest()
        expect(rest == "stopping\n", "the agent's own words on SIGTERM, “stopping”", rest)
        got = agents.listed("-q", "--filter", f"label={agents.key}")
        expect(got == [], "an empty list after all agents have ended", got)
        agents.expect_other_runs()


@pytest.mark.case("docker ps with .ID and .Names, then stop by id", fix=_LISTS)
def test_columns_to_stop(ctx: CaseContext) -> None:
    agents = Agents(ctx)
    with agent(ctx, agents.name, *agents.options, ended=5) as client:
        done = ctx.docker("ps", "--format", "{{.ID}} {{.Names}}")
        expect_run(done)
        # As the skill does it: grep nanoclaw-v2 | awk '{print $1}'
        ids = [line.split()[0] for line in lines_of(done.stdout) if f"nanoclaw-v2-{agents.tag}" in line]
        agents.expect_listed(ids, agents.name)
        expect_run(ctx.docker("stop", *ids, timeout=30))
        rest = client.read_rest()
        expect(rest == "stopping\n", "the agent's own words on SIGTERM, “stopping”", rest)
        agents.expect_other_runs()


@pytest.mark.case("docker ps -q, then kill by id", fix=_LISTS)
def test_ids_to_kill(ctx: CaseContext) -> None:
    agents = Agents(ctx)
    agents.start_second()
    with agent(ctx, agents.name, ended=137) as client:
        ids = agents.listed("-q", "--filter", f"name=nanoclaw-v2-{agents.tag}")
        agents.expect_listed(ids, agents.name, agents.second)
        expect_run(ctx.docker("kill", *ids))
        rest = client.read_rest()
        expect(rest == "", "SIGKILL, which the agent can't handle", rest)
        got = agents.listed("-q", "--filter", f"name=nanoclaw-v2-{agents.tag}")
        expect(got == [], "an empty list after all agents were killed", got)
        agents.expect_other_runs()


@pytest.mark.case("docker ps -aq, then rm -f by id", fix=_LISTS)
def test_ids_to_remove(ctx: CaseContext) -> None:
    # Uninstalling nanoclaw removes every container with its label, also those that don't run.
    agents, created = Agents(ctx), ctx.name("created")
    agents.leave()
    ctx.create_unrelated(created, *agents.options)
    ctx.start_unrelated(agents.name, *agents.options)
    names = (agents.ended, created, agents.name)
    ids = agents.listed("-aq", "--filter", f"label={agents.key}=one")
    agents.expect_listed(ids, *names)
    expect_run(ctx.docker("rm", "-f", *ids, timeout=40))
    left = ctx.engine("ps", "-a", "--format", "{{.Names}}").split()
    expect(not {*names} & {*left}, "all three removed", left)
    for name in names:
        ctx.forget_unrelated(name)
        ctx.expect_gone(name)
    agents.expect_other_runs()


@pytest.mark.case("docker ps -a with .Names and .Status", fix=_LISTS)
def test_status_column(ctx: CaseContext) -> None:
    agents = Agents(ctx)
    project = f"label=com.docker.compose.project={agents.tag}"
    ctx.leave_unrelated(agents.ended, f"--{project}", status=7)
    ctx.start_unrelated(agents.name, f"--{project}")
    done = ctx.docker("ps", "-a", "--filter", project, "--format", r"{{.Names}}\t{{.Status}}")
    expect_run(done)
    rows = dict(line.split("\t", 1) for line in lines_of(done.stdout) if "\t" in line)
    got = {name: status.split(" ago")[0] for name, status in rows.items()}
    expect({*got} == {agents.ended, agents.name}, "a line for each of the two, with a tab", done.stdout)
    expect(got[agents.ended].startswith("Exited (7) "), "“Exited (7) …” for the one that has ended", got[agents.ended])
    expect(got[agents.name].startswith("Up "), "“Up …” for the one that runs", got[agents.name])


@pytest.mark.case("Commands about what does not exist fail, and leave what has a longer name", fix=_LISTS)
def test_missing_objects(ctx: CaseContext) -> None:
    longer = ctx.name("longer")
    ctx.start_unrelated(longer, script=f"echo of {longer}; exec sleep 600")
    missing, image = longer[:-2], f"localhost/nanoclaw-verify-{ctx.run}:missing"
    network = f"nanoclaw-{ctx.run}-missing"
    for words in (
        ("logs", missing),
        ("kill", missing),
        ("inspect", missing),
        ("exec", missing, "true"),
        ("stop", missing),
        ("tag", image, f"{image}-2"),
        ("rmi", image),
        ("network", "inspect", network),
        ("network", "connect", network, longer),
        ("network", "rm", network),
    ):
        done = ctx.docker(*words)
        failed = done.returncode not in (0, 124, 137) and bool(done.stderr.strip())
        expect(failed, f"“docker {' '.join(words)}” to fail, with a reason", f"exit status {done.returncode}")
        expect(longer not in done.stdout, f"nothing about {longer}, whose name begins alike", done.stdout)
    ctx.docker("rm", "-f", missing)  # Docker's own status is 0 or 1, by its version
    left = ctx.engine("ps", "--format", "{{.Names}}").split()
    expect(longer in left, f"{longer} to run on", left)


@pytest.mark.case("docker with a store or an engine that can't be used fails", fix="docker-info-fails")
def test_broken_engine(ctx: CaseContext) -> None:
    # An empty list would tell nanoclaw that no agent runs.
    if ctx.facts.engine == "podman":
        broken = {"CONTAINERS_STORAGE_CONF": ctx.write("storage.conf", "[storage\n")}
    else:
        broken = {"DOCKER_HOST": f"unix://{ctx.directory}/none.sock"}
    for words in (("ps",), ("ps", "-aq"), ("images",), ("info",), ("stop", ctx.name("agent")), ("rmi", ctx.probe)):
        done = ctx.docker(*words, env=broken)
        failed = done.returncode not in (0, 124, 137) and bool(done.stderr.strip())
        expect(failed, f"“docker {words[0]}” to fail, with a reason", f"exit status {done.returncode}")
