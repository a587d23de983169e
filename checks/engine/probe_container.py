"""A container that needs no image, in a storage of its own: what Podman makes of an account's configuration."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence

from checks.core.answers import fields
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.core.run_processes import MARK
from checks.engine.docker import shell
from checks.hosts.base import Host, directories_of

_TIMEOUT = 90  # seconds; a container takes one, or five where the processor is emulated
_SAID = 400  # characters of Podman's output in a message


@contextlib.contextmanager
def directory_on(host: Host) -> Iterator[str]:
    """A private directory for one such container, removed when the block ends.

    Raises HostProblem if it can't be removed.
    """
    # By its name a killed run's directory is found and removed. It is short: see probe-container.sh.
    name = f"{directories_of(os.environ.get(MARK) or secrets.token_hex(5))}-e"
    directory = host.make_private_directory(name)
    try:
        yield directory
    except BaseException:
        host.remove_private_directories(name)
        raise
    # On this machine the run's end tries again in another way, and looks.
    removed = host.remove_private_directories(name) or (host.name == "local" and MARK in os.environ)
    if not removed:
        raise HostProblem(f"{directory} on {host.name} could not be removed.", "Remove it there by hand.")


def run(host: Host, carrier: Sequence[str], argv: Sequence[str], *, stdin: bytes = b"") -> dict[str, str]:
    """What probe-container.sh printed with these arguments, by key; ``carrier`` is a command that runs it.

    Raises TimedOut, and HostProblem if Podman could not be asked.
    """
    script = (FIXTURES / "probe-container.sh").read_text()
    done = host.run([*carrier, *shell(script, *argv)], stdin=stdin, timeout=_TIMEOUT)
    values = host.understood(done.stdout, values_in, "asking Podman what it applies")
    if "error" not in values:
        raise HostProblem(
            f"On {host.name}, Podman could not be asked what it applies: "
            f"{tail(done.stderr) or f'status {done.returncode}'}."
        )
    return values


def values_in(answer: str) -> dict[str, str]:
    """The values that probe-container.sh printed, by key; other lines are skipped. For ``Host.understood``."""
    lines = [line for line in lines_of(answer) if "\t" in line]
    return {key: value.decode(errors="replace") for key, value in fields("\n".join(lines))}


def tail(text: str) -> str:
    """The end of what Podman printed, in one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _SAID else f"… {flat[-_SAID:]}"
