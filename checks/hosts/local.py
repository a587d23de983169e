"""This machine, as it is, by the account that runs the program."""

from __future__ import annotations

from collections.abc import Sequence

from checks.hosts.base import Host


class LocalHost(Host):
    """Commands run here, as oneself."""

    name = "local"

    def carry(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return list(argv)

    def accounts(self) -> Sequence[Host]:
        return [self]
