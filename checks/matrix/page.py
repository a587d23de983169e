"""The overview of several hosts as one HTML page, which needs no other file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from checks.core import version
from checks.core.lines import lines_of
from checks.core.paths import GUIDE, ROOT
from checks.core.rendering import render_template
from checks.guide import catalogue
from checks.matrix.details import MARKS
from checks.matrix.expectations import Expectations
from checks.matrix.overview import Overview, Untested, overview
from checks.matrix.run import Job

TEMPLATE = "evidence.html.j2"
DROP_IN = ROOT / "examples" / "containers.conf.d" / "50-nanoclaw.conf"

_CODE = re.compile(r"`([^`]+)`")


def page(jobs: Sequence[Job], expectations: Expectations) -> str:
    """The page of a matrix. It may be read anywhere, so the troubleshooting entries are named and not linked."""
    runs = [job.evidence for job in jobs if job.evidence]
    untested = [
        Untested(job.host, job.profile, f"{job.state}: {job.message}" if job.message else str(job.state))
        for job in jobs
        if job.evidence is None
    ]
    return html(overview(runs, untested, expectations, catalogue.load()))


def html(content: Overview, guide: str = "") -> str:
    """The page; ``guide``: the address of the troubleshooting guide, relative to the page."""
    return render_template(
        TEMPLATE,
        page=content,
        guide=guide,
        guide_name=GUIDE,
        version=version.number(),
        drop_in=drop_in(),
        marks=MARKS,
        inline=_inline,
        command_line=shlex.join,
        names=list(dict.fromkeys(host["name"] for host in content.hosts)),
    )


def drop_in(path: Path = DROP_IN) -> str:
    """The recommended setting, without the comments of its file."""
    return "\n".join(line for line in lines_of(path.read_text()) if not line.startswith("#"))


def _inline(text: str) -> Markup:
    """A line of Markdown: escaped, with its code as such."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped
