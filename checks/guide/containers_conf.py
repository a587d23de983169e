"""What is wrong with a file of containers.conf: syntax, and keys in a section where Podman ignores them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from checks.core import strict_toml
from checks.core.bounded import parsed_toml
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.core.strict_toml import Text

_KEYS = FIXTURES / "doctor" / "containers_conf.toml"


@cache
def _sections() -> Mapping[str, tuple[Text, ...]]:
    """The documented keys of each section."""
    return strict_toml.load(_KEYS, dict[str, tuple[Text, ...]])


def fault(text: str) -> str:
    """Why Podman can't read a file; empty if it can."""
    if text.startswith("\ufeff"):
        return "begins with a byte order mark"
    try:
        parsed_toml(text)
    except ValueError as error:
        return f"is not valid TOML: {error}"
    return ""


def misplaced(text: str, table: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a file in a section that does not have them, with their lines. Podman ignores the case of keys."""
    for name, value in table.items():
        inside = isinstance(value, dict) and name.lower() in {*_sections()}
        for key in value if inside else [name]:
            sections = [section for section, keys in _sections().items() if key.lower() in keys]
            if sections and not (inside and name.lower() in sections):
                actual = f"in [{name}]" if inside else "outside any section"
                yield f"{_line(text, key)} has “{key}” {actual}; it belongs in [{sections[0]}]"


def _line(text: str, key: str) -> int:
    pattern = re.compile(rf"[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*=")
    return next((at for at, line in enumerate(lines_of(text), 1) if pattern.match(line)), 1)


def value(table: Mapping[str, Any], section: str, key: str) -> Any:
    """A value, whatever the case of its key. None if the file does not set it."""
    for name, values in table.items():
        if name.lower() == section and isinstance(values, dict):
            return next((each for other, each in values.items() if other.lower() == key), None)
    return None
