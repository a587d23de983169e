"""The tasks around the troubleshooting guide."""

from __future__ import annotations

from dataclasses import replace

from invoke import Context, Exit, task


@task(help={"check": "only say whether the document is stale (exit status 1)"})
def render_troubleshooting(_: Context, check: bool = False) -> None:
    """Render docs/TROUBLESHOOTING.md from fixtures/troubleshooting/."""
    from checks.documents.troubleshooting import render_troubleshooting as render_troubleshooting_document

    raise Exit(code=render_troubleshooting_document(check=check))


@task(
    optional=["explain"],
    auto_shortflags=False,
    help={
        "host": "local (default), ssh://user@host[:port], or a throwaway host (invoke hosts)",
        "profile": "of a throwaway host: recommended (default) or stock",
        "explain": "the text of an error; without one, a log from standard input",
    },
)
def doctor(_: Context, host: str = "", profile: str = "", explain: str | bool | None = None) -> None:
    """Look at a host for what the guide knows, changing nothing; or find the entry on an error (--explain).

    Exit status: 0 nothing found (or the error's entry found), 1 something found (or no entry), 2 wrong usage,
    3 the host can't be reached.
    """
    from checks.guide.doctor import doctor as run_doctor

    raise Exit(code=run_doctor(host, profile, explain))


@task(
    iterable=["only"],
    auto_shortflags=False,
    help={
        "only": "entries whose id or title has this in it; repeatable (default: all that can be reproduced)",
        "host": "a throwaway host (default: each entry's own; without --only, the entries made for that host)",
        "evidence": "the directory that takes what was seen (default: evidence/reproductions)",
        "list": "print the entries that would be reproduced, each with its host, and stop",
    },
)
def reproduce(
    _: Context,
    only: list[str] | None = None,
    host: str = "",
    evidence: str = "",
    list: bool = False,  # noqa: A002 - the option's name
) -> None:
    """Break a throwaway host on purpose, see the symptom, mend it as the guide says, see it gone.

    Exit status: 0 all did as the guide says, 1 one did not, 2 wrong usage, 3 a host can't be used.
    """
    from checks.guide.reproduce import ReproduceOptions
    from checks.guide.reproduce import reproduce as run_reproduce

    options = ReproduceOptions(only=tuple(only or ()), host=host, list_only=list)
    raise Exit(code=run_reproduce(replace(options, evidence=evidence) if evidence else options))
