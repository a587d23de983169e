"""An agent's image on disks, one for each account of a guest: made once, cached, shared by all guests."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.core import cache_manifest
from checks.core.bounded import read_json
from checks.core.errors import HostProblem
from checks.core.locks import locked
from checks.core.paths import FIXTURES
from checks.core.progress import Progress
from checks.core.run_directories import Run, cache
from checks.hosts import namespace
from checks.hosts.recipe import Account
from checks.nanoclaw.checkout import Entry, entries, lay_out
from checks.nanoclaw.images import base
from checks.nanoclaw.images.store import Store, tools_missing

_FORMAT = 2
"""Increase it when the same files result in different disks."""

_ROOM = 16 << 30  # bytes of free disk space for building
_NOTE = "image.json"


@dataclass(frozen=True)
class ImageDisks:
    """An image, ready to be attached to guests."""

    tag: str
    base: str
    """The origin of its base image, for the report."""
    disks: Mapping[int, Path]
    """By the account's uid; the file system's label is ``label(uid)``."""


def label(uid: int) -> str:
    """The label of the file system for an account of that uid."""
    return f"agent-{uid}"


@dataclass(frozen=True)
class ImageSource:
    """The sources of an image."""

    slug: str
    """Its name in the cache; a new image replaces an older one of that name."""
    name: str
    """Its name in messages."""
    tag: str
    context: Path
    """The directory of its Dockerfile."""
    root: Path
    """The directory that contains all files of the context; links must not leave it."""


def ready(source: ImageSource, accounts: Mapping[str, Account], run: Run, progress: Progress) -> ImageDisks:
    """The disks of an image, made if the cache has none. Raises HostProblem if this machine can't make them."""
    images = cache() / "images"
    images.mkdir(parents=True, exist_ok=True)
    # Built from what was read: the checkout may be changing.
    sources = list(entries(source.context, source.root))
    directory = images / f"{source.slug}-{_digest(source, sources, accounts)}"
    with locked(images / "lock", progress, "Waiting for another run, which is building an agent image"):
        if not cache_manifest.is_complete(directory):
            shutil.rmtree(directory, ignore_errors=True)
            _make(source, sources, accounts, directory, run, progress)
            _forget_older_bases(images)
            for old in images.glob(f"{source.slug}-*"):
                if old != directory and old.name.removeprefix(f"{source.slug}-").isalnum():
                    shutil.rmtree(old, ignore_errors=True)  # a guest that uses it keeps its file open
    note = read_json(directory / _NOTE)
    disks = {account.uid: directory / f"{account.uid}.ext4" for account in accounts.values()}
    return ImageDisks(source.tag, note["base"], disks)


def base_archive(run: Run, progress: Progress) -> bytes:
    """The substitute base image, as an archive for ``podman load``."""
    images = cache() / "images"
    images.mkdir(parents=True, exist_ok=True)
    with locked(images / "lock", progress, "Waiting for another run, which is building an agent image"):
        if not base_file(images).exists():
            require_tools()
            work = run.directory / "base-image"
            work.mkdir()
            with Store(work / "store", run.scratch) as store:
                base.make_substitute(store, base_file(images), work, progress)
            _forget_older_bases(images)
        return base_file(images).read_bytes()


def require_tools() -> None:
    """Raise HostProblem if this machine can't build agent images."""
    if missing := tools_missing():
        raise HostProblem(
            f"Programs for agent images are not installed: {', '.join(missing)}.",
            "Install them with: scripts/install.sh guest",
        )
    namespace.require()


def _make(
    source: ImageSource, sources: Sequence[Entry], accounts: Mapping[str, Account], directory: Path,
    run: Run, progress: Progress,
) -> None:  # fmt: skip
    require_tools()
    if shutil.disk_usage(run.directory).free < _ROOM:
        raise HostProblem(
            f"Building an agent image needs {_ROOM >> 30} GiB of free disk space in {cache()}.",
            "Free disk space, or set XDG_CACHE_HOME to a directory with more space.",
        )
    work = run.directory / "images"
    made = work / "made"
    made.mkdir(parents=True)
    context = work / "context"
    lay_out(sources, context)
    with Store(work / "store", run.scratch) as store:
        origin = base.provide(store, base_file(directory.parent), work, progress)
        with progress.step(f"Building the image of {source.name} (once, 2-3 minutes)"):
            store.build(context, source.tag)
        for account in accounts.values():
            with (
                progress.step(f"Writing it to a disk for uid {account.uid} (once, 1 minute)"),
                store.clone(work / str(account.uid)) as mapped,
            ):
                mapped.map_for(source.tag, account.uid)
                mapped.write_disk(label(account.uid), account.uid, account.subordinate, made / f"{account.uid}.ext4")
    (made / _NOTE).write_text(json.dumps({"name": source.name, "base": origin}))
    cache_manifest.write(made)
    made.rename(directory)


def _digest(source: ImageSource, sources: Sequence[Entry], accounts: Mapping[str, Account]) -> str:
    ids = sorted((account.uid, account.subordinate) for account in accounts.values())
    digest = hashlib.sha256(f"{_FORMAT} {source.tag} {ids}".encode())
    for piece in (*_contents(sources), *_contents(entries(FIXTURES / "base", FIXTURES))):
        digest.update(piece)
    return digest.hexdigest()[:16]


def base_file(images: Path) -> Path:
    """The file of the substitute base image in the cache."""
    digest = hashlib.sha256(base.OWN_NAME.encode())
    for piece in _contents(entries(FIXTURES / "base", FIXTURES)):
        digest.update(piece)
    return images / f"base-{digest.hexdigest()[:16]}.tar"


def _forget_older_bases(images: Path) -> None:
    for old in images.glob("base-*"):
        if old != base_file(images):
            old.unlink()


def _contents(sources: Iterable[Entry]) -> Iterator[bytes]:
    for each in sources:
        yield b"\0".join(
            (each.name.encode(), str(stat.S_IFMT(each.mode)).encode(), each.target.encode(), each.data, b"")
        )
