"""``invoke clean``: an end to kept runs, dead runs, and on demand to the cache."""

from __future__ import annotations

import shutil

from checks import runs
from checks.bench import remove_objects
from checks.hosts.local import LocalHost
from checks.problems import Exit
from checks.progress import Progress


def clean(*, cache: bool) -> Exit:
    """Remove what kept and dead runs left on this machine, and with ``cache`` all that was built."""
    progress = Progress()
    for run, where in (*runs.kept_runs(), *runs.dead_runs()):
        if where.startswith("ssh://"):
            run.aims_at(where)  # no longer kept: the next run there takes its objects along
            progress.say(f"Run {run.id} left objects on {where}; the next “invoke verify --host {where}” removes them.")
            continue
        runs.stop(run)
        if where == "local":
            remove_objects(LocalHost(), run.id)
        runs.remove(run)
        progress.say(f"Removed run {run.id}.")
    if cache:
        for built in ("hosts", "images"):
            shutil.rmtree(runs.cache() / built, ignore_errors=True)
        progress.say("Removed the built hosts and agent images.")
    return Exit.OK
