"""``invoke clean``: remove kept runs, dead runs and, on request, the cache."""

from __future__ import annotations

from typing import Annotated

from checks.core import run_directories, run_processes
from checks.core.errors import Exit
from checks.core.progress import Progress
from checks.engine.dead_runs import removed_here


def clean(cache: Annotated[bool, "also remove the built throwaway hosts and agent images"] = False) -> Exit:
    """Remove the remains of killed runs and of --keep from this machine. Active runs are only listed.

    Exit status: 0 everything was removed, except active runs; 2 wrong usage; 3 something could not be removed.
    """
    progress = Progress()
    active, left = _locked(progress)
    left += _remove_runs(progress)
    for built in ("hosts", "images") if cache else ():
        directory = run_directories.cache() / built
        if not directory.exists():
            continue
        if active:
            left.append(f"directory {directory} (used by {', '.join(active)})")
            continue
        run_directories.remove_tree(directory)
        if directory.exists():
            left.append(f"directory {directory}")
        else:
            progress.say(f"Removed {directory}.")
    if left:
        progress.say(f"Not removed: {'; '.join(left)}.")
    return Exit.HOST_UNUSABLE if left else Exit.OK


def _locked(progress: Progress) -> tuple[list[str], list[str]]:
    """The active runs, which are reported, and those whose lock can't be taken for another reason."""
    active, left = [], []
    for each in run_directories.locked_runs():
        named = f"run {each.id}{f' on {each.host}' if each.host else ''}"
        if each.problem:
            left.append(f"{named} ({each.problem})")
        else:
            active.append(named)
            progress.say(f"Left {named}: it is active (process {', '.join(map(str, each.processes))}).")
    return active, left


def _remove_runs(progress: Progress) -> list[str]:
    """Remove kept and dead runs; what is left of them."""
    left: list[str] = []
    for run, where in (*run_directories.kept_runs(), *run_directories.dead_runs()):
        if where.startswith("ssh://"):
            run.record_host(
                where, run_directories.store_of(run)
            )  # no longer kept: the next run there takes its objects along
            progress.say(f"Run {run.id} left objects on {where}; the next “invoke verify --host {where}” removes them.")
            continue
        run_processes.stop(run.id)
        if objects := removed_here(run, where):
            left.append(objects)
            continue
        run_directories.remove(run)
        if still := run_directories.leftovers(run.id, run_directories.cache()):
            left += still
        else:
            progress.say(f"Removed run {run.id}.")
    return left
