"""What is wrong in a user's .wslconfig, line by line.

WSL starts with such a file all the same. It ignores what it can't read, at best with a line on the terminal that
happens to start it, and takes some for something else: memory=6 for 6 bytes, the \\t of a path for a tab.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from checks.capacity.wslconfig import values
from checks.capacity.wslconfig.files import ConfigText
from checks.capacity.wslconfig.keys import Catalogue, Key, catalogue, nearest
from checks.capacity.wslconfig.lines import Line, Section, Setting, Unreadable, read


@dataclass(frozen=True)
class Diagnostic:
    """Something in a file that its author should hear of."""

    line: int
    message: str
    """What is the matter, what WSL does with it, what to write instead."""
    harmless: bool = False
    """Whether WSL reads the line as it was meant all the same."""


def validate(source: ConfigText) -> list[Diagnostic]:
    """All findings of a file, by line."""
    found = [Diagnostic(1, remark.message, remark.harmless) for remark in source.remarks]
    if source.legible:
        found += Checker(catalogue()).check(source.text)
    return sorted(found, key=lambda each: each.line)


class Checker:
    """Goes through a file once, and remembers where it is and what was set."""

    def __init__(self, known: Catalogue) -> None:
        self._known = known
        self._section: str | None = ""
        """"" before the first header, None under one that WSL does not know."""
        self._set: dict[Key, int] = {}
        self._found: list[Diagnostic] = []

    def check(self, text: str) -> list[Diagnostic]:
        """The findings of a whole text."""
        for line in read(text):
            self._line(line)
        return self._found

    def _line(self, line: Line) -> None:
        if isinstance(line, Section):
            self._header(line)
        elif isinstance(line, Unreadable):
            self._unreadable(line)
        elif self._section is not None:  # its header was told already
            self._setting(line)

    def _tell(self, line: int, message: str, *, harmless: bool = False) -> None:
        self._found.append(Diagnostic(line, message, harmless))

    def _header(self, header: Section) -> None:
        sections = self._known.sections
        if header.name.lower() in sections:
            self._section = header.name.lower()
            return
        self._section = None
        if header.name.lower() in self._known.elsewhere:
            why = f"“[{header.name}]” is a section of /etc/wsl.conf, the file inside a distribution, not of .wslconfig"
            remedy = "Move it there."
        else:
            why = f"“[{header.name}]” is no section of .wslconfig"
            remedy = self._meant_section(header.name)
        self._tell(header.line, f"{why}: WSL ignores what is under it. {remedy}")

    def _meant_section(self, name: str) -> str:
        near = nearest(name, self._known.sections)
        return f"Did you mean [{near}]?" if near else f"There are: {_listed(self._known.sections)}."

    def _setting(self, setting: Setting) -> None:
        section = self._section or ""
        key = self._known.find(section, setting.key)
        if key is None:
            self._tell(setting.line, self._unknown(section, setting.key))
            return
        if key in self._set:
            self._tell(
                setting.line,
                f"“{setting.key}” is set in line {self._set[key]} already: WSL keeps that one and ignores this. "
                "Delete one of the two.",
            )
            return
        self._set[key] = setting.line
        if section != key.section:
            self._tell(
                setting.line,
                f"“{key.name}” is documented in [{key.section}]; WSL still takes it from [{section}].",
                harmless=True,
            )
        message = _backslashes(key, setting) or values.problem(key, setting.value)
        if message:
            self._tell(setting.line, message)

    def _unknown(self, section: str, name: str) -> str:
        gone = self._known.gone.get(name.lower())
        if gone:
            return f"“{name}” is no key of WSL any more: {gone}. Delete the line."
        elsewhere = self._known.named(name)
        if elsewhere:
            key = elsewhere[0]
            where = f"not in [{section}]" if section else "and stands before any section"
            return f"“{key.name}” belongs in [{key.section}], {where}: WSL ignores it here. Move it."
        if not section:
            return f"“{name}” stands before any section: WSL ignores it. Put it under the header of its section."
        near = nearest(name, [key.name for key in self._known.keys if key.section == section])
        meant = f"Did you mean “{near}”?" if near else f"Known keys: {self._known.page}"
        return f"“{name}” is no key of [{section}]: WSL ignores it. {meant}"

    def _unreadable(self, line: Unreadable) -> None:
        if line.why == "header":
            self._section = None
            name = re.sub(r"[^A-Za-z0-9]", "", line.text.partition("#")[0])
            self._tell(
                line.line,
                f"“{line.text}” is no header of a section: WSL ignores what is under it. "
                f"A header is a name in brackets, without spaces, alone on its line. {self._meant_section(name)}",
            )
            return
        messages = {
            "comment": "WSL takes only “#” for the beginning of a comment. Write # instead.",
            "name": "the name of a key has letters and digits alone: WSL ignores the line.",
            "equals": "the line has no “=” after its key: WSL ignores it. Write key=value, or # before a comment.",
            "quote": "a quote is opened and not closed: WSL ignores the line. Close it, or leave both out.",
            "escape": f"“\\{line.detail}” in it means nothing to WSL, which ignores the line. "
            f"Double each backslash: {doubled(line.text)}",
        }
        self._tell(line.line, f"“{line.text}”: {messages[line.why]}")


def doubled(text: str) -> str:
    """The text with each lone backslash doubled, and those that are doubled as they are."""
    return re.sub(r"\\+", r"\\\\", text)


def _backslashes(key: Key, setting: Setting) -> str:
    """What single backslashes did to a path that WSL could read nevertheless; "" for nothing."""
    if key.type != "path":
        return ""
    if setting.joined:
        return f"the last backslash of “{key.name}” joins the next line to it. Double each backslash of a path."
    if setting.controls:
        escape = setting.controls[0]
        what = {"t": "a tab", "n": "the end of a line", "b": "a backspace"}[escape]
        return f"WSL takes “\\{escape}” in “{key.name}” for {what}. Double each backslash of a path."
    return ""


def _listed(sections: tuple[str, ...]) -> str:
    return ", ".join(f"[{section}]" for section in sections)
