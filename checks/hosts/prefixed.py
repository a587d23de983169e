"""A host that puts a prefix before each command of another host."""

from __future__ import annotations

from collections.abc import Sequence

from checks.core.process import Completed
from checks.hosts.base import Host
from checks.hosts.facts import Facts


class PrefixedHost(Host):
    """``host``, with ``before`` as a prefix: a command that runs the rest of its command line."""

    def __init__(self, host: Host, before: Sequence[str] = ()) -> None:
        self.host = host
        self.before = before
        self.name = host.name
        self.slowness = host.slowness
        self.echo = host.echo
        self.service_address = host.service_address
        self.opening = host.opening

    def wrap_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return self.host.wrap_command([*self.before, *argv], tty=tty)

    def accounts(self) -> Sequence[Host]:
        return [self]

    def address(self) -> str:
        return self.host.address()

    def check(self, completed: Completed) -> Completed:
        return self.host.check(completed)

    def forward_port(self, port: int, *, at: int = 0) -> int:
        return self.host.forward_port(port, at=at)

    def close(self) -> None:
        self.host.close()

    def facts(self) -> Facts:
        return self.host.facts()
