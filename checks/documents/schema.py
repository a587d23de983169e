"""``checks/evidence/schema.json``: the JSON schema of evidence files, generated from the types."""

from __future__ import annotations

import json

from checks.core.errors import Exit
from checks.core.outcome import run_and_report
from checks.core.paths import ROOT
from checks.core.progress import Progress
from checks.core.rendering import deliver
from checks.evidence import store

DOCUMENT = ROOT / "checks" / "evidence" / "schema.json"


def render_schema(*, check: bool = False) -> Exit:
    """Write the schema; with ``check``, report whether the committed one is stale."""
    text = json.dumps(store.schema(), indent=1, ensure_ascii=False) + "\n"
    return run_and_report(lambda: deliver(DOCUMENT, text, check=check, command="invoke render-schema"), Progress().say)
