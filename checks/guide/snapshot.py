"""A snapshot of a host: its settings, programs and versions, read in one round trip without changing anything."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from checks.core.bounded import parsed_toml
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.core.process import TimedOut
from checks.guide import containers_conf, settings_files
from checks.hosts.base import Host
from checks.hosts.ssh import SshHost

_SCRIPT = FIXTURES / "doctor" / "snapshot.sh"
_PROGRAM_TIMEOUT = 15.0  # seconds on ordinary hardware for each program that may hang
_TIMEOUT = 75.0  # docker, podman and node in sequence, each at its timeout


@dataclass(frozen=True)
class HostSnapshot:
    """The output of snapshot.sh. Makes no assumption about the host, not even that Podman works."""

    values: Mapping[str, Sequence[str]]
    """The lines of each key."""
    taken_at: float
    """This machine's own clock at that time, in seconds since the epoch."""

    def first(self, key: str) -> str:
        """The first line of a key; empty without one."""
        return next(iter(self.lines(key)), "")

    def lines(self, key: str) -> Sequence[str]:
        return self.values.get(key, ())

    def numbers(self, key: str) -> Sequence[int]:
        """The whole numbers at the beginning of a key's lines."""
        return [int(found[0]) for line in self.lines(key) if (found := re.match(r"\d{1,18}(?!\S)", line, re.ASCII))]

    def text(self, key: str) -> str:
        return "\n".join(self.lines(key))

    @property
    def root(self) -> bool:
        """Whether root took the snapshot."""
        return self.first("uid") == "0"

    @cached_property
    def version(self) -> tuple[int, int]:
        """Podman's major and minor version; (0, 0) if unknown."""
        found = re.search(r"podman version (\d{1,9})\.(\d{1,9})", self.podman)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def short_version(self) -> str:
        """Podman's major and minor version in text."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def systemd(self) -> bool:
        """Whether systemd is the host's init."""
        return self.first("init") == "systemd"

    @property
    def lacks_systemd(self) -> bool:
        """Whether another program is known to be the host's init."""
        return self.first("init") not in ("", "systemd")

    @property
    def podman(self) -> str:
        """Podman's version line, from ``podman`` or through the shim; empty if unknown."""
        lines = [*self.lines("podman_version"), *self.lines("docker_version")]
        return next((line for line in lines if line.startswith("podman version")), "")

    @cached_property
    def driver(self) -> str:
        """The storage driver; empty if Podman did not report one."""
        found = re.search(r'"graphDriverName":\s*"(\w+)"', self.first("info"))
        return found[1] if found else ""

    @cached_property
    def runtime(self) -> str:
        """The name of the OCI runtime, as Podman reports it, or else as the settings have it; empty if unknown."""
        found = re.search(r'"ociRuntime":\s*\{\s*"name":\s*"([\w.-]+)"', self.first("info"))
        configured = self.setting("engine", "runtime")
        return found[1] if found else PurePosixPath(configured).name if isinstance(configured, str) else ""

    @cached_property
    def uses_pasta(self) -> bool:
        """Whether pasta is the helper of rootless networks, as far as the version and the settings tell."""
        configured = self.setting("network", "default_rootless_network_cmd")
        return self.version >= (6, 0) or (configured == "pasta" if configured else self.version >= (5, 0))

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that affect Podman."""
        return dict(line.split("=", 1) for line in self.lines("env") if "=" in line)

    @property
    def other_settings(self) -> str:
        """The variable that names a file of settings that is not read here; empty without one."""
        names = ("CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE")
        return next((name for name in names if self.environment.get(name)), "")

    @cached_property
    def settings(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """The settings files that Podman reads, in its order, without those that aren't valid TOML."""
        read: list[tuple[str, dict[str, Any]]] = []
        for path in self.settings_files:
            try:
                read.append((path, parsed_toml(self.text(f"conf:{path}"))))
            except ValueError:
                continue
        return read

    @cached_property
    def settings_files(self) -> Sequence[str]:
        """The settings files that Podman reads, in its order: none of them with ``CONTAINERS_CONF`` set."""
        if self.environment.get("CONTAINERS_CONF"):
            return ()
        return settings_files.in_order(self.lines("conf"), self.version, self.lines("conf_linked"))

    def setting(self, section: str, key: str) -> Any:
        """The value that the files set; None if they don't set it."""
        value = None
        for _, table in self.settings:
            found = containers_conf.value(table, section, key)
            value = value if found is None else found
        return value

    def hook_directories(self) -> list[str]:
        """The directories of OCI hooks. A later file replaces those before, unless its list has ``{append=true}``."""
        found: list[str] = []
        for _, table in self.settings:
            listed = containers_conf.value(table, "engine", "hooks_dir")
            if isinstance(listed, list):
                kept = found if {"append": True} in listed else []
                found = [*kept, *(each for each in listed if isinstance(each, str))]
        return found

    @cached_property
    def paths(self) -> Mapping[str, str]:
        """What the absolute paths in settings are: d a directory, x a program, f another file, - nothing."""
        return {path: kind for kind, _, path in (line.partition(" ") for line in self.lines("path"))}

    @cached_property
    def unreadable_settings(self) -> Sequence[str]:
        """The settings files that Podman can't read, with the reason. It then runs no command at all."""
        odd = self.lines("conf_unreadable")
        unread = [line for path in self.settings_files for line in odd if line.startswith(f"{path} ")]
        texts = {path: self.text(f"conf:{path}") for path in self.settings_files}
        broken = [f"{path} {fault}" for path, text in texts.items() if (fault := containers_conf.fault(text))]
        return [*unread, *broken]


def take(host: Host) -> HostSnapshot:
    """Take a snapshot as the host's account. Raises HostProblem if the host does not answer."""
    now = time.time()
    try:
        # Over ssh a login shell reads ~/.profile, as before nanoclaw starts.
        shell = ["sh", "-lc" if isinstance(host, SshHost) else "-c"]
        timeout = f"{_PROGRAM_TIMEOUT * host.slowness:g}"
        word = secrets.token_hex(16)
        done = host.run([*shell, _SCRIPT.read_text(), _SCRIPT.name, timeout, word], timeout=_TIMEOUT)
    except TimedOut as error:
        raise HostProblem(
            f"Inspecting {host.name} timed out after {error.timeout:g} s.",
            "The host may be overloaded, or a program may leave a process behind.",
        ) from error
    _, begun, printed = done.stdout.partition(f"\n{word}\n")
    if not begun:
        raise HostProblem(
            f"Inspecting {host.name} ended before it began, with exit status {done.returncode}.",
            "Check that ~/.profile of this account neither exits nor starts another shell.",
        )
    values = parse(printed)
    if done.returncode != 0 or "uid" not in values:
        raise HostProblem(
            f"Inspecting {host.name} failed with exit status {done.returncode}: {done.stderr.strip() or 'no output'}"
        )
    if odd := values.get("conf_odd"):
        raise HostProblem(f"On {host.name}, the name of {odd[0]} has “.conf=” or an end of line in it.", "Rename it.")
    if large := values.get("conf_too_large"):
        raise HostProblem(
            f"On {host.name}, {large[0]} has more than 262144 bytes, and was not read to its end.",
            "Shorten or remove it.",
        )
    return HostSnapshot(values, now)


def parse(text: str) -> dict[str, list[str]]:
    """Parse lines of KEY=VALUE. A repeated key has several lines."""
    values: dict[str, list[str]] = {}
    for line in lines_of(text):
        key, separator, value = line.partition("=")
        if separator and key.startswith("conf:"):  # the path may contain “=”; it ends in .conf
            path, _, value = line.removeprefix("conf:").partition(".conf=")
            key = f"conf:{path}.conf"
        if separator:
            values.setdefault(key, []).append(value)
    return values
