"""An account whose `docker` is a wrapper around the real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from checks.core.archive import Member, pack
from checks.hosts.base import Host, directories_of
from checks.hosts.facts import Facts
from checks.hosts.prefixed import PrefixedHost
from checks.mutation.catalogue import LIBRARY, Mutation

_HEAD = '#!/bin/sh\n. "${0%/*}/lib.sh"\n'


def upload(account: Host, run: str, mutations: Sequence[Mutation]) -> str:
    """Put the wrappers on an account, each in a writable directory of its own; the path of their parent directory."""
    files = [
        Member(f"{mutation.name}/{name}", text.encode(), mode)
        for mutation in mutations
        for name, text, mode in (
            ("docker", f"{_HEAD}{mutation.script}\n", 0o755),
            ("lib.sh", LIBRARY.read_text(), 0o644),
        )
    ]
    directory = account.make_private_directory(f"{directories_of(run)}-docker")
    account.unpack(directory, pack(files), doing="copying the mutations")
    return directory


class WrappedHost(PrefixedHost):
    """An account that has one of the wrappers first on its PATH."""

    def __init__(self, account: Host, settings: Sequence[str] = ()) -> None:
        super().__init__(account)
        self._settings = settings
        self._path = account.ask(["printenv", "PATH"], str.strip, doing="reading its PATH")
        self._directory = ""

    def at(self, directory: str) -> WrappedHost:
        """Put another directory first."""
        self._directory = directory
        self.before = ["env", *self._settings, f"PATH={directory}:{self._path}"]
        return self

    def facts(self) -> Facts:
        return replace(super().facts(), docker=f"{self._directory}/docker")
