"""``invoke verify``: check the options, run pytest with the project's plugins, return one exit status."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tabulate import tabulate

from checks.core import files, locks, redaction, run_directories
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
from checks.core.progress import Console, Progress, plain_console
from checks.engine import flags
from checks.engine.case_context import CaseContext
from checks.engine.prepared_host import prepared, resolve
from checks.engine.probe_image import LABEL
from checks.evidence import checklist
from checks.evidence.acceptance import tell_ended
from checks.evidence.checklist import Result, State
from checks.evidence.run import CaseResult, Evidence
from checks.guide.advice import advised
from checks.hosts import recipe
from checks.hosts.preflight import require_known
from checks.nanoclaw.agent import available
from checks.nanoclaw.provider import AgentProvider
from checks.runner import at_once, collection, last_failed
from checks.runner.agent_plugin import Integration
from checks.runner.plugin import HostFactory, VerificationPlugin, require_end, run_pytest
from checks.runner.report import Report
from checks.runner.share import Share


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
    sharing: Annotated[bool, "use one CPU, because another throwaway host runs at the same time"] = False
    at_once: Annotated[str, "run this many cases at a time, 1 to 4 (default: 2 where it is faster)"] = ""
    hardened: Annotated[bool, "add the recommended hardening flags to every docker run (docs/SECURITY.md)"] = False


def verify(options: VerifyOptions) -> Exit:
    """Run every Docker CLI pattern that nanoclaw uses through the podman-docker shim, and print a report.

    Exit status: 0 every case passed, or its failure is accepted; 1 a case failed; 2 wrong usage; 3 the host can't be
    used; 4 every case was skipped, or the package archive of a throwaway host is unreachable.
    """
    progress = Progress()
    return run_and_report(lambda: _run(options, progress), progress.say)


def _run(options: VerifyOptions, progress: Progress) -> Exit:
    _check(options)
    tell_ended(options.accept_file)
    if options.list:
        rows = [(each.group, each.id, each.label) for each in _chosen(options).listed]
        plain_console().print(tabulate(rows, headers=("Group", "Case", "Label")))
        return Exit.OK
    if files.is_replaced(options.json):  # nobody takes that of an earlier run for this one's
        files.replace_json(Path(options.json), {"error": "the run did not reach its end"}, private=options.live)
    with checklist.reported("invoke verify", options.host, junit=options.junit, private=options.live):
        with advised(local=options.host in ("auto", "local")):
            resolved = resolve(options.host, progress)
        with advised(local=resolved.spec == "local"):
            evidence = _verified(options, resolved.spec, progress)
        checklist.annotate([_result(case) for case in evidence.cases])
    if resolved.instead:
        plain_console().print(f"These are the results of {resolved.spec}, not of this machine: {resolved.instead}.")
    return _status(evidence.cases)


def _status(cases: Sequence[CaseResult]) -> Exit:
    """The exit status: an error of this project alone says nothing about the host, and a skipped case neither."""
    failed = [case for case in cases if case.failed]
    if not failed:
        return Exit.NOT_TESTED if all(case.outcome == "skipped" for case in cases) else Exit.OK
    return Exit.OWN_FAULT if all(case.crashed for case in failed) else Exit.CASE_FAILED


def _verified(options: VerifyOptions, spec: str, progress: Progress) -> Evidence:
    """Run the cases that were asked for, one or several at a time."""
    if options.at_once != "1" and not _one_by_one(options):
        chosen = _chosen(options)
        number = int(options.at_once) if options.at_once else at_once.default(chosen.listed, spec)
        if number > 1 and chosen.listed:
            return _at_once(options, spec, chosen, number, progress)
    console = plain_console()
    echo = (lambda line: console.print(f"    {line}")) if options.verbose else None
    with run_directories.new_run() as run:
        return session(
            options,
            lambda: prepared(
                spec,
                options.profile or None,
                run,
                progress,
                keep=options.keep,
                sharing=options.sharing,
                factor=factor_of(options.timeout_factor),
                echo=echo,
            ),
            console,
            progress,
        )


def _one_by_one(options: VerifyOptions) -> str:
    """The option for which cases run one after another; empty if there is none."""
    return next((f"--{name}" for name in ("verbose", "keep", "live", "sharing") if getattr(options, name)), "")


def _at_once(
    options: VerifyOptions, spec: str, chosen: VerificationPlugin, number: int, progress: Progress
) -> Evidence:
    report = Report(plain_console())

    def begun(evidence: Evidence) -> None:
        report.begin()
        report.host(evidence)

    def ended(case: CaseResult) -> None:
        if case.outcome == "failed":
            case.accepted = chosen.accepted.get(case.id, "")
        report.case(case)

    with run_directories.new_run() as run, report.summarized_if_stopped(), locks.opened(run.directory / "cases"):
        share = Share(
            host=spec, profile=options.profile, factor=factor_of(options.timeout_factor), hardened=options.hardened,
            nanoclaw=options.nanoclaw, slow=options.slow, sharing=spec in recipe.known(),
            lock=str(run.directory / "cases"),
        )  # fmt: skip
        shares = at_once.Shares(share, chosen.listed, number, progress)
        try:
            evidence = shares.run(begun, ended)
        finally:
            run.unfinished |= shares.left
    _conclude(options, evidence, report)
    return evidence


def _chosen(options: VerifyOptions) -> VerificationPlugin:
    """The plugin after it has collected the cases that were asked for. Needs no host."""
    plugin = _plugin(options, contextlib.nullcontext, Report(), Progress())  # type: ignore[arg-type]
    integration = Integration(plugin, available(options.nanoclaw), Progress(), live_key=_live_key(options))
    require_end(plugin, run_pytest(collection.arguments(list_only=True), plugins=[plugin, integration]))
    return plugin


def _plugin(options: VerifyOptions, opened: HostFactory, report: Report, progress: Progress) -> VerificationPlugin:
    return VerificationPlugin(
        opened,
        report,
        progress,
        only=options.only,
        keep=options.keep,
        verbose=options.verbose,
        flags=flags.load().recommended() if options.hardened else (),
        accept=options.accept,
        accept_file=options.accept_file,
        again=last_failed.read(options.host) if options.last_failed else None,
    )


def _result(case: CaseResult) -> Result:
    """A case as a finding."""
    states: dict[str, State] = {"passed": "fine", "skipped": "not tested"}
    if case.outcome != "failed":
        return Result(
            id=case.id, title=case.label, state=states[case.outcome], observed=case.reason, seconds=case.seconds
        )
    return Result(
        id=case.id, title=case.label, state="accepted" if case.accepted else "blocks",
        observed=f"expected {case.expected}; got {case.got}", fix=case.fix, link=case.entry, accepted=case.accepted,
        seconds=case.seconds,
    )  # fmt: skip


def session(
    options: VerifyOptions,
    opened: HostFactory,
    console: Console,
    progress: Progress,
    *,
    provider: AgentProvider | None = None,
) -> Evidence:
    """Run the cases on the host that ``opened`` prepares, one after another, and print the report.

    ``provider``: images and service that agents on that host already use. Raises the Problem that stopped the run, and
    WrongUsage if there is no case to run.
    """
    report = Report(console, verbose=options.verbose)
    plugin = _plugin(options, opened, report, progress)
    integration = Integration(
        plugin, available(options.nanoclaw), progress, slow=options.slow, live_key=_live_key(options), provider=provider
    )
    with report.summarized_if_stopped():
        require_end(plugin, run_pytest(collection.arguments(), plugins=[plugin, integration]))
    for ctx in plugin.kept:
        report.note(how_to_look(ctx))
    if plugin.evidence is None:
        if options.last_failed:
            raise WrongUsage(f"No such case failed when it last ran on {options.host}.", "Omit --last-failed.")
        raise WrongUsage("No case to run.")
    _conclude(options, plugin.evidence, report)
    return plugin.evidence


def _conclude(options: VerifyOptions, evidence: Evidence, report: Report) -> None:
    last_failed.note(options.host, evidence)
    report.end(evidence)
    results = [_result(case) for case in evidence.cases]
    checklist.write_files("invoke verify", evidence.host, results, junit=options.junit, private=options.live)
    if options.json:
        evidence.write(Path(options.json), private=options.live)


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


def _check(options: VerifyOptions) -> None:
    require_known(options.host)
    factor_of(options.timeout_factor)
    _live_key(options)
    require_file("--json", options.json)
    require_file("--junit", options.junit)
    if options.at_once and options.at_once not in [str(n) for n in range(1, at_once.MOST + 1)]:
        raise WrongUsage(f"--at-once is {options.at_once}; it must be a number from 1 to {at_once.MOST}.")
    if options.at_once not in ("", "1") and (one := _one_by_one(options)):
        raise WrongUsage(f"--at-once {options.at_once} can't be combined with {one}.")
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
