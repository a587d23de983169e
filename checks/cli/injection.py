"""The task around hardening an unmodified nanoclaw."""

from __future__ import annotations

from invoke import Context, Exit, task


@task(
    auto_shortflags=False,
    help={
        "list": "print the options and what each sets, as measured; with --host, measure there",
        "check": "run an agent as nanoclaw does and see every flag in force in its container",
        "install": "write the recommended configuration for this user",
        "uninstall": "take it away again",
        "dry_run": "with --install or --uninstall: only say what would be done, with the same exit status",
        "accept_missing": "with --install or --check: limits that this host has no means for may be missing",
        "host": "local, ssh://user@host[:port], or for --list and --check a throwaway host (invoke hosts)",
        "nanoclaw": "with --check: a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw, else a stand-in agent)",
    },
)
def inject(
    _: Context,
    list: bool = False,  # noqa: A002 - the option's name
    check: bool = False,
    install: bool = False,
    uninstall: bool = False,
    dry_run: bool = False,
    accept_missing: bool = False,
    host: str = "",
    nanoclaw: str = "",
) -> None:
    """Harden an unmodified nanoclaw: the flags are set by Podman's own configuration, for agents alone.

    Exit status: 0 done, and seen in effect; 1 not in force, or something of yours conflicts; 2 wrong usage; 3 the host
    can't be used, or Podman does not apply all of it there: then everything is as it was.
    """
    from checks.hardening.injection.command import InjectOptions
    from checks.hardening.injection.command import inject as run_inject

    options = InjectOptions(list, check, install, uninstall, dry_run, accept_missing, host, nanoclaw)
    raise Exit(code=run_inject(options))


@task(help={"check": "only say whether a file is stale (exit status 1)"})
def render_injection(_: Context, check: bool = False) -> None:
    """Render examples/injection/ from fixtures/injection/ and fixtures/hardening.toml."""
    from checks.documents.examples import render_examples

    raise Exit(code=render_examples(check=check))
