"""The task around hardening an unmodified nanoclaw."""

from __future__ import annotations

from invoke import Context, Exit, task

from checks.documents.examples import render_examples
from checks.hardening.injection.command import InjectOptions
from checks.hardening.injection.command import inject as run_inject


@task(
    auto_shortflags=False,
    help={
        "check": "start an agent as nanoclaw does, and check that every flag is in force in its container",
        "install": "write the recommended configuration for this user",
        "uninstall": "remove it",
        "dry_run": "with --install or --uninstall: only print what would be done, with the same exit status",
        "accept_missing": "with --install or --check: accept limits that this host can't set",
        "host": "local, ssh://user@host[:port], or for --check a throwaway host (invoke hosts)",
        "nanoclaw": "with --check: a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw, else a stub agent)",
    },
)
def inject(
    _: Context,
    check: bool = False,
    install: bool = False,
    uninstall: bool = False,
    dry_run: bool = False,
    accept_missing: bool = False,
    host: str = "",
    nanoclaw: str = "",
) -> None:
    """Harden an unmodified nanoclaw: Podman's own configuration sets the flags, for agents only.

    Exit status: 0: done, and in force. 1: not in force, or files of yours conflict. 2: wrong usage. 3: the host can't
    be used, or Podman does not apply all of it; then everything is restored.
    """
    options = InjectOptions(check, install, uninstall, dry_run, accept_missing, host, nanoclaw)
    raise Exit(code=run_inject(options))


@task(help={"check": "only report whether a file is stale (exit status 1)"})
def render_injection(_: Context, check: bool = False) -> None:
    """Render examples/injection/ from fixtures/injection/ and fixtures/hardening/flags/."""
    raise Exit(code=render_examples(check=check))
