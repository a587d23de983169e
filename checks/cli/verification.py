"""The tasks around a verification."""

from __future__ import annotations

from invoke import Context, Exit, task


@task(
    iterable=["only"],
    auto_shortflags=False,
    help={
        "host": "auto (default), local, ssh://user@host[:port], or a throwaway host (invoke hosts)",
        "profile": "of a throwaway host: recommended (default) or stock",
        "verbose": "print every command and its output as it happens",
        "list": "print the cases and stop",
        "only": "run cases whose id, label or group has this in it; '!PATTERN' leaves out; repeatable",
        "last_failed": "run the cases that failed last time on this host",
        "junit": "write a JUnit XML report to this file",
        "json": "write the evidence of the run to this file",
        "timeout_factor": "multiply every time limit, for slow machines",
        "nanoclaw": "a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw, else a stand-in agent)",
        "slow": "also run cases that take very long on an emulated host",
        "live": "let the agent ask the real service, with the key in $ANTHROPIC_API_KEY",
        "sharing": "another throwaway host runs here at the same time: this one makes do with one processor",
        "hardened": "give every docker run the recommended hardening flags (docs/SECURITY.md)",
        "keep": "leave a failed case's containers and directory, and say how to look at them",
    },
)
def verify(
    _: Context,
    host: str = "auto",
    profile: str = "",
    verbose: bool = False,
    list: bool = False,  # noqa: A002 - the option's name
    only: list[str] | None = None,
    last_failed: bool = False,
    junit: str = "",
    json: str = "",
    timeout_factor: str = "1",
    keep: bool = False,
    nanoclaw: str = "",
    slow: bool = False,
    live: bool = False,
    sharing: bool = False,
    hardened: bool = False,
) -> None:
    """Run every Docker CLI pattern that nanoclaw uses through the shim.

    Exit status: 0 all passed, 1 a case failed, 2 wrong usage, 3 the host can't be used.
    """
    from checks.runner.verify import VerifyOptions
    from checks.runner.verify import verify as run_verify

    options = VerifyOptions(
        host=host,
        profile=profile,
        verbose=verbose,
        only=tuple(only or ()),
        last_failed=last_failed,
        list_only=list,
        junit=junit,
        json=json,
        timeout_factor=timeout_factor,
        keep=keep,
        nanoclaw=nanoclaw,
        slow=slow,
        live=live,
        sharing=sharing,
        hardened=hardened,
    )
    raise Exit(code=run_verify(options))


@task(help={"nanoclaw": "a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw)"})
def patterns(_: Context, nanoclaw: str = "") -> None:
    """Find every docker command in a nanoclaw checkout, and the case that covers it.

    Exit status: 0 all that nanoclaw itself runs is covered, 1 something is not, 2 wrong usage.
    """
    from checks.nanoclaw.discovery.patterns import patterns as find_patterns

    raise Exit(code=find_patterns(nanoclaw))


@task(
    positional=["action"],
    help={"action": "fetch", "ref": "a tag or branch (default: the pinned one, fixtures/nanoclaw.toml)"},
)
def nanoclaw(_: Context, action: str, ref: str = "") -> None:
    """Bring a nanoclaw checkout: `invoke nanoclaw fetch`. Prints its directory."""
    from checks.nanoclaw.fetch import act

    raise Exit(code=act(action, ref))


@task
def hosts(_: Context) -> None:
    """List the known hosts: their Podman, whether they are built, whether they can run here."""
    from checks.core.terminal import say
    from checks.hosts import table

    say(table.table())


@task(help={"cache": "remove the built throwaway hosts and agent images as well"})
def clean(_: Context, cache: bool = False) -> None:
    """Remove what kept and dead runs left, and with --cache what was built."""
    from checks.runner.cleanup import clean as clean_up

    raise Exit(code=clean_up(cache=cache))
