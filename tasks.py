"""The tasks that people type: `invoke --list`, `invoke --help TASK`."""

from __future__ import annotations

from invoke import Context, Exit, task

from checks import hosts_table
from checks.cleaning import clean as clean_up
from checks.discovery.patterns import patterns as find_patterns
from checks.matrix import command as matrix_command
from checks.matrix.compare import compare as compare_evidence
from checks.matrix.compatibility import render_compatibility as render_compatibility_document
from checks.nanoclaw.fetch import act
from checks.troubleshooting.document import render_troubleshooting as render_troubleshooting_document
from checks.troubleshooting.explain import doctor as run_doctor
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
    iterable=["host"],
    help={
        "host": "a throwaway host; repeatable (default: all, see invoke hosts)",
        "at_once": "how many hosts run at a time: 1 (default) or 2",
        "html": "write the matrix as a page to this file",
        "evidence": "the folder that each run's evidence is left in (default: evidence)",
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
    options = matrix_command.Options(
        hosts=tuple(host or ()), at_once=at_once, html=html, evidence=evidence, timeout_factor=timeout_factor
    )
    raise Exit(code=matrix_command.matrix(options))


@task(positional=["a", "b"], help={"a": "a host, HOST-PROFILE, or an evidence file", "b": "another one"})
def compare(_: Context, a: str, b: str) -> None:
    """Hold two hosts' evidence against each other, case by case: `invoke compare docker-engine debian-13`.

    Exit status: 0 every difference is explained, 1 one is not, 2 wrong usage.
    """
    raise Exit(code=compare_evidence(a, b))


@task(help={"check": "only say whether the document is stale (exit status 1)"})
def render_compatibility(_: Context, check: bool = False) -> None:
    """Render docs/COMPATIBILITY.md from the evidence in evidence/."""
    raise Exit(code=render_compatibility_document(check=check))


@task(help={"check": "only say whether the document is stale (exit status 1)"})
def render_troubleshooting(_: Context, check: bool = False) -> None:
    """Render docs/TROUBLESHOOTING.md from fixtures/troubleshooting/."""
    raise Exit(code=render_troubleshooting_document(check=check))


@task(optional=["explain"], help={"explain": "the text of an error; without one, a log from standard input"})
def doctor(_: Context, explain: str | bool = "") -> None:
    """Find the entry of the guide on an error. Exit status: 0 found, 1 no entry, 2 wrong usage."""
    raise Exit(code=run_doctor(explain))


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
