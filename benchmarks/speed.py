"""What a verification costs: against the same docker commands without it, cold and warm, and how it grows.

python -m benchmarks.speed                     # on debian-13
python -m benchmarks.speed --host local        # on this machine's own Podman, as a plain user
python -m benchmarks.speed --cold --second debian-12
python -m benchmarks.speed --at-once           # all cases, 1, 2 and 4 at a time
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tabulate import tabulate

from benchmarks.ledger import Ledger, Timed
from checks.core import run_directories
from checks.core.errors import Exit, HostProblem
from checks.core.outcome import run_and_report
from checks.core.paths import DEFAULT_GUEST, ROOT
from checks.core.progress import Progress, plain_console
from checks.core.terminal import say
from checks.engine.prepared_host import PreparedHost, prepared
from checks.evidence import store
from checks.evidence.model import Verification
from checks.evidence.run import Evidence
from checks.runner.verify import VerifyOptions, session

SELECTION = (
    "docker --version", "image inspect of a missing image", "passes the exit status on", "image that does not exist",
    "--entrypoint", "Environment variable passing", "Timezone", "--user flag",
)  # fmt: skip
"""Cases whose commands can be run again as they stand: no files, no input, nothing in the background."""

COLD_GOAL, WARM_GOAL = 120.0, 10.0  # seconds to the first case, without KVM
OWN_GOAL = 20.0  # milliseconds a case
_FLOOR_BOUND = 600.0  # seconds
_CASE = re.compile(r" *\[(PASS|FAIL|SKIP)\]")


@dataclass(frozen=True)
class FlagResult:
    """One figure."""

    what: str
    figure: str
    goal: str = ""
    met: bool | None = None

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """It for the table."""
        return self.what, self.figure, self.goal, "" if self.met is None else "met" if self.met else "missed"


@dataclass(frozen=True)
class Pass:
    """One verification of the selection."""

    wall: float
    evidence: Evidence
    own: float
    """Seconds in which nothing was under way on the host."""


def main() -> int:
    """Measure what is asked and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--host", default=DEFAULT_GUEST, help=f"as for invoke verify (default: {DEFAULT_GUEST})")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--cold", action="store_true", help="also build the host anew, in a cache of its own")
    parser.add_argument("--at-once", action="store_true", help="instead: all cases, 1, 2 and 4 at a time")
    parser.add_argument("--only", action="append", default=[], help="with --at-once: these cases, as for invoke verify")
    parser.add_argument("--second", default="", help="also start this throwaway host at the same time")
    asked = parser.parse_args()
    progress = Progress()

    def measure() -> Exit:
        if asked.at_once:
            rows = [*_at_once(asked.host, asked.only, asked.rounds, progress)]
        else:
            rows = [*_against_floor(asked.host, asked.rounds, progress)]
        if not asked.at_once and asked.host not in ("local", "auto") and not asked.host.startswith("ssh://"):
            rows += _starts(asked.host, asked.second, cold=asked.cold, progress=progress)
        say(tabulate([row.cells for row in rows], headers=("What", "Figure", "Goal", ""), disable_numparse=True))
        return Exit.OK

    return run_and_report(measure, progress.say)


def _against_floor(host: str, rounds: int, progress: Progress) -> Iterator[FlagResult]:
    with run_directories.new_run() as run, prepared(host, None, run, progress) as ready:
        _verified(ready, SELECTION[:1], host)  # whatever is slow for the first time only
        whole, halves, floor = [], [], []
        middle = len(SELECTION) // 2
        for at in range(rounds):
            with progress.step(f"Round {at + 1} of {rounds}"):
                whole.append(_verified(ready, SELECTION, host))
                floor.append(_floor(ready, whole[-1].evidence))
                halves.append(
                    sum(_verified(ready, part, host).wall for part in (SELECTION[:middle], SELECTION[middle:]))
                )
        cases = len(whole[0].evidence.cases)
        commands = sum(len(case.record.commands) for case in whole[0].evidence.cases)
        local = ready.guest is None
    goal = 1.10 if local else 1.0
    ratio = statistics.median(one.wall / plain for one, plain in zip(whole, floor, strict=True))
    what = f"verify of {cases} cases / its {commands} docker commands in a plain script"
    yield FlagResult(what, f"{ratio:.2f}", f"at most {goal:.2f}", ratio <= goal)
    own = 1000 * statistics.median(one.own / cases for one in whole)
    yield FlagResult("own time per case", f"{own:.1f} ms", f"under {OWN_GOAL:.0f} ms", own < OWN_GOAL)
    together = statistics.median(one.wall / apart for one, apart in zip(whole, halves, strict=True))
    yield FlagResult(f"verify of {cases} cases / of its two halves, one after the other", f"{together:.2f}")


def _at_once(host: str, only: Sequence[str], rounds: int, progress: Progress) -> Iterator[FlagResult]:
    """All cases, with several at a time, against the same docker commands one after another.

    What the commands would take is the sum of their own times in the round's verification of one case at a time: most
    can't be run again as they stand, with their files and input. The preparation of the host is not counted.
    """
    numbers = (1, 2, 4)
    ratios: dict[int, list[float]] = {number: [] for number in numbers}
    walls: dict[int, list[float]] = {number: [] for number in numbers}
    cases = commands = 0
    for at in range(rounds):
        plain = 0.0
        for number in numbers:
            with progress.step(f"Round {at + 1} of {rounds}, {number} at a time"):
                wall, evidence = _whole(host, only, number)
            if number == 1:
                done = [command for case in evidence.cases for command in case.commands]
                plain, cases, commands = sum(each.seconds for each in done), len(evidence.cases), len(done)
            ratios[number].append(wall / plain)
            walls[number].append(wall)
    for number in numbers:
        ratio = statistics.median(ratios[number])
        what = f"verify of {cases} cases, {number} at a time / its {commands} docker commands one after another"
        goal = {2: 0.8}.get(number)
        seconds = f"{ratio:.2f} ({statistics.median(walls[number]):.0f} s)"
        if goal is None:
            yield FlagResult(what, seconds)
        else:
            yield FlagResult(what, seconds, f"at most {goal:.2f}", ratio <= goal)


def _whole(host: str, only: Sequence[str], number: int) -> tuple[float, Verification]:
    """Seconds from the report's first line to its last, and the evidence."""
    with tempfile.TemporaryDirectory() as directory:
        file = f"{directory}/evidence.json"
        argv = [
            sys.executable, "-u", "-m", "invoke", "verify", "--host", host, "--at-once", str(number), "--json", file,
            *(word for pattern in only for word in ("--only", pattern)),
        ]  # fmt: skip
        with subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout
            began = ended = 0.0
            for line in child.stdout:
                began = began or time.monotonic()
                if line.startswith("Results:"):
                    ended = time.monotonic()
            _, stderr = child.communicate()
        if not ended:
            raise HostProblem(f"On {host} the cases did not run: {stderr.strip()[-300:]}")
        return ended - began, store.load(Path(file), Verification)


def _verified(ready: PreparedHost, only: Sequence[str], host: str) -> Pass:
    ledger, quiet = Ledger(), plain_console(file=io.StringIO())
    timed = replace(ready, host=Timed(ready.host, ledger))
    began = time.monotonic()
    evidence = session(
        VerifyOptions(host=host, only=only), lambda: contextlib.nullcontext(timed), quiet, Progress(quiet)
    )  # fmt: skip
    wall = time.monotonic() - began
    if any(case.outcome == "failed" for case in evidence.cases):
        raise HostProblem(f"On {ready.host.name} a case of the benchmark failed.", "Run invoke verify first.")
    return Pass(wall, evidence, ledger.idle())


def _floor(ready: PreparedHost, evidence: Evidence) -> float:
    """Seconds that the same commands take, one after another in one script on the host, with nothing asserted."""
    lines = [
        f"{shlex.join(done.argv)} </dev/null >/dev/null 2>&1"
        for case in evidence.cases
        for done in case.record.commands
    ]
    began = time.monotonic()
    ready.host.run_checked(
        ["sh", "-s"], stdin="\n".join([*lines, "exit 0\n"]).encode(), timeout=_FLOOR_BOUND, doing="the floor"
    )
    return time.monotonic() - began


def _starts(host: str, second: str, *, cold: bool, progress: Progress) -> Iterator[FlagResult]:
    """Seconds to the first case."""
    if cold:
        with progress.step(f"Building {host} in a cache of its own"), tempfile.TemporaryDirectory() as cache:
            seconds = _to_first_case(host, {"XDG_CACHE_HOME": cache})
        yield FlagResult(
            f"cold: {host} built, first case", f"{seconds:.0f} s", f"under {COLD_GOAL:.0f} s", seconds < COLD_GOAL
        )
    with progress.step(f"Starting {host} from its saved state"):
        alone = _to_first_case(host, {})
    yield FlagResult(
        f"warm: {host} resumed, first case", f"{alone:.1f} s", f"under {WARM_GOAL:.0f} s", alone < WARM_GOAL
    )
    if second:
        with progress.step(f"Starting {host} and {second} at the same time"), ThreadPoolExecutor() as pool:
            both = max(pool.map(lambda each: _to_first_case(each, {}, "--sharing"), (host, second)))
        yield FlagResult(f"first case on {host} and {second} at once / on {host} alone", f"{both / alone:.2f}")


def _to_first_case(host: str, settings: dict[str, str], *further: str) -> float:
    argv = [sys.executable, "-u", "-m", "invoke", "verify", "--host", host, "--only", "docker --version", *further]
    began = time.monotonic()
    with subprocess.Popen(
        argv, cwd=ROOT, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as verify:  # fmt: skip
        assert verify.stdout
        first = next((time.monotonic() for line in verify.stdout if _CASE.match(line)), 0.0)
        _, stderr = verify.communicate()
    if not first:
        raise HostProblem(f"On {host} no case ran: {stderr.strip()[-300:]}")
    return first - began


if __name__ == "__main__":
    sys.exit(main())
