"""``invoke parallel``: how many agents a host can run at once, and what they take of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from checks.capacity import table
from checks.capacity.measure import LoadSession, Step, climb, told
from checks.capacity.wslconfig.plan import count_of
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.options import EvidenceOption, HostOption, NanoclawOption, TimeoutFactorOption
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_directory
from checks.core.progress import Progress, plain_console
from checks.engine import flags
from checks.engine.expect import Mismatch
from checks.evidence import store
from checks.evidence.model import Capacity
from checks.evidence.store import Provenance
from checks.hosts.process import TimedOut
from checks.nanoclaw.agent_session import opened
from checks.runner import verify

_MOST = 100


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
    most = count_of("--most", options.most)
    if most > _MOST:
        raise WrongUsage(f"--most is {most}; {_MOST} agents at once are the most that are tried.")
    factor = verify.factor_of(options.timeout_factor)
    directory = Path(options.evidence).absolute() if options.evidence else None
    require_directory("--evidence", options.evidence)
    console = plain_console()
    with opened(options.host, None, options.nanoclaw, progress) as (ready, handle):
        session = LoadSession(ready, handle, progress, flags.load().recommended(), factor)
        try:
            session.prepare()
        except (Mismatch, TimedOut) as failure:
            raise HostProblem(f"On {ready.host.name} no agent can be started at all: {failure}.") from failure
        source = Provenance(ready.host.name, ready.profile, ready.host.facts())
        began = time.monotonic()
        for found in _measured(session, most):
            seconds = time.monotonic() - began
            if directory:
                values = {**source.values(), "seconds": round(seconds), "agent": handle.described}
                path = store.save(store.build(Capacity, {**values, **found}), directory)
    if directory:
        progress.say(f"Evidence: {path}")
    facts = source.facts
    console.print(
        f"{source.host} ({source.profile}): {facts.distribution}, kernel {facts.kernel}, {facts.engine} "
        f"{facts.version}, {facts.cpus} processors\nAgent: {handle.described}\n\n{table.text(found)}\n\n"
        f"({seconds:.0f} s)"
    )
    return Exit.OK if table.largest(found) == most else Exit.CASE_FAILED


def _measured(session: LoadSession, most: int) -> Iterator[dict[str, Any]]:
    """All that was measured so far, as evidence has it, after every step: a run that is interrupted has that much.

    A host that was overloaded to silence is not asked for more.
    """
    sight, usage = session.browser()
    browser = {
        "rendered": sight.rendered,
        **({"failure": sight.failure} if sight.failure else {}),
        "seconds": round(sight.seconds, 1),
        "container": told(usage),
    }
    steps: list[Step] = []
    for number in climb(most, lambda _: steps[-1].fits):
        steps.append(session.agents(number))
        session.progress.say(f"  {table.sentence(steps[-1].as_json())}")
        yield {
            "slowness": session.prepared.host.slowness,
            "flags": list(session.flags),
            "most": most,
            "browser": browser,
            "steps": [step.as_json() for step in sorted(steps, key=lambda step: step.agents)],
        }
        if steps[-1].trouble:
            return
