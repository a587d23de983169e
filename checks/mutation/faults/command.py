"""``invoke faults``: a run for every fault, and what was wrong with how it ended."""

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
from checks.core.selection import selected
from checks.core.terminal import say
from checks.hosts import recipe
from checks.hosts.guest import require_tools
from checks.matrix.table import clock
from checks.mutation.faults.catalogue import FAULTS, Fault


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
    chosen = selected(options.only, [(each.name, each.does) for each in FAULTS], kind="fault",
                      listing="invoke faults --list")  # fmt: skip
    wanted = [fault for fault, runs in zip(FAULTS, chosen, strict=True) if runs]
    if options.list:
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
