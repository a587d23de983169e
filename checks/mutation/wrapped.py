"""An account whose `docker` is a wrapper around the real one."""

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


def upload(account: Host, run: str, mutations: Sequence[Mutation]) -> str:
    """Put the wrappers on an account, each in a writable directory of its own; the path of their parent directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for mutation in mutations:
            for name, text in (("docker", f"{_HEAD}{mutation.script}\n"), ("lib.sh", LIBRARY.read_text())):
                entry = tarfile.TarInfo(f"{mutation.name}/{name}")
                entry.size = len(text.encode())
                entry.mode = 0o755 if name == "docker" else 0o644
                tar.addfile(entry, io.BytesIO(text.encode()))
    directory = account.make_private_directory(f"{directories_of(run)}-docker")
    argv = ["tar", "--extract", "--no-same-owner", "--file", "-", "--directory", directory]
    account.run_checked(argv, stdin=buffer.getvalue(), doing="copying the mutations")
    return directory


class WrappedHost(PrefixedHost):
    """An account that has one of the wrappers first on its PATH."""

    def __init__(self, account: Host, settings: Sequence[str] = ()) -> None:
        super().__init__(account)
        self._settings = settings
        self._path = account.run_checked(["printenv", "PATH"], doing="reading its PATH").stdout.strip()
        self._directory = ""

    def at(self, directory: str) -> WrappedHost:
        """Put another directory first."""
        self._directory = directory
        self.before = ["env", *self._settings, f"PATH={directory}:{self._path}"]
        return self

    def facts(self) -> Facts:
        return replace(super().facts(), docker=f"{self._directory}/docker")
