"""``checks/evidence/schema.json``: the JSON schema of evidence files, generated from the types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from checks.core.paths import ROOT
from checks.evidence import store

DOCUMENT = ROOT / "checks" / "evidence" / "schema.json"


def files() -> Mapping[Path, str]:
    """The schema."""
    return {DOCUMENT: json.dumps(store.schema(), indent=1, ensure_ascii=False) + "\n"}
