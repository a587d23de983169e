"""The section of docs/SECURITY.md on hardening an unmodified nanoclaw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks.core.rendering import render_template
from checks.documents.examples import rendered
from checks.hardening.injection import stored
from checks.hardening.injection.settings import command_line, recommended

TEMPLATE = "security-injection.md.j2"


def values() -> dict[str, Any]:
    """What the section's template finds under the name ``injection``. Raises WrongUsage for invalid evidence."""
    return {
        "proven": [_proof(each) for each in stored.committed()],
        "drop_in": rendered()["60-nanoclaw-hardening.conf"],
        "recommended": " ".join(command_line()),
        "left_out": " ".join(word for word in command_line()[1:] if word not in recommended().options),
    }


def section() -> str:
    """The section by itself."""
    return render_template(TEMPLATE, injection=values())


def _proof(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": evidence["host"]["name"],
        "version": evidence["host"]["version"],
        "agent": evidence["agent"],
        "held": [each for each in evidence["findings"] if each["held"]],
        "failed": [each for each in evidence["findings"] if not each["held"]],
        "missing": evidence["missing"],
    }
