"""The section of docs/SECURITY.md on hardening an unmodified nanoclaw."""

from __future__ import annotations

from typing import Any

from checks.core.rendering import render_template
from checks.core.version import comparable
from checks.documents.examples import rendered
from checks.evidence import store
from checks.evidence.hardening_model import BypassResult, CheckResult, InjectionCheck
from checks.hardening.injection.reach import NETWORKS, SERVICES
from checks.hardening.injection.settings import command_line, recommended

TEMPLATE = "security-injection.md.j2"
_OF_A_RUN = ("The invocation is nanoclaw's own",)
"""Checks that observe something else in each run."""


def values() -> dict[str, Any]:
    """What the section's template finds under the name ``injection``. Raises WrongUsage for invalid evidence."""
    return {
        "proven": _proven(),
        "bypasses": _bypasses(),
        "reach": _reach(),
        "drop_in": rendered()["60-nanoclaw-hardening.conf"],
        "recommended": " ".join(command_line()),
        "left_out": " ".join(word for word in command_line()[1:] if word not in recommended().options),
    }


def section() -> str:
    """The section by itself."""
    return render_template(TEMPLATE, injection=values())


def _proven() -> dict[str, Any]:
    """A table of the checks: a row each, a column for each host; and what all hosts that ran a check observed alike."""
    every = committed()
    by_name = [{result.name: result for result in each.results} for each in every]
    rows, alike = {}, {}
    for name in dict.fromkeys(name for results in by_name for name in results):
        found = [results.get(name) for results in by_name]
        observed = {each.observed for each in found if each}
        if len(observed) == 1 and len(every) > 1:
            alike[name] = observed.pop()
        silent = name in alike or name in _OF_A_RUN
        rows[name] = [_checked(name, each, run, silent=silent) for each, run in zip(found, every, strict=True)]
    return {"hosts": [_column(each) for each in every], "rows": rows, "alike": alike}


def _checked(name: str, result: CheckResult | None, run: InjectionCheck, *, silent: bool) -> str:
    if result is None:
        why = next((reason for limit, reason in run.missing.items() if limit.lower() == name.lower()), "")
        return f"can't be set: {why}" if why else "not run"
    if not result.passed:
        return f"**failed**: {result.observed}"
    return "✓" if silent else f"✓ {result.observed}"


def _column(each: InjectionCheck) -> str:
    agent = "" if "nanoclaw's own" in each.agent else f", {each.agent.partition(' (')[0]}"
    return f"{each.name} (Podman {each.host.version}{agent}, {each.started[:10]})"


def _bypasses() -> dict[str, Any]:
    """A table: rows for each way round the configuration, one for the hosts where it had the same result."""
    tried = [each for each in committed() if each.bypasses]
    hosts: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(way.name for each in tried for way in each.bypasses):
        for each in tried:
            result = _result(next((way for way in each.bypasses if way.name == name), None))
            hosts.setdefault((name, result), []).append(each.name)
    rows = [
        (name, result, "all" if len(names) == len(tried) else ", ".join(names))
        for (name, result), names in hosts.items()
    ]
    return {"hosts": [_column(each) for each in tried], "rows": rows}


def _reach() -> dict[str, Any]:
    """A row for each service, with the hosts where a container reached it, by network."""
    asked = [each for each in committed() if each.reach]
    answers = {(each.name, found.network): found for each in asked for found in each.reach}
    rows = {
        what: [
            ", ".join(
                each.name for each in asked if (found := answers.get((each.name, network))) and service in found.reached
            )
            or "none"
            for network in NETWORKS
        ]
        for service, what in SERVICES.items()
    }
    return {
        "hosts": [f"{_column(each)} with {each.host.network.split()[0]}" for each in asked],
        "networks": list(NETWORKS),
        "rows": rows,
        "errors": {
            f"{name}, {network} network": found.error for (name, network), found in answers.items() if found.error
        },
    }


def _result(way: BypassResult | None) -> str:
    if way is None or way.error:
        return "–"
    return f"not in force: {', '.join(way.lacking)}" if way.lacking else "everything in force"


def committed() -> list[InjectionCheck]:
    """All evidence of `invoke inject --check`, the oldest Podman first. Raises WrongUsage for an invalid file."""
    return sorted(store.committed(InjectionCheck), key=lambda each: comparable(each.host.version))
