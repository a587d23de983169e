"""A fake host: this machine, with programs of the test's own first on PATH."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from checks.hosts.base import Host
from checks.hosts.facts import Facts

FACTS = Facts(
    kernel="6.1.0-test", distribution="Test Linux 1", uid=1500, gid=1500, home="/home/test", cpus=2, cgroups="v2",
    init="systemd", docker="/usr/bin/docker",
    engine="podman", version="5.4.2", runtime="crun 1.21", conmon="conmon 2.1", network="pasta 1",
    storage="overlay", rootless=True,
)  # fmt: skip
INFO = '{"host": {"security": {"rootless": true}}, "version": {"Version": "5.4.2"}}'
"""What “podman info --format json” says of a rootless Podman, as far as it is asked."""
PODMAN = f"""[ "$1" != info ] || echo '{INFO}'"""
"""A rootless Podman that has nothing, and does nothing."""


class FakeHost(Host):
    """Runs commands here, where ``programs`` (name → shell script) stand before the real ones."""

    name = "fake"

    def __init__(self, directory: Path, programs: dict[str, str] | None = None) -> None:
        self._bin = directory / "bin"
        self._bin.mkdir()
        for name, script in (programs or {}).items():
            program = self._bin / name
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    def wrap_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return ["env", f"PATH={self._bin}:{os.environ['PATH']}", *argv]

    def accounts(self) -> Sequence[Host]:
        return [self]

    def forward_port(self, port: int, *, at: int = 0) -> int:
        return port

    def pretend(self, facts: Facts = FACTS) -> FakeHost:
        """Give the host facts of the test's choice."""
        self._facts = facts
        return self
