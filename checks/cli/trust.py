"""The tasks around trust in the verification itself."""

from __future__ import annotations

from invoke import Context, Exit, task

from checks.core.paths import DEFAULT_GUEST


@task(
    iterable=["only"],
    auto_shortflags=False,
    help={
        "host": f"a throwaway host with Podman (default: {DEFAULT_GUEST})",
        "only": "the sabotages whose name, fault or cases have this in them; '!PATTERN' leaves out; repeatable",
        "list": "print the sabotages and stop",
        "agents": "also the cases that run an agent (minutes)",
        "slow": "also the case that builds an agent's image (half an hour)",
        "nanoclaw": "a nanoclaw checkout, for the case that runs nanoclaw's own code",
        "json": "write what was seen to this file",
    },
)
def sabotage(
    _: Context,
    host: str = DEFAULT_GUEST,
    only: list[str] | None = None,
    list: bool = False,  # noqa: A002 - the option's name
    agents: bool = False,
    slow: bool = False,
    nanoclaw: str = "",
    json: str = "",
) -> None:
    """Run the cases against a docker that misbehaves, one fault at a time, and print which case caught it.

    Exit status: 0 all caught, 1 one was missed, 2 wrong usage, 3 the host can't be used.
    """
    from checks.mutation.command import SabotageOptions
    from checks.mutation.command import sabotage as run_sabotage

    options = SabotageOptions(
        host=host, only=tuple(only or ()), list_only=list, agents=agents, slow=slow, nanoclaw=nanoclaw, json=json
    )
    raise Exit(code=run_sabotage(options))


@task(
    iterable=["only"],
    auto_shortflags=False,
    help={
        "host": f"a throwaway host (default: {DEFAULT_GUEST})",
        "only": "the faults whose name or description has this in it; '!PATTERN' leaves out; repeatable",
        "list": "print the faults and stop",
    },
)
def faults(
    _: Context,
    host: str = DEFAULT_GUEST,
    only: list[str] | None = None,
    list: bool = False,  # noqa: A002 - the option's name
) -> None:
    """Break runs off in the middle, and print what they say, how they end and whether anything is left behind.

    Exit status: 0 all ended as they should, 1 one did not, 2 wrong usage, 3 the host can't be used.
    """
    from checks.mutation.faults.command import FaultsOptions
    from checks.mutation.faults.command import faults as run_faults

    raise Exit(code=run_faults(FaultsOptions(host=host, only=tuple(only or ()), list_only=list)))


@task(help={"check": "only say whether the document is stale (exit status 1)"})
def render_trust(_: Context, check: bool = False) -> None:
    """Render docs/TRUST.md from evidence/trust/ and fixtures/sabotage/."""
    from checks.documents.mutation import render_trust as render_trust_document

    raise Exit(code=render_trust_document(check=check))
