"""``invoke render``: the generated documents, and one way to write or check each of them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from checks.core import files
from checks.core.errors import Exit, WrongUsage
from checks.core.outcome import run_and_report
from checks.core.paths import ROOT
from checks.core.progress import Progress
from checks.core.terminal import say

DOCUMENTS = {
    "compatibility": "compatibility",
    "evidence": "evidence",
    "injection": "examples",
    "parallel": "parallel",
    "peers": "peers",
    "schema": "schema",
    "security": "security",
    "troubleshooting": "troubleshooting",
    "trust": "mutation",
    "wslconfig": "wslconfig",
}
"""Each document, and its module in this package: ``files()`` returns the text of each of its files."""
PICTURED = "evidence"
"""The document of which there are pictures."""


def render(
    name: Annotated[Sequence[str], f"a document: {', '.join(DOCUMENTS)}; repeatable (default: all)"] = (),
    check: Annotated[bool, "write nothing; exit with status 1 if a document is out of date"] = False,
    pictures: Annotated[bool, "also take the pictures of docs/evidence.html, with Chromium and playwright"] = False,
) -> Exit:
    """Render documents from the evidence and the fixtures: `invoke render [--check] [NAME ...]`.

    Exit status: 0 written, or up to date; 1 out of date (--check); 2 wrong usage.
    """

    problems: list[WrongUsage] = []

    def run() -> Exit:
        if unknown := [each for each in name if each not in DOCUMENTS]:
            raise WrongUsage(f"There is no document “{unknown[0]}”.", f"Known: {', '.join(DOCUMENTS)}.")
        if check and pictures:
            raise WrongUsage("--check writes nothing, so it can't be combined with --pictures.")
        status = Exit.OK
        for each in name or DOCUMENTS:
            try:
                status = max(status, _deliver(each, check=check))
            except WrongUsage as problem:  # of its sources: the other documents are rendered first
                problems.append(problem)
        if problems:
            raise WrongUsage("\n".join(map(str, problems)))
        if pictures or (check and PICTURED in (name or DOCUMENTS)):
            status = max(status, _pictures(check=check))
        return status

    return run_and_report(run, Progress().say)


def files_of(name: str) -> Mapping[Path, str]:
    """The text of each file of a document."""
    rendered: Mapping[Path, str] = importlib.import_module(f"checks.documents.{DOCUMENTS[name]}").files()
    return rendered


def _deliver(name: str, *, check: bool) -> Exit:
    status = Exit.OK
    for path, text in files_of(name).items():
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, text.encode())
            if text.startswith("#!"):
                path.chmod(0o755)
            say(f"Wrote {shown}.")
        elif _is_current(path, text):
            say(f"{shown} is up to date.")
        else:
            say(f"{shown} is out of date. Run: invoke render {name}")
            status = Exit.CASE_FAILED
    return status


def _is_current(path: Path, text: str) -> bool:
    """Whether a file has the text, and can be run if it is a script."""
    runs = not text.startswith("#!") or os.access(path, os.X_OK)
    return path.is_file() and path.read_bytes() == text.encode() and runs


def _pictures(*, check: bool) -> Exit:
    pictures = importlib.import_module("checks.documents.pictures")
    if not check:
        for path in pictures.take():
            say(f"Wrote {path.relative_to(ROOT)}.")
        return Exit.OK
    reasons = list(pictures.outdated())
    for reason in reasons:
        say(f"docs/images is out of date: {reason}. Run: invoke render --pictures")
    return Exit.CASE_FAILED if reasons else Exit.OK
