"""The recommended configuration written for an account, seen in effect there, and taken away again."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pexpect
from pexpect.popen_spawn import PopenSpawn

from checks.core.archive import Member, pack
from checks.core.errors import Exit, HostProblem
from checks.core.paths import FIXTURES
from checks.core.terminal import say
from checks.engine.docker import shell
from checks.hardening.injection import effect
from checks.hardening.injection.configuration import ASIDE, DROP_IN, HOOK, REFUSAL, File, settings_directory
from checks.hardening.injection.effect import EffectCheck
from checks.hardening.injection.settings import Setting, seen
from checks.hardening.injection.state import Found, look, obstacles, require_account, require_writable, rivals
from checks.hosts.base import Host

_WAIT = 200  # seconds that one install waits for others on the same account

# A file that no other account can open, or lock; it is removed by whoever holds it last. The lock is given up when its
# holder dies: then the input ends.
_LOCK = """
umask 077
lock=$HOME/.nanoclaw-verify.lock
command -v flock >/dev/null || { echo ==no-flock==; exit 1; }
until [ "$lock" -ef /dev/fd/9 ]; do # the one before may have removed it meanwhile
    exec 9>>"$lock" || exit 1
    flock -w "$1" 9 || { echo ==busy==; exit 1; }
done
echo ==locked==
cat >/dev/null
rm -f "$lock"
"""


@dataclass(frozen=True)
class Placed:
    """Files that were written, of which what was there before can be put back."""

    host: Host
    files: Sequence[File]
    made: Sequence[str]
    """The directories that were made for them, the inner ones first."""

    def undo(self) -> None:
        """Put everything back as it was. Raises HostProblem where that fails."""
        made = list(reversed(self.made))
        _files(self.host, "undo", made, [file.path for file in self.files], doing="putting back what was there before")

    def settle(self) -> None:
        """Keep what was written."""
        argv = ["settle", *(file.path for file in self.files)]
        self.host.run_checked(_script(*argv), doing="giving up what was there before")


@dataclass(frozen=True)
class Installation:
    """What came of an attempt to install."""

    found: Found
    """The account before anything was written."""
    obstacles: Sequence[str]
    """What of the user's own stands in the way; then nothing was written."""
    due: Sequence[File]
    """What was missing or of another version."""
    verdict: EffectCheck | None
    """What Podman made of it, with everything in force that is not missing; None only with obstacles."""

    @property
    def missing(self) -> dict[Setting, str]:
        """What can't be set on this host, each with the reason."""
        host = self.found.host
        told = {
            setting: f"{host} gives its users no controller “{name}” of control groups"
            for name, setting in self.found.settings.missing().items()
        }
        for setting in self.verdict.lacking if self.verdict else ():
            told[setting] = f"Podman accepts the limit on {host} and does not enforce it"
        return told


def install(host: Host, *, dry_run: bool, accept_missing: bool = False) -> Exit:
    """Install, and report it.

    CASE_FAILED, and nothing written, where something of the user's stands in the way. Raises as ``bring`` does.
    """
    outcome = bring(host, dry_run=dry_run, accept_missing=accept_missing)
    found, verdict = outcome.found, outcome.verdict
    if verdict is None:
        return _cannot(found, outcome.obstacles, "installed")
    if not outcome.due:
        say(f"All of it is installed already for {found.user} on {found.host}.")
    for file in outcome.due:
        if dry_run:
            say(f"==> {file.path} (mode {file.mode:o})\n{file.data.decode()}", end="")
        else:
            say(f"Wrote {file.path}.")
    for setting, why in outcome.missing.items():
        say(
            f"Not set: {setting}. {why}. Where systemd runs, a drop-in of user@.service with “Delegate=cpu cpuset io "
            "memory pids” gives users their controllers (docs/TROUBLESHOOTING.md)."
        )
    _report(verdict, outcome)
    if dry_run and outcome.due:
        say(f"With --dry-run no file was written to {found.host}.")
        return Exit.OK
    say(
        f"{'Not seen in force' if verdict.effect.inside is None else 'In force from the next container on'}. "
        'userns = "keep-id" holds for every container of this user, the rest for nanoclaw\'s agents alone (the scoped '
        "way: docs/SECURITY.md). See it in an agent's container: invoke inject --check"
    )
    return Exit.OK


def bring(host: Host, *, dry_run: bool = False, accept_missing: bool = False) -> Installation:
    """Write what is missing, unless something of the user's stands in the way, and ask Podman what it then applies.

    Podman is asked before, with a copy of the configuration, and after: with ``dry_run`` only before. Where it does not
    apply everything, everything is put back as it was. What this host has no means for is an error as well, unless
    ``accept_missing``. One at a time on an account: others wait. Raises HostProblem, WrongUsage.
    """
    require_account(look(host))
    with locked(host):
        found = look(host)
        if why := obstacles(found):
            return Installation(found, why, (), None)
        if (gone := found.settings.missing()) and not accept_missing:
            raise HostProblem(
                f"On {host.name}, {', '.join(gone.values())} can't be set: its users have no controllers "
                f"{', '.join(f'“{name}”' for name in gone)} of control groups. Nothing was installed.",
                "To install the rest: invoke inject --install --accept-missing",
            )
        due = [file for file in found.wanted if found.files.get(file.path) != file.data]
        if not due:
            verdict = effect.placed(host, found, found.settings)
            _require(verdict, found, accept_missing, "It is installed, and was left as it is.")
            _clear(host, found, dry_run=dry_run)
            return Installation(found, (), due, verdict)
        require_writable(found, "installed")
        verdict = effect.staged(host, found, found.settings)
        _require(verdict, found, accept_missing, "Nothing was installed.")
        _clear(host, found, dry_run=dry_run)
        if not dry_run:
            verdict = _place_and_ask(host, found, due, accept_missing)
        return Installation(found, (), due, verdict)


def _clear(host: Host, found: Found, *, dry_run: bool) -> None:
    """Remove what an install that was killed left."""
    if found.leftovers and not dry_run:
        remove(host, found, found.leftovers)
    for path in found.leftovers:
        say(f"{'Would remove' if dry_run else 'Removed'} {path}, left by an install that was interrupted.")


def _place_and_ask(host: Host, found: Found, due: Sequence[File], accept_missing: bool) -> EffectCheck:
    written = place(host, due)
    try:
        verdict = effect.placed(host, found, found.settings)
        _require(verdict, found, accept_missing, "Everything was put back as it was.")
    except BaseException:
        written.undo()
        raise
    written.settle()
    return verdict


def _require(verdict: EffectCheck, found: Found, accept_missing: bool, left: str) -> None:
    """Raise HostProblem unless Podman applies everything, or all but limits where those may be missing."""
    if verdict.holds or (accept_missing and verdict.only_limits):
        return
    others = rivals(found)
    remedy = f"Set as well by: {', '.join(others)}." if others else ""
    if verdict.only_limits:
        remedy = f"{remedy} To install without these limits: invoke inject --install --accept-missing".strip()
    raise HostProblem(
        f"Podman does not apply the recommended configuration for {found.user} on {found.host}: {verdict.reported}. "
        f"{left}",
        remedy,
    )


def _report(verdict: EffectCheck, outcome: Installation) -> None:
    wanted = [each for each in outcome.found.settings.wanted() if each not in verdict.lacking]
    known = verdict.effect.known
    if known is None:
        return
    told = "; ".join(f"{each}: {seen(each, known)}" for each in wanted)
    if verdict.effect.inside is None:
        say(f"No container starts on this host, with or without the hardening: {verdict.effect.said}")
        say(f"Read in the configuration that Podman gives to its OCI runtime, and not in a container: {told}.")
    else:
        say(f"Read in a container with a mount below /workspace: {told}.")


def uninstall(host: Host, *, dry_run: bool) -> Exit:
    """Take our files away; CASE_FAILED, and nothing removed, where one of them was changed by hand.

    Raises HostProblem where one can't be removed; what was removed till then is printed.
    """
    require_account(look(host))
    with locked(host):
        found = look(host)
        if found.edited:
            edited = "was changed since it was installed: it is left as it is. Remove it by hand if you don't need it."
            return _cannot(found, [f"{path} {edited}" for path in found.edited], "removed")
        if not found.ours:
            say(f"Nothing of ours is installed for {found.user} on {found.host}.")
            return Exit.OK
        require_writable(found, "removed")
        if dry_run:
            for path in found.ours:
                say(f"Would remove {path}.")
            return Exit.OK
        try:
            left = remove(host, found, found.ours)
        finally:
            there = look(host).files
            for path in found.ours:
                if path not in there:
                    say(f"Removed {path}.")
    if still := [path for path in found.ours if path in there]:
        raise HostProblem(f"On {host.name}, {', '.join(still)} is still there.")
    if left:
        say(f"{left} has something else in it and was left.")
    return Exit.OK


@contextlib.contextmanager
def locked(host: Host) -> Iterator[None]:
    """Keep every other install and uninstall off this account, from whichever machine; wait for one that runs.

    Raises HostProblem where it takes too long.
    """
    holder = host.spawn(shell(_LOCK, str(_WAIT)), tty=False, timeout=_WAIT + 20)
    assert isinstance(holder, PopenSpawn)  # without a terminal
    try:
        got = holder.expect_exact([b"==locked==", b"==busy==", b"==no-flock==", pexpect.EOF, pexpect.TIMEOUT])
        if got == 1:
            raise HostProblem(
                f"Another install or uninstall has been running on {host.name} for {_WAIT} s.", "Wait for its end."
            )
        if got == 2:
            raise HostProblem(f"There is no flock on {host.name}.", "Install the package util-linux.")
        if got:
            raise HostProblem(
                f"On {host.name}, ~/.nanoclaw-verify.lock can't be made.", "Can the account write its home?"
            )
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            holder.sendeof()
        with contextlib.suppress(subprocess.TimeoutExpired):
            holder.proc.wait(5)
        if holder.proc.poll() is None:
            holder.proc.kill()
            holder.proc.wait()


def place(host: Host, files: Sequence[File]) -> Placed:
    """Write files there, each aside and then renamed. Raises HostProblem where that fails; then nothing has changed."""
    archive = pack(Member(f"{file.path}{ASIDE}", file.data, file.mode) for file in files)
    above = {str(directory) for file in files for directory in PurePosixPath(file.path).parents}
    outer_first = sorted(above, key=lambda directory: directory.count("/") if directory != "/" else 0)
    paths = [file.path for file in files]
    made = _files(host, "place", outer_first, paths, stdin=archive, doing="writing the configuration")
    return Placed(host, files, made.splitlines())


def remove(host: Host, found: Found, paths: Sequence[str]) -> str:
    """Remove these files, and the directories that they leave empty; our own directory, where it has something else."""
    directory = settings_directory(found.home)
    own = f"{directory}/{HOOK.partition('/')[0]}"
    refusal = f"{directory}/{REFUSAL}"
    told = [refusal] if host.run(["grep", "-qs", "nanoclaw hardening", refusal]).returncode == 0 else []
    emptied = [directory, f"{directory}/{DROP_IN.partition('/')[0]}", own]
    emptied += [above for path in paths if (above := str(PurePosixPath(path).parent)) not in emptied]
    _files(host, "remove", emptied, [*paths, *told], doing="removing the configuration")
    return own if host.run(["test", "-e", own]).returncode == 0 else ""


def _files(
    host: Host, action: str, directories: Sequence[str], paths: Sequence[str], *, stdin: bytes = b"", doing: str
) -> str:
    argv = _script(action, str(len(directories)), *directories, *paths)
    return host.run_checked(argv, stdin=stdin, doing=doing).stdout


def _script(*argv: str) -> list[str]:
    return shell((FIXTURES / "injection" / "files.sh").read_text(), *argv)


def _cannot(found: Found, why: Sequence[str], what: str) -> Exit:
    for each in why:
        say(each)
    say(f"Nothing was {what} for {found.user} on {found.host}.")
    return Exit.CASE_FAILED
