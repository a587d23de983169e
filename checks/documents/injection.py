"""The section of docs/SECURITY.md on hardening an unmodified nanoclaw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from packaging.version import Version

from checks.core.rendering import render_template
from checks.core.version import comparable
from checks.documents.examples import rendered
from checks.evidence import store
from checks.evidence.hardening_model import BypassResult, CheckResult, InjectionCheck
from checks.hardening.injection.reach import NETWORKS, SERVICES, TITLES
from checks.hardening.injection.settings import command_line, recommended

T = TypeVar("T")
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
    """A table of the checks: a row each, a column for each host; and what all runs of a check observed alike."""
    every = committed()
    by_name = [(each, {result.name: result for result in each.results}) for each in every]
    rows, alike = {}, {}
    for name in dict.fromkeys(name for _, results in by_name for name in results):
        observed = {results[name].observed for _, results in by_name if name in results}
        if len(observed) == 1 and len(every) > 1:
            alike[name] = observed.pop()
        silent = name in alike or name in _OF_A_RUN
        rows[name] = [
            _cell({run.nanoclaw: _checked(name, found.get(name), run, silent=silent) for run, found in runs})
            for runs in _by_host(by_name)
        ]
    hosts = [_column([run for run, _ in runs]) for runs in _by_host(by_name)]
    return {"hosts": hosts, "rows": rows, "alike": alike}


def _by_host(runs: Sequence[tuple[InjectionCheck, T]]) -> list[list[tuple[InjectionCheck, T]]]:
    """The runs of each host together: one for each nanoclaw."""
    return [list(group) for _, group in groupby(runs, key=lambda each: each[0].name)]


def _cell(texts: Mapping[str, str]) -> str:
    """What the checks with each nanoclaw gave; once if all gave the same."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{nanoclaw}: {text}" for nanoclaw, text in texts.items())


def _checked(name: str, result: CheckResult | None, run: InjectionCheck, *, silent: bool) -> str:
    if result is None:
        why = next((reason for limit, reason in run.missing.items() if limit.lower() == name.lower()), "")
        return f"can't be set: {why}" if why else "not run"
    if not result.passed:
        return f"**failed**: {result.observed}"
    return "✓" if silent else f"✓ {result.observed}"


def _column(runs: Sequence[InjectionCheck]) -> str:
    """A host, with the nanoclaws that ran there and the day of the oldest run."""
    first = runs[0]
    agents = " and ".join(each.nanoclaw for each in runs)
    return f"{first.name} (Podman {first.host.version}, nanoclaw {agents}, {min(each.started for each in runs)[:10]})"


def _columns(runs: Sequence[InjectionCheck]) -> list[str]:
    return [_column([run for run, _ in group]) for group in _by_host([(run, None) for run in runs])]


def _bypasses() -> dict[str, Any]:
    """A table: rows for each way round the configuration, one for the hosts where it had the same result."""
    tried = [each for each in committed() if each.bypasses]
    hosts: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(way.name for each in tried for way in each.bypasses):
        for each in tried:
            result = _result(next((way for way in each.bypasses if way.name == name), None))
            names = hosts.setdefault((name, result), [])
            if each.name not in names:
                names.append(each.name)
    columns = _columns(tried)
    rows = [
        (name, result, "all" if len(names) == len(columns) else ", ".join(names))
        for (name, result), names in hosts.items()
    ]
    return {"hosts": columns, "rows": rows}


def _reach() -> dict[str, Any]:
    """A row for each service, with the hosts where a container reached it, by network."""
    asked = [each for each in committed() if each.reach]
    answers = [(each.name, found) for each in asked for found in each.reach]
    helpers = {each.name: each.host.network.split()[0] for each in asked}

    def names(network: str, service: str) -> str:
        asked_there = dict.fromkeys(name for name, each in answers if each.network == network)
        if not asked_there:
            return "not measured"
        found = [name for name, each in answers if each.network == network and service in each.reached]
        where = "" if len(asked_there) == len(helpers) else f" (asked on {', '.join(asked_there)})"
        return f"{', '.join(dict.fromkeys(found)) or 'none'}{where}"

    return {
        "hosts": [f"{column} with {helpers[column.split()[0]]}" for column in _columns(asked)],
        "networks": list(TITLES.values()),
        "rows": {what: [names(network, service) for network in NETWORKS] for service, what in SERVICES.items()},
        "errors": {f"{name}, {each.network} network": each.error for name, each in answers if each.error},
    }


def _result(way: BypassResult | None) -> str:
    if way is None or way.error:
        return "–"
    return f"not in force: {', '.join(way.lacking)}" if way.lacking else "everything in force"


def committed() -> list[InjectionCheck]:
    """All evidence of `invoke inject --check`, the oldest Podman first. Raises WrongUsage for an invalid file."""

    def order(each: InjectionCheck) -> tuple[Version, str, Version]:
        return comparable(each.host.version), each.name, comparable(each.nanoclaw)

    return sorted(store.committed(InjectionCheck), key=order)
