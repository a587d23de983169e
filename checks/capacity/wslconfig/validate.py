"""The problems in a user's .wslconfig, line by line.

WSL starts despite them. It ignores what it can't read, with at most one line on the terminal that starts it. It also
misreads some values: memory=6 as 6 bytes, the \\t of a path as a tab.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from checks.capacity.wslconfig import effects
from checks.capacity.wslconfig.catalogue import Catalogue, Key, catalogue, nearest, problem
from checks.capacity.wslconfig.effects import Effective
from checks.capacity.wslconfig.file import ConfigText, Line, Section, Setting, Unreadable, parse

_ALMOST = re.compile(
    r"[._]{0,2}wsl2?[._ -]?(?:config|conf|cfg|confg|cofig|conifg|configs)?(?:\.(?:txt|ini|conf|config|cfg|wslconfig))*",
    re.I,
)
"""A name that is meant to be .wslconfig, or is one of its common misspellings."""


ALONE = (
    "a carriage return stands alone, as the line end of an old Mac. WSL ends a comment only at a line feed: it skips "
    "the lines that follow in between. Save the file with the line ends of Windows (CRLF) or Linux (LF)."
)


@dataclass(frozen=True)
class Diagnostic:
    """A problem or a note about a line."""

    line: int
    message: str
    """What is wrong, what WSL does, and what to write instead."""
    harmless: bool = False
    """Whether WSL still reads the line as intended."""


def validate(source: ConfigText) -> list[Diagnostic]:
    """All diagnostics of a file, by line."""
    found = [Diagnostic(1, remark.message, remark.harmless) for remark in source.remarks]
    if source.readable and (line := lone_carriage_return(source.text)):
        found.append(Diagnostic(line, ALONE))  # what WSL makes of the rest depends on where they stand
    elif source.readable:
        found += Checker(catalogue()).check(source.text)
    return sorted(found, key=lambda each: each.line)


def lone_carriage_return(text: str) -> int:
    """The first line with a carriage return that no line feed follows; 0 if there is none."""
    found = re.search(r"\r(?!\n)", text)
    return text.count("\n", 0, found.start()) + 1 if found else 0


def misnamed(name: str) -> list[Diagnostic]:
    """A problem if a file's name is almost the one that WSL reads."""
    if name.lower() == ".wslconfig" or not _ALMOST.fullmatch(name):
        return []
    if name.lower() in ("wsl.conf", ".wsl.conf"):
        reason = "wsl.conf is a file inside a distribution (/etc/wsl.conf), with other settings"
    else:
        reason = "WSL reads only .wslconfig, in the user's directory of Windows"
    hidden = " The Explorer hides the end .txt by default." if name.lower().endswith(".txt") else ""
    return [Diagnostic(1, f"the file is named “{name}”: {reason}. Rename it.{hidden}")]


def required(source: ConfigText) -> list[str]:
    """The versions that the valid settings need, as far as Microsoft gives them."""
    checker = Checker(catalogue())
    checker.check(source.text)
    since = {each.key.name: each.key.since for each in checker.effective.values() if each.key.since}
    return [f"“{name}” needs {version}." for name, version in since.items()]


class Checker:
    """Checks the lines of one file in order."""

    def __init__(self, known: Catalogue) -> None:
        self._known = known
        self._section: str | None = ""
        """Empty before the first header; None below a header that WSL does not know."""
        self._set: dict[tuple[str, str], int] = {}
        """The line of each key that is set."""
        self.effective: dict[str, Effective] = {}
        """The settings that WSL reads, by the name of the key."""
        self._found: list[Diagnostic] = []

    def check(self, text: str) -> list[Diagnostic]:
        """All diagnostics of a text."""
        for line in parse(text):
            self._line(line)
        for number, message, harmless in effects.problems(self._known, self.effective):
            self._report(number, message, harmless=harmless)
        return self._found

    def _line(self, line: Line) -> None:
        if isinstance(line, Section):
            self._header(line)
        elif isinstance(line, Unreadable):
            self._unreadable(line)
        elif self._section is not None:  # else its header was reported
            self._setting(line)

    def _report(self, line: int, message: str, *, harmless: bool = False) -> None:
        self._found.append(Diagnostic(line, message, harmless))

    def _header(self, header: Section) -> None:
        sections = self._known.sections
        if header.name.lower() in sections:
            self._section = header.name.lower()
            return
        self._section = None
        if header.name.lower() in self._known.wsl_conf.sections:
            reason = f"“[{header.name}]” belongs in /etc/wsl.conf inside a distribution, not in .wslconfig"
            remedy = "Move it there."
        else:
            reason = f"“[{header.name}]” is not a section of .wslconfig"
            remedy = self._meant_section(header.name)
        self._report(header.line, f"{reason}: WSL ignores its lines. {remedy}")

    def _meant_section(self, name: str) -> str:
        near = nearest(name, self._known.sections)
        return (
            f"Did you mean [{near}]?"
            if near
            else "Valid sections: " + ", ".join(f"[{section}]" for section in self._known.sections) + "."
        )

    def _setting(self, setting: Setting) -> None:
        section = self._section or ""
        key = self._known.find(section, setting.key)
        if key is None:
            self._report(setting.line, self._unknown(section, setting.key, setting.value))
            return
        if (key.section, key.name) in self._set:
            self._report(
                setting.line,
                f"“{setting.key}” is already set in line {self._set[key.section, key.name]}: WSL uses the first value. "
                "Delete one of the lines.",
            )
            return
        self._set[key.section, key.name] = setting.line
        if section != key.section:
            self._report(
                setting.line,
                f"“{key.name}” is documented in [{key.section}]; WSL also accepts it in [{section}].",
                harmless=True,
            )
        message = _invisible(setting.value) or _backslashes(key, setting) or problem(key, setting.value)
        if message:
            self._report(setting.line, message)
        else:
            self.effective[key.name] = Effective(key, setting)

    def _unknown(self, section: str, name: str, value: str) -> str:
        if reason := self._known.why_removed(name):
            return f"WSL no longer supports “{name}”: {reason}. Delete the line."
        elsewhere = self._known.named(name)
        if elsewhere:
            key = elsewhere[0]
            where = f"not in [{section}]" if section else "not before the first section"
            remark = key.remarks.get(effects.normal(value))
            remedy = f"Don't move it: {remark.text}." if remark else "Move it."
            return f"“{key.name}” belongs in [{key.section}], {where}: WSL ignores it here. {remedy}"
        if not section:
            return f"“{name}” is before the first section: WSL ignores it. Move it below its section header."
        near = nearest(name, [key.name for key in self._known.all_keys if key.section == section])
        meant = f"Did you mean “{near}”?" if near else f"Known keys: {self._known.sources['page'].url}"
        return f"“{name}” is not a key of [{section}]: WSL ignores it. {meant}"

    def _unreadable(self, line: Unreadable) -> None:
        if line.reason == "header":
            self._section = None
        hidden = _invisible(line.text.partition("#")[0])
        if hidden:
            self._report(line.line, hidden)
            return
        if line.reason == "header":
            name = re.sub(r"[^A-Za-z0-9]", "", line.text.partition("#")[0])
            self._report(
                line.line,
                f"“{line.text}” is not a valid section header: WSL ignores the lines below it. "
                f"A header is a name in brackets, without spaces, on its own line. {self._meant_section(name)}",
            )
            return
        messages = {
            "comment": "In WSL, only “#” begins a comment. Write # instead.",
            "name": "a key may contain only letters and digits: WSL ignores the line.",
            "equals": "the line has no “=” after its key: WSL ignores it. Write key=value, or begin a comment with #.",
            "quote": "the closing quote is missing: WSL ignores the line. Add it, or remove the other one.",
            "escape": f"WSL does not support the escape “\\{line.escape}”, and ignores the line. "
            f"Double each backslash: {doubled(line.text)}",
        }
        self._report(line.line, f"“{line.text}”: {messages[line.reason]}")


def _invisible(text: str) -> str:
    """Which character of a line WSL does not take for a space; empty if there is none."""
    found = effects.invisible(text)
    return f"the line has an invisible character: {found}. WSL does not skip it. Type the line again." if found else ""


def doubled(text: str) -> str:
    """The text with every single backslash doubled."""
    return re.sub(r"\\+", r"\\\\", text)


def _backslashes(key: Key, setting: Setting) -> str:
    """How WSL misreads single backslashes in a path; empty if it does not."""
    if key.type != "path":
        return ""
    if setting.joined:
        return f"the last backslash of “{key.name}” joins the next line. Double each backslash of a path."
    if setting.controls:
        escape = setting.controls[0]
        character = {"t": "a tab", "n": "a line break", "b": "a backspace"}[escape]
        return f"WSL reads “\\{escape}” in “{key.name}” as {character}. Double each backslash of a path."
    return ""
