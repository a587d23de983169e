"""A checkout of nanoclaw 2.x with its dependencies, Node.js and pnpm: built once, for all hosts."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from checks.core import cache_manifest, tools
from checks.core.locks import locked
from checks.core.paths import FIXTURES
from checks.core.progress import Progress
from checks.core.run_directories import Run, cache
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.checkout import Entry, entries, lay_out
from checks.nanoclaw.images import base, disks
from checks.nanoclaw.images.store import Store

LABEL = "nanoclaw-kit"
"""The label of the disk's file system."""

_DOCKERFILE = FIXTURES / "nanoclaw" / "kit.Dockerfile"
_FORMAT = 1
"""Increase it when the same files result in another kit."""
_ARCHIVE = "kit.tar"
_DISK = "kit.ext4"
_SKIPPED = frozenset({".env", ".git", "data", "dist", "groups", "logs", "node_modules", "store"})
"""Names in a checkout that are not its sources: what its owner's nanoclaw has made, and secrets."""
_OWNER, _SUBORDINATE = 0, 1  # everyone can read the files


@dataclass(frozen=True)
class Kit:
    """A built kit. It contains the directories ``nanoclaw`` and ``bin``."""

    archive: Path
    disk: Path
    """The same files, as an ext4 disk for guests."""


def ready(agent: Agent, run: Run, progress: Progress) -> Kit:
    """The kit of an agent's checkout, built if the cache has none. Raises HostProblem if that fails."""
    assert agent.checkout
    images = cache() / "images"
    images.mkdir(parents=True, exist_ok=True)
    sources = list(entries(agent.checkout, agent.checkout, skip=_is_no_source))
    directory = images / f"kit-{agent.slug}-{_digest(sources)}"
    with locked(images / "lock", progress, "Waiting for another run, which is building an agent image"):
        if not cache_manifest.is_complete(directory):
            shutil.rmtree(directory, ignore_errors=True)
            disks.require_tools()
            with progress.step(f"Installing the dependencies of {agent.name} (once, minutes)"):
                _make(sources, images, directory, run, progress)
            for old in images.glob(f"kit-{agent.slug}-*"):
                if old != directory and old.name.removeprefix(f"kit-{agent.slug}-").isalnum():
                    shutil.rmtree(old, ignore_errors=True)
    return Kit(directory / _ARCHIVE, directory / _DISK)


def _is_no_source(path: Path) -> bool:
    return path.parts[0] in _SKIPPED or "node_modules" in path.parts


def _digest(sources: list[Entry]) -> str:
    digest = hashlib.sha256(f"{_FORMAT}".encode() + _DOCKERFILE.read_bytes())
    for each in sources:
        digest.update(b"\0".join((each.name.encode(), f"{each.mode:o}".encode(), each.target.encode(), each.data, b"")))
    return digest.hexdigest()[:16]


def _make(sources: list[Entry], images: Path, directory: Path, run: Run, progress: Progress) -> None:
    work = run.directory / "kit"
    context, made, files = work / "context", work / "made", work / "files"
    for each in (made, files):
        each.mkdir(parents=True)
    lay_out(sources, context)
    with Store(work / "store", run.scratch) as store:
        base.provide(store, disks.base_file(images), work, progress)
        store.build_archive(context, _DOCKERFILE, made / _ARCHIVE)
    unpack = ["tar", "--extract", "--no-same-owner", "--file", str(made / _ARCHIVE), "--directory", str(files)]
    tools.run_checked(unpack, doing="unpacking the dependencies")
    Store(files, run.scratch).write_disk(LABEL, _OWNER, _SUBORDINATE, made / _DISK)
    shutil.rmtree(files)
    cache_manifest.write(made)
    made.rename(directory)
