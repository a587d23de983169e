"""Documents from templates, and whether one that stands there is still what its sources say."""

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
    """What a template of fixtures/templates makes of these values. HTML is escaped where the template is HTML.

    Values come from evidence: what a terminal or a reader's eye would obey of them is spelled out.
    """
    return clean(_TEMPLATES.get_template(name).render(**values))
