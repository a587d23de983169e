"""Rendering documents from templates, and checking that they are up to date."""

from __future__ import annotations

from typing import Any

import jinja2

from checks.core.paths import FIXTURES
from checks.core.terminal import clean

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
