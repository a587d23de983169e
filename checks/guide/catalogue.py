"""The troubleshooting catalogue: one file in fixtures/troubleshooting for each known problem."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from checks.core import strict_toml
from checks.core.errors import WrongUsage
from checks.core.log_patterns import Pattern
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text
from checks.guide.facts import Condition, Facts, Kind
from checks.guide.log_text import Line, LogText
from checks.hosts import recipe

DIRECTORY = FIXTURES / "troubleshooting"

_WIDTH = 120
_LINK = re.compile(r"\]\(([^)]+)\)")
_ANCHOR = re.compile(r"[a-z0-9_-]+")

ExitStatus = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Section(StrEnum):
    """The sections of the document, in its order, by their keys in the files."""

    PODMAN = "podman"
    NANOCLAW = "nanoclaw"
    WSL2 = "wsl2"
    BARE_METAL = "bare-metal"
    HARDENING = "hardening"

    @property
    def heading(self) -> str:
        return _HEADINGS[self]


_HEADINGS = {
    Section.PODMAN: "Podman / container issues",
    Section.NANOCLAW: "Nanoclaw issues",
    Section.WSL2: "WSL2-specific issues",
    Section.BARE_METAL: "Bare-metal-specific issues",
    Section.HARDENING: "Security hardening issues",
}


class User(StrEnum):
    """The user that runs a command."""

    ACCOUNT = "account"
    """The account that runs nanoclaw."""
    ROOT = "root"
    WINDOWS = "windows"
    """The Windows user, in PowerShell. No test host can run these commands."""


_USER_LABELS = {User.ACCOUNT: "", User.ROOT: "As root:", User.WINDOWS: "In PowerShell, on Windows:"}


class Commands(Table, frozen=True):
    """Commands that run exactly as they are printed, as one script in a login shell."""

    user: User = User.ACCOUNT
    run: tuple[Text, ...] = ()

    @property
    def script(self) -> str:
        return "\n".join(self.run)


class HostCommands(Commands, frozen=True):
    """Commands that a throwaway host can run."""

    def __post_init__(self) -> None:
        if not self.run:
            raise ValueError("“run” is missing")
        if self.user is User.WINDOWS:
            raise ValueError("“user” is windows, but no throwaway host runs Windows")


class Step(Commands, frozen=True):
    """One step of a fix: an explanation, and either commands to run or lines to show."""

    text: str = ""
    show: str = ""
    """Printed for the reader and never run: commands that only inspect or have a placeholder, or lines of a file."""

    def __post_init__(self) -> None:
        if self.run and self.show:
            raise ValueError("“show” can't be combined with “run”: add a separate step")
        if not (self.text or self.run or self.show):
            raise ValueError("“text” is missing")

    @property
    def introduction(self) -> str:
        """The text, followed by the user that must run the commands."""
        return "\n\n".join(part for part in (self.text, _USER_LABELS[self.user]) if part)

    @property
    def block(self) -> str:
        """The code block: the commands or the lines to show. Empty if there is none."""
        return self.script or self.show


class Expected(Table, frozen=True):
    """The exit status and the output that a command must have."""

    exit_status: ExitStatus = 0
    pattern: re.Pattern[str] | None = None

    def matches(self, exit_status: int, output: str) -> bool:
        return exit_status == self.exit_status and (self.pattern is None or bool(self.pattern.search(output)))


class Symptom(HostCommands, kw_only=True, frozen=True):
    """Commands that show the problem, with the exit status and the output that prove it."""

    exit_status: ExitStatus
    pattern: re.Pattern[str]

    def matches(self, exit_status: int, output: str) -> bool:
        return exit_status == self.exit_status and bool(self.pattern.search(output))


class Reproduction(Table, frozen=True):
    """How to cause the problem on a throwaway host, detect it, and verify the fix."""

    host: str
    """The default host."""
    symptom: Symptom
    profile: Literal["recommended", "stock"] = "recommended"
    variables: dict[str, Text] = msgspec.field(default_factory=dict)
    """The variables of the fix that a reader must set, besides ``$account``, with their values on the host."""
    breaking: tuple[HostCommands, ...] = msgspec.field(default=(), name="break")
    """Commands that cause the problem. Empty if the host has it anyway; there is no baseline then."""
    setup: tuple[HostCommands, ...] = ()
    """Commands to run each time before the symptom's."""
    fixed: Expected = msgspec.field(default_factory=Expected)
    """The result of the symptom's commands on a fixed host."""
    not_fixed: str = ""
    """Why the fix can't be tested on a throwaway host."""
    not_diagnosed: str = ""
    """Why the doctor can't detect this reproduction, although it has a check for the entry."""
    undo: tuple[HostCommands, ...] = ()
    """Commands that restore the guest for the next entry. Without them, the guest is discarded."""

    def __post_init__(self) -> None:
        if self.host not in (known := recipe.known()):
            raise ValueError(f"“host” is “{self.host}”; it must be one of {', '.join(known)}")


class Place(Table, frozen=True):
    """A host on which an error was observed."""

    host: Text
    podman: Text

    def __str__(self) -> str:
        return f"{self.host} (Podman {self.podman})"


class Error(Table, frozen=True):
    """An error message. Without ``observed``, it is from other users' reports or from a program's source."""

    text: Text
    observed: tuple[Place, ...] = ()


class Link(Table, frozen=True):
    """A link to more information."""

    text: Text
    url: Text

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "#", "../")):
            raise ValueError("“url” must begin with https://, # or ../")


@dataclass(frozen=True)
class Match:
    """The part of a text that matches an entry."""

    entry: Entry
    kind: Kind
    line: Line
    start: int
    end: int

    @property
    def text(self) -> str:
        """What matched, in one form."""
        return self.line.text[self.start : self.end]

    @property
    def rank(self) -> tuple[int, bool, int, int, tuple[int, int, str]]:
        """The sort key: causes before warnings, the first line first, and in a line the longest (most specific).

        What only all lines together say comes after what one of them says.
        """
        line = 0 if self.kind is Kind.WARNING else self.line.number  # the shim's own warning precedes every other
        return (list(Kind).index(self.kind), self.line.whole, line, self.start - self.end, self.entry.rank)


class Entry(Table, frozen=True):
    """One known problem."""

    section: Section
    title: Text
    """The symptom as a user would describe it."""
    likelihood: Annotated[int, msgspec.Meta(ge=1, le=9)]
    """From 9 (nearly every user meets it) to 1."""
    quick_fix: Text
    cause: Text
    fix: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1)]
    behaviour: str = ""
    errors: tuple[Error, ...] = msgspec.field(default=(), name="error")
    """Messages that no reproduction has captured."""
    matches: tuple[Pattern, ...] = ()
    """Patterns that match a line of this problem's messages and of no other's."""
    when: tuple[Condition, ...] = ()
    """Facts of a line that only this problem's messages have, in any wording. See ``facts.Condition``."""
    warning: bool = False
    """Whether the patterns match a warning that often accompanies a more specific error, which is listed first."""
    harmless: bool = False
    """Whether the patterns match what never causes a failure: it explains no text with another error."""
    prevention: str = ""
    links: tuple[Link, ...] = ()
    reproduce: Reproduction | None = None
    not_reproduced: str = ""
    """Why no throwaway host can reproduce it."""

    @property
    def why_not_reproduced(self) -> str:
        """A sentence for an entry without a record of a reproduction."""
        if self.not_reproduced:
            return f"Not reproduced: {self.not_reproduced}."
        return "Not reproduced yet." if self.reproduce else "Not reproduced."

    def __post_init__(self) -> None:
        if "\n" in self.quick_fix or "|" in self.quick_fix:
            raise ValueError("“quick_fix” must be one line without “|”: it is a table cell")
        if self.not_reproduced and self.reproduce:
            raise ValueError("“not_reproduced” contradicts “reproduce”")
        if self.reproduce and not self.reproduce.not_fixed and not self.fix_commands:
            raise ValueError("“reproduce” needs a fix with commands: no step has “run”")
        if self.errors and not self.matches and not self.when:
            raise ValueError("“matches” is missing: it must match the entry's own error")

    @property
    def id(self) -> str:
        """The anchor of the title, and the name of the file."""
        return anchor(self.title)

    @property
    def rank(self) -> tuple[int, int, str]:
        """The sort key: the most likely entry first."""
        return (-self.likelihood, list(Section).index(self.section), self.title.casefold())

    @property
    def fix_commands(self) -> Sequence[Step]:
        """The steps of the fix that have commands for the host, in order."""
        return [step for step in self.fix if step.run and step.user is not User.WINDOWS]

    def find(self, text: LogText, facts: Mapping[Line, Facts]) -> Match | None:
        """The first of the best matches in a text."""
        return min(self._matches(text, facts), key=lambda match: match.rank, default=None)

    def _matches(self, text: LogText, facts: Mapping[Line, Facts]) -> Iterator[Match]:
        """The first match of each pattern and of each condition."""
        kind = Kind.WARNING if self.warning else Kind.CAUSE
        for pattern in self.matches:
            for line in text.possible(pattern.literals):
                if place := pattern.search(line.text, line.lowered, loose=line.joined):
                    yield Match(self, kind, line, *place)
                    break
        for condition in self.when:
            for line in text.possible(*condition.literals):
                if place := condition.find(line, facts[line]):
                    yield Match(self, condition.kind, line, *place)
                    break

    def match_length(self, text: SearchText) -> int:
        """The length of the best match in a text; 0 without a match."""
        match = self.find(text.log, FactsOfLines())
        return len(match.text) if match else 0

    def prose(self) -> Sequence[str]:
        return [self.quick_fix, self.behaviour, self.cause, self.prevention, *(step.text for step in self.fix)]


class SearchText:
    """Lines of a text, prepared once for the search with the patterns of every entry."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.log = LogText("\n".join(lines))


class FactsOfLines(dict[Line, Facts]):
    """The facts of each line, found when they are needed first."""

    def __missing__(self, line: Line) -> Facts:
        facts = self[line] = Facts(line)
        return facts


def anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def load(directory: Path = DIRECTORY) -> Mapping[str, Entry]:
    """Load all entries by id, the most likely first. Raises WrongUsage that names the file, the key and the reason."""
    entries = sorted((_load(path) for path in sorted(directory.glob("*.toml"))), key=lambda entry: entry.rank)
    if not entries:
        raise WrongUsage(f"{directory} has no entries.")
    known = {entry.id: entry for entry in entries}
    for entry in entries:
        for target in [*_LINK.findall("\n".join(entry.prose())), *(link.url for link in entry.links)]:
            if target.startswith("#") and target[1:] not in known:
                raise WrongUsage(f"{directory / entry.id}.toml: the link “{target}” has no entry.")
    return known


def _load(path: Path) -> Entry:
    entry = strict_toml.load(path, Entry)
    if entry.id != path.stem or not _ANCHOR.fullmatch(path.stem):
        raise WrongUsage(f"{path}: “title” has the anchor “{entry.id}”; the file must have that name.")
    return entry


def wrap(prose: str, label: str = "") -> str:
    """Wrap paragraphs, which are separated by empty lines. Lists stay as they are."""
    paragraphs = re.split(r"\n\s*\n", f"{label}{prose}".rstrip())
    return "\n\n".join(part if part.startswith("- ") else _wrap_paragraph(part) for part in paragraphs)


def _wrap_paragraph(paragraph: str) -> str:
    # Don't break within code or a link, or before what would begin a list on the next line.
    kept = re.sub(r"`[^`]+`|\]\([^)]*\)| (?=[-+*#>] |\d+\. )", lambda found: found[0].replace(" ", "\0"), paragraph)
    lines = textwrap.fill(kept, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")
