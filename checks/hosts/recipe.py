"""Recipes of throwaway hosts: a TOML file each, whose digest is the key of the cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from checks.core import strict_toml
from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text
from checks.hosts.facts import TITLES

RECIPES = FIXTURES / "hosts"

_BUILDER = 4
"""Increase it when building or preparing changes the result for the same recipe."""

_ONLY_WITH = {"newer.sh": b"[newer]", "plain-init.sh": b'init = "plain"'}

_FIRST_SUBORDINATE = 100_000
_SUBORDINATES = 65_536

_ACCOUNT = re.compile(r"[a-z][a-z0-9-]{0,30}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_SUITE = re.compile(r"[a-z][a-z0-9.-]{0,30}")
_NAME = re.compile(r"[a-z][a-z0-9.-]{0,30}")


class Account(NamedTuple):
    """A user of a throwaway host."""

    uid: int
    subordinate: int
    """The first of its 65536 subordinate ids."""


class RecipeFile(Table, frozen=True, kw_only=True):
    """The keys of fixtures/hosts/NAME.toml."""

    description: Text
    suite: Text
    """The suite that is installed."""
    archive: Literal["debian", "ubuntu"] = "debian"
    distribution: Text
    """The beginning of the installed system's PRETTY_NAME."""
    architecture: Text = "amd64"
    podman: str = ""
    """The version of Podman in the suite, or:"""
    docker: str = ""
    """the version of Docker Engine, for the reference host."""
    moving: bool = False
    """Whether the suite gets new versions: another version of the engine is only reported."""
    packages: tuple[Text, ...]
    newer: dict[str, tuple[Text, ...]] = {}  # noqa: RUF012 - msgspec copies it
    """Packages from another suite of the same archive, by suite."""
    shim: Literal["package", "link"] = "package"
    """``package``: podman-docker; ``link``: a link named docker, if the suite has no such package."""
    storage: Literal["", "overlay"] = ""
    """The storage driver in the accounts' storage.conf; empty: Podman's default."""
    init: Literal["systemd", "plain"] = "systemd"
    """``plain``: only a reaper and sshd, like WSL 2 without systemd."""
    cgroups: Literal["v2", "v1"] = "v2"
    """The hierarchy; v1 needs a plain init, which mounts it."""
    uids: dict[str, int] = msgspec.field(name="accounts")
    """By account name; cases run as the first account unless they need another."""
    memory: Annotated[int, msgspec.Meta(ge=1024)] = 3072
    """MiB."""

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(problem)

    @property
    def engine(self) -> str:
        """``podman``, behind the shim, or ``docker``: Docker Engine, the reference."""
        return "podman" if self.podman else "docker"

    @property
    def version(self) -> str:
        """The expected version of the engine."""
        return self.podman or self.docker

    @property
    def accounts(self) -> dict[str, Account]:
        """The accounts by name, each with its subordinate ids."""
        uids = self.uids.items()
        return {name: Account(uid, _FIRST_SUBORDINATE + _SUBORDINATES * at) for at, (name, uid) in enumerate(uids)}

    def _problems(self) -> Iterator[str]:
        if bool(self.podman) == bool(self.docker):
            yield "exactly one of “podman” and “docker” is needed, the engine's version"
        if not all(_SUITE.fullmatch(suite) for suite in (self.suite, *self.newer)):
            yield "“suite” and the keys of “newer” must be names of suites"
        if not all(_PACKAGE.fullmatch(each) for listed in (self.packages, *self.newer.values()) for each in listed):
            yield "“packages” and “newer” must list names of packages"
        if self.cgroups == "v1" and self.init == "systemd":
            yield "“cgroups” is v1, which needs “init” to be plain"
        named = all(_ACCOUNT.fullmatch(name) and 1000 <= uid < 60000 for name, uid in self.uids.items())
        if not self.uids or not named:
            yield "“accounts” must map names to uids from 1000 to 59999"
        if 1000 not in self.uids.values() or len(self.uids) < 2:
            yield "“accounts” must have one with uid 1000, as in agents' images, and another one, which is first"
        if len(set(self.uids.values())) < len(self.uids):
            yield "two “accounts” have the same uid"


class Recipe(RecipeFile, frozen=True, kw_only=True):
    """A throwaway host."""

    name: str
    digest: str
    """Of the recipe and the scripts that build it: the key of the cache."""


def known() -> list[str]:
    """The names of all throwaway hosts."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name: str) -> Recipe:
    """The recipe of that name. Raises WrongUsage if there is none, or if its file is invalid."""
    path = RECIPES / f"{name}.toml"
    if name not in known():
        raise WrongUsage(
            f"There is no host “{name}”.", f"Known: auto, local, ssh://user@host[:port], {', '.join(known())}."
        )
    if not _NAME.fullmatch(name):
        raise WrongUsage(
            f"{path}: “{name}” can't be a host's name.",
            "Use up to 31 small letters, digits, dots and hyphens; the first one is a letter.",
        )
    file = strict_toml.load(path, RecipeFile)
    return Recipe(**msgspec.structs.asdict(file), name=name, digest=_digest(path.read_bytes()))


def fact_mismatches(recipe: Recipe, facts: Mapping[str, Any]) -> list[str]:
    """The differences between these facts (of evidence) and the recipe, a sentence each."""
    return list(_mismatches(recipe, facts))


def other_version(recipe: Recipe, facts: Mapping[str, Any]) -> str:
    """A sentence if the engine's version is not the recipe's, else an empty string."""
    if facts["version"] == recipe.version:
        return ""
    return f"{recipe.name} has {TITLES[recipe.engine]} {facts['version']}; its recipe expects {recipe.version}."


def _mismatches(recipe: Recipe, facts: Mapping[str, Any]) -> Iterator[str]:
    wanted = {
        "engine": recipe.engine,
        "cgroups": recipe.cgroups,
        "rootless": recipe.engine == "podman",
    }
    for key, value in wanted.items():
        if facts.get(key, value) != value:
            yield f"expected {key} {value}, found {facts[key]}."
    if not str(facts["distribution"]).startswith(recipe.distribution):
        yield f"expected {recipe.distribution}, found {facts['distribution']}."
    if "init" in facts and (facts["init"] == "systemd") != (recipe.init == "systemd"):
        yield f"expected a {recipe.init} init, found {facts['init']}."
    if "uid" in facts and facts["uid"] not in {account.uid for account in recipe.accounts.values()}:
        yield f"{recipe.name} has no account with uid {facts['uid']}."
    if not recipe.moving and (other := other_version(recipe, facts)):
        yield other


def _digest(recipe: bytes) -> str:
    digest = hashlib.sha256(b"%d\0" % _BUILDER + recipe)
    for directory in (FIXTURES / "guest", FIXTURES / "probe"):
        for path in sorted(directory.rglob("*")):
            # A script for some recipes only: a change in it must not rebuild all hosts.
            if path.is_file() and (path.name not in _ONLY_WITH or _ONLY_WITH[path.name] in recipe):
                digest.update(str(path.relative_to(directory)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
