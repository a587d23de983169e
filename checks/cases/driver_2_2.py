"""The containers of nanoclaw 2.2's session driver: each command by its effect, and by how the driver reads its output.

nanoclaw 2.2 creates a container and starts it attached. After a restart it adopts the agents that still run: it lists
them by their labels, and learns about their end from docker's events.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from checks.core.lines import lines_of
from checks.core.process import Completed
from checks.engine import container_state, isolation
from checks.engine.case_context import CaseContext
from checks.engine.docker import Command, start_attached
from checks.engine.expect import Mismatch, expect, expect_run
from checks.nanoclaw import session_driver
from checks.nanoclaw.contract import Mount
from checks.nanoclaw.running import ZONE
from checks.nanoclaw.session_driver import Limits, Phase, SessionKey

GROUP = "Nanoclaw 2.2 driver"

_STARTS = "the-container-does-not-start"

READY = "echo ready; trap 'exit 5' TERM; sleep 600 & wait"

# The main process replaces its shell, so that it does not wait for anything. A process that lost its parent and exits
# stays a zombie, unless the container's first process is an init.
_ORPHAN = """
(sleep 0.3 &)
(
    sleep 2
    zombies=0
    for stat in /proc/[0-9]*/stat; do
        grep -q ') Z ' "$stat" 2>/dev/null && zombies=$((zombies + 1))
    done
    echo "zombies $zombies"
) &
exec sleep 600
"""


@pytest.fixture(autouse=True)
def docker_of_service(ctx: CaseContext) -> None:
    """The docker of nanoclaw's service, in which what Podman lacks is translated; on hosts that have it."""
    ctx.use_docker_of_service()


@dataclass(frozen=True)
class Session:
    """A session of nanoclaw 2.2 on the account of a case."""

    ctx: CaseContext
    key: SessionKey

    @property
    def name(self) -> str:
        """The name of its container."""
        return self.key.container

    def create(
        self,
        script: str,
        *,
        limits: Limits | None = None,
        network: Sequence[str] = (),
        image: str = "",
        mounts: Sequence[Mount] = (),
        ids: tuple[int, int] | None = None,
    ) -> Command:
        """nanoclaw's ``docker create`` with a script instead of the agent, without a network option by default.

        ``ids``: another uid and gid than the account's, which a container with keep-id has anyway.
        """
        uid, gid = ids or (self.ctx.uid, self.ctx.facts.gid)
        return session_driver.create(
            self.key, folder="family", started=self.ctx.name("v2-family"), zone=ZONE, uid=uid, gid=gid,
            image=image or self.ctx.probe, limits=limits, network=network, command=script,
            mounts=mounts,
        )  # fmt: skip

    def created(
        self,
        script: str,
        *,
        limits: Limits | None = None,
        network: Sequence[str] = (),
        ids: tuple[int, int] | None = None,
    ) -> None:
        """Create its container. Fails the case unless docker does."""
        expect_run(self.ctx.docker(self.create(script, limits=limits, network=network, ids=ids)))

    @property
    def label_options(self) -> list[str]:
        """Its labels as options, for a container that the engine makes."""
        return [f"--label={name}={value}" for name, value in self.key.labels.items()]


def session(ctx: CaseContext, word: str = "one", install: str = "") -> Session:
    """A session whose installation no other case has."""
    install = install or f"{ctx.run}-{secrets.token_hex(4)}"
    return Session(ctx, SessionKey(install, "ag-1756000000000-abc123", f"sess-{word}-{secrets.token_hex(4)}"))


def start(ctx: CaseContext, name: str, stdin: bytes = b"") -> Completed:
    """Start a created container attached, and wait for its end."""
    return ctx.docker(start_attached(name), stdin=stdin)


def lines(done: Completed) -> list[str]:
    """The lines that a successful command printed, sorted. Fails the case otherwise."""
    expect_run(done)
    return sorted(lines_of(done.stdout))


@pytest.mark.case("docker create, then docker start --attach", fix=_STARTS)
def test_create_and_start(ctx: CaseContext) -> None:
    agent, word = session(ctx), secrets.token_hex(4)
    agent.created(f"echo out {word}; echo err {word} >&2; cat; exit 3")
    before = ctx.engine("ps", "--format", "{{.Names}}").split()
    expect(agent.name not in before, "a created container not to run before it is started", before)
    done = start(ctx, agent.name, stdin=b"not for the container\n")
    expect_run(done, status=3, stdout=f"out {word}\n", stderr_has=f"err {word}\n")
    expect(f"out {word}" not in done.stderr, "stdout and stderr to be separate", done.stderr)
    ctx.expect_gone(agent.name)
    done = ctx.docker(*session_driver.status(agent.name))
    expect(done.returncode not in (0, 124, 137), "“docker inspect” to fail after --rm", f"status {done.returncode}")


@pytest.mark.case("Isolation of a created container from the host", fix=_STARTS)
def test_driver_isolation(ctx: CaseContext) -> None:
    # The same container, created and started by the engine without the shim, must have and see the same.
    agent, secret = session(ctx), secrets.token_hex(8)
    path, mount = ctx.write("secret", secret), Mount(ctx.make("group"), "/workspace/agent")
    command = agent.create(isolation.SCRIPT, mounts=[mount])
    command = replace(command, operands=(*command.operands, "sh", path))
    expect_run(ctx.docker(command))
    record, done = isolation.recorded(ctx, agent.name), start(ctx, agent.name)
    expect_run(done)
    isolation.expect_isolated(ctx, done.stdout, secret, [mount.target])
    ctx.expect_gone(agent.name)
    ctx.engine(*ctx.docker.argv(command)[1:])
    wanted, reference = isolation.recorded(ctx, agent.name), ctx.engine("start", "--attach", agent.name)
    isolation.expect_same_settings(ctx, done.stdout, reference)
    isolation.expect_same_record(record, wanted)


@pytest.mark.case("docker start --attach shows stderr as it comes", fix=_STARTS)
def test_start_live(ctx: CaseContext) -> None:
    # nanoclaw reads the agent's stderr while it works. It stops it, and then removes it, which --rm has done by then.
    agent, word = session(ctx), secrets.token_hex(4)
    agent.created(f"echo booting {word} >&2; {READY}")
    with ctx.docker.interactive(start_attached(agent.name)) as client:
        client.expect(f"booting {word}\n")
        ctx.await_running(agent.name)
        expect_run(ctx.docker("stop", "-t", "1", agent.name, timeout=30))
        client.read_rest()
        expect(client.status() == 5, "the container's own exit status on SIGTERM, 5", client.status())
    ctx.docker("rm", "--force", agent.name, timeout=30)
    ctx.expect_gone(agent.name)


@pytest.mark.case("Created container removed by rm --force", fix="docker-stop-is-slow")
def test_remove_created(ctx: CaseContext) -> None:
    # nanoclaw removes a container in this way that it could not start.
    agent, other = session(ctx), session(ctx, "two")
    agent.created("true")
    other.created("true")
    expect_run(ctx.docker("rm", "--force", agent.name, timeout=30))
    left = ctx.engine("ps", "-a", "--format", "{{.Names}}").split()
    expect(agent.name not in left, f"{agent.name}, which was not started, removed", left)
    expect(other.name in left, "the other container to be left alone", left)
    expect_run(start(ctx, other.name))
    agent.created("echo again")  # its name is free again
    expect_run(start(ctx, agent.name), stdout="again\n")


@pytest.mark.case("docker create of a name in use", fix=_STARTS)
def test_create_twice(ctx: CaseContext) -> None:
    # The name is the same after each start of nanoclaw. It reads from the labels whose a container of that name is.
    agent = session(ctx)
    agent.created("echo the first one")
    done = ctx.docker(agent.create("echo the second one"))
    expect(done.returncode not in (0, 124, 137), "a failure, because the name is in use", f"status {done.returncode}")
    done = ctx.docker(*session_driver.owner(agent.name))
    expect_run(done, stdout="|".join(list(agent.key.labels.values())[:3]) + "\n")
    expect_run(start(ctx, agent.name), stdout="the first one\n")


@pytest.mark.case(
    "Hardening flags of nanoclaw 2.2",
    fix=_STARTS,
    against="it expects the container to have nanoclaw's own flags and no others",
)
def test_driver_hardening(ctx: CaseContext) -> None:
    agent = session(ctx)
    ids = 1234, 4321
    agent.created(f'{container_state.SCRIPT}\necho "$HOME $TZ"', ids=ids)
    done = start(ctx, agent.name)
    expect_run(done)
    state = _state(done)
    expect(state.capabilities == 0, "no capability in the bounding set", f"CapBnd {state.capabilities:x}")
    expect(state.no_new_privileges, "NoNewPrivs 1", "NoNewPrivs 0")
    expect((state.uid, state.gid) == ids, "the ids of --user", f"{state.uid}:{state.gid}")
    expect(done.stdout.endswith(f"/home/node {ZONE}\n"), "HOME and TZ as given", done.stdout[-100:])
    shared = state.tmpfs.get("/dev/shm")  # noqa: S108 - the container's
    size = shared.size if shared else None
    expect(size == 1 << 30, "a /dev/shm of 1 GiB", f"{size} bytes")
    expect(not state.root.read_only, "a writable root: nanoclaw 2.2 does not pass --read-only", "a read-only one")


@pytest.mark.case(
    "Limits of nanoclaw 2.2",
    fix="limits-are-accepted-and-ignored",
    against="the recommended flags set limits that nanoclaw leaves out",
)
def test_driver_limits(ctx: CaseContext) -> None:
    usual, limited = session(ctx), session(ctx, "limited")
    usual.created(container_state.SCRIPT)
    limited.created(container_state.SCRIPT, limits=Limits(pids=256, cpus="2", memory_megabytes=512))
    done = start(ctx, usual.name)
    expect_run(done)
    state = _state(done)
    expect(state.pids == 2048, "pids.max to be 2048", state.pids)
    expect(state.memory is None, "no memory limit unless asked for", state.memory)
    expect(state.cpus is None, "no CPU limit unless asked for", state.cpus)
    done = start(ctx, limited.name)
    expect_run(done)
    state = _state(done)
    got = (state.pids, state.cpus, state.memory)
    expect(got == (256, 2.0, 512 << 20), "256 processes, 2 processors, 512 MiB inside", got)


def _state(done: Completed) -> container_state.ContainerState:
    try:
        return container_state.parse(done.stdout)
    except ValueError as error:
        raise Mismatch("the container's state", str(error)) from error


@pytest.mark.case("docker create --init", fix="a-container-with---init-does-not-start")
def test_init(ctx: CaseContext) -> None:
    agent = session(ctx)
    agent.created(_ORPHAN)
    with ctx.docker.interactive(start_attached(agent.name)) as client:
        got = client.expect(r"zombies \d+\n").strip()
        expect(got == "zombies 0", "the container's first process to reap orphans: zombies 0", got)
        expect_run(ctx.docker("stop", "-t", "1", agent.name, timeout=30))
        client.read_rest()
        # Without an init the main process is number 1, which ignores SIGTERM unless it handles it: SIGKILL, 137.
        expect(client.status() == 143, "SIGTERM to end the agent: exit status 143", client.status())
    ctx.expect_gone(agent.name)


@pytest.mark.case("docker inspect --format with .State", fix="docker-ps-shows-the-wrong-containers")
def test_inspect_state(ctx: CaseContext) -> None:
    agent, left = session(ctx), session(ctx, "left")
    agent.created(READY)
    expect_run(ctx.docker(*session_driver.status(agent.name)), stdout="created|0\n")
    with ctx.docker.interactive(start_attached(agent.name)) as client:
        client.expect("ready\n")
        expect_run(ctx.docker(*session_driver.status(agent.name)), stdout="running|0\n")
        expect_run(ctx.docker("stop", "-t", "1", agent.name, timeout=30))
        client.read_rest()
    for status in (7, 143):
        ctx.leave_unrelated(left.name, *left.label_options, status=status)
        expect_run(ctx.docker(*session_driver.status(left.name)), stdout=f"exited|{status}\n")
        ctx.remove_unrelated()


@pytest.mark.case("docker ps -a --format with .State and .Label", fix="docker-ps---format-does-not-know-label")
def test_adoption(ctx: CaseContext) -> None:
    # A restart of nanoclaw's host process does not end its agents. The new one finds them by their labels.
    running = session(ctx)
    waiting, ended = (session(ctx, word, running.key.install) for word in ("waiting", "ended"))
    foreign, older, helper = ctx.name("foreign"), ctx.name("older"), ctx.name("helper")
    installed = f"--label={session_driver.INSTALL}={running.key.install}"
    ctx.start_unrelated(foreign, *session(ctx, "foreign", f"{running.key.install}-2").label_options)
    ctx.start_unrelated(older, installed)
    ctx.start_unrelated(helper, installed, f"--label={session_driver.ROLE}=proxy")
    ctx.leave_unrelated(ended.name, *ended.label_options)
    running.created(READY)
    waiting.created("true")
    with ctx.docker.interactive(start_attached(running.name)) as client:
        client.expect("ready\n")
        listed = lines(ctx.docker(*session_driver.sessions(running.key.install)))
        wanted = {running: Phase.RUNNING, waiting: Phase.STARTING, ended: Phase.TERMINAL}
        keys = {f"{each.name}|{each.key.group}|{each.key.session}": phase for each, phase in wanted.items()}
        got = {}
        for line in listed:
            name, _, rest = line.partition("|")
            state, _, key = rest.partition("|")
            got[f"{name}|{key}"] = Phase.of(state)
        expect(got == keys, f"its three sessions with their phases, {_shown(keys)}", _shown(got) or "none")
        # A container of an older nanoclaw has no session; it is running, and is removed.
        found = lines(ctx.docker(*session_driver.of_any_version(running.key.install)))
        ours = sorted([f"{running.name}|{running.key.session}", f"{older}|", f"{helper}|"])
        expect(found == ours, f"the running containers, with an empty session for the older ones: {ours}", found)
        expect_run(ctx.docker("stop", "-t", "1", running.name, timeout=30))
        client.read_rest()
    expect_run(ctx.docker("rm", "--force", waiting.name, timeout=30))
    ctx.expect_gone(running.name)


def _shown(phases: dict[str, Phase]) -> str:
    return ", ".join(f"{each}: {phase}" for each, phase in sorted(phases.items()))


@pytest.mark.case("docker ps -a --filter status=", fix="docker-ps-rejects---filter-statusdead")
def test_residue(ctx: CaseContext) -> None:
    # nanoclaw removes what an earlier host process left, when it starts.
    running = session(ctx)
    waiting, ended = (session(ctx, word, running.key.install) for word in ("waiting", "ended"))
    foreign = session(ctx, "foreign", f"{running.key.install}-2")
    ctx.create_unrelated(waiting.name, *waiting.label_options)
    for each in (ended, foreign):
        ctx.leave_unrelated(each.name, *each.label_options)
    ctx.start_unrelated(running.name, *running.label_options)
    got = lines(ctx.docker(*session_driver.residue(running.key.install)))
    expect(got == sorted([waiting.name, ended.name]), f"the two that don't run: {waiting.name}, {ended.name}", got)
    for name in got:
        expect_run(ctx.docker("rm", "--force", name, timeout=30))
        ctx.forget_unrelated(name)
    left = ctx.engine("ps", "-a", "--format", "{{.Names}}").split()
    expect(
        running.name in left and foreign.name in left and not {waiting.name, ended.name} & {*left},
        "the listed containers removed, and no others", left,
    )  # fmt: skip
    expect(lines(ctx.docker(*session_driver.residue(running.key.install))) == [], "nothing left to remove", "more")
