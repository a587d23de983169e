"""Several cases at a time on one host: each process of ``share`` has a run, or a copy of a throwaway host, of its own.

The results come in the order of the report, whichever ended first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from checks.core.bounded import read_text
from checks.core.children import Children
from checks.core.errors import Exit
from checks.core.lines import lines_of
from checks.core.outcome import reported
from checks.core.progress import Progress, counted
from checks.evidence.run import CaseResult, Evidence
from checks.hosts import recipe
from checks.runner.plugin import CaseInfo
from checks.runner.share import Done, Ended, Message, Ready, Said, Share

T = TypeVar("T")

MOST = 4
"""Processes at a time."""
_FEW = 12
"""Below this number of cases, a second process costs more than it saves."""
_LAST = 5.0  # seconds for the last words of a process that has ended
_SPARE = 2048  # MB of memory for everything else on this machine


def default(cases: Sequence[CaseInfo], host: str) -> int:
    """How many cases run at a time if nothing else is asked for: 2 where that is faster, and there is memory for it."""
    if len(cases) < _FEW or (os.cpu_count() or 1) < 2:
        return 1
    needed = 2 * recipe.load(host).memory + _SPARE if host in recipe.known() else _SPARE
    return 2 if _available_memory() >= needed else 1


def _available_memory() -> int:
    """Of this machine, in MB."""
    with contextlib.suppress(OSError, ValueError):
        found = (line.split() for line in lines_of(read_text(Path("/proc/meminfo"))))
        return next(int(words[1]) // 1024 for words in found if words[0] == "MemAvailable:")
    return 0


class Shares:
    """Processes that share a verification's cases, and what they have told so far.

    Where an agent's image is built, the first process runs all cases with an agent: the others need no image. All cases
    of a whole nanoclaw are one batch, because it is installed once.
    """

    def __init__(self, share: Share, cases: Sequence[CaseInfo], number: int, progress: Progress) -> None:
        self._share = share
        self._cases = cases
        self._number = number
        self._progress = progress
        self._changed = threading.Condition()
        self._of_agents, self._others = _batches(cases)
        self._results: dict[str, CaseResult] = {}
        self._ended: list[Ended] = []
        self._host: Ready | None = None
        self._threads: Sequence[threading.Thread] = ()

    def run(self, begun: Callable[[Evidence], None], ended: Callable[[CaseResult], None]) -> Evidence:
        """Run the cases; ``begun`` is called once the host is known, ``ended`` for each case in its order.

        Raises the Problem that stopped a process; then the others are stopped, too.
        """
        with contextlib.closing(Children()) as children:
            self._threads = [
                threading.Thread(target=self._serve, args=(children, at), daemon=True) for at in range(self._number)
            ]
            for thread in self._threads:
                thread.start()
            ready = self._await(lambda: self._host)
            evidence = Evidence(ready.host, ready.profile, ready.facts)
            begun(evidence)
            for number, case in enumerate(self._cases, 1):
                with counted(self._progress, case.label, number, len(self._cases)):
                    result = self._await(lambda case=case: self._results.get(case.id))  # type: ignore[misc]
                evidence.cases.append(result)
                ended(result)
            with self._progress.step("Cleaning up"):
                for thread in self._threads:
                    thread.join()
            self._require_end()
            evidence.agent = next((each.agent for each in self._ended if each.agent), "")
            return evidence

    @property
    def left(self) -> bool:
        """Whether a process could not remove everything; it has told what."""
        for thread in self._threads:  # they read what the processes say last
            thread.join(_LAST)
        return any(each.left for each in self._ended)

    def _await(self, seen: Callable[[], T | None]) -> T:
        with self._changed:
            while (found := seen()) is None:
                self._require_end()
                self._changed.wait()
            return found

    def _require_end(self) -> None:
        """Raise what stopped a process."""
        for each in self._ended:
            if each.status != Exit.OK:
                raise reported(each.status, each.line)

    def _serve(self, children: Children, at: int) -> None:
        """Note how a process ended, whatever happens: ``run`` waits for that."""
        ended = Ended(Exit.OWN_FAULT, "What a process of this run told could not be understood.")
        try:
            with contextlib.suppress(KeyboardInterrupt, msgspec.DecodeError):  # the run is over; or see above
                ended = self._told(children.start("checks.runner.share", stdin=subprocess.PIPE), first=at == 0)
        finally:
            with self._changed:
                self._ended.append(ended)
                self._changed.notify_all()

    def _told(self, child: subprocess.Popen[str], *, first: bool) -> Ended:
        """Give a process batches, and take what it tells; how it ended."""
        assert child.stdin
        assert child.stdout
        ended: Ended | None = None
        over, left = False, set[str]()

        def tell(value: object) -> None:
            with contextlib.suppress(OSError):  # it has ended, and its last message says why
                child.stdin.write(f"{msgspec.json.encode(value).decode()}\n")  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]

        tell(self._share)
        for line in child.stdout:
            message = msgspec.json.decode(line, type=Message)
            match message:
                # The steps of the others are the same, and what cleans up may end long before the last case.
                case Said(said) if (first and not over) or not said.rstrip().endswith("…"):
                    self._progress.say(said)
                case Ready():
                    self._take_host(message)
                case Done(result):
                    left.discard(result.id)
                    self._take_result(result)
                case Ended():
                    ended = message
            if not left and isinstance(message, Ready | Done):
                if batch := self._next(first=first):
                    left.update(batch)
                    tell(batch)
                else:
                    over = True
                    with contextlib.suppress(OSError):
                        child.stdin.close()
        status = child.wait()
        return ended or _without_a_word(status)

    def _take_host(self, ready: Ready) -> None:
        with self._changed:
            if self._host and self._host != ready:
                self._ended.append(Ended(Exit.HOST_UNUSABLE, f"The copies of {ready.host} differ."))
            self._host = self._host or ready
            self._changed.notify_all()

    def _take_result(self, result: CaseResult) -> None:
        with self._changed:
            self._results[result.id] = result
            self._changed.notify_all()

    def _next(self, *, first: bool) -> Sequence[str]:
        """The next batch for a process; empty if there is none."""
        with self._changed:
            of_agents = first or self._share.sharing  # the guests have the image on a disk
            for batches in (self._of_agents, self._others) if of_agents else (self._others,):
                if batches:
                    return batches.popleft()
            return ()


def _without_a_word(status: int) -> Ended:
    """How a process ended that could not tell."""
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return Ended(
            Exit.HOST_UNUSABLE,
            f"A process of this run was killed by the signal {name}. Is memory short? See what the kernel said: dmesg",
        )
    return Ended(Exit.OWN_FAULT, f"A process of this run ended with status {status}.")


def _batches(cases: Sequence[CaseInfo]) -> tuple[deque[Sequence[str]], deque[Sequence[str]]]:
    """The batches with an agent, and the others."""
    whole = [case.id for case in cases if "whole" in case.asks]
    of_agents = [[case.id] for case in cases if "provider" in case.asks and case.id not in whole]
    others = [[case.id] for case in cases if "provider" not in case.asks]
    return deque([*of_agents, *([whole] if whole else [])]), deque(others)
