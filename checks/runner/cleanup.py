"""``invoke clean``: remove kept runs, dead runs and, on request, the cache."""

from __future__ import annotations

from typing import Annotated

from checks.core import run_directories
from checks.core.errors import Exit
from checks.core.progress import Progress
from checks.engine.case_context import remove_objects
from checks.hosts.local import LocalHost


def clean(cache: Annotated[bool, "also remove the built throwaway hosts and agent images"] = False) -> Exit:
    """Remove what kept and killed runs left on this machine.

    Exit status: 0 everything was removed; 2 wrong usage; 3 something could not be removed.
    """
    progress = Progress()
    left: list[str] = []
    for run, where in (*run_directories.kept_runs(), *run_directories.dead_runs()):
        if where.startswith("ssh://"):
            run.record_host(where)  # no longer kept: the next run there takes its objects along
            progress.say(f"Run {run.id} left objects on {where}; the next “invoke verify --host {where}” removes them.")
            continue
        run_directories.stop(run)
        if where == "local" and not remove_objects(LocalHost(), run.id):
            left.append(f"containers, images or directories of run {run.id}")
            continue
        run_directories.remove(run)
        if still := run_directories.leftovers(run.id, run_directories.cache()):
            left += still
        else:
            progress.say(f"Removed run {run.id}.")
    for built in ("hosts", "images") if cache else ():
        directory = run_directories.cache() / built
        run_directories.remove_tree(directory)
        if directory.exists():
            left.append(f"directory {directory}")
        else:
            progress.say(f"Removed {directory}.")
    if left:
        progress.say(f"Not removed: {'; '.join(left)}.")
    return Exit.HOST_UNUSABLE if left else Exit.OK
