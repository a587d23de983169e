"""The tasks around many hosts."""

from __future__ import annotations

from invoke import Context, Exit, task


@task(
    iterable=["host"],
    help={
        "host": "a throwaway host; repeatable (default: all, see invoke hosts)",
        "at_once": "how many guests run at a time: 1 (default), or 2, where a host's cases run on two copies of it",
        "html": "write the matrix as a page to this file",
        "evidence": "the directory that each run's evidence is left in (default: evidence)",
        "timeout_factor": "multiply every time limit, for slow machines",
    },
)
def matrix(
    _: Context,
    host: list[str] | None = None,
    at_once: str = "1",
    html: str = "",
    evidence: str = "evidence",
    timeout_factor: str = "1",
) -> None:
    """Run the verification on several throwaway hosts and judge it by what is known of each.

    Exit status: 0 all as expected, 1 something is not, 2 wrong usage, 3 a host can't be built or booted here, 4 all
    hosts asked for are unproven: their archives can't be reached from here.
    """
    from checks.matrix import command as matrix_command

    options = matrix_command.MatrixOptions(
        hosts=tuple(host or ()), at_once=at_once, html=html, evidence=evidence, timeout_factor=timeout_factor
    )
    raise Exit(code=matrix_command.matrix(options))


@task(positional=["a", "b"], help={"a": "a host, HOST-PROFILE, or an evidence file", "b": "another one"})
def compare(_: Context, a: str, b: str) -> None:
    """Hold two hosts' evidence against each other, case by case: `invoke compare docker-engine debian-13`.

    Exit status: 0 every difference is explained, 1 one is not, 2 wrong usage.
    """
    from checks.matrix.compare import compare as compare_evidence

    raise Exit(code=compare_evidence(a, b))


@task(help={"check": "only say whether the document is stale (exit status 1)"})
def render_compatibility(_: Context, check: bool = False) -> None:
    """Render docs/COMPATIBILITY.md and docs/images/verify.svg from the evidence in evidence/."""
    from checks.documents.compatibility import render_compatibility as render_compatibility_document

    raise Exit(code=render_compatibility_document(check=check))
