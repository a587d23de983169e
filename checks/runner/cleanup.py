"""``invoke clean``: remove kept runs, dead runs and, on request, the cache."""

from __future__ import annotations

from checks.core import run_directories
from checks.core.errors import Exit
from checks.core.progress import Progress
from checks.engine.case_context import remove_objects
from checks.hosts.local import LocalHost


def clean(*, cache: bool) -> Exit:
    """Remove what kept and dead runs left on this machine; with ``cache`` also the built hosts and images.

    HOST_UNUSABLE if something could not be removed; such a run is removed by the next call.
    """
    progress = Progress()
    left: list[str] = []
    for run, where in (*run_directories.kept_runs(), *run_directories.dead_runs()):
        if where.startswith("ssh://"):
            run.aims_at(where)  # no longer kept: the next run there takes its objects along
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
