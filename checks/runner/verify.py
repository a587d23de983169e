"""``invoke verify``: check the options, run pytest with the project's plugins, return one exit status."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import pytest
from tabulate import tabulate

from checks.core import files, redaction, run_directories
from checks.core.errors import Exit, WrongUsage
from checks.core.options import (
    AcceptFileOption,
    AcceptOption,
    HostOption,
    JunitOption,
    NanoclawOption,
    ProfileOption,
    TimeoutFactorOption,
)
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_file
from checks.core.paths import PACKAGES
from checks.core.progress import Console, Progress, plain_console
from checks.core.terminal import clean
from checks.engine import flags
from checks.engine.case_context import CaseContext
from checks.engine.prepared_host import Resolved, prepared, resolve
from checks.engine.probe_image import LABEL
from checks.evidence import checklist
from checks.evidence.checklist import Result
from checks.evidence.run import CaseResult, Evidence
from checks.guide.advice import advised
from checks.hosts.preflight import require_known
from checks.nanoclaw.agent import available
from checks.nanoclaw.provider import AgentProvider
from checks.runner import last_failed
from checks.runner.agent_plugin import Integration
from checks.runner.plugin import CaseInfo, HostFactory, VerificationPlugin, run_pytest
from checks.runner.report import Report

CASES = PACKAGES / "checks" / "cases"
ORDER = (
    "image_operations", "image_operations_files", "container_lifecycle", "bind_mounts", "bind_mounts_files",
    "environment_and_user", "resource_limits", "nanoclaw_integration", "nanoclaw_integration_databases", "edge_cases",
    "edge_cases_clients", "driver_2_2", "driver_2_2_networks", "driver_2_2_images", "setup_and_skills",
    "setup_and_skills_images",
)  # fmt: skip
"""The modules of the report's groups, in order. Other modules in checks/cases/ follow, sorted by name."""


@dataclass(frozen=True)
class VerifyOptions:
    """The options of ``invoke verify``."""

    host: HostOption = "auto"
    profile: ProfileOption = ""
    verbose: Annotated[bool, "print every command and its output while it runs"] = False
    only: Annotated[
        Sequence[str], "run cases whose id, label or group contains this text; '!PATTERN' excludes; repeatable"
    ] = ()
    last_failed: Annotated[bool, "run the cases that failed when they last ran on this host"] = False
    list: Annotated[bool, "print the cases and exit"] = False
    junit: JunitOption = ""
    json: Annotated[str, "write the evidence of the run to this file"] = ""
    accept: AcceptOption = ()
    accept_file: AcceptFileOption = ""
    timeout_factor: TimeoutFactorOption = "1"
    keep: Annotated[bool, "keep a failed case's containers and directory, and print how to inspect them"] = False
    nanoclaw: NanoclawOption = ""
    slow: Annotated[bool, "also run the cases that take very long on an emulated host"] = False
    live: Annotated[bool, "let the agent call the real service, with the key in $ANTHROPIC_API_KEY"] = False
    sharing: Annotated[bool, "limit this guest to one CPU, because another guest runs at the same time"] = False
    hardened: Annotated[bool, "add the recommended hardening flags to every docker run (docs/SECURITY.md)"] = False


def verify(options: VerifyOptions) -> Exit:
    """Run every Docker CLI pattern that nanoclaw uses through the podman-docker shim, and print a report.

    Exit status: 0 every case passed, or its failure is accepted; 1 a case failed; 2 wrong usage; 3 the host can't be
    used.
    """
    progress = Progress()
    return run_and_report(lambda: _run(options, progress), progress.say)


def _run(options: VerifyOptions, progress: Progress) -> Exit:
    _check(options)
    if files.is_replaced(options.json) and not options.list:  # nobody takes that of an earlier run for this one's
        files.replace_json(Path(options.json), {"error": "the run did not reach its end"}, private=options.live)
    with advised(local=options.host in ("auto", "local")):
        resolved = Resolved(options.host) if options.list else resolve(options.host, progress)
    with advised(local=resolved.spec == "local"), run_directories.new_run() as run:
        console = plain_console()
        echo = (lambda line: console.print(f"    {line}")) if options.verbose else None
        status, evidence = session(
            options,
            lambda: prepared(
                resolved.spec,
                options.profile or None,
                run,
                progress,
                keep=options.keep,
                sharing=options.sharing,
                echo=echo,
            ),
            console,
            progress,
            scratch=run.sockets,
        )
        if evidence:
            checklist.annotate([_result(case) for case in evidence.cases if case.failed])
        if resolved.instead and not options.list:
            console.print(f"These are the results of {resolved.spec}, not of this machine: {resolved.instead}.")
        return status


def _result(case: CaseResult) -> Result:
    """A failed case as a finding."""
    observed = f"expected {case.expected}; got {case.got}"
    return Result(id=case.id, title=case.label, state="blocks", observed=observed, fix=case.fix, link=case.entry)


def session(
    options: VerifyOptions,
    opened: HostFactory,
    console: Console,
    progress: Progress,
    *,
    provider: AgentProvider | None = None,
    scratch: Path | None = None,
) -> tuple[Exit, Evidence | None]:
    """Run the cases on the host that ``opened`` prepares, and print the report; the evidence is None if no case ran.

    ``provider``: images and service that agents on that host already use. ``scratch``: a directory that is removed with
    the run. Raises the Problem that stopped the run.
    """
    report = Report(console, verbose=options.verbose)
    plugin = VerificationPlugin(
        opened,
        report,
        progress,
        only=options.only,
        factor=factor_of(options.timeout_factor),
        keep=options.keep,
        verbose=options.verbose,
        flags=flags.load().recommended() if options.hardened else (),
        accept=options.accept,
        accept_file=options.accept_file,
        again=last_failed.read(options.host) if options.last_failed else None,
    )
    integration = Integration(
        plugin, available(options.nanoclaw), progress, slow=options.slow, live_key=_live_key(options), provider=provider
    )
    with _reported(options, scratch) as junit:
        status = run_pytest(_arguments(options, junit), plugins=[plugin, integration])
        _require_end(plugin, status)
    for ctx in plugin.kept:
        report.note(how_to_look(ctx))
    if options.list:
        rows = [(each.group, each.id, each.label) for each in plugin.listed]
        console.print(tabulate(rows, headers=("Group", "Case", "Label")))
        return Exit.OK, None
    if plugin.evidence is None:
        if options.last_failed:
            raise WrongUsage(f"No such case failed when it last ran on {options.host}.", "Omit --last-failed.")
        raise WrongUsage("No case to run.")
    last_failed.note(options.host, plugin.evidence)
    report.end(plugin.evidence)
    if options.json:
        plugin.evidence.write(Path(options.json), private=options.live)
    failed = status == pytest.ExitCode.TESTS_FAILED
    return Exit.CASE_FAILED if failed else Exit.OK, plugin.evidence


def _require_end(plugin: VerificationPlugin, status: int) -> None:
    """Raise what stopped the run, unless every chosen case has run."""
    if plugin.problem:
        raise plugin.problem
    if plugin.crash:
        raise plugin.crash
    if status == pytest.ExitCode.USAGE_ERROR and not plugin.broken:
        raise WrongUsage("The cases can't be collected: see the message of pytest above.")
    if plugin.broken or status not in (
        pytest.ExitCode.OK,
        pytest.ExitCode.TESTS_FAILED,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        raise RuntimeError("\n".join(plugin.broken) or f"pytest exited with {status!r}")


def all_cases() -> list[CaseInfo]:
    """All cases, in the report's order. Needs no host."""
    plugin = VerificationPlugin(contextlib.nullcontext, Report(), Progress())  # type: ignore[arg-type]
    if run_pytest(_arguments(VerifyOptions(list=True)), plugins=[plugin]) != pytest.ExitCode.OK:
        raise plugin.crash or RuntimeError("\n".join(plugin.broken))
    return plugin.listed


def _modules() -> list[Path]:
    others = sorted(path.stem for path in CASES.glob("[!_]*.py") if path.stem not in ORDER)
    return [CASES / f"{name}.py" for name in (*ORDER, *others)]


def how_to_look(ctx: CaseContext) -> str:
    """Instructions for inspecting a failed case's containers and directory."""
    shell = ctx.host.address()
    live = " (removed because of --live, with all containers: it may have contained the key)"
    return "\n".join(
        [
            f"\nKept for inspection ({ctx.case}):",
            *([f"  a shell:     {shell}"] if shell else []),
            f"  containers:  podman ps -a --filter label={LABEL}={ctx.run}",
            f"  its directory:  {ctx.made_directory or 'none'}{live if redaction.protecting() else ''}",
            "  remove all:  invoke clean",
        ]
    )


def _arguments(options: VerifyOptions, junit: str = "") -> list[str]:
    return [
        *map(str, _modules()),
        "-c", str(CASES.parent / "pytest.ini"), "--rootdir", str(CASES.parent.parent),
        "-p", "no:cacheprovider",
        *(["--collect-only"] if options.list else []),
        *([f"--junitxml={junit}"] if junit else []),
    ]  # fmt: skip


@contextlib.contextmanager
def _reported(options: VerifyOptions, scratch: Path | None) -> Iterator[str]:
    """A private file for pytest's JUnit XML, which is then cleaned and moved to its destination.

    pytest escapes what XML can't contain, but not secrets or characters that control a terminal.
    """
    if not options.junit:
        yield ""
        return
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        file = Path(directory) / "junit.xml"
        try:
            yield str(file)
        except BaseException as error:
            file.write_bytes(
                with_error(file.read_bytes() if file.exists() else b"", str(error) or type(error).__name__)
            )
            raise
        finally:
            if file.exists():
                files.replace(Path(options.junit), clean(file.read_text()).encode(), private=options.live)


def with_error(junit: bytes, why: str) -> bytes:
    """A JUnit XML report of a run that did not reach its end: with an error, so that nobody takes it for a success."""
    try:
        root = ElementTree.fromstring(junit)  # noqa: S314 - pytest's own
    except ElementTree.ParseError:  # none yet, or half of it
        root = ElementTree.fromstring("<testsuites><testsuite name='pytest'/></testsuites>")  # noqa: S314 - our own
    suite = root if root.tag == "testsuite" else next(iter(root))
    for count in ("errors", "tests"):
        suite.set(count, str(int(suite.get(count, "0")) + 1))
    case = ElementTree.SubElement(suite, "testcase", classname="invoke", name="verify", time="0")
    ElementTree.SubElement(case, "error", message=clean(f"The run did not reach its end: {why}"))
    return ElementTree.tostring(root)


def _check(options: VerifyOptions) -> None:
    require_known(options.host)
    factor_of(options.timeout_factor)
    _live_key(options)
    require_file("--json", options.json)
    require_file("--junit", options.junit)
    if options.list and (options.json or options.junit):
        raise WrongUsage("--list runs no case: --json and --junit would be empty.")
    if options.json and options.junit and Path(options.json).resolve() == Path(options.junit).resolve():
        raise WrongUsage("--json and --junit name the same file.", "Name two files.")


def _live_key(options: VerifyOptions) -> str:
    """The user's API key, masked in all output from here on; empty without ``--live``. Raises WrongUsage."""
    if not options.live:
        return ""
    key = os.environ.get("ANTHROPIC_API_KEY", "")
    if not key:
        raise WrongUsage("--live needs a key of the Messages API.", "Set ANTHROPIC_API_KEY.")
    if len(key) < redaction.SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
        raise WrongUsage(
            "ANTHROPIC_API_KEY is not a key of the Messages API: "
            f"a key has at least {redaction.SHORTEST} characters and no spaces."
        )
    redaction.protect(key)
    return key


def factor_of(text: str) -> float:
    """The value of ``--timeout-factor``. Raises WrongUsage if it is not a number in range."""
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 0.1 <= factor <= 100:
        raise WrongUsage(f"--timeout-factor is {text}; it must be a number from 0.1 to 100.")
    return factor
