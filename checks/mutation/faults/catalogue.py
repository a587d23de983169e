"""The faults that ``invoke faults`` injects into runs, and how such a run must end.

A fault is one function with ``@fault``: its name is the fault's, and nothing else has to know it.
"""

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

_WAITING = "Container timeout"
"""A case that waits for the ten seconds after which a container is killed."""
_QUICK = "docker --version"
_INFO = ("docker info", "!broken", "!systemd")
"""A command that takes seconds and has a time limit of its own."""
_STARTED = "$ docker"
_STALL = 8.0  # seconds

_UNREACHABLE = "can't be reached|stopped answering"
_CLEANED_UP = "directories and mounts on this machine were removed"


@dataclass
class RunOutcome:
    """How a run with an injected fault ended."""

    status: int
    output: str
    leftovers: list[str]

    @classmethod
    def of(cls, run: Running) -> RunOutcome:
        """Wait for the end of that run."""
        return cls(run.await_end(), run.output, run.leftovers())


Inject = Callable[[str], Iterator[RunOutcome]]
"""Starts runs on a host, injects the fault, and returns how each run ended."""


@dataclass(frozen=True)
class Fault:
    """Something that happens to a run."""

    name: str
    description: str
    statuses: tuple[int, ...]
    """The exit statuses that the run may have."""
    message: str
    """A regular expression that its output must match."""
    inject: Inject

    def problems(self, outcome: RunOutcome) -> list[str]:
        """What is wrong with how a run ended."""
        found = [f"left behind: {each}" for each in outcome.leftovers]
        if outcome.status not in self.statuses:
            found.append(f"exit status {outcome.status}, not {' or '.join(map(str, self.statuses))}")
        if not re.search(self.message, outcome.output):
            found.append(f"its output does not match “{self.message}”: {outcome.output.strip()[-300:]}")
        if "Traceback (most recent call last)" in outcome.output:
            found.append("it printed a traceback")
        return found


FAULTS: list[Fault] = []
"""In the order of their functions below, which is the order in which they are injected."""


def fault(description: str, *statuses: int, message: str = "") -> Callable[[Inject], Inject]:
    """Register a function as a fault."""

    def register(inject: Inject) -> Inject:
        FAULTS.append(Fault(inject.__name__.replace("_", "-"), description, statuses, message, inject))
        return inject

    return register


def _during(host: str, act: Callable[[Running], None], *only: str) -> Iterator[RunOutcome]:
    """Do something to a run once its first case has started."""
    with running(host, *(only or (_WAITING,))) as run:
        run.await_line(_STARTED)
        act(run)
        yield RunOutcome.of(run)


def _between_cases(host: str, script: str) -> Iterator[RunOutcome]:
    """Change the guest while the run is suspended between two cases."""
    with running(host, _QUICK, "docker build again", "docker run -i --rm") as run:
        run.await_line("[PASS]")
        run.signal(signal.SIGSTOP)
        run.on_guest(script)
        run.signal(signal.SIGCONT)
        yield RunOutcome.of(run)


def _two_runs(hosts: Sequence[str]) -> Iterator[RunOutcome]:
    with ExitStack() as both:
        started = [both.enter_context(running(host, _WAITING, _QUICK)) for host in hosts]
        for run in started:
            run.await_line(_STARTED)
        ends = [RunOutcome.of(run) for run in started]
        if len({run.id for run in started}) != 2:
            ends[0].leftovers.append("a run id that the other run had too")
        yield from ends


@contextmanager
def _cache_with(host: str) -> Iterator[tuple[Path, Path]]:
    """A separate cache that has a copy of the host's directory: the cache and that directory."""
    what = recipe.load(host)
    name = f"{what.name}-{what.digest}"
    with tempfile.TemporaryDirectory(dir=run_directories.cache()) as cache:
        hosts = Path(cache) / run_directories.PROGRAM / "hosts"
        hosts.mkdir(parents=True)
        source = run_directories.cache() / "hosts" / name
        subprocess.run(["cp", "-a", "--sparse=always", str(source), str(hosts / name)], check=True)
        yield Path(cache), hosts / name


@fault("SIGKILL for the run; then invoke clean", -signal.SIGKILL)
def runner_killed(host: str) -> Iterator[RunOutcome]:
    with running(host, _WAITING) as run:
        run.await_line(_STARTED)
        run.signal(signal.SIGKILL)
        run.await_end()
        # A killed run can't clean up; the next command does.
        subprocess.run([sys.executable, "-m", "invoke", "clean"], cwd=ROOT, capture_output=True, check=False)
        yield RunOutcome.of(run)


@fault("SIGINT for the run, as Ctrl-C sends it", Exit.INTERRUPTED, message=_CLEANED_UP)
def runner_interrupted(host: str) -> Iterator[RunOutcome]:
    yield from _during(host, lambda run: run.signal(signal.SIGINT))


@fault("SIGTERM for the run", Exit.INTERRUPTED, message=_CLEANED_UP)
def runner_terminated(host: str) -> Iterator[RunOutcome]:
    yield from _during(host, lambda run: run.signal(signal.SIGTERM))


@fault("SIGKILL for QEMU", Exit.HOST_UNUSABLE, message="QEMU exited unexpectedly")
def qemu_killed(host: str) -> Iterator[RunOutcome]:
    yield from _during(host, lambda run: os.kill(run.qemu(), signal.SIGKILL))


@fault("SIGKILL for every sshd in the guest", Exit.HOST_UNUSABLE, message=_UNREACHABLE)
def sshd_killed(host: str) -> Iterator[RunOutcome]:
    yield from _during(host, lambda run: run.on_guest("systemctl stop ssh.socket ssh; pkill -KILL sshd"))


@fault("SIGSTOP for QEMU, without SIGCONT", Exit.HOST_UNUSABLE, message=_UNREACHABLE)
def guest_frozen(host: str) -> Iterator[RunOutcome]:
    yield from _during(host, lambda run: os.kill(run.qemu(), signal.SIGSTOP), *_INFO)


@fault(f"SIGSTOP for QEMU, and SIGCONT after {_STALL:g} s", Exit.OK, message="1/1 passed")
def guest_stalled(host: str) -> Iterator[RunOutcome]:
    def stall(run: Running) -> None:
        qemu = run.qemu()
        os.kill(qemu, signal.SIGSTOP)
        time.sleep(_STALL)
        os.kill(qemu, signal.SIGCONT)

    yield from _during(host, stall, *_INFO)


@fault("The guest's disk fills up", Exit.CASE_FAILED, Exit.HOST_UNUSABLE, message="(?i)no space left")
def guest_disk_full(host: str) -> Iterator[RunOutcome]:
    yield from _between_cases(host, 'fallocate -l "$(df --output=avail -B1 / | tail -n 1)" /full')


@fault(
    "The guest's network helper is removed",
    Exit.CASE_FAILED,
    message="#a-network-helper-is-missing|#passt-is-not-available",
)
def network_helper_gone(host: str) -> Iterator[RunOutcome]:
    yield from _between_cases(host, "for each in pasta passt slirp4netns; do rm -f /usr/bin/$each; done")


@fault("Two runs on the same host at the same time", Exit.OK, message="2/2 passed")
def two_runs(host: str) -> Iterator[RunOutcome]:
    yield from _two_runs((host, host))


@fault("Two runs at the same time, on two hosts", Exit.OK, message="2/2 passed")
def two_hosts(host: str) -> Iterator[RunOutcome]:
    yield from _two_runs((host, next(each for each in ("debian-13", "debian-12") if each != host)))


@fault("The saved state in the cache is truncated", Exit.OK, message="(?s)is incomplete.*1/1 passed")
def state_cut_short(host: str) -> Iterator[RunOutcome]:
    with _cache_with(host) as (cache, directory):
        path = next(directory.glob("*/state"))
        os.truncate(path, path.stat().st_size // 2)
        with running(host, _QUICK, settings={"XDG_CACHE_HOME": str(cache)}) as run:
            run.await_line(_STARTED)
            outcome = RunOutcome.of(run)
        images = sorted(each for each in directory.iterdir() if each.is_dir())
        outcome.leftovers += [f"{image}, incomplete" for image in images if not is_complete(image)]
        yield outcome


@fault("The cache's disk is full", Exit.HOST_UNUSABLE, message="needs .* of free disk")
def cache_full(host: str) -> Iterator[RunOutcome]:
    with tempfile.TemporaryDirectory(dir=run_directories.cache()) as cache:
        small = 'mount -t tmpfs -o size=64m tmpfs "$1" && shift && exec "$@"'
        namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        settings = {"XDG_CACHE_HOME": cache}
        with running(host, _QUICK, settings=settings, before=[*namespace, "sh", "-c", small, "sh", cache]) as run:
            yield RunOutcome.of(run)


@fault("The host's recipe is edited during the run", Exit.OK, message="1/1 passed")
def recipe_edited(host: str) -> Iterator[RunOutcome]:
    with tempfile.TemporaryDirectory(dir=run_directories.cache()) as directory:
        project = Path(directory) / "project"
        shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "evidence", "__pycache__"))
        edited = project / RECIPES.relative_to(ROOT) / f"{host}.toml"
        with running(host, _WAITING, root=project) as run:
            run.await_line(_STARTED)
            edited.write_text(edited.read_text().replace('suite = "', 'suite = "no-such-'))
            yield RunOutcome.of(run)
