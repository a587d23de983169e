"""The section of docs/SECURITY.md on hardening an unmodified nanoclaw."""

from __future__ import annotations

from typing import Any

from packaging.version import Version

from checks.core.rendering import render_template
from checks.documents.examples import rendered
from checks.evidence import store
from checks.evidence.hardening_model import BypassResult, InjectionCheck
from checks.hardening.injection.settings import command_line, recommended

TEMPLATE = "security-injection.md.j2"


def values() -> dict[str, Any]:
    """What the section's template finds under the name ``injection``. Raises WrongUsage for invalid evidence."""
    return {
        "proven": committed(),
        "bypasses": _bypasses(),
        "drop_in": rendered()["60-nanoclaw-hardening.conf"],
        "recommended": " ".join(command_line()),
        "left_out": " ".join(word for word in command_line()[1:] if word not in recommended().options),
    }


def section() -> str:
    """The section by itself."""
    return render_template(TEMPLATE, injection=values())


def _bypasses() -> dict[str, Any]:
    """A table: a row for each way round the configuration, a column for each host where they were tried."""
    tried = [each for each in committed() if each.bypasses]
    by_name = [{way.name: way for way in each.bypasses} for each in tried]
    names = dict.fromkeys(name for ways in by_name for name in ways)
    return {
        "hosts": [f"{each.name} (Podman {each.host.version})" for each in tried],
        "rows": {name: [_cell(ways.get(name)) for ways in by_name] for name in names},
    }


def _cell(way: BypassResult | None) -> str:
    if way is None or way.error:
        return "–"
    return f"not in force: {', '.join(way.lacking)}" if way.lacking else "everything in force"


def committed() -> list[InjectionCheck]:
    """All evidence of `invoke inject --check`, the oldest Podman first. Raises WrongUsage for an invalid file."""
    return sorted(store.committed(InjectionCheck), key=lambda each: Version(each.host.version))
