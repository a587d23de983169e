"""The tasks around trust in the verification itself."""

from __future__ import annotations

from invoke import Context, Exit, task

from checks.documents.mutation import render_trust as render_trust_document
from checks.documents.schema import render_schema as write_schema
from checks.engine.prepared_host import DEFAULT_GUEST
from checks.mutation.command import SabotageOptions
from checks.mutation.command import sabotage as run_sabotage
from checks.mutation.faults.command import FaultsOptions
from checks.mutation.faults.command import faults as run_faults


@task(
    iterable=["only"],
    auto_shortflags=False,
    help={
        "host": f"a throwaway host with Podman (default: {DEFAULT_GUEST})",
        "only": "the mutations whose name, fault or cases contain this; '!PATTERN' excludes; repeatable",
        "list": "print the mutations and stop",
        "check_complete": "run nothing; fail if a case has no mutation, or a mutation has not run yet",
        "agents": "also run the cases that run an agent (minutes)",
        "slow": "also run the case that builds an agent's image (half an hour)",
        "nanoclaw": "a nanoclaw checkout, for the case that runs nanoclaw's own code",
        "json": "write the evidence to this file",
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
    check_complete: bool = False,
) -> None:
    """Run the cases against a docker with an injected fault, one mutation at a time, and print which were caught.

    Exit status: 0 all caught, 1 one was missed (or has not run yet), 2 wrong usage, 3 the host can't be used.
    """
    options = SabotageOptions(
        host=host,
        only=tuple(only or ()),
        list_only=list,
        check_complete=check_complete,
        agents=agents,
        slow=slow,
        nanoclaw=nanoclaw,
        json=json,
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
    raise Exit(code=run_faults(FaultsOptions(host=host, only=tuple(only or ()), list_only=list)))


@task(help={"check": "only say whether the document is stale (exit status 1)"})
def render_trust(_: Context, check: bool = False) -> None:
    """Render docs/TRUST.md from evidence/trust/ and fixtures/sabotage/."""
    raise Exit(code=render_trust_document(check=check))


@task(help={"check": "only report whether the schema is stale (exit status 1)"})
def render_schema(_: Context, check: bool = False) -> None:
    """Generate checks/evidence/schema.json, the JSON schema of evidence files."""
    raise Exit(code=write_schema(check=check))
