"""A host that is ready, with what runs an agent on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from checks.core import run_directories
from checks.core.progress import Progress
from checks.engine.environment import Stage, stage
from checks.nanoclaw.agent import available
from checks.nanoclaw.provider import Kit, Supply


@contextlib.contextmanager
def opened(spec: str, profile: str | None, nanoclaw: str, progress: Progress) -> Iterator[tuple[Stage, Kit]]:
    """A run of its own: the stage on the host that ``spec`` names, and the kit of the first agent that there is.

    ``nanoclaw`` is a checkout's folder, or empty. Raises as ``stage`` does.
    """
    agents = available(nanoclaw)
    with (
        run_directories.new_run() as run,
        stage(spec, profile, run, progress) as ready,
        contextlib.closing(Supply(ready, progress)) as supply,
    ):
        yield ready, Kit(next(iter(agents.values())), supply)
