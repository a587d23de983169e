"""The cases that failed when they last ran on a host, in a file of the cache."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec

from checks.core import bounded, files, run_directories
from checks.evidence.run import Evidence


def _file(host: str) -> Path:
    return run_directories.cache() / "last-failed" / f"{quote(host, safe='')}.json"


def read(host: str) -> frozenset[str]:
    """Their ids; empty if the file is missing or damaged."""
    try:
        return frozenset(msgspec.json.decode(bounded.read(_file(host)), type=list[str]))
    except (OSError, ValueError, RecursionError):
        return frozenset()


def note(host: str, evidence: Evidence) -> None:
    """Note the failures of a run; of a case that did not run, the outcome before is kept. Raises OSError."""
    ran = {case.id for case in evidence.cases}
    failed = (read(host) - ran) | {case.id for case in evidence.cases if case.outcome == "failed"}
    _file(host).parent.mkdir(exist_ok=True)
    files.replace_json(_file(host), sorted(failed))
