"""Access, on the host, to files in a case's directory: a container may have written them, and links in their place.

A container can write the mounted directories at any time, and its links resolve on the host. Every access enters the
file's directory first and then compares its physical path: whatever the container renames later, the working directory
stays in the case's directory. The case's directory itself must not be mounted writable.
"""

from __future__ import annotations

import posixpath
import secrets

from checks.core.errors import HostProblem
from checks.core.process import Completed, TimedOut
from checks.engine.docker import shell
from checks.engine.expect import Mismatch
from checks.hosts.base import Host

LARGEST = 2**20
"""Bytes of a file that are read, unless a caller needs more."""
_NO_ROOT = 96  # exit status if the case's directory can't be entered: the host's fault

# $1 is the case's directory, $2 a directory in it, or empty. A caller's own arguments follow.
_ENTER = f"""
refuse() {{ echo "$1" >&2; exit 1; }}
cd -P -- "$1" && physical=$(pwd -P) || exit {_NO_ROOT}
rest=${{2:+$2/}}
while [ -n "$rest" ]; do
    part=./${{rest%%/*}} rest=${{rest#*/}}
    [ -z "$make" ] || [ -d "$part" ] || mkdir -- "$part" || exit
    cd -P -- "$part" || exit
    physical=$physical/${{part#./}}
    [ "$(pwd -P)" = "$physical" ] || refuse "$physical is a link"
done
shift 2
"""

# The check before opening avoids FIFOs and devices; the checks after it see the opened file itself.
_OPEN = """
open_file() {
    [ ! -L "./$1" ] || refuse "$physical/$1 is a link"
    [ -e "./$1" ] || refuse "$physical/$1: No such file or directory"
    [ -f "./$1" ] || refuse "$physical/$1 is not a regular file"
    exec 3<"./$1" || exit
    [ "$(readlink /proc/self/fd/3)" = "$physical/$1" ] || refuse "$physical/$1 was replaced while it was opened"
    [ -f /proc/self/fd/3 ] || refuse "$physical/$1 is not a regular file"
}
"""

_READ = 'open_file "$1" && exec head -c "$2" <&3'

# The temporary name is not known before, and must be new. umask instead of chmod, which follows links.
_WRITE = """
umask 022
dd of="./$2" bs=65536 conv=excl oflag=nofollow status=none && mv -f -T -- "./$2" "./$1" || {
    rm -f -- "./$2"
    exit 1
}
"""


def read(host: Host, root: str, name: str, largest: int = LARGEST) -> bytes:
    """The content of a regular file in the case's directory ``root``.

    Raises Mismatch if there is none, if a link is in its path, or if it is larger than ``largest`` bytes.
    """
    directory, base = _split(name)
    done = _run(host, root, directory, _OPEN + _READ, base, str(largest + 1))
    if done.returncode != 0:
        raise Mismatch(f"a readable file {name}", _error(done))
    if len(done.stdout_bytes) > largest:
        raise Mismatch(f"at most {largest} bytes in {name}", "more")
    return done.stdout_bytes


def write(host: Host, root: str, name: str, data: bytes) -> None:
    """Write a file atomically, and make its directory if missing. Raises Mismatch if a link is in its path."""
    directory, base = _split(name)
    done = _run(host, root, directory, _WRITE, base, f".{secrets.token_hex(16)}", stdin=data, make=True)
    if done.returncode != 0 and not directory:  # no container writes there
        raise HostProblem(f"On {host.name}, writing {root}/{name} failed: {_error(done)}.")
    if done.returncode != 0:
        raise Mismatch(f"a directory {directory} in which the host can write {base}", _error(done))


def run_in(host: Host, root: str, directory: str, script: str, *args: str) -> Completed:
    """Run a shell script in a directory of the case's directory. It fails if a link is in the path.

    ``open_file NAME`` in the script opens a regular file there as file descriptor 3. The script itself must not follow
    links. Raises Mismatch on timeout.
    """
    return _run(host, root, directory, _OPEN + script, *args)


def _run(
    host: Host, root: str, directory: str, script: str, *args: str, stdin: bytes = b"", make: bool = False
) -> Completed:
    assert not directory or _normal(directory), directory
    prelude = f"make={'yes' if make else ''}\n{_ENTER}"
    try:
        done = host.run(shell(prelude + script, root, directory, *args), stdin=stdin)
    except TimedOut as error:
        raise Mismatch(f"access to {directory or root} within {error.timeout:g} s", "a timeout") from error
    if done.returncode == _NO_ROOT:
        raise HostProblem(f"On {host.name}, the directory {root} of the case can't be entered: {_error(done)}.")
    return done


def _split(name: str) -> tuple[str, str]:
    """The directory and the last part of a name in the case's directory."""
    assert _normal(name), name
    return posixpath.split(name)


def _error(done: Completed) -> str:
    return done.stderr.strip()[-300:] or f"status {done.returncode}"


def _normal(name: str) -> bool:
    """Whether a name stays in the case's directory."""
    return name == posixpath.normpath(name) and name.split("/", maxsplit=1)[0] not in ("", ".", "..")
