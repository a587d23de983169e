"""Preparing a host for a run: preflight, removing dead runs, probe images, the profile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from checks.core import run_directories, run_processes, signals
from checks.core.errors import WrongUsage
from checks.core.paths import DEFAULT_GUEST, ROOT
from checks.core.process import Echo
from checks.core.progress import Progress
from checks.core.run_directories import Run
from checks.engine import probe_image
from checks.engine.case_context import DOCKER_OF_SERVICE, DROP_IN_OF_SERVICE, RunScope, remove_objects
from checks.engine.dead_runs import left_on, removed_from, removed_here, store_of
from checks.engine.leaks import LeakDetector
from checks.hosts import guest, recipe
from checks.hosts.base import Host
from checks.hosts.guest import Guest
from checks.hosts.local import LocalHost
from checks.hosts.preflight import require_usable, why_not_here
from checks.hosts.recipe import other_version
from checks.hosts.ssh import SshHost

PROFILES = ("recommended", "stock")
AS_IS = "as-is"
"""The profile of a host that the project does not configure."""

_DROP_IN = ROOT / "examples" / "containers.conf.d" / "50-nanoclaw.conf"
_SETTINGS = ".config/containers"
_DRIVER = ROOT / "examples" / "session-driver"
_DRIVER_FILES = {
    f"{DOCKER_OF_SERVICE}/translate.py": 0o644,
    f"{DOCKER_OF_SERVICE}/docker": 0o755,
    DROP_IN_OF_SERVICE: 0o644,
}
"""The docker for nanoclaw 2.2: its paths below the home, and their modes."""


def profiles(pinned: recipe.Recipe) -> Sequence[str]:
    """The profiles of a throwaway host, its default first."""
    return PROFILES if pinned.engine == "podman" else PROFILES[1:]


@dataclass(frozen=True)
class PreparedHost:
    """A host ready for cases."""

    host: Host
    profile: str
    owner: RunScope
    run: Run
    guest: Guest | None = None
    """The guest, if it is a throwaway host."""
    exclusive: bool = False
    """Whether this run alone uses the accounts."""

    @property
    def accounts(self) -> Sequence[Host]:
        """The accounts for cases, the default one first."""
        return self.host.accounts()

    def keep(self) -> None:
        """Keep the host when the run ends."""
        self.run.keep(self.host.name)


class Resolved(NamedTuple):
    """The host that ``--host`` stands for."""

    spec: str
    instead: str = ""
    """Why it is not this machine, although “auto” was asked for."""


def resolve(spec: str, progress: Progress) -> Resolved:
    """This machine for “auto” where rootless Podman and the shim are installed, else the default throwaway host.

    A Podman that is installed and does not work raises HostProblem: a result of another machine would hide it.
    """
    if spec != "auto":
        return Resolved(spec)
    reason = why_not_here(LocalHost())
    if not reason:
        return Resolved("local")
    progress.say(f"Testing on the throwaway host {DEFAULT_GUEST} instead of this machine: {reason}.")
    return Resolved(DEFAULT_GUEST, reason)


@contextlib.contextmanager
def prepared(
    spec: str,
    profile: str | None,
    run: Run,
    progress: Progress,
    *,
    keep: bool = False,
    sharing: bool = False,
    factor: float = 1.0,
    echo: Echo | None = None,
) -> Iterator[PreparedHost]:
    """The host that ``spec`` names, prepared until the block ends. ``sharing``: other guests run at the same time.

    ``factor`` multiplies every timeout (``--timeout-factor``). Raises WrongUsage for an unknown host or profile,
    HostProblem if the host can't be used.
    """
    sweep(progress)
    spec = resolve(spec, progress).spec
    if spec == "local":
        with _as_is(LocalHost(), profile, run, progress, factor=factor, echo=echo) as ready:
            yield ready
        return
    if spec.startswith("ssh://"):
        with (
            contextlib.closing(SshHost.of_run(spec, run)) as host,
            _as_is(host, profile, run, progress, factor=factor, echo=echo) as ready,
        ):
            yield ready
        return
    pinned = recipe.load(spec)
    profile = profile or profiles(pinned)[0]
    with _pinned(pinned, profile, run, progress, keep=keep, sharing=sharing, factor=factor, echo=echo) as ready:
        yield ready


@contextlib.contextmanager
def _as_is(
    host: Host, profile: str | None, run: Run, progress: Progress, *, factor: float, echo: Echo | None
) -> Iterator[PreparedHost]:
    if profile:
        raise WrongUsage(f"{host.name} has no profiles.", "--profile is for throwaway hosts (invoke hosts).")
    host.slowness *= factor
    with progress.step(f"Checking {host.name}"):
        require_usable(host)
    remove_leftovers(host)
    run.record_host(host.name, store_of(host))
    watch = LeakDetector(host, run.id, exclusive=False)
    watch.begin()
    try:
        with progress.step("Making the probe image"):
            probe_image.make([host], run.id)
        host.echo = echo
        yield PreparedHost(host, AS_IS, RunScope(run.id, run.id), run)
    finally:
        host.echo = None
        if not run.kept:
            run.unfinished = True  # until they were seen to be gone
            with signals.held():
                with progress.step("Cleaning up"):
                    clean = remove_objects(host, run.id)
                    run.unfinished = not clean
                    left = watch.new()
                if not clean or left:
                    images = "" if clean else f" images or containers with the label {probe_image.LABEL}={run.id}"
                    progress.say(f"Not removed from {host.name}:{images} {'; '.join(left)}".rstrip())
                if not clean:
                    progress.say("The next run there tries again.")


@contextlib.contextmanager
def _pinned(
    pinned: recipe.Recipe,
    profile: str,
    run: Run,
    progress: Progress,
    *,
    keep: bool,
    sharing: bool,
    factor: float,
    echo: Echo | None,
) -> Iterator[PreparedHost]:
    if profile not in profiles(pinned):
        raise WrongUsage(f"{pinned.name} has no profile “{profile}”.", f"Known: {', '.join(profiles(pinned))}.")
    guest.require_tools()
    with guest.resumed(pinned, run, probe_image.make, progress, outlive=keep, sharing=sharing) as machine:
        for account in [*machine.members, machine.root]:
            account.slowness *= factor
        if profile == "recommended":
            with ThreadPoolExecutor() as pool:
                list(pool.map(_configure, machine.members))
        if other := other_version(pinned, machine.members[0].facts().as_json()):
            progress.say(other if pinned.moving else f"{other} Evidence of this run is not accepted.")
        if pinned.shim == "link":
            progress.say(f"{pinned.name} has no package podman-docker: docker is a symbolic link to podman.")
        for account in machine.members:
            account.echo = echo
        yield PreparedHost(
            machine.members[0], profile, RunScope(run.id, probe_image.PREPARED), run, machine, exclusive=True
        )


def _configure(account: Host) -> None:
    facts = account.facts()
    # Podman reads drop-ins from 4.0 on; older versions read only containers.conf.
    before_drop_ins = facts.version.startswith(("1.", "2.", "3."))
    name = "containers.conf" if before_drop_ins else f"containers.conf.d/{_DROP_IN.name}"
    account.put(f"{facts.home}/{_SETTINGS}/{name}", _DROP_IN.read_bytes())
    for path, mode in _DRIVER_FILES.items():
        account.put(f"{facts.home}/{path}", (_DRIVER / PurePosixPath(path).name).read_bytes(), mode)


def remove_leftovers(host: Host) -> None:
    """Remove what dead runs left on an account. What can't be removed stays recorded, for the next run."""
    for dead in left_on(host):
        if not removed_from(host, dead):
            run_directories.remove(dead)


def sweep(progress: Progress) -> None:
    """Remove what dead runs left on this machine. On other hosts, the next run there removes it."""
    for dead, where in run_directories.dead_runs():
        if where.startswith("ssh://"):
            continue
        with progress.step(f"Removing leftovers of run {dead.id}, which ended without cleanup"):
            run_processes.stop(dead.id)
            left = removed_here(dead, where)
            if not left:
                run_directories.remove(dead)
        if left:  # its record stays, and the next run tries again
            progress.say(f"Not removed: {left}. See: invoke clean")
