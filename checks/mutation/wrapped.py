"""An account whose `docker` is a wrapper around the real one; all else of it is as it was."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import replace

from checks.engine.case_context import directories_of
from checks.hosts.base import Facts, Host
from checks.hosts.prefixed import PrefixedHost
from checks.mutation.catalogue import LIBRARY, Mutation

_HEAD = '#!/bin/sh\n. "${0%/*}/lib.sh"\n'


def upload(account: Host, run: str, sabotages: Sequence[Mutation]) -> str:
    """Put the wrappers on an account, each in a directory that it may write into; the path of the one above them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for sabotage in sabotages:
            for name, text in (("docker", _HEAD + sabotage.script), ("lib.sh", LIBRARY.read_text())):
                entry = tarfile.TarInfo(f"{sabotage.name}/{name}")
                entry.size = len(text.encode())
                entry.mode = 0o755 if name == "docker" else 0o644
                tar.addfile(entry, io.BytesIO(text.encode()))
    directory = account.make_private_directory(f"{directories_of(run)}-docker")
    argv = ["tar", "--extract", "--no-same-owner", "--file", "-", "--directory", directory]
    account.run_checked(argv, stdin=buffer.getvalue(), doing="laying out the sabotages")
    return directory


class WrappedHost(PrefixedHost):
    """An account that has wrappers, one of them first on its PATH."""

    def __init__(self, account: Host, settings: Sequence[str] = ()) -> None:
        super().__init__(account)
        self._settings = settings
        self._path = account.run_checked(["printenv", "PATH"], doing="asking for its PATH").stdout.strip()
        self._directory = ""

    def at(self, directory: str) -> WrappedHost:
        """The same account with another directory first."""
        self._directory = directory
        self.before = ["env", *self._settings, f"PATH={directory}:{self._path}"]
        return self

    def facts(self) -> Facts:
        return replace(super().facts(), docker=f"{self._directory}/docker")
