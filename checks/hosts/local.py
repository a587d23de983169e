"""This machine, with the account that runs the program."""

from __future__ import annotations

from collections.abc import Sequence

from checks.hosts.base import Host


class LocalHost(Host):
    """Runs commands on this machine."""

    name = "local"
    service_address = "0.0.0.0"  # noqa: S104 - containers can't reach the host's loopback

    def wrap_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return list(argv)

    def forward_port(self, port: int, *, at: int = 0) -> int:
        return port

    def accounts(self) -> Sequence[Host]:
        return [self]
