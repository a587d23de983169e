"""What the guide says of an error that stopped a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from checks.core.errors import HostProblem
from checks.core.paths import GUIDE
from checks.guide import catalogue, snapshot
from checks.guide.diagnosis import diagnose
from checks.guide.explain import find_entries
from checks.guide.findings import fix_on
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
    found = {entry.id: entry.quick_fix for entry in find_entries(str(problem), entries) if not entry.warning}
    if local:
        with contextlib.suppress(HostProblem):
            taken = snapshot.take(LocalHost())
            found |= {each.entry.id: fix_on(each.entry, taken) for each in diagnose(taken, entries)}
    return [f"{entries[id_].title}: {fix} ({GUIDE}#{id_})" for id_, fix in list(found.items())[:_NAMED]]
