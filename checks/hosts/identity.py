"""Whether facts of a host, live or in evidence, match its recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checks.hosts.base import TITLES
from checks.hosts.recipe import Recipe


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
