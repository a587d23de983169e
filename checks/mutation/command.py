"""``invoke sabotage``: the cases against a docker with a fault, one mutation at a time."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec.structs import replace
from tabulate import tabulate

from checks.core import run_directories
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.options import UsedHostOption
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_file
from checks.core.paths import DEFAULT_GUEST
from checks.core.progress import Progress
from checks.core.run_directories import Run
from checks.core.selection import selected, selection
from checks.core.terminal import say, say_text
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.prepared_host import AS_IS, PreparedHost, prepared, remove_leftovers
from checks.evidence import store
from checks.evidence.model import MutationRun
from checks.evidence.store import Provenance
from checks.hosts import recipe
from checks.hosts.local import LocalHost
from checks.hosts.preflight import require_usable
from checks.hosts.ssh import SshHost
from checks.matrix.report import clock
from checks.mutation import catalogue, whole
from checks.mutation.catalogue import NO_FAULT, Mutation
from checks.mutation.pool import Pool, own_workers, workers
from checks.mutation.verdict import MutationStatus, Trial, judge, recorded, results, score, status
from checks.mutation.whole import WholeTrials
from checks.mutation.worker import PASSED, SKIPPED, Task, TaskOutcome
from checks.mutation.wrapped import upload
from checks.nanoclaw.agent import available
from checks.nanoclaw.contract import IMAGE_UID, AgentProtocol
from checks.nanoclaw.provider import AgentProvider
from checks.runner.collection import all_cases
from checks.runner.plugin import CaseInfo

AGENT = {
    "streams_handle": AgentProtocol.STREAMS,
    "databases_handle": AgentProtocol.DATABASES,
    "checkout_handle": AgentProtocol.STREAMS,
    whole.FIXTURE: AgentProtocol.DATABASES,
}
"""The fixtures that run an agent, which takes a minute under emulation."""
_AT_ONCE = 2
"""Workers for one account of a host that is not thrown away."""


@dataclass(frozen=True)
class SabotageOptions:
    """The options of ``invoke sabotage``."""

    host: UsedHostOption = DEFAULT_GUEST
    only: Annotated[
        Sequence[str],
        "run mutations whose name, description or cases contain this text; '!PATTERN' excludes; repeatable",
    ] = ()
    part: Annotated[str, "run only part K of N of the cases, written K/N, to save time"] = ""
    list: Annotated[bool, "print the mutations and exit"] = False
    check_complete: Annotated[bool, "run nothing; exit with status 1 if a mutation has not run yet"] = False
    agents: Annotated[bool, "also run the cases that start an agent (minutes)"] = False
    slow: Annotated[bool, "also run the case that builds an agent's image (half an hour)"] = False
    nanoclaw: Annotated[str, "a nanoclaw checkout, for the cases that run nanoclaw's own code"] = ""
    json: Annotated[str, "write the results to this file"] = ""


def sabotage(options: SabotageOptions) -> Exit:
    """Run the cases against a docker command with one injected fault at a time, and print which cases detect it.

    On local and ssh hosts, use an account without containers and images: faulty commands may remove
    them. Cases with an agent run on throwaway hosts only.

    Exit status: 0 every fault was detected; 1 at least one was missed; 2 wrong usage; 3 the host can't be used; 4 no
    fault was tried.
    """
    progress = Progress()
    return run_and_report(lambda: _run(options, progress), progress.say)


_LISTING = "invoke sabotage --list"


def _run(options: SabotageOptions, progress: Progress) -> Exit:
    _require_consistent(options)
    cases = {case.id: case for case in all_cases()}
    known = catalogue.load()
    for wrong in catalogue.unknown_cases(known, list(cases)):
        raise WrongUsage(wrong)
    if options.check_complete:
        if not {*options.only} <= {*cases}:
            raise WrongUsage("With --check-complete, --only takes names of cases.", "List them: invoke verify --list")
        return _check_complete(options.host, known, list(cases.values()), options.only)
    mutations = _selected(options, known, list(cases), progress)
    if options.list:
        rows = [(each.name, each.description, ", ".join(each.cases)) for each in mutations]
        say_text(tabulate(rows, headers=("Mutation", "What docker does", "Cases that must detect it")))
        return Exit.OK
    if options.only:
        progress.say(selection([each.name for each in mutations], len(known), kind="mutations"))
    agent = next(iter(available(options.nanoclaw).values())).name if options.nanoclaw else ""
    began = time.monotonic()
    with run_directories.new_run() as run, _host(options.host, run, progress) as ready:
        provenance = Provenance(options.host, ready.profile, ready.host.facts())
        trials = list(_trials(options, ready, mutations, cases, progress))
    seconds = time.monotonic() - began
    say_text(report(trials, seconds))
    if options.json:
        values = {**provenance.values(), "agent": agent, "seconds": round(seconds), "results": results(trials)}
        store.write(Path(options.json), store.build(MutationRun, values))
    return status(trials)


def _require_consistent(options: SabotageOptions) -> None:
    """Raise WrongUsage for options that don't go together, and for a host that can't be used."""
    thrown_away = not lasting(options.host)
    if thrown_away and (options.host not in recipe.known() or recipe.load(options.host).engine != "podman"):
        raise WrongUsage(f"“{options.host}” is not a host with Podman.", "invoke hosts lists the throwaway hosts.")
    if not thrown_away and (options.agents or options.slow):
        raise WrongUsage("--agents and --slow are for throwaway hosts.", "Leave them out, or give --host debian-13.")
    require_file("--json", options.json)


def _selected(
    options: SabotageOptions, known: Sequence[Mutation], cases: Sequence[str], progress: Progress
) -> Sequence[Mutation]:
    """The mutations that were asked for, each with its cases that were."""
    chosen = selected(options.only, [each.names for each in known], kind="mutation", listing=_LISTING)
    wanted = part_of(options.part, cases)
    mutations = [
        replace(each, cases=kept)
        for each, is_chosen in zip(known, chosen, strict=True)
        if is_chosen and (kept := tuple(case for case in each.cases if case in wanted))
    ]
    if not mutations:
        raise WrongUsage(f"Part {options.part} has none of these mutations.", _LISTING)
    if lasting(options.host) and (unseen := [each.name for each in mutations if each.alone]):
        progress.say(f"Not run on {options.host}, where others may leave the same: {', '.join(unseen)}.")
        mutations = [each for each in mutations if not each.alone]
    return mutations


def lasting(host: str) -> bool:
    """Whether ``--host`` names a host that is not thrown away."""
    return host == "local" or host.startswith("ssh://")


@contextlib.contextmanager
def _host(spec: str, run: Run, progress: Progress) -> Iterator[PreparedHost]:
    """The host, prepared as far as the workers don't do it."""
    if not lasting(spec):
        with prepared(spec, None, run, progress) as ready:
            yield ready
        return
    with contextlib.closing(LocalHost() if spec == "local" else SshHost.of_run(spec, run)) as host:
        require_usable(host)
        remove_leftovers(host)
        for kind, argv in (("containers", ("ps", "--all", "--quiet")), ("images", ("images", "--all", "--quiet"))):
            listed = host.ask([host.facts().engine, *argv], str.split, doing=f"listing {kind}")
            if listed:
                raise HostProblem(
                    f"This account has {kind} ({len(set(listed))}), which a faulty command may remove.",
                    "If they are of another run, wait for its end. Else use another account, or --host debian-13.",
                )
        yield PreparedHost(host, AS_IS, RunScope(run.id, run.id), run)


def part_of(part: str, cases: Sequence[str]) -> Collection[str]:
    """The cases of a part written K/N: every Nth, from the Kth. Raises WrongUsage unless 1 <= K <= N."""
    if not part:
        return cases
    matched = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", part)
    number, parts = (int(each) for each in matched.groups()) if matched else (0, 0)
    if not 1 <= number <= parts:
        raise WrongUsage(f"“{part}” is not a part.", "Write --part K/N with 1 <= K <= N, for example --part 1/2.")
    return set(cases[number - 1 :: parts])


def _check_complete(host: str, mutations: Sequence[Mutation], cases: Sequence[CaseInfo], only: Sequence[str]) -> Exit:
    """Print what evidence/mutation lacks for today's cases, or for some. CASE_FAILED if it lacks something."""
    all_missing = incomplete(store.committed(MutationRun), host, mutations, cases)
    missing = [line for case, line in all_missing if not only or case in only]
    for line in missing:
        say(line)
    if not missing:
        say(f"Every case has a mutation, and every mutation has run on {host}.")
        return Exit.OK
    say(f"\nRun them: invoke sabotage --agents --host {host} --json evidence/mutation/{host}.json")
    return Exit.CASE_FAILED


def incomplete(
    runs: Sequence[MutationRun], host: str, mutations: Sequence[Mutation], cases: Sequence[CaseInfo]
) -> Iterator[tuple[str, str]]:
    """A case and a line for each without a mutation, and for each mutation that has not run in its present form."""
    detecting = {case for each in mutations if not each.equivalent for case in each.cases}
    for case in cases:
        if case.id not in detecting:
            yield case.id, f"{case.id}: no mutation in fixtures/sabotage names this case"
    of_host = [each for each in runs if each.name == host]
    if not of_host:
        yield "", f"There is no evidence of a run on {host}."
        return
    for trial in recorded(of_host, mutations, cases):
        if trial.verdict is MutationStatus.NOT_RUN_YET:
            yield trial.case, f"{trial.case} under {trial.mutation.name}: {trial.verdict}"


def _trials(
    options: SabotageOptions,
    ready: PreparedHost,
    mutations: Sequence[Mutation],
    cases: Mapping[str, CaseInfo],
    progress: Progress,
) -> Iterator[Trial]:
    """Run every mutation with each of its cases; in the order of the report."""
    wanted = [(each, cases[case]) for each in mutations for case in each.cases]
    wanted.sort(key=lambda pair: list(cases).index(pair[1].id))
    uids = [account.facts().uid for account in ready.accounts]
    left_out = {case.id: reason for _, case in wanted if (reason := not_run(case, options, uids))}
    todo = [(each, case) for each, case in wanted if case.id not in left_out]
    outcomes: dict[tuple[str, str], TaskOutcome] = {
        (NO_FAULT.name, case): TaskOutcome(SKIPPED, got=why) for case, why in left_out.items()
    }
    if todo and not ready.exclusive:
        with own_workers(options.host, uids[0], _AT_ONCE) as pool:
            _run_all(pool, todo, outcomes, progress)
    elif todo:
        _run_on_guest(options, ready, todo, outcomes, progress)
    for each, case in wanted:
        outcome = outcomes.get((each.name, case.id), TaskOutcome(SKIPPED))
        yield judge(each, case, outcome, outcomes[NO_FAULT.name, case.id])


def _run_on_guest(
    options: SabotageOptions,
    ready: PreparedHost,
    todo: Sequence[tuple[Mutation, CaseInfo]],
    outcomes: dict[tuple[str, str], TaskOutcome],
    progress: Progress,
) -> None:
    """Run them on a throwaway host: first what takes a docker alone, then a whole nanoclaw."""
    faults = [NO_FAULT, *dict.fromkeys(each for each, _ in todo)]
    with _agent_images(options, ready, [case for _, case in todo], progress) as provider:
        wrappers = {account.facts().uid: upload(account, ready.run.id, faults) for account in ready.accounts}
        others = [(each, case) for each, case in todo if whole.FIXTURE not in case.asks]
        if others:
            with workers(ready, wrappers, nanoclaw=options.nanoclaw, slow=options.slow, provider=provider) as pool:
                _run_all(pool, others, outcomes, progress)
        of_whole = [(each, case) for each, case in todo if whole.FIXTURE in case.asks]
        if of_whole:
            assert provider
            agent = available(options.nanoclaw)[AgentProtocol.DATABASES]
            with WholeTrials(ready, agent, provider, wrappers[ready.host.facts().uid]) as trials:
                _run_whole(trials, of_whole, outcomes, progress)


def not_run(case: CaseInfo, options: SabotageOptions, uids: Sequence[int]) -> str:
    """Why a case is left out, on accounts with these uids; empty if it is not."""
    if not any(suits(case, uid) for uid in uids):
        return f"needs an account whose uid is {'not ' if IMAGE_UID in uids else ''}{IMAGE_UID}"
    if case.id == "agent-build" and not options.slow:
        return "builds an agent's image, which takes half an hour on an emulated host: --slow"
    if AGENT.keys() & case.asks and not options.agents:
        return "runs an agent, which takes a minute on an emulated host: --agents"
    if whole.FIXTURE in case.asks:
        agent = available(options.nanoclaw).get(AgentProtocol.DATABASES)
        if not (agent and agent.checkout):
            return "needs a checkout of nanoclaw 2.x: --nanoclaw DIR"
    return ""


def _run_all(
    pool: Pool,
    todo: Sequence[tuple[Mutation, CaseInfo]],
    outcomes: dict[tuple[str, str], TaskOutcome],
    progress: Progress,
) -> None:
    """Run every case without a fault and under its mutations; print each result as soon as both are there."""
    cases = list({case.id: case for _, case in todo}.values())
    plan = [pair for case in cases for pair in ((NO_FAULT, case), *(pair for pair in todo if pair[1] is case))]
    tasks = [Task(number, each.name, case.node, each.percent / 100) for number, (each, case) in enumerate(plan)]
    pending = [pair for pair in plan if pair[0] is not NO_FAULT]

    def finished(task: Task, outcome: TaskOutcome) -> None:
        mutation, case = plan[task.number]
        outcomes[mutation.name, case.id] = outcome
        for mutation, case in list(pending):
            ended = outcomes.get((mutation.name, case.id))
            without = outcomes.get((NO_FAULT.name, case.id))
            if ended and without:
                pending.remove((mutation, case))
                verdict = judge(mutation, case, ended, without).verdict
                progress.say(f"  {case.id} under {mutation.name}: {verdict} ({ended.seconds:.0f} s)")

    def suited(task: Task, uid: int) -> bool:
        return suits(plan[task.number][1], uid)

    with progress.step(f"Running {len(cases)} cases without a fault, and {len(todo)} times with one"):
        pool.run(tasks, suited, finished)


def _run_whole(
    trials: WholeTrials,
    todo: Sequence[tuple[Mutation, CaseInfo]],
    outcomes: dict[tuple[str, str], TaskOutcome],
    progress: Progress,
) -> None:
    """Run the cases of a whole nanoclaw, each without a fault and then with each; print each result."""
    with progress.step(f"Running {len(todo)} cases of a whole nanoclaw with a fault, and each without one"):
        for mutation, case in todo:
            without = outcomes.get((NO_FAULT.name, case.id)) or trials.without_fault(case)
            outcomes[NO_FAULT.name, case.id] = without
            outcome = trials.outcome(mutation, case) if without.outcome == PASSED else TaskOutcome(SKIPPED)
            outcomes[mutation.name, case.id] = outcome
            verdict = judge(mutation, case, outcome, without).verdict
            progress.say(f"  {case.id} under {mutation.name}: {verdict} ({outcome.seconds:.0f} s)")


def suits(case: CaseInfo, uid: int) -> bool:
    """Whether a case can run on the account of that uid."""
    if "ctx_of_image_uid" in case.asks:
        return uid == IMAGE_UID
    return "ctx_passing_user" not in case.asks or uid != IMAGE_UID


@contextlib.contextmanager
def _agent_images(
    options: SabotageOptions, ready: PreparedHost, cases: Sequence[CaseInfo], progress: Progress
) -> Iterator[AgentProvider | None]:
    """The agents' images, on every account that runs one. Made here, since workers can't build."""
    agents = available(options.nanoclaw)
    protocols = {
        uid: {AGENT[each] for case in cases if suits(case, uid) for each in case.asks & AGENT.keys()} & agents.keys()
        for uid in (account.facts().uid for account in ready.accounts)
    }
    if not any(protocols.values()):
        yield None
        return
    with contextlib.closing(AgentProvider(ready, progress)) as provider:
        for account in ready.accounts:
            ctx = CaseContext(account, ready.owner, "agents", Record())
            for protocol in sorted(protocols[ctx.uid]):
                with progress.step(f"Copying the image of {agents[protocol].name} to the account {ctx.uid}"):
                    provider.image(agents[protocol], ctx)
        yield provider


def report(trials: Sequence[Trial], seconds: float) -> str:
    """A table of cases and mutations, then equivalent mutations, cases left out, what needs attention, the score."""
    faults = [trial for trial in trials if not trial.mutation.equivalent]
    rows = [(trial.case, trial.mutation.name, trial.mutation.description, str(trial.verdict)) for trial in faults]
    lines = [tabulate(rows, headers=("Case", "Mutation", "What docker does", "Result"))]
    equivalent: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.mutation.equivalent:
            equivalent.setdefault(trial.mutation.name, []).append(trial)
    if equivalent:
        lines += ["", "Equivalent to no fault, so their cases must pass:"]
    for name, of_it in equivalent.items():
        result = ", ".join(f"{trial.case} {trial.verdict}" for trial in of_it)
        lines.append(f"  {name}: {of_it[0].mutation.description}: {of_it[0].mutation.equivalent} ({result})")
    if left_out := {trial.case: trial.got for trial in trials if trial.verdict is MutationStatus.NOT_RUN}:
        lines += ["", "Not run:", *(f"  {case}: {reason}" for case, reason in left_out.items())]
    for trial in trials:
        if not trial.verdict.good:
            lines += [
                "",
                f"{trial.case} under {trial.mutation.name}: {trial.verdict}",
                f"  {trial.mutation.description}",
            ]
            if trial.expected or trial.got:
                lines += [f"  expected: {trial.expected}", f"  got:      {trial.got}"]
    return "\n".join([*lines, "", f"Result: {score(trials)} in {clock(seconds)}"])
