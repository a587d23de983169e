"""``invoke patterns``: every docker command in a nanoclaw checkout, and the case that covers it."""

from __future__ import annotations

import shlex
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from checks.hosts.recipe import FIXTURES
from checks.nanoclaw.agent import Agent, find, of_checkout
from checks.nanoclaw.discovery import Found, discover
from checks.nanoclaw.invocation import Shape, shape_of
from checks.problems import Exit, WrongUsage, headline

CATALOGUE = FIXTURES / "patterns.toml"


@dataclass(frozen=True)
class Covered:
    """A kind of command, and what becomes of it: the cases that prove it, or why none does."""

    shape: Shape
    cases: tuple[str, ...] = ()
    reason: str = ""


def catalogue() -> list[Covered]:
    """What fixtures/patterns.toml says."""
    table = tomllib.loads(CATALOGUE.read_text())
    proven = [Covered(_shape(each["command"]), tuple(each["cases"])) for each in table["covered"]]
    excepted = [Covered(_shape(each["command"]), reason=each["reason"]) for each in table["exception"]]
    return [*proven, *excepted]


def cover(found: Found, known: Sequence[Covered]) -> Covered | None:
    """The first entry that covers a command. An exception does not excuse what nanoclaw itself runs."""
    for each in known:
        if found.shape.within(each.shape) and (each.cases or not found.hot):
            return each
    return None


def patterns(option: str) -> Exit:
    """Print every docker command of a checkout. CASE_FAILED where one of nanoclaw's own is covered by no case."""
    try:
        agent = _agent(option)
    except WrongUsage as problem:
        print(headline(problem), file=sys.stderr)
        return problem.exit
    assert agent.checkout
    known = catalogue()
    found = discover(agent.checkout)
    rows = [(f"{each.file}:{each.line}", each.shape.text, _told(each, cover(each, known))) for each in found]
    print(f"The docker commands of {agent.name}:\n")
    print(tabulate(rows, headers=("Where", "Command", "Covered by"), maxcolwidths=[None, 60, 40]))
    open_ones = [each for each in found if cover(each, known) is None]
    hot = [each for each in open_ones if each.hot]
    print(f"\n{len(found)} commands, {len(open_ones)} covered by no case, {len(hot)} of these run by nanoclaw itself.")
    return Exit.CASE_FAILED if hot else Exit.OK


def _agent(option: str) -> Agent:
    checkout = find(option)
    if checkout is None:
        raise WrongUsage("No nanoclaw checkout was named.", "Name one with --nanoclaw DIR, or: invoke nanoclaw fetch")
    return of_checkout(checkout)


def _told(found: Found, covered: Covered | None) -> str:
    if covered is None:
        return "NO CASE" if found.hot else "no case (not run by nanoclaw itself)"
    return ", ".join(covered.cases) or f"exception: {covered.reason}"


def _shape(command: str) -> Shape:
    return shape_of(shlex.split(command)[1:])
