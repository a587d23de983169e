"""What the guide says of an error that stopped a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from checks.core.errors import HostProblem
from checks.core.paths import GUIDE
from checks.guide import catalogue, snapshot
from checks.guide.catalogue import Entry
from checks.guide.diagnosis import diagnose
from checks.guide.explain import find_entries
from checks.hosts.local import LocalHost

_NAMED = 3
"""At most so many entries are named."""


@contextlib.contextmanager
def advised(*, local: bool) -> Iterator[None]:
    """Add the fixes of the matching troubleshooting entries to an error of the host.

    ``local``: the host is this machine, so that what the doctor finds here may be the cause.
    """
    try:
        yield
    except HostProblem as problem:
        for line in _advice(problem, local=local):
            problem.add_note(line)
        raise


def _advice(problem: HostProblem, *, local: bool) -> list[str]:
    entries = catalogue.load()
    found = {entry.id: entry for entry in find_entries(str(problem), entries) if not entry.warning}
    if local:
        with contextlib.suppress(HostProblem):
            found |= {each.entry.id: each.entry for each in diagnose(snapshot.take(LocalHost()), entries)}
    return [line_of(entry) for entry in list(found.values())[:_NAMED]]


def line_of(entry: Entry) -> str:
    """An entry in one line: its title, its quick fix and where to read more."""
    return f"{entry.title}: {entry.quick_fix} ({GUIDE}#{entry.id})"
