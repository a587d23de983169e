"""The tasks around hardening."""

from __future__ import annotations

from invoke import Context, Exit, task

from checks.documents.security import render_security as render_security_document
from checks.hardening.command import HardenOptions
from checks.hardening.command import harden as run_harden

_HOST = {
    "host": "auto (default), local, ssh://user@host[:port], or a throwaway host (invoke hosts)",
    "nanoclaw": "a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw, else a stub agent)",
    "evidence": "the directory to write evidence to (default: none is written)",
    "timeout_factor": "multiply every time limit, for slow machines",
}


@task(
    iterable=["flag"],
    auto_shortflags=False,
    help={
        "each": "every flag alone: does the agent still answer, is the flag enforced, which work-around does it need",
        "all": "the recommended set: the same, and the browser and the verification under it",
        "browser": "Chromium with its sandbox and without, under no flag, each one and all of them",
        "lattice": "single flags, pairs, all but one, all: the smallest failing sets (an hour under emulation)",
        "lose": "put a docker before yours that drops one flag after another: exactly its row must fail",
        "flag": "only this flag, by its id in fixtures/hardening/flags (not with --all); repeatable",
        **_HOST,
    },
)
def harden(
    _: Context,
    each: bool = False,
    all: bool = False,  # noqa: A002 - the option's name
    browser: bool = False,
    lattice: bool = False,
    lose: bool = False,
    flag: list[str] | None = None,
    host: str = "auto",
    nanoclaw: str = "",
    evidence: str = "",
    timeout_factor: str = "1",
) -> None:
    """Try the hardening flags on agents' containers: each alone, then all together (default: both).

    Exit status: 0: every flag is compatible and enforced. 1: at least one is not. 2: wrong usage. 3: the host can't be
    used.
    """
    raise Exit(
        code=run_harden(
            HardenOptions(
                each=each,
                all=all,
                browser=browser,
                lattice=lattice,
                lose=lose,
                host=host,
                flags=tuple(flag or ()),
                nanoclaw=nanoclaw,
                evidence=evidence,
                timeout_factor=timeout_factor,
            )
        )
    )


@task(auto_shortflags=False, help=_HOST)
def harden_each(
    _: Context, host: str = "auto", nanoclaw: str = "", evidence: str = "", timeout_factor: str = "1"
) -> None:
    """Try each hardening flag alone: `invoke harden --each`."""
    options = HardenOptions(each=True, host=host, nanoclaw=nanoclaw, evidence=evidence, timeout_factor=timeout_factor)
    raise Exit(code=run_harden(options))


@task(auto_shortflags=False, help=_HOST)
def harden_all(
    _: Context, host: str = "auto", nanoclaw: str = "", evidence: str = "", timeout_factor: str = "1"
) -> None:
    """Try the recommended set of hardening flags: `invoke harden --all`."""
    options = HardenOptions(all=True, host=host, nanoclaw=nanoclaw, evidence=evidence, timeout_factor=timeout_factor)
    raise Exit(code=run_harden(options))


@task(help={"check": "only report whether the document is stale (exit status 1)"})
def render_security(_: Context, check: bool = False) -> None:
    """Render docs/SECURITY.md from the evidence in evidence/hardening/."""
    raise Exit(code=render_security_document(check=check))
