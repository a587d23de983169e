"""A running agent: started, read and stopped like nanoclaw does it."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.core.process import HEAD, Completed
from checks.engine.case_context import CaseContext
from checks.engine.docker import Started
from checks.engine.expect import Mismatch, expect
from checks.nanoclaw import contract, workspace
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.contract import AgentProtocol, Markers, Output
from checks.nanoclaw.gateway import Access
from checks.nanoclaw.service import Conversation
from checks.nanoclaw.workspace import DESTINATION, GROUP, Message, Workspace, answers, inbound

ZONE = "America/New_York"

ANSWER_TIMEOUT = 100.0  # seconds on ordinary hardware; typically 5 to 10
_ANSWERED_TIMEOUT = 20.0  # seconds on ordinary hardware after the request to the service
_COMPLETED_TIMEOUT = 10.0  # seconds on ordinary hardware from a completed message to its answer; typically 0.01
_END_TIMEOUT = 20.0  # seconds on ordinary hardware; typically 1 to 2
_POLL = 0.2
_NOT_CREATED = 125
"""The exit status of ``docker run`` if docker itself fails, for example at an unknown flag."""
_LARGEST_DATABASE = 8 * 2**20  # bytes; it has a few messages

ENTRIES = {
    "host-gateway": "host-gateway-is-an-invalid-ip-address",
    "eacces": "permission-denied-in-the-workspace",
    "permission denied": "permission-denied-in-the-workspace",
    "erofs": "the-agent-does-not-answer",
    "read-only file system": "the-agent-does-not-answer",
}
"""Words in an agent's stderr, ignoring case, and their troubleshooting entries; the first match counts."""

_NOISE = (
    "npm notice",
    "    at ",
    "  errno",
    "Emulate Docker CLI",
)  # npm's advertisements, stack frames, the shim's message
_WIDTH = 300  # characters of a quoted line

_DEBUG_LOG = r"""
newest=$(ls -t | grep '\.txt$' | head -n 1)
[ -n "$newest" ] || exit
open_file "$newest"
tail -c 1048576 <&3 | grep -a -E 'ERROR|EACCES|EROFS|EPERM' | tail -n 4 | cut -c 1-300
"""


@dataclass(frozen=True)
class Question:
    """A question for an agent, and the conversation with the service that answers it."""

    prompt: str
    answer: str
    """The expected answer of the agent."""
    conversation: Conversation
    url: str = ""
    """The URL of the stub service; empty for the real service, and for agents of 2.x."""
    gateway: Access | None = None
    """How an agent of 2.x reaches the service."""

    def further(self) -> Question:
        """A second question with another answer, in the same conversation."""
        text = f"The answer is {secrets.token_hex(12)}."
        if not self.stubbed:
            return replace(self, prompt=f"Reply with this and nothing else: {text}", answer=text)
        self.conversation.text = addressed(text) if self.gateway else text
        self.conversation.request_received.clear()
        return replace(self, prompt=f"What is the answer? {secrets.token_hex(12)}", answer=text)

    @property
    def stubbed(self) -> bool:
        """Whether the stub answers, which records what it is asked."""
        return bool(self.url or self.gateway)

    @property
    def credentials(self) -> dict[str, str]:
        """The values of nanoclaw's .env that it passes to the agent, in order."""
        return {"ANTHROPIC_API_KEY": self.conversation.key, **({"ANTHROPIC_BASE_URL": self.url} if self.url else {})}

    @property
    def env_file(self) -> str:
        """The same as an environment file."""
        return "".join(f"{key}={value}\n" for key, value in self.credentials.items())


class Refused(Mismatch):
    """Docker or its OCI runtime refused to start the agent's container."""

    def __init__(self, mismatch: Mismatch, done: Completed) -> None:
        super().__init__(mismatch.expected, mismatch.got, fix=mismatch.fix)
        self.by_runtime = done.returncode != _NOT_CREATED
        """Whether the command line was accepted, and the container could not be started."""
        self.reported = " ".join(last_output(done).split())


class RunningAgent(ABC):
    """A running agent. ``patience`` multiplies its timeouts if agents share the host's processors."""

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
        """When its client was started."""
        self._slowness = ctx.slowness * patience
        self._answered = 0
        self._sent = [Message(question.prompt)]
        self._begin()

    def _begin(self, later: float = 0) -> None:
        """Start the time limit of a question that the agent receives ``later`` by so many seconds."""
        self._deadline = time.monotonic() + later + ANSWER_TIMEOUT * self._slowness
        self._asked = False

    def overdue(self) -> bool:
        """Whether the timeout has passed; it is shorter once the agent has asked the service."""
        if self.question.conversation.request_received.is_set() and not self._asked:
            self._asked = True
            self._deadline = min(self._deadline, time.monotonic() + _ANSWERED_TIMEOUT * self._slowness)
        return time.monotonic() > self._deadline

    @abstractmethod
    def answer(self) -> str:
        """Wait for the agent's next answer. Raises Mismatch, with the cause if it is known."""

    def ask_again(self, later: float = 0) -> None:
        """Send the running agent a second question, as nanoclaw does; one of 2.x receives it ``later`` by seconds."""
        self.question = self.question.further()
        self._begin(later)
        self._send(later)

    @abstractmethod
    def _send(self, later: float) -> None:
        """Send the present question."""

    @abstractmethod
    def close(self) -> Completed:
        """Stop the agent like nanoclaw; the completed client."""

    def ended(self, after: str) -> Completed:
        """Wait for the exit of the docker client ``after`` an event. Raises Mismatch on timeout."""
        bound = _END_TIMEOUT * self._slowness
        if not poll(lambda: not self.client.running(), timeout=bound, interval=_POLL):
            raise Mismatch(f"docker run to exit within {bound:g} s after {after}", "it is still running")
        return self.client.end()

    def kill_client(self) -> None:
        """Kill the docker client on its host, like nanoclaw after a failed stop."""
        pattern = f"--name [{self.name[0]}]{self.name[1:]}"  # does not match its own command line
        self.ctx.host.run(["pkill", "-KILL", "-f", "--", pattern])

    def silent(self) -> Mismatch:
        """The Mismatch of an agent that does not answer."""
        done = self.client.so_far()
        ended = "is still running" if self.client.running() else f"exited with status {done.returncode}"
        mismatch = self.failure("an answer from the agent", f"no answer; docker {ended}", done)
        if not self.client.running() and _refused(done):
            return Refused(mismatch, done)
        return mismatch

    def failure(self, expected: str, got: str, done: Completed) -> Mismatch:
        """The Mismatch of an agent that fails, with its stderr and debug log."""
        stderr = last_output(done)
        log = self.ctx.run_in(f"{self.workspace.claude}/debug", _DEBUG_LOG).stdout.strip()
        got += (f"\nIts stderr ends: {stderr}" if stderr else "") + (f"\nIts debug log: {log}" if log else "")
        return Mismatch(expected, got, fix=entry_for(got))


class StreamsAgent(RunningAgent):
    """An agent of nanoclaw 1.x."""

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
        """Its outputs so far. Raises Mismatch for invalid output between the markers."""
        done = self.client.so_far()
        if done.stdout_extent:
            most = f"at most {HEAD // 2**20} MB of output from the agent"
            raise Mismatch(most, f"{done.stdout_extent.bytes} bytes")
        output = done.stdout_bytes
        self._outputs += self._markers.feed(output[self._read :])
        self._read = len(output)
        if self._markers.malformed:
            raise Mismatch("JSON between the markers", self._markers.malformed[0].decode(errors="replace")[:300])
        return self._outputs

    def answer(self) -> str:
        while True:
            running = self.client.running()
            if outputs := self.outputs()[self._answered :]:
                break
            if not running or self.overdue():
                raise self.silent()
            time.sleep(_POLL)
        self._answered += 1
        first = outputs[0]
        if first.status != "success" or first.result is None:
            got = f"status {first.status}, result {json.dumps(first.result)}" + (
                f", error {first.error}" if first.error else ""
            )
            raise self.failure("status success and a result", got, self.client.so_far())
        return first.result

    def _send(self, later: float) -> None:
        assert not later, "nanoclaw 1.x starts an agent for a task when it is due"
        message = json.dumps({"type": "message", "text": self.question.prompt}, ensure_ascii=False)
        self.ctx.write(f"{self.workspace.exchange}/input/{int(time.time() * 1000)}-abcd.json", message)

    def close(self) -> Completed:
        self.ctx.write(f"{self.workspace.exchange}/input/_close", "")
        return self.ended("_close")


class DatabasesAgent(RunningAgent):
    """An agent of nanoclaw 2.x."""

    def answer(self) -> str:
        unreadable, completed = "", 0.0
        while True:
            running = self.client.running()
            database = self.ctx.read_bytes(f"{self.workspace.exchange}/outbound.db", _LARGEST_DATABASE)
            try:
                replies, done = answers(database)
            except sqlite3.Error as error:  # perhaps read during a write
                unreadable = str(error)
            else:
                unreadable = ""
                if replies[self._answered :]:
                    self._answered += 1
                    return replies[self._answered - 1]
                # nanoclaw's agent marks the message as completed before it writes the answer.
                completed = completed or (time.monotonic() if done > self._answered else 0.0)
                late = completed and time.monotonic() - completed > _COMPLETED_TIMEOUT * self._slowness
                running = running and not late
            if not running or self.overdue():
                if unreadable:
                    raise Mismatch("a readable outbound.db", unreadable)
                raise self.silent()
            time.sleep(_POLL * self.ctx.host.slowness)

    def _send(self, later: float) -> None:
        due = 0
        if later:  # by the clock of the agent's host
            due = round(self.ctx.host.ask(["date", "+%s"], float, doing="asking for the time") + later)
        self._sent.append(Message(self.question.prompt, due))
        self.ctx.write(f"{self.workspace.exchange}/inbound.db", inbound(self._sent))

    def close(self) -> Completed:
        stopped = self.ctx.docker("stop", "-t", "1", self.name, timeout=30)
        expect(stopped.returncode == 0, "“docker stop -t 1” to exit with status 0", stopped.stderr.strip())
        return self.ended("docker stop")


def _refused(done: Completed) -> bool:
    """Whether no container ran. Programs in a container may exit with 126 and 127 too."""
    if done.returncode == _NOT_CREATED:
        return True
    return done.returncode in (126, 127) and re.search(r"OCI runtime|\b(crun|runc)\b", done.stderr) is not None


def last_output(done: Completed) -> str:
    """The last lines of a command's stderr, without npm's advertisements and stack frames."""
    lines = [line[:_WIDTH] for line in lines_of(done.stderr.strip()) if not line.startswith(_NOISE)]
    return "\n".join(lines[-8:])


def entry_for(message: str) -> str:
    """The troubleshooting entry that matches a message; empty if none does."""
    return next((entry for words, entry in ENTRIES.items() if words in message.casefold()), "")


def expect_answer(agent: RunningAgent) -> None:
    """Fail unless the agent returns the service's exact reply, and the service received the exact question."""
    question = agent.question
    got = agent.answer()
    expect(got == question.answer, f"the service's own words, “{question.answer}”", got)
    expect(
        not question.stubbed or any(question.prompt in asked for asked in question.conversation.asked),
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
    """Start an agent of nanoclaw 1.x with a question.

    ``flags`` are additional options of ``docker run``; ``at_once`` is the number of agents that share the host.
    """
    patience = max(1.0, at_once / ctx.facts.cpus)
    name = ctx.name(GROUP)
    command = contract.run_streams(
        name=name, zone=ZONE, uid=ctx.uid, gid=ctx.facts.gid, mounts=workspace.mounts, image=image
    )
    stdin = contract.input_of(prompt=question.prompt, group=GROUP, is_main=is_main, secrets=question.credentials)
    with ctx.docker.started(command.with_options(flags), stdin=stdin, timeout=3 * ANSWER_TIMEOUT * patience) as client:
        yield StreamsAgent(ctx, workspace, question, name, client, patience)


@contextlib.contextmanager
def databases(
    ctx: CaseContext,
    workspace: Workspace,
    image: str,
    question: Question,
    *,
    flags: Sequence[str] = (),
    at_once: int = 1,
) -> Iterator[DatabasesAgent]:
    """Start an agent of nanoclaw 2.x, with its question in its database. The parameters are those of ``streams``."""
    patience = max(1.0, at_once / ctx.facts.cpus)
    name = ctx.name(f"v2-{GROUP}")
    gateway: list[str] = []
    if question.gateway:
        (certificate,) = workspace.gateway
        ctx.host.put(certificate.source, question.gateway.certificate.encode())
        environment = [f"{key}={value}" for key, value in question.gateway.environment.items()]
        gateway = [*(word for each in environment for word in ("-e", each)), "-v", certificate.option]
    command = contract.run_databases(
        name=name, install=ctx.run, zone=ZONE, gateway=gateway, uid=ctx.uid, gid=ctx.facts.gid,
        mounts=workspace.mounts, image=image,
    )  # fmt: skip
    with ctx.docker.started(command.with_options(flags), timeout=3 * ANSWER_TIMEOUT * patience) as client:
        yield DatabasesAgent(ctx, workspace, question, name, client, patience)


def addressed(text: str, destination: str = DESTINATION) -> str:
    """A text in the markup that an agent of 2.x needs for sending it."""
    return f'<message to="{destination}">{text}</message>'


@contextlib.contextmanager
def started(
    ctx: CaseContext, agent: Agent, image: str, question: Question, *, flags: Sequence[str] = ()
) -> Iterator[RunningAgent]:
    """Start an agent of either protocol in its own workspace, with a question."""
    if agent.protocol is AgentProtocol.STREAMS:
        place = workspace.for_streams(ctx, agent)
        with streams(ctx, place, image, question, flags=flags) as running:
            yield running
    else:
        place = workspace.for_databases(ctx, agent, prompt=question.prompt)
        with databases(ctx, place, image, question, flags=flags) as running:
            yield running
