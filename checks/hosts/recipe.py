"""What a pinned host is: a small TOML file, its digest the key of the cache."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks.problems import WrongUsage

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
RECIPES = FIXTURES / "hosts"

_BUILDER = 4
"""Raise it when building or preparing changes what comes out for the same recipe."""

_FIRST_SUBORDINATE = 100_000
_SUBORDINATES = 65_536

_ACCOUNT = re.compile(r"[a-z][a-z0-9-]{0,30}")
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
    """The Debian suite that it is installed from."""
    architecture: str
    podman: str
    """The version of Podman that the suite is known to have."""
    packages: tuple[str, ...]
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
            came = "is missing" if value is None else f"is {value!r}"
            raise WrongUsage(f"{source}: “{key}” {came}; it must be a {kind.__name__}.")
        return value

    table = dict(table)
    accounts = take("accounts", dict)
    if not accounts or not all(
        _ACCOUNT.fullmatch(account) and type(uid) is int and 1000 <= uid < 60000 for account, uid in accounts.items()
    ):
        raise WrongUsage(f"{source}: “accounts” must map names to uids from 1000 to 59999.")
    if len(set(accounts.values())) < len(accounts):
        raise WrongUsage(f"{source}: two of its “accounts” have the same uid.")
    recipe = Recipe(
        name=name,
        description=take("description", str),
        suite=take("suite", str),
        architecture=take("architecture", str, "amd64"),
        podman=take("podman", str),
        packages=tuple(take("packages", list)),
        accounts={
            account: Account(uid, _FIRST_SUBORDINATE + _SUBORDINATES * at)
            for at, (account, uid) in enumerate(accounts.items())
        },
        memory=take("memory", int, 3072),
        digest=digest,
    )
    if table:
        raise WrongUsage(f"{source}: “{next(iter(table))}” is not a key of a recipe.")
    if not _SUITE.fullmatch(recipe.suite):
        raise WrongUsage(f"{source}: “suite” is {recipe.suite!r}; it must be the name of a Debian suite.")
    if not all(
        isinstance(package, str) and re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package) for package in recipe.packages
    ):
        raise WrongUsage(f"{source}: “packages” must be names of Debian packages.")
    if recipe.memory < 1024:
        raise WrongUsage(f"{source}: “memory” is {recipe.memory}; a guest needs 1024 MiB at least.")
    return recipe


def _digest(recipe: bytes) -> str:
    whole = hashlib.sha256(b"%d\0" % _BUILDER + recipe)
    for folder in (FIXTURES / "guest", FIXTURES / "probe"):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                whole.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]
