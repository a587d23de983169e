"""The tasks around the troubleshooting guide."""

from __future__ import annotations

from invoke import Context, Exit, task

from checks.troubleshooting.document import render_troubleshooting as render_troubleshooting_document
from checks.troubleshooting.explain import doctor as run_doctor


@task(help={"check": "only say whether the document is stale (exit status 1)"})
def render_troubleshooting(_: Context, check: bool = False) -> None:
    """Render docs/TROUBLESHOOTING.md from fixtures/troubleshooting/."""
    raise Exit(code=render_troubleshooting_document(check=check))


@task(optional=["explain"], help={"explain": "the text of an error; without one, a log from standard input"})
def doctor(_: Context, explain: str | bool = "") -> None:
    """Find the entry of the guide on an error. Exit status: 0 found, 1 no entry, 2 wrong usage."""
    raise Exit(code=run_doctor(explain))
