"""Install the recommended configuration for an account, check that it takes effect, and remove it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from checks.core.errors import Exit, HostProblem
from checks.core.paths import GUIDE
from checks.core.terminal import say, say_file
from checks.engine.placement import File, locked, place, require_unshared, take_away
from checks.hardening.injection import effect
from checks.hardening.injection.configuration import DROP_IN, HOOK, REFUSAL, settings_directory
from checks.hardening.injection.effect import EffectCheck
from checks.hardening.injection.settings import Setting, seen
from checks.hardening.injection.state import (
    Account,
    competing_settings,
    conflicts,
    read_account,
    require_account,
    require_home,
    require_network_programs,
    require_python,
    require_writable,
)
from checks.hosts.base import Host

Egress = Callable[[Account], Account]
"""Sets whether the network of an account's agents is to be closed."""


@dataclass(frozen=True)
class Installation:
    """The result of an attempt to install."""

    found: Account
    """The account before anything was written."""
    conflicts: Sequence[str]
    """Conflicts with the user's own files; with one of them nothing was written."""
    due: Sequence[File]
    """The files that were missing or of another version."""
    verdict: EffectCheck | None
    """What Podman applies; None only if there are conflicts."""

    @property
    def missing(self) -> dict[str, Sequence[Setting]]:
        """What can't be set on this host, by the reason."""
        host, lacking = self.found.host, self.verdict.lacking if self.verdict else ()
        return {
            f"{host} does not delegate the cgroup controllers for them to its users": [
                each for each in self.found.settings.missing().values() if each not in lacking
            ],
            f"Podman accepts these limits on {host}, but does not enforce them": list(lacking),
        }


def install(host: Host, *, dry_run: bool, accept_missing: bool = False, egress: Egress = lambda found: found) -> Exit:
    """Install, and report it. ``egress`` sets whether the network is closed to agents.

    CASE_FAILED, and nothing written, if files of the user conflict. Raises what ``ensure_installed`` raises.
    """
    outcome = ensure_installed(host, dry_run=dry_run, accept_missing=accept_missing or dry_run, egress=egress)
    found, verdict = outcome.found, outcome.verdict
    if verdict is None:
        return _cannot(found, outcome.conflicts, "installed")
    if not outcome.due:
        say(f"Already installed for {found.user} on {found.host}.")
    for file in outcome.due:
        if dry_run:
            say(f"==> {file.path} (mode {file.placed_mode:o})")
            say_file(file.data)
        else:
            say(f"Wrote {file.path}.")
    not_set = {why: ", ".join(settings) for why, settings in outcome.missing.items() if settings}
    for why, settings in not_set.items():
        say(f"Not set: {settings}. {why}.")
    if not_set:
        say(
            "With systemd, a drop-in of user@.service with “Delegate=cpu cpuset io memory pids” delegates the "
            "controllers (docs/TROUBLESHOOTING.md)."
        )
    _report(verdict, outcome)
    if not found.has_shim:
        what = f"{found.docker} is not Podman's shim" if found.docker else "there is no docker on PATH"
        say(f"Not checked through docker, which nanoclaw calls: {what} ({GUIDE}#docker-is-not-the-shim).")
    for each in verdict.unchecked:
        say(f"Not checked {each} ({GUIDE}#docker-is-not-the-shim).")
    if dry_run and outcome.due:
        say(f"--dry-run: no file was written on {found.host}.")
        if not_set and not accept_missing:
            absent = ", ".join(not_set.values())
            raise HostProblem(f"{absent} can't be set. Without --accept-missing, nothing will be installed.")
        return Exit.OK
    engine = found.docker if found.has_shim else "podman"
    in_force = f"In force from the next container of {engine} on"
    say(
        f"{'Not seen in force' if verdict.effect.inside is None else in_force}. "
        'userns = "keep-id" applies to every container of this user, the rest only to nanoclaw\'s agents (the scoped '
        "way: docs/SECURITY.md). Check it in an agent's container: invoke inject --check"
    )
    return Exit.OK


def ensure_installed(
    host: Host, *, dry_run: bool = False, accept_missing: bool = False, egress: Egress = lambda found: found
) -> Installation:
    """Write the missing files unless files of the user conflict, and ask Podman what it then applies.

    Podman is asked before, with a copy of the configuration, and after; with ``dry_run`` only before. If it does not
    apply everything, the previous files are restored. Limits that this host can't set are an error too, unless
    ``accept_missing``. Other installs on the same account wait. Raises HostProblem, WrongUsage.
    """
    require_account(read_account(host))
    with locked(host):
        found = egress(read_account(host))
        if why := conflicts(found):
            return Installation(found, why, (), None)
        require_python(found)
        require_network_programs(found)
        if (gone := found.settings.missing()) and not accept_missing:
            raise HostProblem(
                f"On {host.name}, {', '.join(gone.values())} can't be set: the cgroup controllers "
                f"{', '.join(f'“{name}”' for name in gone)} are not delegated to its users. Nothing was installed.",
                "To install the rest: invoke inject --install --accept-missing",
            )
        require_unshared(host, [file.path for file in found.required])
        due = [file for file in found.required if found.files.get(file.path) != file.data]
        if not due:
            verdict = effect.check_installed(host, found, found.settings)
            _require(verdict, found, accept_missing, "The installed files were left unchanged.")
            _clear(host, found, dry_run=dry_run)
            return Installation(found, (), due, verdict)
        require_writable(found, "installed")
        verdict = effect.check_staged(host, found, found.settings)
        _require(verdict, found, accept_missing, "Nothing was installed.")
        _clear(host, found, dry_run=dry_run)
        if not dry_run:
            verdict = _place_and_ask(host, found, due, accept_missing)
        return Installation(found, (), due, verdict)


def _clear(host: Host, found: Account, *, dry_run: bool) -> None:
    """Remove what an interrupted install left."""
    if found.leftovers and not dry_run:
        remove(host, found, found.leftovers)
    for path in found.leftovers:
        say(f"{'Would remove' if dry_run else 'Removed'} {path}, left by an interrupted install.")


def _place_and_ask(host: Host, found: Account, due: Sequence[File], accept_missing: bool) -> EffectCheck:
    written = place(host, due)
    try:
        verdict = effect.check_installed(host, found, found.settings)
        _require(verdict, found, accept_missing, "The previous files were restored.")
    except BaseException:
        written.undo()
        raise
    written.keep()
    return verdict


def _require(verdict: EffectCheck, found: Account, accept_missing: bool, left: str) -> None:
    """Raise HostProblem unless Podman applies everything, or all but limits if those may be missing."""
    if verdict.in_effect or (accept_missing and verdict.only_limits):
        return
    others = competing_settings(found)
    remedy = f"Also set by: {', '.join(others)}." if others else ""
    if verdict.only_limits:
        remedy = f"{remedy} To install without these limits: invoke inject --install --accept-missing".strip()
    raise HostProblem(
        f"Podman does not apply the recommended configuration for {found.user} on {found.host}: {verdict.reported}. "
        f"{left}",
        remedy,
    )


def _report(verdict: EffectCheck, outcome: Installation) -> None:
    required = [each for each in outcome.found.settings.required() if each not in verdict.lacking]
    known = verdict.effect.known
    if known is None:
        return
    settings = "; ".join(f"{each}: {seen(each, known)}" for each in required)
    if verdict.effect.inside is None:
        say(f"No container starts on this host, with or without the hardening: {verdict.effect.error}")
        say(f"Read from the configuration that Podman passes to its OCI runtime, not in a container: {settings}.")
    else:
        say(f"Read in a container with a mount below /workspace: {settings}.")


def uninstall(host: Host, *, dry_run: bool) -> Exit:
    """Remove our files; CASE_FAILED, and nothing removed, if one of them was edited.

    Raises HostProblem if one can't be removed; those removed before are printed.
    """
    require_home(read_account(host))
    with locked(host):
        found = read_account(host)
        if found.edited:
            edited = "was edited after it was installed, and is left unchanged. Remove it by hand if you don't need it."
            return _cannot(found, [f"{path} {edited}" for path in found.edited], "removed")
        if not found.ours:
            say(f"Nothing is installed for {found.user} on {found.host}.")
            return Exit.OK
        require_writable(found, "removed")
        if dry_run:
            for path in found.ours:
                say(f"Would remove {path}.")
            return Exit.OK
        try:
            left = remove(host, found, found.ours)
        finally:
            there = read_account(host).files
            for path in found.ours:
                if path not in there:
                    say(f"Removed {path}.")
    if still := [path for path in found.ours if path in there]:
        raise HostProblem(f"On {host.name}, {', '.join(still)} could not be removed.")
    if left:
        say(f"{left} contains other files and was left.")
    return Exit.OK


def remove(host: Host, found: Account, paths: Sequence[str]) -> str:
    """Remove these files and the directories that become empty; our own directory, if it contains something else."""
    directory = settings_directory(found.home)
    own = f"{directory}/{HOOK.partition('/')[0]}"
    refusal = f"{directory}/{REFUSAL}"
    refusals = [refusal] if host.run(["grep", "-qs", "nanoclaw hardening", refusal]).returncode == 0 else []
    emptied = [directory, f"{directory}/{DROP_IN.partition('/')[0]}", own]
    emptied += [above for path in paths if (above := str(PurePosixPath(path).parent)) not in emptied]
    take_away(host, emptied, [*paths, *refusals])
    return own if host.run(["test", "-e", own]).returncode == 0 else ""


def _cannot(found: Account, why: Sequence[str], what: str) -> Exit:
    for each in why:
        say(each)
    say(f"Nothing was {what} for {found.user} on {found.host}.")
    return Exit.CASE_FAILED
