"""A process that runs a share of a verification's cases: it is told which are next, and tells how each ended.

The protocol is lines of JSON. In: a ``Share``, then batches of case ids until the input ends. Out: messages.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import IO

import msgspec
import pytest

from checks.core import run_directories
from checks.core.errors import Exit
from checks.core.lines import lines_of
from checks.core.locks import SharedLock
from checks.core.outcome import run_and_report
from checks.core.progress import Progress, plain_console
from checks.engine import flags
from checks.engine.prepared_host import prepared
from checks.evidence.run import CaseResult
from checks.hosts.facts import Facts
from checks.nanoclaw.agent import available
from checks.nanoclaw.provider import AgentProvider
from checks.runner import collection
from checks.runner.agent_plugin import Integration
from checks.runner.plugin import VerificationPlugin, case_info, require_end, run_pytest
from checks.runner.report import Report


class Share(msgspec.Struct, frozen=True):
    """What the cases of a share run on, and how."""

    host: str
    profile: str
    factor: float
    hardened: bool
    nanoclaw: str
    slow: bool
    sharing: bool
    """Whether each share has a guest of its own, of which several run at the same time."""
    lock: str
    """A file whose lock the cases hold together, and what writes a whole image alone."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The host is prepared."""

    host: str
    profile: str
    facts: Facts


class Said(msgspec.Struct, frozen=True, tag=True):
    """A step that takes time."""

    line: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """A case has ended."""

    result: CaseResult


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The process has cleaned up, and ends."""

    status: int
    line: str = ""
    """What stopped it."""
    agent: str = ""
    """The agent that ran, as in evidence; empty if none did."""
    left: bool = False
    """Whether it could not remove everything; it has said what."""


Message = Ready | Said | Done | Ended
Send = Callable[[Message], None]


class _Sender(Report):
    """Sends results instead of printing them."""

    def __init__(self, send: Send) -> None:
        super().__init__(plain_console(file=StringIO()))
        self._send = send

    def case(self, case: CaseResult) -> None:
        self._send(Done(case))


class _Lines(StringIO):
    """A file whose lines are sent."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def write(self, text: str) -> int:
        for line in lines_of(text):
            self._send(Said(line))
        return len(text)


class _AsTold:
    """A plugin that runs batches of cases instead of all, each case under the lock."""

    def __init__(self, batches: Iterator[Sequence[str]], lock: SharedLock) -> None:
        self._batches = batches
        self._lock = lock

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {case_info(item).id: item for item in session.items}
        for batch in self._batches:
            chosen = [items[each] for each in batch]
            # pytest keeps the fixtures that the next item has, too. After a batch that is one of another module: only
            # those of the session stay.
            other = next((item for item in session.items if chosen and item.path != chosen[-1].path), None)
            for item, following in zip(chosen, [*chosen[1:], other], strict=True):
                with self._lock.shared():
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.shouldstop:
                    return True
        return True


def run_share(share: Share, batches: Iterator[Sequence[str]], send: Send, runs: list[run_directories.Run]) -> str:
    """Run batches of cases on a host that is prepared for them; the agent that ran. Raises what stopped them.

    Its run is added to ``runs``.
    """
    progress = Progress(plain_console(file=_Lines(send)))
    agents = available(share.nanoclaw)
    with run_directories.new_run() as run:
        runs.append(run)
        with (
            SharedLock.of(Path(share.lock)) as lock,
            prepared(
                share.host, share.profile or None, run, progress, sharing=share.sharing, factor=share.factor
            ) as ready,
            contextlib.closing(AgentProvider(ready, progress, alone=lock.alone)) as provider,
        ):
            send(Ready(ready.host.name, ready.profile, ready.host.facts()))
            plugin = VerificationPlugin(
                lambda: contextlib.nullcontext(ready),
                _Sender(send),
                Progress(plain_console(file=StringIO())),
                flags=flags.load().recommended() if share.hardened else (),
            )
            integration = Integration(plugin, agents, progress, slow=share.slow, provider=provider)
            status = run_pytest(collection.arguments(), plugins=[plugin, integration, _AsTold(batches, lock)])
            require_end(plugin, status)
            return f"{next(iter(agents.values())).name}; {provider.image_base}" if provider.image_base else ""


def main() -> None:
    """Work until the input ends. Standard output is for the messages; everything else printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def send(message: Message) -> None:
        # Where nobody reads any more, the input ends, too: the cleanup is still to be done.
        with contextlib.suppress(OSError):
            answers.write(msgspec.json.encode(message) + b"\n")

    said: list[str] = []
    agents: list[str] = []
    runs: list[run_directories.Run] = []

    def work() -> Exit:
        share = msgspec.json.decode(sys.stdin.buffer.readline(), type=Share)
        agents.append(run_share(share, _batches(sys.stdin.buffer), send, runs))
        return Exit.OK

    status = run_and_report(work, said.append)
    send(Ended(status, "".join(said), "".join(agents), left=any(run.unfinished for run in runs)))


def _batches(lines: IO[bytes]) -> Iterator[Sequence[str]]:
    for line in iter(lines.readline, b""):
        yield msgspec.json.decode(line, type=list[str])


if __name__ == "__main__":
    main()
