"""Failures that a user accepts, with a reason and a date: ``--accept`` and ``--accept-file``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from checks.core import strict_toml
from checks.core.errors import WrongUsage
from checks.core.strict_toml import Table, Text
from checks.core.terminal import one_line, say


class Acceptance(Table, frozen=True):
    """A failure that is accepted, in the file of ``--accept-file``."""

    id: Text
    reason: Text
    until: date
    """The last day on which it is accepted."""


class _Acceptances(Table, frozen=True):
    accept: tuple[Acceptance, ...]


def accepted_ids(ids: Sequence[str], file: str, known: Collection[str], today: date | None = None) -> dict[str, str]:
    """The reasons of the accepted failures, by id, without those of the file that have ended: see ``tell_ended``.

    Raises WrongUsage for an unknown id and a file that is not valid.
    """
    day = today or datetime.now(UTC).date()
    given = dict.fromkeys(ids, "--accept")
    for each in _read(file):
        if each.until >= day or each.id not in known:
            given[each.id] = f"{one_line(each.reason)} (until {each.until})"
    if unknown := [id_ for id_ in given if id_ not in known]:
        raise WrongUsage(f"“{unknown[0]}” is not an id that can be accepted.", "See the ids in the JSON of the report.")
    return given


def tell_ended(file: str) -> None:
    """Print which of the file's acceptances have ended. Raises WrongUsage for a file that is not valid."""
    for each in _read(file):
        if each.until < datetime.now(UTC).date():
            say(f"{file}: {each.id} was accepted until {each.until}, and is not any more.", error=True)


def _read(file: str) -> tuple[Acceptance, ...]:
    """The entries of a file, one for an id; none without a file. Raises WrongUsage."""
    found = strict_toml.load(Path(file), _Acceptances).accept if file else ()
    ids = [each.id for each in found]
    if doubled := next((id_ for id_ in ids if ids.count(id_) > 1), ""):
        raise WrongUsage(f"{file} has two entries with the id “{doubled}”.", "Remove one of them.")
    return found
