"""The recommended configuration written for an account, and taken away again."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence

from checks.docker import shell
from checks.hosts.base import Host
from checks.injection.configuration import HOOK, REFUSAL, File, Whose, settings_folder, whose
from checks.injection.state import Found, look, obstacles, require_account
from checks.problems import Exit, HostProblem
from checks.terminal import say

_ASIDE = ".nanoclaw-part"

# All files are there, whole and aside, before the first takes its place. $1 is what is appended to names aside.
_PLACE = r"""
aside=$1
shift
trap 'for file; do rm -f -- "$file$aside"; done' EXIT
trap 'exit 130' HUP INT TERM
tar --extract --no-same-owner --absolute-names --file - || exit 1
for file; do mv -f -- "$file$aside" "$file" || exit 1; done
"""

# $1 is the folder of settings, $2 our own in it; the folders above go where they are left empty.
_REMOVE = r"""
settings=$1 own=$2 refusal=$3
shift 3
for file; do rm -f -- "$file" || exit 1; done
! grep -qs 'nanoclaw hardening' "$refusal" || rm -f -- "$refusal"
for file; do rmdir -- "$(dirname "$file")" 2>/dev/null; done
for folder in "$own" "$settings/containers.conf.d" "$settings"; do
    rmdir -- "$folder" 2>/dev/null
done
[ ! -d "$own" ] || printf '%s\n' "$own"
"""


def install(host: Host, *, dry_run: bool) -> Exit:
    """Write what is missing; CASE_FAILED, and nothing written, where something of the user's stands in the way."""
    found = look(host)
    require_account(found)
    if told := _cannot(found, obstacles(found), "installed"):
        return told
    due = [file for file in found.wanted if found.files.get(file.path) != file.data]
    if dry_run:
        for file in due:
            say(f"==> {file.path} (mode {file.mode:o})\n{file.data.decode()}", end="")
        say(_nothing_to_do(found) if not due else f"\nWith --dry-run nothing was written to {found.host}.")
        return Exit.OK
    if due:
        if found.locked:
            raise HostProblem(
                f"The folder {found.locked} can't be written by {found.user}: nothing was installed.",
                "Is the home mounted read-only, or is the folder another user's?",
            )
        place(host, due)
        for file in due:
            say(f"Wrote {file.path}.")
    else:
        say(_nothing_to_do(found))
    for name, setting in found.settings.missing().items():
        say(
            f"Not set: {setting}. {found.host} gives its users no controller “{name}” of control groups; where systemd "
            "runs, a drop-in of user@.service with “Delegate=cpu cpuset io memory pids” does (docs/TROUBLESHOOTING.md)."
        )
    say(
        'In force from the next container on. userns = "keep-id" holds for every container of this user, the rest for '
        "nanoclaw's agents alone (the scoped way: docs/SECURITY.md). See that it is in force: invoke inject --check"
    )
    return Exit.OK


def uninstall(host: Host, *, dry_run: bool) -> Exit:
    """Take our files away; CASE_FAILED, and nothing removed, where one of them was changed by hand."""
    found = look(host)
    require_account(found)
    edited = [
        f"{path} was changed since it was installed: it is left as it is. Take it away by hand if you don't need it."
        for path in found.ours
        if whose(found.files[path]) is Whose.EDITED
    ]
    if told := _cannot(found, edited, "removed"):
        return told
    if not found.ours:
        say(f"Nothing of ours is installed for {found.user} on {found.host}.")
        return Exit.OK
    for path in found.ours:
        say(f"{'Would remove' if dry_run else 'Removed'} {path}.")
    if not dry_run and (left := remove(host, found, found.ours)):
        say(f"{left} has something else in it and was left.")
    return Exit.OK


def place(host: Host, files: Sequence[File]) -> None:
    """Write files there, each aside and then renamed. Raises HostProblem where that fails."""
    buffer = io.BytesIO()
    with tarfile.TarFile(fileobj=buffer, mode="w") as tar:
        for file in files:
            entry = tarfile.TarInfo(f"{file.path}{_ASIDE}")
            entry.size, entry.mode = len(file.data), file.mode
            tar.addfile(entry, io.BytesIO(file.data))
    argv = shell(_PLACE, _ASIDE, *(file.path for file in files))
    host.must(argv, stdin=buffer.getvalue(), doing="writing the configuration")


def remove(host: Host, found: Found, paths: Sequence[str]) -> str:
    """Remove these files, and the folders that they leave empty. Our own folder, where something else is left in it."""
    folder = settings_folder(found.home)
    own = f"{folder}/{HOOK.partition('/')[0]}"
    argv = shell(_REMOVE, folder, own, f"{folder}/{REFUSAL}", *paths)
    return host.must(argv, doing="removing the configuration").out.strip()


def _nothing_to_do(found: Found) -> str:
    return f"All of it is installed already for {found.user} on {found.host}."


def _cannot(found: Found, why: Sequence[str], what: str) -> Exit | None:
    for each in why:
        say(each)
    if why:
        say(f"Nothing was {what} for {found.user} on {found.host}.")
        return Exit.CASE_FAILED
    return None
