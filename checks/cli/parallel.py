"""The tasks around agents at once."""

from __future__ import annotations

from invoke import Context, Exit, task


@task(
    auto_shortflags=False,
    help={
        "host": "auto (default), local, ssh://user@host[:port], or a throwaway host (invoke hosts)",
        "most": "the largest number of agents to try at once (default: 5, as many as nanoclaw runs)",
        "nanoclaw": "a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw, else a stand-in agent)",
        "evidence": "the directory to leave evidence in (default: none is left)",
        "timeout_factor": "multiply every time limit; an agent is given 30 minutes, as nanoclaw gives it",
    },
)
def parallel(
    _: Context,
    host: str = "auto",
    most: str = "5",
    nanoclaw: str = "",
    evidence: str = "",
    timeout_factor: str = "1",
) -> None:
    """Measure how many hardened agents a host can run at once, and what one of them and a browser take.

    Exit status: 0 the largest number asked for fits, 1 fewer do, 2 wrong usage, 3 the host can't be used.
    """
    from checks.capacity.command import ParallelOptions
    from checks.capacity.command import parallel as run_parallel

    options = ParallelOptions(host, most, nanoclaw, evidence, timeout_factor)
    raise Exit(code=run_parallel(options))


@task(help={"check": "only say whether the document is stale (exit status 1)"})
def render_parallel(_: Context, check: bool = False) -> None:
    """Render docs/PARALLEL.md from the formula and the evidence in evidence/parallel/."""
    from checks.documents.parallel import render_parallel as render_parallel_document

    raise Exit(code=render_parallel_document(check=check))
