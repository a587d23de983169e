"""``invoke harden``: each flag alone, all of them together, or their combinations; one exit status."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.options import (
    AcceptFileOption,
    AcceptOption,
    EvidenceOption,
    HostOption,
    JsonOption,
    JunitOption,
    NanoclawOption,
    TimeoutFactorOption,
)
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_directory
from checks.core.process import TimedOut
from checks.core.progress import Progress, plain_console
from checks.engine import flags
from checks.engine.expect import Mismatch
from checks.engine.flags import Flag
from checks.evidence import checklist, store
from checks.evidence.acceptance import accepted_ids, tell_ended
from checks.evidence.checklist import Result
from checks.evidence.hardening_model import HardeningRun
from checks.evidence.store import Provenance
from checks.hardening import experiments, findings, report
from checks.hardening.session import HardeningSession
from checks.nanoclaw.provider import agent_session
from checks.runner import verify


@dataclass(frozen=True)
class HardenHostOptions:
    """The options of ``invoke harden-each`` and ``invoke harden-all``."""

    host: HostOption = "auto"
    nanoclaw: NanoclawOption = ""
    evidence: EvidenceOption = ""
    timeout_factor: TimeoutFactorOption = "1"
    json: JsonOption = ""
    junit: JunitOption = ""
    accept: AcceptOption = ()
    accept_file: AcceptFileOption = ""


@dataclass(frozen=True)
class HardenOptions(HardenHostOptions):
    """The options of ``invoke harden``."""

    each: Annotated[bool, "try every flag alone: the agent's answer, the attacks, the workarounds"] = False
    all: Annotated[bool, "try the recommended set: the agent, the attacks, the browser and the cases"] = False
    browser: Annotated[bool, "start Chromium with and without its sandbox: no flag, each flag, all flags"] = False
    combinations: Annotated[
        bool, "find the smallest failing sets: single flags, pairs, all but one, all (an hour under emulation)"
    ] = False
    remove: Annotated[bool, "remove one flag at a time, and expect that exactly its check fails"] = False
    flag: Annotated[
        Sequence[str], "try only this flag (its id in fixtures/hardening/flags); not with --all; repeatable"
    ] = ()


def harden_each(options: HardenHostOptions) -> Exit:
    """Try each hardening flag alone. The same as `invoke harden --each`."""
    return harden(HardenOptions(each=True, **vars(options)))


def harden_all(options: HardenHostOptions) -> Exit:
    """Try the recommended set of hardening flags. The same as `invoke harden --all`."""
    return harden(HardenOptions(all=True, **vars(options)))


def harden(options: HardenOptions) -> Exit:
    """Try the hardening flags on agents' containers: each flag alone, then the recommended set (default: both).

    Exit status: 0 every flag is compatible and enforced, or its failure is accepted; 1 at least one is not; 2 wrong
    usage; 3 the host can't be used; 4 nothing could be tried.
    """
    progress = Progress()
    return run_and_report(lambda: _run(options, progress), progress.say)


def _run(options: HardenOptions, progress: Progress) -> Exit:
    hardening = flags.load()
    chosen = [hardening.flag(each) for each in options.flag] or list(hardening.flags)
    factor = verify.factor_of(options.timeout_factor)
    require_directory("--evidence", options.evidence)
    tell_ended(options.accept_file)
    reasons = accepted_ids(options.accept, options.accept_file, findings.known_ids(hardening.flags))
    with (
        checklist.reported("invoke harden", options.host, json=options.json, junit=options.junit),
        agent_session(options.host, None, options.nanoclaw, progress, factor=factor) as (ready, handle),
    ):
        if ready.host.facts().engine != "podman":
            raise WrongUsage(f"{ready.host.name} has no Podman.", "The flags are tried on rootless Podman.")
        run = _Run(options, chosen, HardeningSession(ready, handle, hardening, progress))
        run.run()
        results = findings.accepted(run.results, reasons)
        plain_console().print(f"\n{checklist.summary(results, ready.host.name)}")
        checklist.write("invoke harden", ready.host.name, results, json=options.json, junit=options.junit)
        if any(each.state in checklist.FAILING for each in results):
            return Exit.CASE_FAILED
        untested = results and all(each.state == "not tested" for each in results)
        return Exit.NOT_TESTED if untested else Exit.OK


class _Run:
    """What the options ask for, on a prepared host."""

    def __init__(self, options: HardenOptions, chosen: Sequence[Flag], session: HardeningSession) -> None:
        self._options = options
        self._chosen = chosen
        self._session = session
        self._console = plain_console()
        self.results: list[Result] = []

    def run(self) -> None:
        """Do it, print it, write its evidence; ``results`` has what was found."""
        asked = self._options
        host = self._session.prepared.host
        try:
            self._session.prepare(agent=not asked.remove)
        except (Mismatch, TimedOut) as failure:
            raise HostProblem(f"On {host.name} no agent can be started, even without flags: {failure}.") from failure
        facts = host.facts()
        self._console.print(
            f"Hardening on {host.name} ({self._session.prepared.profile}): {facts.distribution}, kernel "
            f"{facts.kernel}, Podman {facts.version} ({facts.runtime}), cgroups {facts.cgroups}\n"
            f"Agent: {self._session.handle.agent.name}"
        )
        if asked.remove:
            self._remove()
            return
        both = not (asked.each or asked.all or asked.browser or asked.combinations)
        if asked.each or both:
            self._do("each", self._each)
        if asked.browser:
            self._do("browser", self._browser)
        if asked.combinations:
            self._do("combinations", self._combinations)
        if asked.all or both:
            self._do("all", self._all)

    def _do(self, kind: str, work: Callable[[], tuple[str, Any, list[Result]]]) -> None:
        began = time.monotonic()
        prepared = self._session.prepared
        provenance = Provenance(prepared.host.name, prepared.profile, prepared.host.facts())
        text, rows, results = work()
        self.results += results
        seconds = time.monotonic() - began
        self._console.print(f"\n{text}\n\n({seconds:.0f} s)")
        if self._options.evidence:
            values = {
                "kind": kind,
                "seconds": round(seconds),
                "agent": self._session.handle.agent_description,
                "results": rows,
            }
            record = store.build(HardeningRun, {**provenance.values(), **values})
            path = store.save(record, Path(self._options.evidence))
            self._console.print(f"Evidence: {path}")

    def _each(self) -> tuple[str, Any, list[Result]]:
        found = experiments.run_individually(self._session, self._chosen)
        return report.flags_alone(found), [each.row for each in found], findings.of_flags(found)

    def _all(self) -> tuple[str, Any, list[Result]]:
        wanted = verify.VerifyOptions(
            host=self._options.host,
            only=experiments.SELECTION,
            nanoclaw=self._options.nanoclaw,
            hardened=True,
        )
        found = experiments.run_combined(self._session, wanted, self._console)
        return report.combined(found), found.row, findings.of_set(found)

    def _browser(self) -> tuple[str, Any, list[Result]]:
        found = experiments.browse_all(self._session, self._chosen)
        return report.browsers(found), [each.row for each in found], findings.of_browsers(found)

    def _combinations(self) -> tuple[str, Any, list[Result]]:
        recommended = [flag for flag in self._chosen if flag.recommended]
        found = experiments.run_combinations(self._session, recommended)
        return report.combinations(found), [each.row for each in found], findings.of_combinations(found)

    def _remove(self) -> None:
        found = experiments.run_without_each(self._session, self._chosen)
        self.results += findings.of_removed(found)
        self._console.print(f"\n{report.removed_flags(found)}")
