"""``invoke sabotage``: the cases against a docker that misbehaves, one fault at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from tabulate import tabulate

from checks.core import run_directories
from checks.core.errors import Exit, WrongUsage
from checks.core.options import ThrowawayHostOption
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_file
from checks.core.paths import DEFAULT_GUEST
from checks.core.progress import Progress
from checks.core.selection import selected
from checks.core.terminal import say
from checks.engine.case_context import CaseContext
from checks.engine.docker import Record
from checks.engine.prepared_host import PreparedHost, prepared
from checks.hosts import recipe
from checks.matrix.table import clock
from checks.mutation import catalogue, stored
from checks.mutation.catalogue import FAULTLESS, Mutation
from checks.mutation.pool import Pool, workers
from checks.mutation.verdict import MutationStatus, Pair, judge, score, status
from checks.mutation.worker import SKIPPED, Task, TaskOutcome
from checks.mutation.wrapped import upload
from checks.nanoclaw.agent import available
from checks.nanoclaw.contract import IMAGE_UID, Design
from checks.nanoclaw.provider import AgentProvider
from checks.runner.plugin import CaseInfo
from checks.runner.verify import all_cases

AGENT = {"streams_handle": Design.STREAMS, "databases_handle": Design.DATABASES, "checkout_handle": Design.STREAMS}
"""The fixtures that make an agent run, which takes a minute under emulation."""


@dataclass(frozen=True)
class SabotageOptions:
    """The options of ``invoke sabotage``."""

    host: ThrowawayHostOption = DEFAULT_GUEST
    only: Annotated[
        Sequence[str],
        "run mutations whose name, description or cases contain this text; '!PATTERN' excludes; repeatable",
    ] = ()
    list: Annotated[bool, "print the mutations and exit"] = False
    agents: Annotated[bool, "also run the cases that start an agent (minutes)"] = False
    slow: Annotated[bool, "also run the case that builds an agent's image (half an hour)"] = False
    nanoclaw: Annotated[str, "a nanoclaw checkout, for the case that runs nanoclaw's own code"] = ""
    json: Annotated[str, "write the results to this file"] = ""


def sabotage(options: SabotageOptions) -> Exit:
    """Run the cases against a docker command with one injected fault at a time, and print which cases detect it.

    Exit status: 0 every fault was detected; 1 at least one was missed; 2 wrong usage; 3 the host can't be used.
    """
    progress = Progress()
    return run_and_report(lambda: _run(options, progress), progress.say)


def _run(options: SabotageOptions, progress: Progress) -> Exit:
    if options.host not in recipe.known() or recipe.load(options.host).engine != "podman":
        raise WrongUsage(
            f"“{options.host}” is no throwaway host with Podman.",
            "A docker that misbehaves has no place on a machine that someone uses: invoke hosts lists those that have.",
        )
    require_file("--json", options.json)
    cases = {case.id: case for case in all_cases()}
    known = catalogue.load()
    for wrong in catalogue.unknown_cases(known, list(cases)):
        raise WrongUsage(wrong)
    listing = "invoke sabotage --list"
    chosen = selected(options.only, [each.names for each in known], kind="sabotage", listing=listing)
    sabotages = [each for each, wanted in zip(known, chosen, strict=True) if wanted]
    if options.list:
        rows = [(each.name, each.does, ", ".join(each.cases)) for each in sabotages]
        say(tabulate(rows, headers=("Sabotage", "What docker does", "Cases that see it")))
        return Exit.OK
    began, started = time.monotonic(), datetime.now(UTC)
    with run_directories.new_run() as run, prepared(options.host, None, run, progress) as ready:
        pairs = list(_pairs(options, ready, sabotages, cases, progress))
        facts = ready.host.facts()
    seconds = time.monotonic() - began
    say(report(pairs, seconds))
    if options.json:
        stored.write(Path(options.json), options.host, facts, pairs, started=started, seconds=seconds)
    return status(pairs)


def _pairs(
    options: SabotageOptions,
    ready: PreparedHost,
    sabotages: Sequence[Mutation],
    cases: Mapping[str, CaseInfo],
    progress: Progress,
) -> Iterator[Pair]:
    """Every sabotage with each of its cases, judged; in the order of the report."""
    wanted = [(each, cases[case]) for each in sabotages for case in each.cases]
    wanted.sort(key=lambda pair: list(cases).index(pair[1].id))
    left_out = {case.id: reason for _, case in wanted if (reason := not_run(case, options))}
    todo = [(each, case) for each, case in wanted if case.id not in left_out]
    ends: dict[tuple[str, str], TaskOutcome] = {
        (FAULTLESS.name, case): TaskOutcome(SKIPPED, got=why) for case, why in left_out.items()
    }
    if todo:
        with _provided(options, ready, [case for _, case in todo], progress) as provider:
            wrappers = {
                account.facts().uid: upload(account, ready.run.id, [FAULTLESS, *sabotages])
                for account in ready.accounts
            }
            with workers(ready, wrappers, nanoclaw=options.nanoclaw, slow=options.slow, provider=provider) as pool:
                _run_all(pool, todo, ends, progress)
    for each, case in wanted:
        got = ends.get((each.name, case.id), TaskOutcome(SKIPPED))
        yield judge(each, case.id, case.label, got, ends[FAULTLESS.name, case.id])


def not_run(case: CaseInfo, options: SabotageOptions) -> str:
    """Why a case is not run; empty where it is."""
    if case.id == "agent-build" and not options.slow:
        return "builds an agent's image, which takes half an hour on an emulated host: --slow"
    if AGENT.keys() & case.asks and not options.agents:
        return "runs an agent, which takes a minute on an emulated host: --agents"
    return ""


def _run_all(
    pool: Pool, todo: Sequence[tuple[Mutation, CaseInfo]], ends: dict[tuple[str, str], TaskOutcome], progress: Progress
) -> None:
    """Run every case without a fault and under its sabotages. Each is told of when it can be judged."""
    cases = list({case.id: case for _, case in todo}.values())
    plan = [pair for case in cases for pair in ((FAULTLESS, case), *(pair for pair in todo if pair[1] is case))]
    tasks = [Task(number, each.name, case.node, each.factor) for number, (each, case) in enumerate(plan)]
    untold = dict(enumerate(plan))

    def noted(task: Task, got: TaskOutcome) -> None:
        each, case = plan[task.number]
        ends[each.name, case.id] = got
        for number, (each, case) in list(untold.items()):
            ended = [ends.get((name, case.id)) for name in (each.name, FAULTLESS.name)]
            if ended[0] and ended[1]:
                del untold[number]
                verdict = judge(each, case.id, case.label, ended[0], ended[1]).verdict
                progress.say(f"  {case.id} under {each.name}: {verdict} ({ended[0].seconds:.0f} s)")

    def on(task: Task, uid: int) -> bool:
        return suits(plan[task.number][1], uid)

    with progress.step(f"Running {len(cases)} cases without a fault, and {len(todo)} times with one"):
        pool.run(tasks, on, noted)


def suits(case: CaseInfo, uid: int) -> bool:
    """Whether a case can run on the account of that uid."""
    if "ctx_of_image_uid" in case.asks:
        return uid == IMAGE_UID
    return "ctx_passing_user" not in case.asks or uid != IMAGE_UID


@contextlib.contextmanager
def _provided(
    options: SabotageOptions, ready: PreparedHost, cases: Sequence[CaseInfo], progress: Progress
) -> Iterator[AgentProvider | None]:
    """The agents' images, on every account that runs one. Made here: workers have no hand on the machine."""
    agents = available(options.nanoclaw)
    designs = {
        uid: {AGENT[each] for case in cases if suits(case, uid) for each in case.asks & AGENT.keys()} & agents.keys()
        for uid in (account.facts().uid for account in ready.accounts)
    }
    if not any(designs.values()):
        yield None
        return
    with contextlib.closing(AgentProvider(ready, progress)) as provider:
        for account in ready.accounts:
            ctx = CaseContext(account, ready.owner, "agents", Record())
            for design in sorted(designs[ctx.uid]):
                with progress.step(f"Handing the account {ctx.uid} the image of {agents[design].name}"):
                    provider.image(agents[design], ctx)
        yield provider


def report(pairs: Sequence[Pair], seconds: float) -> str:
    """Case by case: which sabotage, and how the case did; then what is to be looked into, and the score."""
    faults = [pair for pair in pairs if not pair.sabotage.equivalent]
    rows = [(pair.case, pair.sabotage.name, pair.sabotage.does, str(pair.verdict)) for pair in faults]
    lines = [tabulate(rows, headers=("Case", "Sabotage", "What docker does", "Result"))]
    even = {pair.sabotage.name: pair for pair in pairs if pair.sabotage.equivalent}
    if even:
        lines += ["", "Not a fault, so that no case may fail on it:"]
        for name in even:
            mine = [pair for pair in pairs if pair.sabotage.name == name]
            result = ", ".join(f"{pair.case} {pair.verdict}" for pair in mine)
            lines.append(f"  {name}: {mine[0].sabotage.does}: {mine[0].sabotage.equivalent} ({result})")
    left_out = {pair.case: pair.got for pair in pairs if pair.verdict is MutationStatus.NOT_RUN}
    if left_out:
        lines += ["", "Not run:"]
        lines += [f"  {case}: {reason}" for case, reason in left_out.items()]
    for pair in pairs:
        if not pair.verdict.good:
            lines += ["", f"{pair.case} under {pair.sabotage.name}: {pair.verdict}", f"  {pair.sabotage.does}"]
            if pair.expected or pair.got:
                lines += [f"  expected: {pair.expected}", f"  got:      {pair.got}"]
    return "\n".join([*lines, "", f"Result: {score(pairs)} in {clock(seconds)}"])
