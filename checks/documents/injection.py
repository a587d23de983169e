"""The section of docs/SECURITY.md on hardening an unmodified nanoclaw."""

from __future__ import annotations

from typing import Any

from packaging.version import Version

from checks.core.rendering import render_template
from checks.documents.examples import rendered
from checks.evidence import store
from checks.evidence.hardening_model import InjectionCheck
from checks.hardening.injection.settings import command_line, recommended

TEMPLATE = "security-injection.md.j2"


def values() -> dict[str, Any]:
    """What the section's template finds under the name ``injection``. Raises WrongUsage for invalid evidence."""
    return {
        "proven": committed(),
        "drop_in": rendered()["60-nanoclaw-hardening.conf"],
        "recommended": " ".join(command_line()),
        "left_out": " ".join(word for word in command_line()[1:] if word not in recommended().options),
    }


def section() -> str:
    """The section by itself."""
    return render_template(TEMPLATE, injection=values())


def committed() -> list[InjectionCheck]:
    """All evidence of `invoke inject --check`, the oldest Podman first. Raises WrongUsage for an invalid file."""
    return sorted(store.committed(InjectionCheck), key=lambda each: Version(each.host.version))
