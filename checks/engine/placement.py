"""Files of an account: placed all or none, given back as they were, and taken away; one run at a time."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pexpect
from pexpect.popen_spawn import PopenSpawn

from checks.core.answers import decoded
from checks.core.archive import Member, pack
from checks.core.errors import HostProblem, WrongUsage
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.engine.docker import shell
from checks.hosts.base import Host

PART_SUFFIX, BACKUP_SUFFIX = ".nanoclaw-part", ".nanoclaw-before"
"""Suffixes of a file that is being written, and of the one that it replaces."""

_WAIT = 200  # seconds that an install waits for others on the same account

# A file that no other account can open, or lock; it is removed by whoever holds it last. The lock is given up when its
# holder dies: then the input ends.
_LOCK = """
umask 077
lock=$HOME/.nanoclaw-verify.lock
command -v flock >/dev/null || { echo ==no-flock==; exit 1; }
sh -c "$2" sh check 0 "$lock" || { echo ==shared==; exit 1; } # or the lock may be a link to another file
until [ "$lock" -ef /dev/fd/9 ]; do # the one before may have removed it meanwhile
    exec 9>>"$lock" || exit 1
    chmod 600 /dev/fd/9 || exit 1 # older versions of this project let others open it
    flock -w "$1" 9 || { echo ==busy==; exit 1; }
done
echo ==locked==
cat >/dev/null
rm -f "$lock"
"""

_PLACEMENT = (FIXTURES / "placement.sh").read_text()

READABLE = "Give the account the right to read it; as root: chown it to the account."
LARGEST = 1 << 18
"""Bytes that are read of one file: fifty times what the longest of Podman's own configuration has."""

# A line for each file: its content, - without one, or “unreadable”. What is no file, nor a link to one, is “odd”.
_READ = r"""
most=$1
shift
for file; do
    if [ -f "$file" ] && [ ! -r "$file" ]; then
        echo unreadable
    elif [ -f "$file" ]; then
        head -c "$most" "$file" | base64 | tr -d '\n'
        echo
    elif [ -e "$file" ] || [ -L "$file" ]; then
        echo odd
    else
        echo -
    fi
done
"""


@dataclass(frozen=True)
class File:
    """A file to be installed."""

    path: str
    data: bytes
    mode: int

    @property
    def placed_mode(self) -> int:
        """The mode that it gets: other accounts get no permissions."""
        return self.mode & 0o700


@dataclass(frozen=True)
class WrittenFiles:
    """Files that were written. The previous ones can be restored."""

    host: Host
    files: Sequence[File]
    made: Sequence[str]
    """The directories that were created for them, the inner ones first."""

    def undo(self) -> None:
        """Restore everything. Raises HostProblem if that fails."""
        made = list(reversed(self.made))
        _files(self.host, "undo", made, [file.path for file in self.files], doing="restoring the previous files")

    def keep(self) -> None:
        """Keep what was written."""
        argv = ["settle", *(file.path for file in self.files)]
        self.host.run_checked(_script(*argv), doing="removing the previous files")


@contextlib.contextmanager
def locked(host: Host) -> Iterator[None]:
    """Lock this account against every other install and uninstall, from any machine; wait for a running one.

    Raises HostProblem after a timeout.
    """
    holder = host.spawn(shell(_LOCK, str(_WAIT), _PLACEMENT), tty=False, timeout=_WAIT + 20)
    assert isinstance(holder, PopenSpawn)  # without a terminal
    try:
        got = holder.expect_exact(
            [b"==locked==", b"==busy==", b"==no-flock==", b"==shared==", pexpect.EOF, pexpect.TIMEOUT]
        )
        if got == 1:
            raise HostProblem(
                f"Another install or uninstall has been running on {host.name} for {_WAIT} s.", "Wait until it ends."
            )
        if got == 2:
            raise HostProblem(f"{host.name} has no flock.", "Install the package util-linux.")
        if got == 3:
            raise HostProblem(
                f"On {host.name}, other accounts can write the home directory, or what leads to it.",
                "Remove that right: chmod go-w ~",
            )
        if got:
            raise HostProblem(
                f"On {host.name}, ~/.nanoclaw-verify.lock can't be created.", "Can the account write its home?"
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


def place(host: Host, files: Sequence[File]) -> WrittenFiles:
    """Write each file under another name, then rename it. Raises HostProblem, with nothing changed, if that fails."""
    archive = pack(Member(f"{file.path}{PART_SUFFIX}", file.data, file.mode) for file in files)
    paths = [file.path for file in files]
    made = _files(host, "place", directories_above(paths), paths, stdin=archive, doing="writing the configuration")
    return WrittenFiles(host, files, made)


def require_unshared(host: Host, paths: Sequence[str]) -> None:
    """Raise HostProblem if another account could change or replace one of these files, or what is made there."""
    _files(host, "check", (), paths, doing="looking for who else can write")


def directories_above(paths: Sequence[str]) -> list[str]:
    """Every directory above these paths, the outer ones first."""
    return outer_first({str(directory) for path in paths for directory in PurePosixPath(path).parents})


def outer_first(directories: Collection[str]) -> list[str]:
    """The directories sorted so that each follows those that contain it."""
    return sorted(directories, key=lambda each: (each.count("/") if each != "/" else 0, each))


def missing_directories(host: Host, paths: Sequence[str]) -> list[str]:
    """Those of the directories above these paths that do not exist, the outer ones first."""
    script = """for each; do [ -d "$each" ] || printf '%s\\n' "$each"; done"""
    return host.ask(shell(script, *directories_above(paths)), lines_of, doing="looking for directories")


def read(host: Host, paths: Sequence[str]) -> Mapping[str, bytes | None]:
    """The content of each file; None if it is missing. Raises HostProblem for what is not a file, or is too large."""
    argv = shell(_READ, str(LARGEST + 1), *paths)
    found = host.ask(argv, lambda answer: _contents(answer, paths), doing="reading files of this account")
    for path, data in found.items():
        if len(data or b"") > LARGEST:
            raise HostProblem(f"On {host.name}, {path} has more than {LARGEST} bytes.", "Move it away.")
    return found


def _contents(answer: str, paths: Sequence[str]) -> dict[str, bytes | None]:
    """What ``_READ`` printed of each file. For ``Host.ask``; raises HostProblem for what is not a file."""
    found: dict[str, bytes | None] = {}
    for path, line in zip(paths, lines_of(answer), strict=True):
        if line == "odd":
            raise HostProblem(f"{path} is not a file.", "Move it away.")
        if line == "unreadable":
            raise HostProblem(f"{path} can't be read by its account.", READABLE)
        found[path] = None if line == "-" else decoded(line)
    return found


def require_own_home(*, uid: int, user: str, home: str, owner: str, xdg_directory: str) -> None:
    """Raise WrongUsage or HostProblem unless the account may have files placed below its own home.

    ``owner`` is ``UID NAME`` of the home's owner; ``xdg_directory`` is where XDG_CONFIG_HOME leads, if it is set.
    """
    if uid == 0:
        raise WrongUsage(
            "You are root; the configuration is for a plain user.",
            "Run this as the user that runs nanoclaw, without sudo.",
        )
    if not owner:
        raise HostProblem(f"The home {home} of {user} does not exist.", "Set HOME to the user's own home.")
    owner_uid, _, owner_name = owner.partition(" ")
    if owner_uid != str(uid):
        raise WrongUsage(
            f"HOME is {home}, which belongs to {owner_name}, not to {user}.",
            "Run this as the user that runs nanoclaw, with a HOME of its own (su - USER, or machinectl shell).",
        )
    if not home.isprintable():  # nor are surrogates, which stand for bytes that are not UTF-8
        raise HostProblem(
            f"The home {home!r} of {user} has characters that Podman's configuration files can't contain.",
            "Give the user another home (usermod --move-home --home).",
        )
    if xdg_directory and xdg_directory != f"{home}/.config/containers":
        raise WrongUsage(
            f"With XDG_CONFIG_HOME, Podman reads {xdg_directory} here; nanoclaw's service lacks that variable.",
            "Unset it, and run this again.",
        )


def take_away(host: Host, directories: Sequence[str], paths: Sequence[str]) -> None:
    """Remove these files, and those of the directories that become empty. Raises HostProblem if that fails."""
    _files(host, "remove", directories, paths, doing="removing the files")


def _files(
    host: Host, action: str, directories: Sequence[str], paths: Sequence[str], *, stdin: bytes = b"", doing: str
) -> list[str]:
    """Run an action of placement.sh; the lines that it prints."""
    argv = _script(action, str(len(directories)), *directories, *paths)
    return host.ask(argv, lines_of, stdin=stdin, doing=doing)


def _script(*argv: str) -> list[str]:
    return shell(_PLACEMENT, *argv)
