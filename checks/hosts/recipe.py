"""What a pinned host is: a small TOML file, its digest the key of the cache."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES

RECIPES = FIXTURES / "hosts"

_BUILDER = 4
"""Raise it when building or preparing changes what comes out for the same recipe."""

_ONLY_WITH = {"newer.sh": b"[newer]", "plain-init.sh": b'init = "plain"'}

_FIRST_SUBORDINATE = 100_000
_SUBORDINATES = 65_536

ENGINES = ("podman", "docker")

_ACCOUNT = re.compile(r"[a-z][a-z0-9-]{0,30}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_SUITE = re.compile(r"[a-z][a-z0-9.-]{0,30}")


@dataclass(frozen=True)
class Account:
    """A user of a throwaway host."""

    uid: int
    subordinate: int
    """The first of its 65536 subordinate ids."""


@dataclass(frozen=True)
class Recipe:
    """A throwaway host, as its file describes it."""

    name: str
    description: str
    suite: str
    """The suite that it is installed from."""
    archive: str
    """Whose suite that is: ``debian`` or ``ubuntu``."""
    distribution: str
    """How the installed system calls itself, from the first letter on."""
    architecture: str
    engine: str
    """``podman``, behind the shim, or ``docker``: Docker Engine itself, the reference."""
    version: str
    """The engine's version that the suite is known to have."""
    moving: bool
    """Whether the suite gets new versions, so that another one is only told and refuses nothing."""
    packages: tuple[str, ...]
    newer: dict[str, tuple[str, ...]]
    """Packages that come from a further suite of the same archive, by that suite's name."""
    shim: str
    """``package``: podman-docker; ``link``: a link named docker, where the suite has no such package."""
    storage: str
    """The storage driver that the accounts' own storage.conf names; empty where Podman chooses by itself."""
    init: str
    """``systemd``, or ``plain``: nothing but a reaper and sshd, as WSL2 without systemd."""
    cgroups: str
    """``v2`` or ``v1``, the hierarchy that a plain init mounts."""
    accounts: dict[str, Account]
    """By name; cases run as the first unless they need another."""
    memory: int
    """MiB."""
    digest: str


def known() -> list[str]:
    """The names of all pinned hosts."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name: str) -> Recipe:
    """The recipe of that name. Raises WrongUsage where there is none, or where its file can't be used."""
    path = RECIPES / f"{name}.toml"
    if name not in known():
        raise WrongUsage(
            f"There is no host “{name}”.", f"Known: auto, local, ssh://user@host[:port], {', '.join(known())}."
        )
    try:
        data = path.read_bytes()
        table = tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongUsage(f"{path} can't be read as a host's recipe: {error}.") from error
    return parse(name, table, str(path), _digest(data))


def parse(name: str, table: dict[str, Any], source: str, digest: str) -> Recipe:
    """A recipe from its table. Raises WrongUsage that names the file, the key and what is wrong with it."""

    def take(key: str, kind: type, default: Any = None) -> Any:
        value = table.pop(key, default)
        if value is None or type(value) is not kind:
            got = "is missing" if value is None else f"is {value!r}"
            raise WrongUsage(f"{source}: “{key}” {got}; it must be a {kind.__name__}.")
        return value

    def choice(key: str, *known: str) -> str:
        value = str(take(key, str, known[0]))
        if value not in known:
            raise WrongUsage(f"{source}: “{key}” is {value!r}; it must be {' or '.join(known)}.")
        return value

    def names(key: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) and _PACKAGE.fullmatch(each) for each in value):
            raise WrongUsage(f"{source}: “{key}” must be names of packages.")
        return tuple(value)

    table = dict(table)
    engines = [engine for engine in ENGINES if engine in table]
    if len(engines) != 1:
        raise WrongUsage(f"{source}: it must have one of “podman” and “docker”, the version that is expected.")
    recipe = Recipe(
        name=name,
        description=take("description", str),
        suite=take("suite", str),
        archive=choice("archive", "debian", "ubuntu"),
        distribution=take("distribution", str),
        architecture=take("architecture", str, "amd64"),
        engine=engines[0],
        version=take(engines[0], str),
        moving=take("moving", bool, False),
        packages=names("packages", take("packages", list)),
        newer={suite: names("newer", listed) for suite, listed in take("newer", dict, {}).items()},
        shim=choice("shim", "package", "link"),
        storage=choice("storage", "", "overlay"),
        init=choice("init", "systemd", "plain"),
        cgroups=choice("cgroups", "v2", "v1"),
        accounts=_accounts(take("accounts", dict), source),
        memory=take("memory", int, 3072),
        digest=digest,
    )
    if table:
        raise WrongUsage(f"{source}: “{next(iter(table))}” is not a key of a recipe.")
    if unknown := [suite for suite in (recipe.suite, *recipe.newer) if not _SUITE.fullmatch(suite)]:
        raise WrongUsage(f"{source}: “suite” is {unknown[0]!r}; it must be the name of a suite.")
    if recipe.memory < 1024:
        raise WrongUsage(f"{source}: “memory” is {recipe.memory}; a guest needs 1024 MiB at least.")
    if recipe.cgroups == "v1" and recipe.init == "systemd":
        raise WrongUsage(f"{source}: “cgroups” is 'v1'; that needs “init” to be 'plain'.")
    return recipe


def _accounts(uids: dict[str, Any], source: str) -> dict[str, Account]:
    if not uids or not all(
        _ACCOUNT.fullmatch(account) and type(uid) is int and 1000 <= uid < 60000 for account, uid in uids.items()
    ):
        raise WrongUsage(f"{source}: “accounts” must map names to uids from 1000 to 59999.")
    if len(set(uids.values())) < len(uids):
        raise WrongUsage(f"{source}: two of its “accounts” have the same uid.")
    return {
        account: Account(uid, _FIRST_SUBORDINATE + _SUBORDINATES * at) for at, (account, uid) in enumerate(uids.items())
    }


def _digest(recipe: bytes) -> str:
    whole = hashlib.sha256(b"%d\0" % _BUILDER + recipe)
    for directory in (FIXTURES / "guest", FIXTURES / "probe"):
        for path in sorted(directory.rglob("*")):
            # Some scripts are for some recipes alone: a change in one must not build all hosts anew.
            if path.is_file() and (path.name not in _ONLY_WITH or _ONLY_WITH[path.name] in recipe):
                whole.update(str(path.relative_to(directory)).encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]
