"""An account whose `docker` is a wrapper around the real one; all else of it is as it was."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import replace

from checks.hosts.base import Facts, Host
from checks.hosts.process import Completed
from checks.trust.catalogue import LIBRARY, Sabotage

_HEAD = '#!/bin/sh\n. "${0%/*}/lib.sh"\n'


def folder_of(run: str, uid: int) -> str:
    """Where a run's wrappers are on the account of that uid."""
    return f"/var/tmp/nanoclaw-verify-{run}-docker-{uid}"  # noqa: S108 - made with mode 0700 by the account itself


def upload(account: Host, folder: str, sabotages: Sequence[Sabotage]) -> None:
    """Put the wrappers on an account, each in a folder of its own that it may write into."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for sabotage in sabotages:
            for name, text in (("docker", _HEAD + sabotage.script), ("lib.sh", LIBRARY.read_text())):
                entry = tarfile.TarInfo(f"{sabotage.name}/{name}")
                entry.size = len(text.encode())
                entry.mode = 0o755 if name == "docker" else 0o644
                tar.addfile(entry, io.BytesIO(text.encode()))
    account.make_folder(folder, mode=0o700)
    argv = ["tar", "--extract", "--no-same-owner", "--file", "-", "--directory", folder]
    account.must(argv, stdin=buffer.getvalue(), doing="laying out the sabotages")


class Wrapped(Host):
    """An account with ``folder`` first on its PATH."""

    def __init__(self, account: Host, folder: str) -> None:
        self._account = account
        self._folder = folder
        self._path = account.must(["printenv", "PATH"], doing="asking for its PATH").out.strip()
        self.name = account.name
        self.slowness = account.slowness
        self.service_address = account.service_address

    def at(self, folder: str) -> Wrapped:
        """The same account with another folder first."""
        self._folder = folder
        return self

    def carry(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return self._account.carry(["env", f"PATH={self._folder}:{self._path}", *argv], tty=tty)

    def accounts(self) -> Sequence[Host]:
        return [self]

    def address(self) -> str:
        return self._account.address()

    def check(self, completed: Completed) -> Completed:
        return self._account.check(completed)

    def lend(self, port: int) -> int:
        return self._account.lend(port)

    def close(self) -> None:
        self._account.close()

    def facts(self) -> Facts:
        return replace(self._account.facts(), docker=f"{self._folder}/docker")
