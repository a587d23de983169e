"""An agent's image on disks, one for each account of a guest: made once, kept in the cache, read by any guest."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from checks.core import cache_manifest
from checks.core.bounded import read_json
from checks.core.errors import HostProblem
from checks.core.paths import FIXTURES
from checks.core.progress import Progress
from checks.core.run_directories import Run, cache, locked
from checks.hosts import namespace
from checks.hosts.recipe import Account
from checks.nanoclaw.checkout import entries
from checks.nanoclaw.images import base, disk
from checks.nanoclaw.images.store import Store, tools_missing

_FORMAT = 2
"""Raise it when the same files would come out as other disks."""

_ROOM = 16 << 30  # bytes of free disk while it is made
_NOTE = "image.json"


@dataclass(frozen=True)
class ImageDisks:
    """One image, ready to be plugged into guests."""

    tag: str
    base: str
    """How its base image came, as the report says it."""
    disks: Mapping[int, Path]
    """By the account's uid; the file system's label is ``label(uid)``."""


def label(uid: int) -> str:
    """The label of the file system for an account of that uid."""
    return f"agent-{uid}"


@dataclass(frozen=True)
class ImageSource:
    """What an image is made of."""

    slug: str
    """Its name in the cache; a new image takes the place of an older one of that name."""
    name: str
    """Its name for people."""
    tag: str
    context: Path
    """The directory of its Dockerfile."""
    root: Path
    """The directory that nothing in the context may lead out of."""


def ready(source: ImageSource, accounts: Mapping[str, Account], run: Run, progress: Progress) -> ImageDisks:
    """The disks of an image; made where the cache has none. Raises HostProblem where this machine can't make them."""
    images = cache() / "images"
    images.mkdir(parents=True, exist_ok=True)
    directory = images / f"{source.slug}-{_digest(source, accounts)}"
    with locked(images / "lock", progress, "Waiting for another run that makes an agent image"):
        if not cache_manifest.is_complete(directory):
            shutil.rmtree(directory, ignore_errors=True)
            _make(source, accounts, directory, run, progress)
            _forget_older_bases(images)
            for old in images.glob(f"{source.slug}-*"):
                if old != directory and old.name.removeprefix(f"{source.slug}-").isalnum():
                    shutil.rmtree(old, ignore_errors=True)  # a guest that has it plugged in keeps it
    note = read_json(directory / _NOTE)
    disks = {account.uid: directory / f"{account.uid}.ext4" for account in accounts.values()}
    return ImageDisks(source.tag, note["base"], disks)


def base_archive(run: Run, progress: Progress) -> bytes:
    """The stand-in for the base image, as an archive for ``podman load``."""
    images = cache() / "images"
    images.mkdir(parents=True, exist_ok=True)
    with locked(images / "lock", progress, "Waiting for another run that makes an agent image"):
        if not _base_file(images).exists():
            _require_tools()
            work = run.directory / "base-image"
            work.mkdir()
            with Store(work / "store", run.scratch) as store:
                base.stub_agent(store, _base_file(images), work, progress)
            _forget_older_bases(images)
        return _base_file(images).read_bytes()


def _require_tools() -> None:
    if missing := tools_missing():
        raise HostProblem(
            f"Making an agent image needs programs that are not installed here: {', '.join(missing)}.",
            "Install them with: scripts/install.sh guest",
        )
    namespace.require()


def _make(source: ImageSource, accounts: Mapping[str, Account], directory: Path, run: Run, progress: Progress) -> None:
    _require_tools()
    if shutil.disk_usage(run.directory).free < _ROOM:
        raise HostProblem(
            f"Making an agent image needs {_ROOM >> 30} GiB of free disk in {cache()}.",
            "Free some, or set XDG_CACHE_HOME to a directory with more room.",
        )
    work = run.directory / "images"
    made = work / "made"
    made.mkdir(parents=True)
    with Store(work / "store", run.scratch) as store:
        how = base.provide(store, _base_file(directory.parent), work, progress)
        with progress.step(f"Building the image of {source.name} (once, 2-3 minutes)"):
            store.build(source.context, source.tag)
        for account in accounts.values():
            with (
                progress.step(f"Writing it to a disk for uid {account.uid} (once, 1 minute)"),
                store.twin(work / str(account.uid)) as mapped,
            ):
                mapped.map_for(source.tag, account.uid)
                disk.make(mapped, label(account.uid), account.uid, account.subordinate, made / f"{account.uid}.ext4")
    (made / _NOTE).write_text(json.dumps({"name": source.name, "base": how}))
    cache_manifest.write(made)
    made.rename(directory)


def _digest(source: ImageSource, accounts: Mapping[str, Account]) -> str:
    ids = sorted((account.uid, account.subordinate) for account in accounts.values())
    whole = hashlib.sha256(f"{_FORMAT} {source.tag} {ids}".encode())
    for piece in (*_contents(source.context, source.root), *_contents(FIXTURES / "base", FIXTURES)):
        whole.update(piece)
    return whole.hexdigest()[:16]


def _base_file(images: Path) -> Path:
    """Where the stand-in for the base image is kept between runs."""
    whole = hashlib.sha256()
    for piece in _contents(FIXTURES / "base", FIXTURES):
        whole.update(piece)
    return images / f"base-{whole.hexdigest()[:16]}.tar"


def _forget_older_bases(images: Path) -> None:
    for old in images.glob("base-*"):
        if old != _base_file(images):
            old.unlink()


def _contents(directory: Path, root: Path) -> Iterator[bytes]:
    for each in entries(directory, root):
        yield b"\0".join(
            (each.name.encode(), str(stat.S_IFMT(each.mode)).encode(), each.target.encode(), each.data, b"")
        )
