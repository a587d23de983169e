"""``invoke faults``: a run for every fault, and whether it ended as it must."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from tabulate import tabulate

from checks.core.errors import Exit, WrongUsage
from checks.core.options import ThrowawayHostOption
from checks.core.outcome import run_and_report
from checks.core.paths import DEFAULT_GUEST
from checks.core.progress import Progress
from checks.core.selection import selected, selection
from checks.core.terminal import say, say_text
from checks.hosts import recipe
from checks.hosts.guest import require_tools
from checks.matrix.report import clock
from checks.mutation.faults.catalogue import FAULTS


@dataclass(frozen=True)
class FaultsOptions:
    """The options of ``invoke faults``."""

    host: ThrowawayHostOption = DEFAULT_GUEST
    only: Annotated[
        Sequence[str], "inject faults whose name or description contains this text; '!PATTERN' excludes; repeatable"
    ] = ()
    list: Annotated[bool, "print the faults and exit"] = False


def faults(options: FaultsOptions) -> Exit:
    """Interrupt running verifications, and check their messages, exit statuses and cleanup.

    Exit status: 0 every run ended correctly; 1 at least one did not; 2 wrong usage; 3 the host can't be used.
    """
    progress = Progress()
    return run_and_report(lambda: _run(options, progress), progress.say)


def _run(options: FaultsOptions, progress: Progress) -> Exit:
    chosen = selected(options.only, [(each.name, each.description) for each in FAULTS], kind="fault",
                      listing="invoke faults --list")  # fmt: skip
    wanted = [fault for fault, runs in zip(FAULTS, chosen, strict=True) if runs]
    if options.list:
        say_text(tabulate([(each.name, each.description) for each in wanted], headers=("Fault", "What happens")))
        return Exit.OK
    if options.host not in recipe.known():
        raise WrongUsage(f"“{options.host}” is not a throwaway host.", "invoke hosts lists them.")
    require_tools()
    if options.only:
        progress.say(selection([each.name for each in wanted], len(FAULTS), kind="faults"))
    began = time.monotonic()
    rows, wrong = [], {}
    for fault in wanted:
        since = time.monotonic()
        with progress.step(f"{fault.name}: {fault.description}"):
            outcomes = list(fault.inject(options.host))
        found = [each for outcome in outcomes for each in fault.problems(outcome)]
        statuses = ", ".join(str(outcome.status) for outcome in outcomes)
        if found:
            wrong[fault.name] = found
        rows.append(
            (fault.name, fault.description, statuses, "no" if found else "yes", clock(time.monotonic() - since))
        )
        progress.say(f"  {fault.name}: {'; '.join(found) or 'ended correctly'}")
    say_text(tabulate(rows, headers=("Fault", "What happens", "Exit status", "Correct", "Time")))
    for name, found in wrong.items():
        say_text("\n".join([f"\n{name}:", *(f"  {each}" for each in found)]))
    say(f"\nResult: {len(rows) - len(wrong)}/{len(rows)} runs ended correctly, in {clock(time.monotonic() - began)}")
    return Exit.CASE_FAILED if wrong else Exit.OK
