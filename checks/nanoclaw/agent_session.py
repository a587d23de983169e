"""A prepared host with an agent to run on it."""

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
    """Start a run on the host that ``spec`` names, with the first available agent.

    ``nanoclaw`` is a checkout's directory, or empty. Raises like ``prepared``.
    """
    agents = available(nanoclaw)
    with (
        run_directories.new_run() as run,
        prepared(spec, profile, run, progress) as ready,
        contextlib.closing(AgentProvider(ready, progress)) as provider,
    ):
        yield ready, AgentHandle(next(iter(agents.values())), provider)
