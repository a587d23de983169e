"""The keys that WSL knows: fixtures/wslconfig.toml, which names the source of each."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from checks.core.paths import FIXTURES

CATALOGUE = FIXTURES / "wslconfig.toml"


@dataclass(frozen=True)
class Key:
    """A key of .wslconfig. WSL does not care for upper and lower case in its name."""

    section: str
    name: str
    type: str
    meaning: str
    source: str
    """A URL."""
    since: str = ""
    """The version or date that a source gives; "" where none does."""
    choices: tuple[str, ...] = ()
    also: str = ""
    """Another section where WSL takes it as well; "" for none."""


@dataclass(frozen=True)
class Catalogue:
    """All that is known of .wslconfig's sections and keys."""

    keys: tuple[Key, ...]
    gone: dict[str, str]
    """Keys that WSL had once, in lower case, and what became of them."""
    elsewhere: tuple[str, ...]
    """Sections that belong in a distribution's /etc/wsl.conf."""
    page: str
    """The URL of Microsoft's documentation."""
    page_date: str
    """The date that the documentation bears, ISO 8601."""
    version: str
    """The version of WSL whose source was read."""
    sparse: str
    """The URL of what that source says of sparse disks."""

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of the sections, as they are documented."""
        return tuple(dict.fromkeys(key.section for key in self.keys))

    def find(self, section: str, name: str) -> Key | None:
        """The key that WSL reads there, whether it is documented in that section or only taken from it as well."""
        for key in self.named(name):
            if section and section.lower() in (key.section, key.also):
                return key
        return None

    def named(self, name: str) -> list[Key]:
        """The keys of that name, in whatever section."""
        return [key for key in self.keys if key.name.lower() == name.lower()]


@cache
def catalogue() -> Catalogue:
    """What fixtures/wslconfig.toml says."""
    table = tomllib.loads(CATALOGUE.read_text())
    sources = table["sources"]
    return Catalogue(
        keys=tuple(
            Key(
                section,
                name,
                about["type"],
                about["meaning"],
                sources[about["source"]]["url"],
                about.get("since", ""),
                tuple(about.get("choices", ())),
                about.get("also", ""),
            )
            for section, keys in table["keys"].items()
            for name, about in keys.items()
        ),
        gone={name.lower(): about["why"] for name, about in table["gone"].items()},
        elsewhere=tuple(table["elsewhere"]["sections"]),
        page=sources["page"]["url"],
        page_date=sources["page"]["date"].isoformat(),
        version=sources["code"]["version"],
        sparse=sources["sparse"]["url"],
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; "" where none is near."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[near[0]] if near else ""
