"""What a host looks like: one round trip, nothing changed, and nothing taken for granted, Podman least of all."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from checks.core.errors import HostProblem
from checks.core.paths import FIXTURES
from checks.hosts.base import Host
from checks.hosts.process import TimedOut
from checks.hosts.ssh import SshHost

_LOOK = FIXTURES / "doctor" / "look.sh"
_EACH_BOUND = 15.0  # seconds on ordinary hardware for each program of the host that may hang
_WHOLE_BOUND = 75.0  # docker, podman and node, one after the other, each at its bound

Seen = Mapping[str, Sequence[str]]
"""What look.sh printed: the lines of each key."""


@dataclass(frozen=True)
class HostSnapshot:
    """What was seen of a host, as look.sh prints it."""

    seen: Seen
    asked_at: float
    """This machine's own clock then, in seconds since the epoch."""

    def one(self, key: str) -> str:
        """The first line of a key; empty where it was not seen."""
        return next(iter(self.all(key)), "")

    def all(self, key: str) -> Sequence[str]:
        """All lines of a key."""
        return self.seen.get(key, ())

    def numbers(self, key: str) -> Sequence[int]:
        """The lines of a key that begin with a whole number, as that number."""
        return [int(found[0]) for line in self.all(key) if (found := re.match(r"\d{1,18}(?!\S)", line, re.ASCII))]

    def text(self, key: str) -> str:
        """The lines of a key as one text."""
        return "\n".join(self.all(key))

    @property
    def root(self) -> bool:
        """Whether it was root who looked."""
        return self.one("uid") == "0"

    @cached_property
    def version(self) -> tuple[int, int]:
        """Podman's version, major and minor; (0, 0) where there is none to be seen."""
        found = re.search(r"podman version (\d{1,9})\.(\d{1,9})", self.podman)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def podman(self) -> str:
        """How Podman calls itself, by its own name or through the shim; empty where it does not."""
        told = [*self.all("podman_version"), *self.all("docker_version")]
        return next((line for line in told if line.startswith("podman version")), "")

    @cached_property
    def driver(self) -> str:
        """The storage driver; empty where Podman has told none."""
        found = re.search(r'"graphDriverName":\s*"(\w+)"', self.one("info"))
        return found[1] if found else ""

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """What of the environment matters."""
        return dict(line.split("=", 1) for line in self.all("env") if "=" in line)

    @cached_property
    def settings(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """The account's files of settings that Podman reads as they are, in its order; those that are no TOML left out.

        Podman before 4.0 reads no drop-ins, and none of these files where ``CONTAINERS_CONF`` names another.
        """
        read: list[tuple[str, dict[str, Any]]] = []
        if self.environment.get("CONTAINERS_CONF"):
            return read
        for path in self.all("conf"):
            if "/containers.conf.d/" in path and (0, 0) < self.version < (4, 0):
                continue
            try:
                read.append((path, tomllib.loads(self.text(f"conf:{path}"))))
            except (tomllib.TOMLDecodeError, RecursionError):
                continue
        return read

    def setting(self, section: str, key: str) -> Any:
        """What the account's files set a key to; None where they don't."""
        found = None
        for _, table in self.settings:
            within = table.get(section)
            if isinstance(within, dict) and key in within:
                found = within[key]
        return found


def look(host: Host) -> HostSnapshot:
    """Look at a host, as its account. Raises HostProblem where it does not answer."""
    asked = time.time()
    try:
        # Over ssh what ~/.profile sets is looked at as well: nanoclaw is started after a login.
        shell = ["sh", "-lc" if isinstance(host, SshHost) else "-c"]
        bound = f"{_EACH_BOUND * host.slowness:g}"
        done = host.run([*shell, _LOOK.read_text(), "look.sh", bound], timeout=_WHOLE_BOUND)
    except TimedOut as error:
        raise HostProblem(
            f"Looking at {host.name} did not end within {error.timeout:g} s.", "Is it very busy?"
        ) from error
    found = parse(done.stdout)
    if done.returncode != 0 or "uid" not in found:
        raise HostProblem(
            f"Looking at {host.name} failed with status {done.returncode}: {done.stderr.strip() or 'silently'}"
        )
    return HostSnapshot(found, asked)


def parse(text: str) -> dict[str, list[str]]:
    """The lines of each key."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and key.startswith("conf:"):  # a path may have the sign as well: files end in .conf
            path, _, value = line.removeprefix("conf:").partition(".conf=")
            key = f"conf:{path}.conf"
        if separator:
            found.setdefault(key, []).append(value)
    return found
