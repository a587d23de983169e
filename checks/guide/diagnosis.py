"""Which troubleshooting entries apply to a host, based on its snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checks.guide.catalogue import Entry
from checks.guide.explain import find_entries
from checks.guide.host_checks import CHECKS
from checks.guide.podman_errors import last_line, podman_failure
from checks.guide.snapshot import HostSnapshot


@dataclass(frozen=True)
class Diagnosis:
    """An entry that applies, and the observation that shows it."""

    entry: Entry
    observation: str


def diagnose(host: HostSnapshot, entries: Mapping[str, Entry]) -> Sequence[Diagnosis]:
    """Find the entries that apply, the most severe first.

    An error of ``podman info`` is looked up too: its entry replaces the generic one if no check has found the cause.
    """
    found = [
        Diagnosis(entries[each.entry], observation)
        for each in CHECKS.values()
        if (observation := each.find(host))
    ]  # fmt: skip
    error = "\n".join(filter(None, (host.text("podman_error"), host.text("info_error"))))
    if not host.root and host.first("info") + error:
        known = {each.entry.id for each in found} | {"docker-info-fails"}
        others = [entry for entry in find_entries(error, entries) if entry.id not in known]
        found += [Diagnosis(entry, podman_failure(host) or f"podman info: {last_line(error)}") for entry in others]
    order = list(CHECKS)
    # Podman's own complaints come before wrong settings, and first of all if Podman doesn't work.
    looked_up = len(order) if host.first("info_ok") else order.index("docker-info-fails") - 0.5
    return sorted(found, key=lambda each: order.index(each.entry.id) if each.entry.id in CHECKS else looked_up)
