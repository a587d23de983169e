"""``invoke patterns``: every docker command in a nanoclaw checkout, and the case that covers it."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Annotated

from tabulate import tabulate

from checks.core.errors import Exit, WrongUsage
from checks.core.outcome import headline
from checks.core.paths import FIXTURES
from checks.core.terminal import say
from checks.nanoclaw.agent import Agent, find, of_checkout
from checks.nanoclaw.discovery.discover import Found, discover
from checks.nanoclaw.discovery.invocation import Shape, shape_of

CATALOGUE = FIXTURES / "patterns.toml"


@dataclass(frozen=True)
class Covered:
    """A kind of command, and what becomes of it: the cases that prove it, or why none does."""

    shape: Shape
    cases: tuple[str, ...] = ()
    reason: str = ""
    files: tuple[str, ...] = ("*",)
    """The files that it speaks of."""

    def covers(self, found: Found) -> bool:
        """Whether it speaks of a command. An exception does not excuse what nanoclaw itself runs."""
        allowed = bool(self.cases) or not found.hot
        return allowed and _among(found, self.files) and found.shape.within(self.shape)


@dataclass(frozen=True)
class Filled:
    """Arguments that no source shows, and which they are: a case must prove these too."""

    arguments: str
    adds: tuple[str, ...]
    files: tuple[str, ...]
    reason: str

    def speaks_of(self, found: Found) -> bool:
        """Whether a command has these arguments."""
        return self.arguments in found.shape.unfollowed and _among(found, self.files)


@dataclass(frozen=True)
class Catalogue:
    """What is known of docker commands."""

    covered: Sequence[Covered]
    filled: Sequence[Filled] = ()

    def complete(self, found: Found) -> tuple[Found, list[str]]:
        """A command with the arguments that its source does not show, as far as they are known, and from where."""
        filled = [each for each in self.filled if each.speaks_of(found)]
        for each in filled:
            found = replace(found, shape=found.shape.knowing(each.arguments, each.adds))
        return found, [each.reason for each in filled]


def catalogue(text: str = "") -> Catalogue:
    """What fixtures/patterns.toml says, or another text of its kind."""
    table = tomllib.loads(text or CATALOGUE.read_text())
    proven = [Covered(_shape(each["command"]), tuple(each["cases"])) for each in table.get("covered", [])]
    excepted, filled = [], []
    for each in table.get("exception", []):
        files, reason = tuple(each["files"]), str(each["reason"])
        if "arguments" in each:
            filled.append(Filled(each["arguments"], tuple(shlex.split(each["adds"])), files, reason))
        else:
            excepted.append(Covered(_shape(each["command"]), reason=reason, files=files))
    return Catalogue([*proven, *excepted], filled)


def cover(found: Found, known: Catalogue) -> Covered | None:
    """The first entry that covers a command, together with the arguments that its source does not show."""
    complete, reasons = known.complete(found)
    for each in known.covered:
        if each.covers(complete):
            return replace(each, reason="; ".join(filter(None, [each.reason, *reasons])))
    return None


def patterns(nanoclaw: Annotated[str, "a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw)"] = "") -> Exit:
    """Find every docker command in a nanoclaw checkout, and the case that covers it.

    Exit status: 0 a case covers every command that nanoclaw itself runs; 1 at least one is not covered; 2 wrong usage.
    """
    try:
        agent = _agent(nanoclaw)
        assert agent.checkout
        found = discover(agent.checkout)
    except WrongUsage as problem:
        say(headline(problem), error=True)
        return problem.exit
    known = catalogue()
    rows = [(f"{each.file}:{each.line}", each.shape.text, told(each, known)) for each in found]
    say(f"The docker commands of {agent.name}:\n")
    say(tabulate(rows, headers=("Where", "Command", "Covered by"), maxcolwidths=[None, 60, 40]))
    open_ones = [each for each in found if cover(each, known) is None]
    hot = [each for each in open_ones if each.hot]
    say(f"\n{len(found)} commands, {len(open_ones)} covered by no case, {len(hot)} of these run by nanoclaw itself.")
    return Exit.CASE_FAILED if hot else Exit.OK


def told(found: Found, known: Catalogue) -> str:
    """What the report says of a command."""
    covered = cover(found, known)
    if covered is None:
        verdict = "NO CASE" if found.hot else "no case (not run by nanoclaw itself)"
        names = ", ".join(sorted(known.complete(found)[0].shape.unfollowed))
        return f"{verdict}: arguments that could not be followed: {names}" if names else verdict
    cases = ", ".join(covered.cases)
    return "; ".join(filter(None, [cases, covered.reason])) if cases else f"exception: {covered.reason}"


def _agent(option: str) -> Agent:
    checkout = find(option)
    if checkout is None:
        raise WrongUsage("No nanoclaw checkout was named.", "Name one with --nanoclaw DIR, or: invoke nanoclaw fetch")
    return of_checkout(checkout)


def _among(found: Found, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(found.file, glob) for glob in globs)


def _shape(command: str) -> Shape:
    return shape_of(shlex.split(command)[1:])
