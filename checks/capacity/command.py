"""``invoke parallel``: how many agents a host can run at once, and how much of it they use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from checks.capacity import table
from checks.capacity.measure import LoadSession, climb
from checks.capacity.wslconfig.plan import count_of
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.options import EvidenceOption, HostOption, NanoclawOption, TimeoutFactorOption
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_directory
from checks.core.process import TimedOut
from checks.core.progress import Progress, plain_console
from checks.engine import flags
from checks.engine.expect import Mismatch
from checks.evidence import store
from checks.evidence.capacity_model import Capacity, CapacityStep
from checks.evidence.store import Provenance
from checks.nanoclaw.provider import agent_session
from checks.runner import verify

_MAX_AGENTS = 100


@dataclass(frozen=True)
class ParallelOptions:
    """The options of ``invoke parallel``."""

    host: HostOption = "auto"
    most: Annotated[str, "the largest number of agents to start at once; nanoclaw runs up to 5"] = "5"
    nanoclaw: NanoclawOption = ""
    evidence: EvidenceOption = ""
    timeout_factor: TimeoutFactorOption = "1"


def parallel(options: ParallelOptions) -> Exit:
    """Measure how many hardened agents a host can run at once, and what one agent and one browser use.

    Exit status: 0 the host runs as many agents as asked for (--most); 1 it runs fewer; 2 wrong usage; 3 the host can't
    be used.
    """
    progress = Progress()
    return run_and_report(lambda: _run(options, progress), progress.say)


def _run(options: ParallelOptions, progress: Progress) -> Exit:
    maximum = count_of("--most", options.most)
    if maximum > _MAX_AGENTS:
        raise WrongUsage(f"--most is {maximum}; at most {_MAX_AGENTS} agents can be started at once.")
    factor = verify.factor_of(options.timeout_factor)
    directory = Path(options.evidence).absolute() if options.evidence else None
    require_directory("--evidence", options.evidence)
    with agent_session(options.host, None, options.nanoclaw, progress, factor=factor) as (ready, handle):
        session = LoadSession(ready, handle, progress, flags.load().recommended(), factor)
        try:
            session.prepare()
        except (Mismatch, TimedOut) as failure:
            raise HostProblem(f"No agent can be started on {ready.host.name}: {failure}.") from failure
        provenance = Provenance(ready.host.name, ready.profile, ready.host.facts())
        started = time.monotonic()
        for measured in _measured(session, maximum):
            seconds = round(time.monotonic() - started)
            values = {**provenance.values(), "seconds": seconds, "agent": handle.agent_description, **measured}
            capacity = store.build(Capacity, values)
            if directory:
                path = store.save(capacity, directory)
    if directory:
        progress.say(f"Evidence: {path}")
    facts = provenance.facts
    plain_console().print(
        f"{capacity.name} ({capacity.profile}): {facts.distribution}, kernel {facts.kernel}, {facts.engine} "
        f"{facts.version}, {facts.cpus} processors\nAgent: {capacity.agent}\n\n{table.text(capacity)}\n\n({seconds} s)"
    )
    return Exit.OK if table.largest(capacity) == maximum else Exit.CASE_FAILED


def _measured(session: LoadSession, maximum: int) -> Iterator[dict[str, Any]]:
    """Yield the measurements so far after every step, so that an interrupted run leaves evidence too.

    Stop once the host has stopped responding.
    """
    browser = session.browser()
    steps: list[CapacityStep] = []
    for number in climb(maximum, lambda _: steps[-1].fits):
        steps.append(session.agents(number))
        session.progress.say(f"  {table.sentence(steps[-1])}")
        yield {
            "slowness": session.prepared.host.slowness,
            "flags": list(session.flags),
            "max_agents": maximum,
            "browser": browser,
            "steps": sorted(steps, key=lambda step: step.agents),
        }
        if steps[-1].host_error:
            return
