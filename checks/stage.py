"""What a run stands on: a host that can be used, swept of dead runs, with probe images and the profile in place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from checks import probe, runs
from checks.bench import Owner, remove_objects
from checks.hosts import guest, recipe
from checks.hosts.base import Host
from checks.hosts.choose import require_usable, unusable
from checks.hosts.guest import Guest
from checks.hosts.local import LocalHost
from checks.hosts.process import Echo
from checks.hosts.ssh import SshHost
from checks.problems import HostProblem, WrongUsage
from checks.progress import Progress
from checks.runs import Run

DEFAULT_GUEST = "debian-13"
PROFILES = ("recommended", "stock")
AS_IT_IS = "as-it-is"
"""The profile of a host that we don't configure."""

_DROP_IN = recipe.ROOT / "examples" / "containers.conf.d" / "50-nanoclaw.conf"
_DROP_IN_PLACE = ".config/containers/containers.conf.d/50-nanoclaw.conf"


@dataclass(frozen=True)
class Stage:
    """A host ready for cases."""

    host: Host
    profile: str
    owner: Owner
    run: Run
    guest: Guest | None = None
    """The throwaway machine, where it is one."""

    @property
    def accounts(self) -> Sequence[Host]:
        """Every account that cases may use, the default one first."""
        return self.host.accounts()

    def keep(self) -> None:
        """Leave the host as it is when the run ends."""
        self.run.keep(self.host.name)


@contextlib.contextmanager
def stage(
    spec: str, profile: str | None, run: Run, progress: Progress, *, keep: bool = False, echo: Echo | None = None
) -> Iterator[Stage]:
    """The stage on the host that ``spec`` names; taken down when the block ends.

    Raises WrongUsage where spec or profile make no sense, HostProblem where the host can't be used.
    """
    sweep(progress)
    if spec in ("auto", "local"):
        local = LocalHost()
        reason = unusable(local) if spec == "auto" else ""
        if not reason:
            taken = contextlib.ExitStack()
            try:
                ready = taken.enter_context(_as_it_is(local, profile, run, progress, echo=echo))
            except HostProblem as problem:
                if spec == "local":
                    raise
                reason = str(problem)
            else:
                with taken:
                    yield ready
                return
        progress.say(f"Testing on the throwaway host {DEFAULT_GUEST}, not on this machine: {reason}.")
        spec = DEFAULT_GUEST
    if spec.startswith("ssh://"):
        with (
            contextlib.closing(SshHost.parse(spec, sockets=run.sockets)) as host,
            _as_it_is(host, profile, run, progress, echo=echo) as ready,
        ):
            yield ready
        return
    with _pinned(recipe.load(spec), profile or PROFILES[0], run, progress, keep=keep, echo=echo) as ready:
        yield ready


@contextlib.contextmanager
def _as_it_is(host: Host, profile: str | None, run: Run, progress: Progress, *, echo: Echo | None) -> Iterator[Stage]:
    if profile:
        raise WrongUsage(f"{host.name} is tested as it is.", "--profile is for throwaway hosts (invoke hosts).")
    with progress.step(f"Looking at {host.name}"):
        require_usable(host)
    for dead, where in runs.dead_runs():
        if where == host.name and remove_objects(host, dead.id):
            runs.remove(dead)
    run.aims_at(host.name)
    try:
        with progress.step("Making the probe image"):
            probe.make([host], run.id)
        host.echo = echo
        yield Stage(host, AS_IT_IS, Owner(run.id, run.id), run)
    finally:
        host.echo = None
        if not run.kept:
            with progress.step("Cleaning up"):
                clean = remove_objects(host, run.id)
            if not clean:
                progress.say(f"Not everything could be removed: podman ps -a --filter label={probe.LABEL}={run.id}")


@contextlib.contextmanager
def _pinned(
    what: recipe.Recipe, profile: str, run: Run, progress: Progress, *, keep: bool, echo: Echo | None
) -> Iterator[Stage]:
    if profile not in PROFILES:
        raise WrongUsage(f"There is no profile “{profile}”.", f"Known: {', '.join(PROFILES)}.")
    if missing := guest.tools_missing():
        raise HostProblem(
            f"A throwaway host needs programs that are not installed here: {', '.join(missing)}.",
            "Install them with: scripts/install.sh guest",
        )
    with guest.resumed(what, run, probe.make, progress, outlive=keep) as machine:
        if profile == "recommended":
            with ThreadPoolExecutor() as pool:
                list(pool.map(_configure, machine.members))
        if (has := machine.members[0].facts().podman) != what.podman:
            progress.say(f"{what.name} has Podman {has}; its recipe expects {what.podman}.")
        for account in machine.members:
            account.echo = echo
        yield Stage(machine.members[0], profile, Owner(run.id, probe.PREPARED), run, machine)


def _configure(account: Host) -> None:
    account.put(f"{account.facts().home}/{_DROP_IN_PLACE}", _DROP_IN.read_bytes())


def sweep(progress: Progress) -> None:
    """Remove what dead runs left on this machine. What they left elsewhere goes when a run aims there again."""
    for dead, where in runs.dead_runs():
        if where.startswith("ssh://"):
            continue
        with progress.step(f"Removing what the dead run {dead.id} left"):
            runs.stop(dead)
            if where == "local":
                remove_objects(LocalHost(), dead.id)
            runs.remove(dead)
