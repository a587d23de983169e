"""``docs/EVIDENCE.md`` and ``docs/evidence.html``: the committed evidence on one page, for nanoclaw's maintainer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.core import version
from checks.core.paths import GUIDE, ROOT
from checks.core.rendering import render_template
from checks.engine.prepared_host import profiles
from checks.evidence import store
from checks.evidence.model import Verification
from checks.guide import catalogue
from checks.hosts import recipe
from checks.matrix import expectations
from checks.matrix.details import MARKS, Detail, short
from checks.matrix.expectations import Verdict
from checks.matrix.overview import Overview, Untested, overview
from checks.matrix.page import drop_in, html

DOCUMENT = ROOT / "docs" / "EVIDENCE.md"
PAGE = ROOT / "docs" / "evidence.html"

_BACKTICKS = re.compile("`+")


def files() -> Mapping[Path, str]:
    """The document, and the page."""
    content = committed()
    return {DOCUMENT: text(content), PAGE: html(content, guide=Path(GUIDE).name)}


def committed() -> Overview:
    """The overview of the committed evidence."""
    evidence = store.committed(Verification)
    return overview(evidence, list(_untested(evidence)), expectations.load(), catalogue.load())


def text(content: Overview) -> str:
    """The document."""
    return render_template(
        "evidence.md.j2",
        page=content,
        version=version.number(),
        drop_in=drop_in().strip(),
        failures=_failures(content.failures),
        guide=Path(GUIDE).name,
    )


def _untested(evidence: Sequence[Verification]) -> Iterator[Untested]:
    """The hosts of fixtures/hosts without evidence."""
    tested = {(run.name, run.profile) for run in evidence}
    for host in recipe.known():
        for profile in profiles(recipe.load(host)):
            if (host, profile) not in tested:
                yield Untested(host, profile, "not tested")


def _failures(failures: Sequence[Detail]) -> list[dict[str, Any]]:
    """A row for each pattern that fails in the same way on some hosts."""
    rows: dict[tuple[str, str, Verdict, str, str, str, str, str], list[Detail]] = {}
    for each in failures:
        advice = (each.because, each.fix, each.entry)
        key = (each.case.label, each.run.profile, each.verdict, short(each.expected), short(each.got), *advice)
        rows.setdefault(key, []).append(each)
    return [
        {
            "mark": MARKS[verdict],
            "label": cell(label),
            "hosts": ", ".join(f"{each.run.name} ({each.run.host.version})" for each in same),
            "profile": profile,
            "expected": code(expected),
            "got": code(got),
            "because": cell(because),
            "fix": cell(fix),
            "entry": entry,
            "unexpected": not verdict.good,
        }
        for (label, profile, verdict, expected, got, because, fix, entry), same in rows.items()
    ]


def cell(text: str) -> str:
    """A text in a cell of a table."""
    return text.replace("\n", " ").replace("|", r"\|")


def code(text: str) -> str:
    """A text of evidence as code in a cell of a table: nothing in it is markup."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{cell(text)}{pad}{fence}"
