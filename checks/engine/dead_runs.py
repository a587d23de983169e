"""Removal of what a dead run left in the store of an engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from checks.core import run_directories
from checks.core.errors import HostProblem
from checks.core.process import TimedOut
from checks.core.run_directories import Run
from checks.engine.case_context import remove_objects
from checks.hosts.base import Host
from checks.hosts.local import LocalHost


def store_of(account: Host) -> str:
    """The engine of an account and its store, for a run's record. The same whatever name the host was given."""
    facts = account.facts()
    return f"{facts.engine} {facts.graph_root}{facts.machine and f' of machine {facts.machine}'}"


def left_on(account: Host) -> Iterator[Run]:
    """The dead runs that used an account, under this name of its host or another one."""
    identified = account.facts().machine != ""
    for run, where in run_directories.dead_runs():
        if where == account.name or (identified and run_directories.store_of(run) == store_of(account)):
            yield run


def removed_from(account: Host, run: Run) -> str:
    """Remove a run's containers, images and directories from an account; what is left, empty if nothing is.

    Another engine or store than the run's has nothing of it: that is not removed then.
    """
    what = f"containers, images or directories of run {run.id}"
    try:
        now, then = store_of(account), run_directories.store_of(run)
    except (TimedOut, HostProblem):
        return what
    if then and not now.startswith(then):  # older versions did not record the machine
        return f"{what}, in the store of {then}; now it is {now}"
    return "" if remove_objects(account, run.id) else what


def removed_here(run: Run, where: str) -> str:
    """``removed_from`` this machine, if the run may have used it; ``where`` is its host, empty if that is not known."""
    here = where == "local" or (not where and shutil.which("podman"))
    return removed_from(LocalHost(), run) if here else ""
