"""The tasks that people type: `invoke --list`, `invoke --help TASK`."""

from __future__ import annotations

from invoke import Context, Exit, task

from checks import hosts_table
from checks.cleaning import clean as clean_up
from checks.nanoclaw.fetch import act
from checks.nanoclaw.patterns import patterns as find_patterns
from checks.verify import Options
from checks.verify import verify as run_verify
from checks.wslconfig.command import Options as WslOptions
from checks.wslconfig.command import wslconfig as run_wslconfig


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
        "keep": "leave a failed case's containers and folder, and say how to look at them",
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
) -> None:
    """Run every Docker CLI pattern that nanoclaw uses through the shim.

    Exit status: 0 all passed, 1 a case failed, 2 wrong usage, 3 the host can't be used.
    """
    options = Options(
        host,
        profile,
        verbose,
        tuple(only or ()),
        last_failed,
        list,
        junit,
        json,
        timeout_factor,
        keep,
        nanoclaw,
        slow,
        live,
    )
    raise Exit(code=run_verify(options))


@task(help={"nanoclaw": "a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw)"})
def patterns(_: Context, nanoclaw: str = "") -> None:
    """Find every docker command in a nanoclaw checkout, and the case that covers it.

    Exit status: 0 all that nanoclaw itself runs is covered, 1 something is not, 2 wrong usage.
    """
    raise Exit(code=find_patterns(nanoclaw))


@task(
    positional=["action"],
    help={"action": "fetch", "ref": "a tag or branch (default: the pinned one, fixtures/nanoclaw.toml)"},
)
def nanoclaw(_: Context, action: str, ref: str = "") -> None:
    """Bring a nanoclaw checkout: `invoke nanoclaw fetch`. Prints its folder."""
    raise Exit(code=act(action, ref))


@task(
    auto_shortflags=False,
    help={
        "containers": "how many agents run at once; without it, examples/wslconfig.example is rendered",
        "host_memory": "of the Windows machine, e.g. 32GB; needed inside WSL, which does not see it",
        "host_cpus": "logical processors of the Windows machine",
        "browser": "whether agents use a browser: 4 GB a container, else 2 GB",
        "output": "write the file here instead of printing it; an existing one is left alone",
        "update": "change memory, swap and processors in the existing file, and keep the rest",
        "force": "overwrite the existing file",
        "validate": "look through this .wslconfig for what WSL ignores or misreads",
        "check": "only say whether examples/wslconfig.example is as it would be rendered",
    },
)
def wslconfig(
    _: Context,
    containers: str = "",
    host_memory: str = "",
    host_cpus: str = "",
    browser: bool = True,
    output: str = "",
    update: bool = False,
    force: bool = False,
    validate: str = "",
    check: bool = False,
) -> None:
    """Render, compute or check a .wslconfig, for agents in WSL 2 on Windows.

    Exit status: 0 done, 1 findings or a stale example, 2 wrong usage.
    """
    options = WslOptions(containers, host_memory, host_cpus, browser, output, update, force, validate, check)
    raise Exit(code=run_wslconfig(options))


@task
def hosts(_: Context) -> None:
    """List the known hosts: their Podman, whether they are built, whether they can run here."""
    print(hosts_table.table())


@task(help={"cache": "remove the built throwaway hosts and agent images as well"})
def clean(_: Context, cache: bool = False) -> None:
    """Remove what kept and dead runs left, and with --cache what was built."""
    raise Exit(code=clean_up(cache=cache))
