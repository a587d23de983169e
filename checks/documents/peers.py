"""``docs/PEERS.md``: the defaults of other agent sandboxes, flag by flag, from fixtures/peers.toml."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from checks.core import strict_toml
from checks.core.paths import FIXTURES, ROOT
from checks.core.rendering import render_template
from checks.core.strict_toml import Table, Text
from checks.hardening.injection.settings import command_line

DOCUMENT = ROOT / "docs" / "PEERS.md"
CATALOGUE = FIXTURES / "peers.toml"
OURS = "nanoclaw hardened by this project"
_UNCHANGED = "as nanoclaw sets it"
_MAX_WORDS = 8  # of a cell

Where = Annotated[str, msgspec.Meta(pattern=r"^(documented: \S.*|[^\s:]+:(\d+(-\d+)?|[a-z-]+))$")]


class Cell(Table, frozen=True):
    """What a peer does about one property by default."""

    text: Text
    where: Where
    """The file and line that it was read from."""
    sets: bool = False
    """Whether the peer itself restricts this, beyond the default of its engine."""

    def __post_init__(self) -> None:
        """Check the length."""
        if len(self.text.split()) > _MAX_WORDS:
            raise ValueError(f"“text” has more than {_MAX_WORDS} words")


class Defaults(Table, frozen=True):
    """A cell for each property of the table."""

    user_namespace: Cell
    user: Cell
    read_only: Cell
    tmpfs: Cell
    capabilities: Cell
    no_new_privileges: Cell
    seccomp: Cell
    processes: Cell
    memory: Cell
    cpus: Cell
    network: Cell
    mounts: Cell
    secrets: Cell
    engine: Cell


class Peer(Table, frozen=True):
    """One version of another sandbox."""

    name: Text
    kind: Text
    version: Text
    released: Annotated[str, msgspec.Meta(pattern=r"^(\d{4}-\d{2}(-\d{2})?)?$")]
    """The day or the month; empty if unknown."""
    read: datetime.date
    source: Literal["PyPI", "npm", "Debian", "git", "evidence"]
    artefact: Text
    """What was read: the name of a file, a package or a commit."""
    defaults: Defaults


class Unpublished(Table, frozen=True):
    """Names that a registry did not have."""

    registry: Literal["PyPI", "npm"]
    names: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    read: datetime.date


class Peers(Table, frozen=True):
    """The catalogue."""

    peers: Annotated[tuple[Peer, ...], msgspec.Meta(min_length=1)] = msgspec.field(name="peer")
    unpublished: tuple[Unpublished, ...] = ()


class Property(msgspec.Struct, frozen=True):
    """A row of the table."""

    key: str
    """The field of :class:`Defaults`."""
    title: str
    options: tuple[str, ...] = ()
    """How the options of the recommended set that belong to it begin."""
    otherwise: str = _UNCHANGED
    """This project's cell if it sets no option for it."""


PROPERTIES = (
    Property("user_namespace", "User namespace", ("--userns",)),
    Property("user", "User in the container"),
    Property("read_only", "Read-only root", ("--read-only",)),
    Property("tmpfs", "tmpfs", ("--tmpfs",)),
    Property("capabilities", "Capabilities", ("--cap-drop", "--cap-add")),
    Property("no_new_privileges", "No new privileges", ("--security-opt=no-new-privileges",)),
    Property("seccomp", "seccomp", otherwise="Podman's default profile"),
    Property("processes", "Processes", ("--pids-limit",)),
    Property("memory", "Memory", ("--memory",)),
    Property("cpus", "CPUs", ("--cpus",)),
    Property("network", "Network"),
    Property("mounts", "Mounts of host files"),
    Property("secrets", "Secrets and environment"),
    Property("engine", "Engine", otherwise="rootless Podman"),
)


def files() -> Mapping[Path, str]:
    """The document."""
    return {DOCUMENT: text(load(), command_line())}


def load(path: Path = CATALOGUE) -> Peers:
    """Read the catalogue. Raises WrongUsage that names the file, the key and the mistake."""
    return strict_toml.load(path, Peers)


def text(known: Peers, recommended: Sequence[str]) -> str:
    """The document's text. ``recommended`` has the options that this project sets."""
    ours = {each.key: _ours(each, _options(recommended)) for each in PROPERTIES}
    return render_template(
        "peers.md.j2",
        ours=OURS,
        peers=known.peers,
        unpublished=known.unpublished,
        rows=[
            {"title": each.title, "ours": ours[each.key] or each.otherwise, "cells": _cells(known, each)}
            for each in PROPERTIES
        ],
        set_by_us=[_comparison(known, each) | {"ours": ours[each.key]} for each in PROPERTIES if ours[each.key]],
        set_by_others=[
            found for each in PROPERTIES if not ours[each.key] and (found := _comparison(known, each))["others"]
        ],
        count=len(known.peers),
    )


def _options(words: Sequence[str]) -> list[str]:
    """The options of a command line, each with its value."""
    options: list[str] = []
    for word in words:
        if word.startswith("-"):
            options.append(word)
        else:
            options[-1] += f" {word}"
    return options


def _ours(wanted: Property, options: Sequence[str]) -> str:
    """The options of this project for a property; empty if it sets none."""
    return ", ".join(f"`{option}`" for option in options if wanted.options and option.startswith(wanted.options))


def _cells(known: Peers, wanted: Property) -> list[Cell]:
    return [getattr(peer.defaults, wanted.key) for peer in known.peers]


def _comparison(known: Peers, wanted: Property) -> dict[str, Any]:
    """Which peers set a property themselves."""
    found = zip(known.peers, _cells(known, wanted), strict=True)
    return {"title": wanted.title, "others": [peer.name for peer, cell in found if cell.sets]}
