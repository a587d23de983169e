"""Which version of nanoclaw works on which version of Podman, derived from evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from checks.core import strict_toml
from checks.evidence.model import Verification
from checks.nanoclaw.discovery import facts
from checks.nanoclaw.discovery.catalogue import catalogue, judge
from checks.nanoclaw.fetch import PINS, Pin, Pins

_NAMED = 2
"""At most so many commands are named in a cell."""


@dataclass(frozen=True)
class Support:
    """How the commands that a nanoclaw's host process runs fared on a host."""

    failed: Sequence[str]
    """The labels of the cases that failed."""
    missing: Sequence[str]
    """Commands whose main case has not run there."""
    commands: int
    """All of them."""

    @property
    def works(self) -> bool:
        """Whether each command was proved, and nothing failed."""
        return not self.failed and not self.missing

    @property
    def cell(self) -> str:
        """For a table."""
        if self.failed:
            return f"✗ {'; '.join(self.failed)}"
        if len(self.missing) > _NAMED:
            return f"– {len(self.missing)} of {self.commands} commands not tested"
        return "✓" if self.works else f"– not tested: {', '.join(f'`{_short(each)}`' for each in self.missing)}"


def _short(command: str) -> str:
    """A command without its options."""
    return command.partition(" -")[0]


def pins() -> Sequence[Pin]:
    """The pinned versions of nanoclaw, oldest first."""
    return strict_toml.load(PINS, Pins).pin


@cache
def commands(nanoclaw: str) -> dict[str, tuple[str, ...]]:
    """The commands of a nanoclaw's host process, with the cases that prove each. The first case is the main one.

    They come from the hand-made list of the commands and from the list of what proves them.
    """
    known = catalogue()
    hot = [place for place in facts.listed(f"v{nanoclaw}") if place.hot and place.form]
    return {place.text: judge(place, known).cases for place in hot}


def support(nanoclaw: str, evidence: Verification) -> Support:
    """What a run of the cases says of a nanoclaw on its host."""
    failed: dict[str, None] = {}
    missing: dict[str, None] = {}
    proofs = commands(nanoclaw)
    for command, cases in proofs.items():
        found = [case for case in map(evidence.case, cases) if case and case.outcome != "skipped"]
        failed |= {case.label: None for case in found if case.outcome == "failed"}
        if not any(case.id == cases[0] for case in found):
            missing[command] = None
    return Support(tuple(failed), tuple(missing), len(proofs))


def summary(nanoclaw: str, podmans: Sequence[Verification]) -> str:
    """The versions of Podman on which it works: the lowest one, if every higher one was tested and works, too.

    ``podmans`` are sorted by version.
    """
    verdicts = [(each.host.version, support(nanoclaw, each)) for each in podmans]
    failing = [version for version, verdict in verdicts if verdict.failed]
    after = [version for version, _ in verdicts].index(failing[-1]) + 1 if failing else 0
    working = [version for version, verdict in verdicts[after:] if verdict.works]
    unknown = [version for version, verdict in verdicts[after:] if verdict.missing]
    if working and not unknown:
        return f"Podman {working[0]} or later"
    parts = [("works on", working), ("fails on", [] if working else failing), ("not tested as a whole on", unknown)]
    return "; ".join(f"{verb} Podman {', '.join(versions)}" for verb, versions in parts if versions)
