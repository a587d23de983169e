"""The keys that WSL supports, from fixtures/wslconfig.toml, and the values that it accepts for each type of key."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Literal

import msgspec
from msgspec.structs import force_setattr

from checks.core import strict_toml
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Table, Text

CATALOGUE = FIXTURES / "wslconfig.toml"

_SIZE = re.compile(r"([0-9]+)(B|KB?|MB?|GB?|TB?)?")
_ALMOST_SIZE = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*([KMGT])i?(?:B|bytes?)?", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(env:\w{1,64}|(USER(NAME|PROFILE)?|HOME)\b|\{\w{1,64}\})", re.IGNORECASE)
"""A variable of a shell: a name may have a dollar sign, too."""
_PERCENT = re.compile(r"[0-9]+(?:[.,][0-9]+)?\s*%")
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}")
_ABSOLUTE = re.compile(r"(?:[A-Za-z]:|\\)[\\/]")

_SMALLER_UNIT = {"T": "GB", "G": "MB", "M": "KB", "K": "B"}
_OCTAL = re.compile(r"[+-]?0[0-7]+")
_MOST_GB = 256
"""A number without a unit that is larger was meant in megabytes."""
_MAX_LENGTH = 4000  # characters: Python's limit for numbers, and more than Windows' limit for paths
_MIB = 1 << 20


class Source(Table, frozen=True):
    """A document that states how WSL behaves."""

    what: Text
    url: Text
    version: str = ""
    date: date | None = None


class Need(Table, frozen=True):
    """A value of another key without which a key has no effect."""

    key: Text
    default: Text
    """The value of the other key if the file does not set it."""
    values: tuple[Text, ...] = ()
    """The values that are needed, in lower case."""
    excluded: tuple[Text, ...] = ()
    """Or the values that must not be set."""
    of: tuple[Text, ...] = ()
    """The values of this key that need it; empty for all."""

    def __post_init__(self) -> None:
        if bool(self.values) == bool(self.excluded):
            raise ValueError("either “values” or “excluded” must be given")

    def met_by(self, value: str) -> bool:
        return value in self.values if self.values else value not in self.excluded

    @property
    def example(self) -> str:
        """A value that meets the need."""
        return self.values[0] if self.values else self.default


class Remark(Table, frozen=True):
    """What WSL does with one value of a key, although it is valid."""

    text: Text
    source: Text
    harmless: bool = False


class Key(Table, frozen=True):
    """A key of .wslconfig. WSL ignores the case of its name."""

    type: Literal["size", "number", "boolean", "choice", "path", "string", "address", "ports", "mac"]
    meaning: Text
    source: Text
    since: str = ""
    """The version or date that the source gives."""
    choices: tuple[Text, ...] = ()
    also: str = ""
    """Another section in which WSL accepts the key."""
    needs: tuple[Need, ...] = ()
    remarks: dict[str, Remark] = msgspec.field(default_factory=dict)
    """By value, in lower case."""
    section: str = ""
    """Set by ``Catalogue``, like ``name``."""
    name: str = ""


class Removed(Table, frozen=True):
    """A key that WSL no longer supports."""

    why: Text
    source: Text


class WslConf(Table, frozen=True):
    """The sections of /etc/wsl.conf, the file inside a distribution."""

    sections: tuple[Text, ...]
    source: Text


class Catalogue(Table, frozen=True):
    """The content of fixtures/wslconfig.toml."""

    sources: dict[str, Source]
    keys: dict[str, dict[str, Key]]
    """By section and name."""
    removed: dict[str, Removed]
    wsl_conf: WslConf

    def __post_init__(self) -> None:
        named = {key.source for key in self.all_keys} | {key.source for key in self.removed.values()}
        named |= {remark.source for key in self.all_keys for remark in key.remarks.values()}
        if unknown := {*named, self.wsl_conf.source} - set(self.sources):
            raise ValueError(f"“source” is “{min(unknown)}”, which is not in [sources]")
        if wrong := {need.key for key in self.all_keys for need in key.needs} - {
            name for keys in self.keys.values() for name in keys
        }:
            raise ValueError(f"“needs” has the key “{min(wrong)}”, which is not in [keys]")
        if any(key.section or key.name for key in self.all_keys):
            raise ValueError("“section” and “name” are not keys here")
        for section, keys in self.keys.items():
            for name, key in keys.items():
                force_setattr(key, "section", section)
                force_setattr(key, "name", name)

    @property
    def all_keys(self) -> list[Key]:
        return [key for keys in self.keys.values() for key in keys.values()]

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(self.keys)

    def find(self, section: str, name: str) -> Key | None:
        """The key that WSL reads in that section, documented there or not."""
        return next((key for key in self.named(name) if section and section.lower() in (key.section, key.also)), None)

    def named(self, name: str) -> list[Key]:
        """The keys with that name in any section."""
        return [key for key in self.all_keys if key.name.lower() == name.lower()]

    def why_removed(self, name: str) -> str:
        """Why WSL no longer supports a key; empty if it never did, or still does."""
        return next((removed.why for key, removed in self.removed.items() if key.lower() == name.lower()), "")


@cache
def catalogue() -> Catalogue:
    return strict_toml.load(CATALOGUE, Catalogue)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; empty if none is similar."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[near[0]] if near else ""


def problem(key: Key, value: str) -> str:
    """What is wrong with a value, and what to write instead; empty if WSL accepts it."""
    if len(value) > _MAX_LENGTH:
        return f"the value of {key.name} has {len(value)} characters; WSL accepts no value of that length."
    return _CHECKS[key.type](key, value)


def _size(key: Key, value: str) -> str:
    amount = _SIZE.fullmatch(value)
    if amount:
        if amount[2] or int(amount[1]) >= _MIB or not int(amount[1]):
            return ""
        unit = "GB" if int(amount[1]) <= _MOST_GB else "MB"
        return f"“{value}” means {value} bytes, because it has no unit. Write {key.name}={value}{unit}."
    if _PERCENT.fullmatch(value):
        remedy = f"Write the amount, e.g. {key.name}=8GB"
        return f"“{value}” is a percentage, but WSL needs an amount. {remedy}, or delete the line to use WSL's default."
    almost = _ALMOST_SIZE.fullmatch(value)
    if almost:
        rule = "a size is a whole number and a unit in capitals, without a space"
        return f"“{value}” is not a valid size: {rule}. Write {key.name}={_corrected(almost[1], almost[2].upper())}."
    return f"“{value}” is not a valid size. Write a whole number and a unit, e.g. {key.name}=8GB or {key.name}=512MB."


def _corrected(amount: str, unit: str) -> str:
    number = Decimal(amount.replace(",", "."))
    if number == int(number):
        return f"{int(number)}{unit}B"
    return f"{int(number * 1024)}{_SMALLER_UNIT[unit]}"


def _number(key: Key, value: str) -> str:
    if _OCTAL.fullmatch(value):
        return (
            f"“{value}” begins with 0, so WSL reads it as an octal number: {int(value, 8)}. "
            f"Write {key.name}={value.lstrip('+-0')} or {key.name}={int(value, 8)}."
        )
    if _NUMBER.fullmatch(value) and abs(int(value, 0) if value.lstrip("+-")[:1] != "0" else 0) < 1 << 31:
        return ""
    return f"“{value}” is not a whole number. Write only digits, e.g. {key.name}=4."


def _boolean(key: Key, value: str) -> str:
    valid = value.lower() in ("true", "false", "1", "0")
    return "" if valid else f"“{value}” is not true or false. Write {key.name}=true or {key.name}=false."


def _choice(key: Key, value: str) -> str:
    if value.lower() in (choice.lower() for choice in key.choices):
        return ""
    near = nearest(value, key.choices)
    meant = f" Did you mean {near}?" if near else ""
    return f"“{value}” is not a valid {key.name}. Valid values: {', '.join(key.choices)}.{meant}"


def _path(key: Key, value: str) -> str:
    if found := _VARIABLE.search(value):
        return f"“{found[0]}” is not replaced: WSL reads {key.name} as it stands. Write the path without variables."
    if not value or _ABSOLUTE.match(value):
        return ""
    return f"“{value}” is not an absolute Windows path. Write one such as {key.name}=C:\\\\Users\\\\YOU\\\\file."


def _address(key: Key, value: str) -> str:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return f"“{value}” is not an IPv4 address. Write one such as {key.name}=10.255.255.254."
    return ""


def _ports(key: Key, value: str) -> str:
    # WSL skips an empty one, such as after the last comma.
    wrong = [port for port in value.split(",") if port.strip() and not _is_port(port)]
    if not wrong:
        return ""
    example = f"{key.name}=3000,9000"
    return f"“{wrong[0].strip()}” is not a port. Write numbers from 1 to 65535, separated by commas: {example}."


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r"\s*[0-9]{1,5}", text)) and 0 < int(text) < 1 << 16


def _mac(key: Key, value: str) -> str:
    if _MAC.fullmatch(value):
        return ""
    return f"“{value}” is not a MAC address. Write six pairs of hexadecimal digits: {key.name}=00:11:22:33:44:55."


def _string(_: Key, __: str) -> str:
    return ""


_CHECKS: dict[str, Callable[[Key, str], str]] = {
    "size": _size, "number": _number, "boolean": _boolean, "choice": _choice, "path": _path,
    "string": _string, "address": _address, "ports": _ports, "mac": _mac,
}  # fmt: skip
