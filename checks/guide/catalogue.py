"""The catalogue: everything that is known to go wrong, a file of fixtures/troubleshooting an entry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from checks.core.errors import WrongUsage
from checks.core.log_patterns import Pattern
from checks.core.paths import FIXTURES
from checks.core.tables import StrictTable
from checks.guide.reproduction import Commands, Reproduction, Who, commands, reproduction

DIRECTORY = FIXTURES / "troubleshooting"

_LINK = re.compile(r"\]\(([^)]+)\)")
_ANCHOR = re.compile(r"[a-z0-9_-]+")


class Lines:
    """A text's lines, made ready to be looked through for every entry."""

    def __init__(self, lines: Iterable[str]) -> None:
        said = [line.replace('\\"', '"') for line in lines]  # as Podman's log has what it quotes
        self.lines = [(line, line.lower()) for line in said]
        self.lowered = "\n".join(lowered for _, lowered in self.lines)


class Section(StrEnum):
    """The sections of the document, in its order. The name in lower case is what a file says."""

    PODMAN = "Podman / container issues"
    NANOCLAW = "Nanoclaw issues"
    WSL2 = "WSL2-specific issues"
    BARE_METAL = "Bare-metal-specific issues"
    HARDENING = "Security hardening issues"


_SECTIONS = {section.name.lower().replace("_", "-"): section for section in Section}


@dataclass(frozen=True)
class Seen:
    """Where something was seen."""

    host: str
    podman: str

    def __str__(self) -> str:
        return f"{self.host} (Podman {self.podman})"


@dataclass(frozen=True)
class Error:
    """A message that no reproduction has captured: where it was seen otherwise. With no ``seen`` it is as others report
    it, or as a program's source has it."""

    text: str
    seen: tuple[Seen, ...]


@dataclass(frozen=True)
class Step:
    """A step of a fix: what to do, in words, and the commands that mend it."""

    text: str
    commands: Commands
    show: str
    """What is printed for the reader alone, and never run: a command that only looks, or has a name to fill in; lines
    of a file."""


@dataclass(frozen=True)
class Link:
    """Where more is said."""

    text: str
    url: str


@dataclass(frozen=True)
class Entry:
    """One thing that goes wrong."""

    id: str
    """The anchor: what the forge makes of the title, and the name of the file."""
    section: Section
    title: str
    """The symptom, as a user would put it."""
    likelihood: int
    """From 9, which nearly everybody meets, to 1."""
    quick: str
    """The fix in a few words."""
    behaviour: str
    errors: tuple[Error, ...]
    matches: tuple[Pattern, ...]
    """What an error message of it has, on one line and as no other's does."""
    warning: bool
    """Whether such a message stands beside others and tells less than they do: entries on those come first."""
    cause: str
    fix: tuple[Step, ...]
    prevention: str
    links: tuple[Link, ...]
    reproduce: Reproduction | None
    not_reproduced: str
    """Why no run can."""

    @property
    def rank(self) -> tuple[int, int, str]:
        """By which entries are sorted: the likeliest first."""
        return (-self.likelihood, list(Section).index(self.section), self.title.casefold())

    @property
    def commands(self) -> Sequence[Commands]:
        """The commands of its fix, in order, those for Windows aside."""
        return [each.commands for each in self.fix if each.commands.run and each.commands.who is not Who.WINDOWS]

    def matched(self, text: Lines) -> int:
        """How many characters of a line of a text are this entry's message; 0 where none is in it."""
        return max(
            (
                each.longest(line, lowered)
                for each in self.matches
                if each.possible(text.lowered)
                for line, lowered in text.lines
            ),
            default=0,
        )

    def texts(self) -> Sequence[str]:
        """All its prose."""
        return [self.quick, self.behaviour, self.cause, self.prevention, *(step.text for step in self.fix)]


def anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def load(directory: Path = DIRECTORY) -> Mapping[str, Entry]:
    """All entries by their ids, the likeliest first. Raises WrongUsage that names file, key and reason."""
    entries = sorted((_entry(path) for path in sorted(directory.glob("*.toml"))), key=lambda entry: entry.rank)
    if not entries:
        raise WrongUsage(f"{directory} has no entries.")
    known = {entry.id: entry for entry in entries}
    for entry in entries:
        for target in [*_LINK.findall("\n".join(entry.texts())), *(link.url for link in entry.links)]:
            if target.startswith("#") and target[1:] not in known:
                raise WrongUsage(f"{directory / entry.id}.toml: “{target}” is linked to, and is no entry.")
    return known


def _entry(path: Path) -> Entry:
    table = StrictTable.of_file(path)
    title = table.text("title")
    if anchor(title) != path.stem or not _ANCHOR.fullmatch(path.stem):
        raise table.wrong("title", f"has the anchor “{anchor(title)}”, and the file must be named after it")
    entry = Entry(
        id=path.stem,
        section=_SECTIONS[table.choice("section", list(_SECTIONS))],
        title=title,
        likelihood=table.number("likelihood", 1, 9),
        quick=table.text("quick"),
        behaviour=table.text("behaviour", ""),
        errors=tuple(_error(each) for each in table.tables("error")),
        matches=table.patterns("matches"),
        warning=table.flag("warning"),
        cause=table.text("cause"),
        fix=tuple(_step(each) for each in table.tables("fix")),
        prevention=table.text("prevention", ""),
        links=tuple(_link(each) for each in table.tables("links")),
        reproduce=reproduction(table.table("reproduce")) if table.has("reproduce") else None,
        not_reproduced=table.text("not_reproduced", ""),
    )
    table.end()
    if not entry.fix:
        raise table.wrong("fix", "is missing")
    if "\n" in entry.quick or "|" in entry.quick:
        raise table.wrong("quick", "must be one line without “|”: it is a cell of a table")
    if entry.not_reproduced and entry.reproduce:
        raise table.wrong("not_reproduced", "contradicts the entry's own reproduction")
    if entry.reproduce and not entry.reproduce.unmended and not entry.commands:
        raise table.wrong("reproduce", "needs a fix that can be run: no step has “run”")
    if entry.errors and not entry.matches:
        raise table.wrong("matches", "is missing, so that the entry's own error would not be found")
    return entry


def _seen(table: StrictTable) -> Seen:
    seen = Seen(table.text("host"), table.text("podman"))
    table.end()
    return seen


def _error(table: StrictTable) -> Error:
    error = Error(table.text("text"), tuple(_seen(each) for each in table.tables("seen")))
    table.end()
    return error


def _link(table: StrictTable) -> Link:
    link = Link(table.text("text"), table.text("url"))
    table.end()
    if not link.url.startswith(("https://", "#", "../")):
        raise table.wrong("url", "must begin with https://, # or ../")
    return link


def _step(table: StrictTable) -> Step:
    step = Step(table.text("text", ""), commands(table), table.text("show", ""))
    table.end()
    if step.commands.run and step.show:
        raise table.wrong("show", "can't stand beside “run”: make it a step of its own")
    if not (step.text or step.commands.run or step.show):
        raise table.wrong("text", "is missing")
    return step
