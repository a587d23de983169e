"""``invoke faults``: a run for every fault, and what was wrong with how it ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from checks.core.errors import Exit, WrongUsage
from checks.core.outcome import run_and_report
from checks.core.paths import DEFAULT_GUEST
from checks.core.progress import Progress
from checks.core.selection import selected
from checks.core.terminal import say
from checks.hosts import recipe
from checks.hosts.guest import require_tools
from checks.matrix.table import clock
from checks.mutation.faults.catalogue import FAULTS, Fault


@dataclass(frozen=True)
class FaultsOptions:
    """What a user may ask of it."""

    host: str = DEFAULT_GUEST
    only: Sequence[str] = ()
    list_only: bool = False


def faults(options: FaultsOptions) -> Exit:
    """Let every fault happen to a run, and print how it took it."""
    progress = Progress()
    return run_and_report(lambda: _run(options, progress), progress.say)


def _run(options: FaultsOptions, progress: Progress) -> Exit:
    chosen = selected(options.only, [(each.name, each.does) for each in FAULTS], kind="fault",
                      listing="invoke faults --list")  # fmt: skip
    wanted = [fault for fault, runs in zip(FAULTS, chosen, strict=True) if runs]
    if options.list_only:
        say(tabulate([(each.name, each.does) for each in wanted], headers=("Fault", "What happens")))
        return Exit.OK
    if options.host not in recipe.known():
        raise WrongUsage(f"“{options.host}” is no throwaway host.", "invoke hosts lists them.")
    require_tools()
    began = time.monotonic()
    rows, wrong = [], {}
    for fault in wanted:
        since = time.monotonic()
        with progress.step(f"{fault.name}: {fault.does}"):
            found, statuses = _tried(fault, options.host)
        if found:
            wrong[fault.name] = found
        rows.append((fault.name, fault.does, statuses, "no" if found else "yes", clock(time.monotonic() - since)))
        progress.say(f"  {fault.name}: {'; '.join(found) or 'as it should'}")
    say(tabulate(rows, headers=("Fault", "What happens", "Exit status", "As it should", "Time")))
    for name, found in wrong.items():
        say("\n".join([f"\n{name}:", *(f"  {each}" for each in found)]))
    say(f"\nResult: {len(rows) - len(wrong)}/{len(rows)} faults as they should in {clock(time.monotonic() - began)}")
    return Exit.CASE_FAILED if wrong else Exit.OK


def _tried(fault: Fault, host: str) -> tuple[list[str], str]:
    """What was wrong, and the exit statuses."""
    ends = list(fault.happen(host))
    return [each for got in ends for each in fault.wrong(got)], ", ".join(str(got.status) for got in ends)
