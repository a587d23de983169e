"""Whether a host is what its recipe says: by what it told of itself, live or in evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checks.hosts.base import TITLES
from checks.hosts.recipe import Recipe


def foreign(recipe: Recipe, facts: Mapping[str, Any]) -> list[str]:
    """What of these facts (all or some of those in evidence) can't be of that recipe's host, a sentence each."""
    return list(_foreign(recipe, facts))


def other_version(recipe: Recipe, facts: Mapping[str, Any]) -> str:
    """A sentence on the engine's version where it is not the one that the recipe expects, else an empty string."""
    if facts["version"] == recipe.version:
        return ""
    return f"{recipe.name} has {TITLES[recipe.engine]} {facts['version']}; its recipe expects {recipe.version}."


def _foreign(recipe: Recipe, facts: Mapping[str, Any]) -> Iterator[str]:
    wanted = {
        "engine": recipe.engine,
        "cgroups": recipe.cgroups,
        "rootless": recipe.engine == "podman",
    }
    for key, value in wanted.items():
        if facts.get(key, value) != value:
            yield f"{recipe.name} has {key} {value}, and not {facts[key]}."
    if not str(facts["distribution"]).startswith(recipe.distribution):
        yield f"{recipe.name} is {recipe.distribution}, and not {facts['distribution']}."
    if "init" in facts and (facts["init"] == "systemd") != (recipe.init == "systemd"):
        yield f"{recipe.name} starts with a {recipe.init} init, and not {facts['init']}."
    if "uid" in facts and facts["uid"] not in {account.uid for account in recipe.accounts.values()}:
        yield f"{recipe.name} has no account with uid {facts['uid']}."
    if not recipe.moving and (other := other_version(recipe, facts)):
        yield other
