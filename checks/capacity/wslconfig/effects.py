"""Valid settings that have no effect, or not the intended one, because of another setting or of WSL itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from checks.capacity.wslconfig.catalogue import Catalogue, Key, Need
from checks.capacity.wslconfig.file import Setting

_TRUE, _FALSE = ("true", "1"), ("false", "0")


@dataclass(frozen=True)
class Effective:
    """A setting that WSL reads, with its key."""

    key: Key
    setting: Setting

    @property
    def value(self) -> str:
        return normal(self.setting.value)


def normal(value: str) -> str:
    """The value in lower case; 1 and 0 as true and false."""
    lower = value.lower()
    return "true" if lower in _TRUE else "false" if lower in _FALSE else lower


def problems(known: Catalogue, read: Mapping[str, Effective]) -> Iterator[tuple[int, str, bool]]:
    """The line, the message, and whether it is only a note. ``read`` has the effective settings by the key's name."""
    for each in read.values():
        name, line = each.key.name, each.setting.line
        for need in each.key.needs:
            if (not need.of or each.value in need.of) and (found := _unmet(need, read)):
                yield line, f"“{name}” has no effect {found[0]}: {_reads(need)}. {found[1]}", found[2]
                break
        remark = each.key.remarks.get(each.value)
        if remark:
            yield line, f"“{name}={each.setting.value}”: {remark.text}.", remark.harmless
        letter = next((letter for letter in each.setting.value if ord(letter) > 127), "")
        if letter and each.key.type in ("path", "string"):
            version = known.sources["syntax"].version
            yield (
                line,
                (
                    f"“{letter}” in “{name}”: WSL {version} reads only ASCII characters correctly. "
                    + (
                        "Move the file to a path without other letters."
                        if each.key.type == "path"
                        else "Use another value."
                    )
                ),
                False,
            )


def _unmet(need: Need, read: Mapping[str, Effective]) -> tuple[str, str, bool] | None:
    """Why a setting has no effect, what to do, and whether that depends on a default."""
    other = read.get(need.key)
    value = other.value if other else normal(need.default)
    if need.met_by(value):
        return None
    if not other:
        # An administrator's policy can change the default.
        return (
            f"with {need.key}={need.default}, the default",
            f"Set {need.key}={need.example}, or delete the line.",
            True,
        )
    return f"with {need.key}={other.setting.value} in line {other.setting.line}", "Delete one of the lines.", False


def _reads(need: Need) -> str:
    if need.values:
        return f"WSL reads it only with {need.key}={' or '.join(need.values)}"
    return f"WSL ignores it with {need.key}={need.excluded[0]}"


def invisible(text: str) -> str:
    """The name of the first character that an editor doesn't show, or shows as a space; empty if there is none."""
    for character in text:
        if character not in " \t\r\n" and unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cf", "Cc"):
            name = unicodedata.name(character, "CONTROL CHARACTER")
            return f"{name} (U+{ord(character):04X})"
    return ""
