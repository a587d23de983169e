"""An agent that runs: started as nanoclaw starts it, heard as nanoclaw hears it, ended as nanoclaw ends it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.docker import Started, shell
from checks.engine.expect import Mismatch, expect
from checks.hosts.process import HEAD, Completed
from checks.nanoclaw import contract, workspace
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.contract import Design, Markers, Output
from checks.nanoclaw.service import Conversation
from checks.nanoclaw.workspace import DESTINATION, GROUP, Workspace, answers

ZONE = "America/New_York"

ANSWER_BOUND = 100.0  # seconds on ordinary hardware, where it takes five to ten
_ANSWERED_BOUND = 20.0  # seconds on ordinary hardware, from when the service was asked
_END_BOUND = 20.0  # seconds on ordinary hardware, where it takes one or two
_POLL = 0.2

ENTRIES = {
    "host-gateway": "host-gateway-is-an-invalid-ip-address",
    "eacces": "permission-denied-in-the-workspace",
    "permission denied": "permission-denied-in-the-workspace",
    "erofs": "the-agent-does-not-answer",
    "read-only file system": "the-agent-does-not-answer",
}
"""What may stand in an agent's last words, case aside, and the guide's entry on it; the first that is there counts."""

_NOISE = (
    "npm notice",
    "    at ",
    "  errno",
    "Emulate Docker CLI",
)  # npm's advertisements, a stack's frames, the shim's
_WIDTH = 300  # characters of a line that are quoted

_DEBUG_LOG = """
newest=$(ls -t "$1"/debug/*.txt 2>/dev/null | head -1)
[ -n "$newest" ] && grep -a -E 'ERROR|EACCES|EROFS|EPERM' "$newest" | tail -4 | cut -c 1-300
"""


@dataclass(frozen=True)
class Question:
    """What an agent is asked, and the service that it has to ask in turn."""

    prompt: str
    answer: str
    """What the agent has to say in the end."""
    conversation: Conversation
    url: str = ""
    """Where the agent finds the stub; empty where it is to ask the real service."""

    @property
    def secrets(self) -> dict[str, str]:
        """What nanoclaw hands the agent of its .env, in that file's order."""
        return {"ANTHROPIC_API_KEY": self.conversation.key, **({"ANTHROPIC_BASE_URL": self.url} if self.url else {})}

    @property
    def env_file(self) -> str:
        """The same as a file of environment variables: for its owner alone."""
        return "".join(f"{key}={value}\n" for key, value in self.secrets.items())


class RunningAgent(ABC):
    """A running agent.

    ``patience`` is how much longer it may take than one that has the host's processors for itself.
    """

    def __init__(
        self,
        ctx: CaseContext,
        workspace: Workspace,
        question: Question,
        name: str,
        client: Started,
        patience: float = 1,
    ) -> None:
        self.ctx = ctx
        self.workspace = workspace
        self.question = question
        self.name = name
        self.client = client
        self.began = time.monotonic()
        """When its client had been started."""
        self._slowness = ctx.slowness * patience
        self._deadline = time.monotonic() + ANSWER_BOUND * self._slowness
        self._asked = False

    def overdue(self) -> bool:
        """Whether there is no sense in waiting any longer: for an agent that has asked its service, that is soon."""
        if self.question.conversation.heard.is_set() and not self._asked:
            self._asked = True
            self._deadline = min(self._deadline, time.monotonic() + _ANSWERED_BOUND * self._slowness)
        return time.monotonic() > self._deadline

    @abstractmethod
    def answer(self) -> str:
        """Wait for the agent's answer. Raises Mismatch, with the cause as far as it can be found, where none comes."""

    @abstractmethod
    def close(self) -> Completed:
        """End the agent as nanoclaw does when it is no longer needed; how the client ended."""

    def ended(self, after: str) -> Completed:
        """The end of the docker client, which has to come soon ``after`` what happened. Raises Mismatch otherwise."""
        bound = _END_BOUND * self._slowness
        if not poll(lambda: not self.client.running(), timeout=bound, interval=_POLL):
            raise Mismatch(f"docker run to exit within {bound:g} s after {after}", "it is still running")
        return self.client.end()

    def kill_client(self) -> None:
        """SIGKILL for the docker client on its host, as nanoclaw gives it after a stop that failed."""
        pattern = f"--name [{self.name[0]}]{self.name[1:]}"  # does not match the command line that carries it
        self.ctx.host.run(["pkill", "-KILL", "-f", "--", pattern])

    def silent(self) -> Mismatch:
        """What to say of an agent that does not answer."""
        done = self.client.so_far()
        ended = "is still running" if self.client.running() else f"ended with status {done.returncode}"
        return self.failure("an answer from the agent", f"none; docker {ended}", done)

    def failure(self, expected: str, got: str, done: Completed) -> Mismatch:
        """What to say of an agent that fails, with what it said of it itself: its stderr, its debug log."""
        said = last_words(done)
        log = self.ctx.host.run(shell(_DEBUG_LOG, self.workspace.path(self.workspace.claude))).stdout.strip()
        got += (f"\nIts stderr ends: {said}" if said else "") + (f"\nIts debug log: {log}" if log else "")
        return Mismatch(expected, got, fix=entry_on(got))


class StreamsAgent(RunningAgent):
    """An agent of the first design."""

    def __init__(
        self,
        ctx: CaseContext,
        workspace: Workspace,
        question: Question,
        name: str,
        client: Started,
        patience: float = 1,
    ) -> None:
        super().__init__(ctx, workspace, question, name, client, patience)
        self._markers = Markers()
        self._read = 0
        self._outputs: list[Output] = []

    def outputs(self) -> list[Output]:
        """What it has said so far. Raises Mismatch where something between markers is no output."""
        done = self.client.so_far()
        if done.stdout_extent:
            most = f"no more than {HEAD // 2**20} MB of output from the agent"
            raise Mismatch(most, f"{done.stdout_extent.bytes} bytes")
        heard = done.stdout_bytes
        self._outputs += self._markers.feed(heard[self._read :])
        self._read = len(heard)
        if self._markers.malformed:
            raise Mismatch("JSON between the markers", self._markers.malformed[0].decode(errors="replace")[:300])
        return self._outputs

    def answer(self) -> str:
        while True:
            running = self.client.running()
            if said := self.outputs():
                break
            if not running or self.overdue():
                raise self.silent()
            time.sleep(_POLL)
        first = said[0]
        if first.status != "success" or first.result is None:
            got = f"status {first.status}, result {json.dumps(first.result)}" + (
                f", error {first.error}" if first.error else ""
            )
            raise self.failure("status success and a result", got, self.client.so_far())
        return first.result

    def close(self) -> Completed:
        self.ctx.write(f"{self.workspace.exchange}/input/_close", "")
        return self.ended("_close")


class DatabasesAgent(RunningAgent):
    """An agent of the second design."""

    def answer(self) -> str:
        while True:
            running = self.client.running()
            with contextlib.suppress(sqlite3.Error):  # looked at in the middle of a write
                said, done = answers(self.ctx.host.read(self.workspace.path(f"{self.workspace.exchange}/outbound.db")))
                if said:
                    return said[0]
                running = running and not done
            if not running or self.overdue():
                raise self.silent()
            time.sleep(_POLL * self.ctx.host.slowness)

    def close(self) -> Completed:
        stopped = self.ctx.docker("stop", "-t", "1", self.name, timeout=30)
        expect(stopped.returncode == 0, "“docker stop -t 1” to end with status 0", stopped.stderr.strip())
        return self.ended("docker stop")


def last_words(done: Completed) -> str:
    """The end of what a command said on stderr, without npm's advertisements and a stack's frames."""
    said = [line[:_WIDTH] for line in done.stderr.strip().splitlines() if not line.startswith(_NOISE)]
    return "\n".join(said[-8:])


def entry_on(said: str) -> str:
    """The guide's entry on a failure, by what was said of it; empty where that tells nothing."""
    return next((entry for words, entry in ENTRIES.items() if words in said.casefold()), "")


def expect_answer(agent: RunningAgent) -> None:
    """Fail unless the agent gives the very answer that the service sent, to the very question that it was asked."""
    question = agent.question
    got = agent.answer()
    expect(got == question.answer, f"the service's own words, “{question.answer}”", got)
    expect(
        not question.url or any(question.prompt in asked for asked in question.conversation.asked),
        f"the service to be asked “{question.prompt}”",
        f"{len(question.conversation.asked)} requests without it",
    )


@contextlib.contextmanager
def streams(
    ctx: CaseContext,
    workspace: Workspace,
    image: str,
    question: Question,
    *,
    is_main: bool = False,
    flags: Sequence[str] = (),
    at_once: int = 1,
) -> Iterator[StreamsAgent]:
    """An agent of the first design, asked.

    ``flags`` are further options of ``docker run``; ``at_once`` is how many agents share the host.
    """
    patience = max(1.0, at_once / ctx.facts.cpus)
    name = ctx.name(GROUP)
    command = contract.run_streams(
        name=name, zone=ZONE, uid=ctx.uid, gid=ctx.facts.gid, mounts=workspace.mounts, image=image
    )
    told = contract.input_of(prompt=question.prompt, group=GROUP, is_main=is_main, secrets=question.secrets)
    with ctx.docker.started(command.with_options(flags), stdin=told, timeout=3 * ANSWER_BOUND * patience) as client:
        yield StreamsAgent(ctx, workspace, question, name, client, patience)


@contextlib.contextmanager
def databases(
    ctx: CaseContext, workspace: Workspace, image: str, question: Question, *, flags: Sequence[str] = ()
) -> Iterator[DatabasesAgent]:
    """An agent of the second design, its question waiting in its inbound database."""
    name = ctx.name(f"v2-{GROUP}")
    # By a file: with --live the key is somebody's own, and a command line is anyone's to read.
    told = f"{ctx.directory}/{workspace.name}.env"
    ctx.host.put(told, question.env_file.encode(), mode=0o600)
    gateway = [
        "--env-file", told,
        "-v", f"{workspace.path(workspace.name)}/container/ca.pem:/tmp/onecli-gateway-ca.pem:ro",
    ]  # fmt: skip
    command = contract.run_databases(
        name=name, install=ctx.run, zone=ZONE, gateway=gateway, uid=ctx.uid, gid=ctx.facts.gid,
        mounts=workspace.mounts, image=image,
    )  # fmt: skip
    with ctx.docker.started(command.with_options(flags), timeout=3 * ANSWER_BOUND) as client:
        yield DatabasesAgent(ctx, workspace, question, name, client)


def addressed(text: str) -> str:
    """A text as the second design's agent must put it for it to be sent to anyone."""
    return f'<message to="{DESTINATION}">{text}</message>'


@contextlib.contextmanager
def started(
    ctx: CaseContext, agent: Agent, image: str, question: Question, *, flags: Sequence[str] = ()
) -> Iterator[RunningAgent]:
    """An agent of either design, in a workspace of its own, asked."""
    if agent.design is Design.STREAMS:
        place = workspace.for_streams(ctx, agent)
        with streams(ctx, place, image, question, flags=flags) as running:
            yield running
    else:
        place = workspace.for_databases(ctx, agent, prompt=question.prompt)
        with databases(ctx, place, image, question, flags=flags) as running:
            yield running
