"""Which cases prove which commands, and what is accepted without one: fixtures/patterns.toml."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from checks.core import strict_toml
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text
from checks.nanoclaw.discovery.discover import Found
from checks.nanoclaw.discovery.form import Form, form_of
from checks.nanoclaw.discovery.rules import among

CATALOGUE = FIXTURES / "patterns.toml"


class Covered(Table, frozen=True):
    """A command that cases prove."""

    command: Text
    cases: tuple[Text, ...]


class Accepted(Table, frozen=True):
    """What is accepted without a case, in the files that match a glob. One of the first three keys says what."""

    files: tuple[Text, ...]
    reason: Text
    command: str = ""
    """A command that nanoclaw itself doesn't run; with ``*`` at its end, any that begins like this."""
    arguments: str = ""
    """What computes arguments that the sources don't show."""
    adds: str = ""
    """The options that they may be; with these, a case must prove the command."""
    unread: str = ""
    """What could not be followed; with ``*`` at its end, the start of it."""

    def __post_init__(self) -> None:
        if [bool(self.command), bool(self.arguments), bool(self.unread)].count(True) != 1:
            raise ValueError("“command”, “arguments” or “unread” must be there, and one of them only")


class Catalogue(Table, frozen=True, dict=True):
    """The content of the file."""

    covered: tuple[Covered, ...] = ()
    exception: tuple[Accepted, ...] = ()

    @cached_property
    def forms(self) -> Sequence[tuple[Form, Covered]]:
        """The covered commands, with their forms."""
        return [(form_of(shlex.split(each.command)), each) for each in self.covered]

    def completed(self, found: Found) -> tuple[Form | None, str]:
        """A form with the arguments that its source does not show, as far as they are known, and how they are."""
        form, reasons = found.form, []
        for each in self.exception:
            if form and each.arguments in form.unknown and among(found.file, each.files):
                form = form.completed(each.arguments, shlex.split(each.adds))
                reasons.append(each.reason)
        return form, "; ".join(reasons)


@dataclass(frozen=True)
class Verdict:
    """What is known of a place."""

    cases: tuple[str, ...] = ()
    reason: str = ""
    problem: str = ""
    """Why it is not accepted; empty if it is."""

    @property
    def text(self) -> str:
        """For the report."""
        proofs = ", ".join(self.cases)
        return self.problem or "; ".join(filter(None, [proofs, self.reason if proofs else f"exception: {self.reason}"]))


def catalogue() -> Catalogue:
    """The project's catalogue."""
    return strict_toml.load(CATALOGUE, Catalogue)


def judge(found: Found, known: Catalogue) -> Verdict:
    """Whether cases prove what a place runs, or why none has to."""
    here = [each for each in known.exception if among(found.file, each.files)]
    form, reasons = known.completed(found)
    if form is None:
        accepted = next((each for each in here if each.unread and _begins(found.unread, each.unread)), None)
        return Verdict(reason=accepted.reason) if accepted else Verdict(problem="NOT FOLLOWED")
    for proven, entry in known.forms:
        if proven.covers(form):
            return Verdict(entry.cases, reasons)
    for each in here if not found.hot else []:
        if each.command and _excused(form, each.command):
            return Verdict(reason=each.reason)
    if form.unknown:
        return Verdict(problem=f"NOT FOLLOWED: arguments from {', '.join(sorted(form.unknown))}")
    return Verdict(problem="NO CASE" if found.hot else "no case (not run by nanoclaw itself)")


def _excused(form: Form, command: str) -> bool:
    if command.endswith(" *"):
        return f"{form.text} ".startswith(command.removesuffix("*"))
    return form_of(shlex.split(command)).covers(form)


def _begins(text: str, pattern: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
