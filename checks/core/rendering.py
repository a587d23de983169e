"""Rendering documents from templates, and checking that they are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from checks.core import files
from checks.core.errors import Exit
from checks.core.paths import FIXTURES, ROOT
from checks.core.terminal import clean, say

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FIXTURES / "templates"),
    autoescape=jinja2.select_autoescape(["html.j2"], default=False),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render_template(name: str, **values: Any) -> str:
    """Render a template of fixtures/templates. An HTML template escapes its values.

    Values come from evidence: characters that control a terminal are escaped.
    """
    return clean(_TEMPLATES.get_template(name).render(**values))


def deliver(document: Path, text: str, *, check: bool, command: str) -> Exit:
    """Write a rendered document, or with ``check`` say whether it is the one that stands there."""
    shown = document.relative_to(ROOT) if document.is_relative_to(ROOT) else document
    if check:
        if document.is_file() and document.read_text() == text:
            say(f"{shown} is what its sources say.")
            return Exit.OK
        say(f"{shown} is stale: run “{command}”.")
        return Exit.CASE_FAILED
    files.replace(document, text.encode())
    say(f"Wrote {shown}.")
    return Exit.OK
