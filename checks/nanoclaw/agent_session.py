"""A host that is ready, with what runs an agent on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from checks.core import run_directories
from checks.core.progress import Progress
from checks.engine.prepared_host import PreparedHost, prepared
from checks.nanoclaw.agent import available
from checks.nanoclaw.provider import AgentHandle, AgentProvider


@contextlib.contextmanager
def opened(
    spec: str, profile: str | None, nanoclaw: str, progress: Progress
) -> Iterator[tuple[PreparedHost, AgentHandle]]:
    """A run of its own: the stage on the host that ``spec`` names, and the kit of the first agent that there is.

    ``nanoclaw`` is a checkout's directory, or empty. Raises as ``prepared`` does.
    """
    agents = available(nanoclaw)
    with (
        run_directories.new_run() as run,
        prepared(spec, profile, run, progress) as ready,
        contextlib.closing(AgentProvider(ready, progress)) as provider,
    ):
        yield ready, AgentHandle(next(iter(agents.values())), provider)
