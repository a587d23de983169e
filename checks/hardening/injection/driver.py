"""A ``docker`` for nanoclaw 2.2 on Podman, first on the PATH of nanoclaw's service: installed, checked, removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from checks.core.answers import decoded
from checks.core.errors import Exit, HostProblem
from checks.core.paths import FIXTURES
from checks.core.terminal import say
from checks.engine.docker import shell
from checks.hardening.injection.configuration import Author, File, author_of, sealed
from checks.hardening.injection.install import locked, place, take_away
from checks.hardening.injection.state import LARGEST, Account, read_account, require_account
from checks.hosts.base import Host

DIRECTORY = ".local/share/nanoclaw-docker"
DROP_IN = ".config/systemd/user/nanoclaw-v2-.service.d/60-nanoclaw-docker.conf"

_FIXTURES = FIXTURES / "session-driver"

# A line for each file: its content, or - without one. What is neither a file nor a link to one is “odd”.
_READ = r"""
most=$1
shift
for file; do
    if [ -f "$file" ]; then
        head -c "$most" "$file" | base64 | tr -d '\n'
        echo
    elif [ -e "$file" ] || [ -L "$file" ]; then
        echo odd
    else
        echo -
    fi
done
"""

# One command of each kind that Podman rejects without the translation, with the PATH of nanoclaw's unit.
_TRY = """
PATH=$1:/usr/local/bin:/usr/bin:/bin:$HOME/.local/bin
docker ps -a --filter status=exited --filter status=dead --format '{{.Names}}' >/dev/null &&
    docker version --format '{{.Server.Arch}}' >/dev/null
"""


def files(home: str) -> list[File]:
    """The files for that home, in the order of writing: last the one that activates the others."""
    return [
        File(f"{home}/{DIRECTORY}/translate.py", _sealed("translate.py"), 0o644),
        File(f"{home}/{DIRECTORY}/docker", _sealed("docker.sh"), 0o755),
        File(f"{home}/{DROP_IN}", _sealed("nanoclaw.conf"), 0o644),
    ]


def _sealed(name: str) -> bytes:
    return sealed((_FIXTURES / name).read_text())


def install(host: Host, *, dry_run: bool) -> Exit:
    """Install it for the account, and run it.

    CASE_FAILED, and nothing written, if files of the user conflict. Raises HostProblem, with the previous files
    restored, if its commands fail.
    """
    found = _account(host)
    with locked(host):
        wanted = files(found.home)
        present = _read(host, wanted)
        if why := [f"{path} {reason}" for path, reason in _foreign(present).items()]:
            return _refused(found, why, "installed")
        due = [file for file in wanted if present[file.path] != file.data]
        for file in due:
            if dry_run:
                say(f"==> {file.path} (mode {file.mode:o})\n{file.data.decode()}", end="")
        if dry_run:
            say(f"--dry-run: no file was written on {found.host}.")
            return Exit.OK
        written = place(host, due)
        try:
            _require_effect(host, found)
        except BaseException:
            written.undo()
            raise
        written.keep()
    for file in due:
        say(f"Wrote {file.path}.")
    if not due:
        say(f"Already installed for {found.user} on {found.host}.")
    _reload(host)
    say("In force from nanoclaw's next start on: systemctl --user restart 'nanoclaw-v2-*'")
    return Exit.OK


def uninstall(host: Host, *, dry_run: bool) -> Exit:
    """Remove it; CASE_FAILED, and nothing removed, if a file of it was edited. Raises HostProblem if that fails."""
    found = _account(host)
    with locked(host):
        wanted = files(found.home)
        present = _read(host, wanted)
        ours = [path for path, data in present.items() if data is not None and author_of(data) is not Author.USER]
        if edited := [f"{path} {why}" for path, why in _foreign(present).items() if path in ours]:
            return _refused(found, edited, "removed")
        if not ours:
            say(f"Nothing is installed for {found.user} on {found.host}.")
            return Exit.OK
        ours.reverse()  # the drop-in first, so that its PATH never names what is gone
        if not dry_run:
            directories = sorted({str(PurePosixPath(path).parent) for path in ours})
            take_away(host, directories, ours)
            left = [path for path, data in _read(host, wanted).items() if data is not None and path in ours]
            if left:
                raise HostProblem(f"On {host.name}, {', '.join(left)} could not be removed.")
    for path in ours:
        say(f"{'Would remove' if dry_run else 'Removed'} {path}.")
    if not dry_run:
        _reload(host)
        say("In force from nanoclaw's next start on: systemctl --user restart 'nanoclaw-v2-*'")
    return Exit.OK


def _account(host: Host) -> Account:
    found = read_account(host)
    require_account(found)
    return found


def _read(host: Host, wanted: Sequence[File]) -> Mapping[str, bytes | None]:
    """The content of each file; None if it is missing. Raises HostProblem for what is not a file, or is too large."""
    argv = shell(_READ, str(LARGEST + 1), *(file.path for file in wanted))
    found = host.ask(argv, lambda answer: _contents(answer, wanted), doing="reading the files of nanoclaw's docker")
    for path, data in found.items():
        if len(data or b"") > LARGEST:
            raise HostProblem(f"On {host.name}, {path} has more than {LARGEST} bytes.", "Move it away.")
    return found


def _contents(answer: str, wanted: Sequence[File]) -> dict[str, bytes | None]:
    """What ``_READ`` printed of each file. For ``Host.ask``; raises HostProblem for what is not a file."""
    found: dict[str, bytes | None] = {}
    for file, line in zip(wanted, answer.splitlines(), strict=True):
        if line == "odd":
            raise HostProblem(f"{file.path} is not a file.", "Move it away.")
        found[file.path] = None if line == "-" else decoded(line)
    return found


def _foreign(present: Mapping[str, bytes | None]) -> Mapping[str, str]:
    """The files that are not as any version of this program wrote them, each with the reason."""
    reasons = {Author.USER: "already exists and is not ours", Author.EDITED: "was edited after it was installed"}
    return {
        path: f"{reasons[author]}; it is left unchanged. Move it away and run this again."
        for path, data in present.items()
        if data is not None and (author := author_of(data)) in reasons
    }


def _refused(found: Account, why: Sequence[str], what: str) -> Exit:
    for each in why:
        say(each)
    say(f"Nothing was {what} for {found.user} on {found.host}.")
    return Exit.CASE_FAILED


def _require_effect(host: Host, found: Account) -> None:
    done = host.run(shell(_TRY, f"{found.home}/{DIRECTORY}"), timeout=60)
    if done.returncode != 0:
        raise HostProblem(
            f"The docker for nanoclaw 2.2 does not work on {host.name}: {done.stderr.strip()[-300:]}. Nothing was "
            "installed.",
            "It needs python3 and a working podman-docker.",
        )


def _reload(host: Host) -> None:
    """Let the account's systemd read the drop-in; without a user session it reads it when one begins."""
    host.run(["systemctl", "--user", "daemon-reload"], timeout=30)
