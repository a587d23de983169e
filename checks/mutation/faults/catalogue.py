"""The faults: what happens in the middle of a run, and how that run has to end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from checks.core import run_directories
from checks.core.cache_manifest import is_complete
from checks.core.errors import Exit
from checks.core.paths import ROOT
from checks.hosts import recipe
from checks.hosts.recipe import RECIPES
from checks.mutation.faults.running import Running, running

WAITS = "Container timeout"
"""A case that takes its time: it waits for the ten seconds after which a container is killed."""
_QUICK = "docker --version"
_INFO = ("docker info", "!broken", "!systemd")
"""A command of some seconds, with a bound of its own."""
_STARTED = "$ docker"
_STALL = 8.0  # seconds


@dataclass
class RunOutcome:
    """How a run ended that something happened to."""

    status: int
    said: str
    left: list[str]

    @classmethod
    def of(cls, run: Running) -> RunOutcome:
        """The end of that run."""
        return cls(run.await_end(), run.said, run.left())


@dataclass(frozen=True)
class Fault:
    """Something that happens to a run."""

    name: str
    does: str
    statuses: tuple[int, ...]
    """How the run may end."""
    says: str
    """A regular expression for what it has to say."""
    happen: Callable[[str], Iterator[RunOutcome]]
    """Runs on a host, lets it happen, and gives the end of each run that was to end so."""

    def wrong(self, got: RunOutcome) -> list[str]:
        """What is wrong with how a run ended."""
        found = [f"left behind: {each}" for each in got.left]
        if got.status not in self.statuses:
            found.append(f"exit status {got.status}, not {' or '.join(map(str, self.statuses))}")
        if not re.search(self.says, got.said):
            found.append(f"it does not say “{self.says}”: {got.said.strip()[-300:]}")
        if "Traceback (most recent call last)" in got.said:
            found.append("it printed a traceback")
        return found


def _under_way(host: str, act: Callable[[Running], None], *only: str) -> Iterator[RunOutcome]:
    with running(host, *(only or (WAITS,))) as run:
        run.await_line(_STARTED)
        act(run)
        yield RunOutcome.of(run)


def _runner_killed(host: str) -> Iterator[RunOutcome]:
    with running(host, WAITS) as run:
        run.await_line(_STARTED)
        run.signal(signal.SIGKILL)
        run.await_end()
        # What it could not remove itself, the next command does.
        subprocess.run([sys.executable, "-m", "invoke", "clean"], cwd=ROOT, capture_output=True, check=False)
        yield RunOutcome.of(run)


def _frozen(run: Running) -> None:
    os.kill(run.qemu(), signal.SIGSTOP)


def _stalled(run: Running) -> None:
    qemu = run.qemu()
    os.kill(qemu, signal.SIGSTOP)
    time.sleep(_STALL)
    os.kill(qemu, signal.SIGCONT)


def _before_a_container(script: str) -> Callable[[str], Iterator[RunOutcome]]:
    """Change the guest while the run stands still between two cases."""

    def happen(host: str) -> Iterator[RunOutcome]:
        with running(host, _QUICK, "docker build again", "docker run -i --rm") as run:
            run.await_line("[PASS]")
            run.signal(signal.SIGSTOP)
            run.on_guest(script)
            run.signal(signal.SIGCONT)
            yield RunOutcome.of(run)

    return happen


def _other(host: str) -> str:
    """Another host, for what is to happen on two."""
    return next(each for each in ("debian-13", "debian-12") if each != host)


def _two_runs(hosts: Sequence[str]) -> Iterator[RunOutcome]:
    with ExitStack() as both:
        started = [both.enter_context(running(host, WAITS, _QUICK)) for host in hosts]
        for run in started:
            run.await_line(_STARTED)
        ends = [RunOutcome.of(run) for run in started]
        if len({run.id for run in started}) != 2:
            ends[0].left.append("one run's id, which the other one had as well")
        yield from ends


@contextmanager
def _cache_with(host: str) -> Iterator[tuple[Path, Path]]:
    """A cache of its own that has a copy of the host's directory: the cache and that directory."""
    what = recipe.load(host)
    name = f"{what.name}-{what.digest}"
    with tempfile.TemporaryDirectory(dir=run_directories.cache()) as cache:
        hosts = Path(cache) / run_directories.PROGRAM / "hosts"
        hosts.mkdir(parents=True)
        source = run_directories.cache() / "hosts" / name
        subprocess.run(["cp", "-a", "--sparse=always", str(source), str(hosts / name)], check=True)
        yield Path(cache), hosts / name


def _cut_short(file: str) -> Callable[[str], Iterator[RunOutcome]]:
    def happen(host: str) -> Iterator[RunOutcome]:
        with _cache_with(host) as (cache, directory):
            path = next(directory.glob(f"*/{file}"))
            os.truncate(path, path.stat().st_size // 2)
            with running(host, _QUICK, settings={"XDG_CACHE_HOME": str(cache)}) as run:
                run.await_line(_STARTED)
                got = RunOutcome.of(run)
            got.left += [
                f"{directory}/{each.name}, not whole" for each in _directories(directory) if not is_complete(each)
            ]
            yield got

    return happen


def _directories(directory: Path) -> Sequence[Path]:
    return sorted(each for each in directory.iterdir() if each.is_dir())


def _cache_full(host: str) -> Iterator[RunOutcome]:
    with tempfile.TemporaryDirectory() as cache:
        small = 'mount -t tmpfs -o size=64m tmpfs "$1" && shift && exec "$@"'
        namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        settings = {"XDG_CACHE_HOME": cache}
        with running(host, _QUICK, settings=settings, before=[*namespace, "sh", "-c", small, "sh", cache]) as run:
            yield RunOutcome.of(run)


def _recipe_edited(host: str) -> Iterator[RunOutcome]:
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory) / "project"
        shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "evidence", "__pycache__"))
        edited = project / RECIPES.relative_to(ROOT) / f"{host}.toml"
        with running(host, WAITS, root=project) as run:
            run.await_line(_STARTED)
            edited.write_text(edited.read_text().replace('suite = "', 'suite = "no-such-'))
            yield RunOutcome.of(run)


_NO_SPACE = 'fallocate -l "$(df --output=avail -B1 / | tail -n 1)" /full'
_NO_HELPER = "for each in pasta passt slirp4netns; do rm -f /usr/bin/$each; done"
_OK = (Exit.OK,)
_GONE = (Exit.HOST_UNUSABLE,)

FAULTS = (
    Fault("runner-killed", "SIGKILL for the run; then invoke clean", (-signal.SIGKILL,), "", _runner_killed),
    Fault("runner-interrupted", "SIGINT for the run, as Ctrl-C sends it", (Exit.INTERRUPTED,),
          "everything that the run had made was removed",
          lambda host: _under_way(host, lambda run: run.signal(signal.SIGINT))),
    Fault("runner-terminated", "SIGTERM for the run", (Exit.INTERRUPTED,),
          "everything that the run had made was removed",
          lambda host: _under_way(host, lambda run: run.signal(signal.SIGTERM))),
    Fault("qemu-killed", "SIGKILL for QEMU", _GONE, "QEMU exited unexpectedly",
          lambda host: _under_way(host, lambda run: os.kill(run.qemu(), signal.SIGKILL))),
    Fault("sshd-killed", "SIGKILL for every sshd in the guest", _GONE, "can't be reached|stopped answering",
          lambda host: _under_way(host, lambda run: run.on_guest("systemctl stop ssh.socket ssh; pkill -KILL sshd"))),
    Fault("guest-frozen", "SIGSTOP for QEMU, for good", _GONE, "can't be reached|stopped answering",
          lambda host: _under_way(host, _frozen, *_INFO)),
    Fault("guest-stalled", f"SIGSTOP for QEMU, and SIGCONT after {_STALL:g} s", _OK, r"1/1 passed",
          lambda host: _under_way(host, _stalled, *_INFO)),
    Fault("guest-disk-full", "The guest's disk fills up", (Exit.CASE_FAILED, Exit.HOST_UNUSABLE),
          "(?i)no space left", _before_a_container(_NO_SPACE)),
    Fault("network-helper-gone", "The guest's network helper is removed", (Exit.CASE_FAILED,),
          "#a-network-helper-is-missing|#passt-is-not-available", _before_a_container(_NO_HELPER)),
    Fault("two-runs", "Two runs on the same host at the same time", _OK, "2/2 passed",
          lambda host: _two_runs((host, host))),
    Fault("two-hosts", "Two runs at the same time, on two hosts", _OK, "2/2 passed",
          lambda host: _two_runs((host, _other(host)))),
    Fault("state-cut-short", "The saved state in the cache is cut short", _OK, "(?s)is not whole.*1/1 passed",
          _cut_short("state")),
    Fault("cache-full", "The cache's disk has no room", _GONE, "needs .* of free disk", _cache_full),
    Fault("recipe-edited", "The host's recipe is changed under way", _OK, "1/1 passed", _recipe_edited),
)  # fmt: skip
"""In the order in which they happen."""
