"""The hand-made list of what some checkouts run, and how much of it is found."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.nanoclaw.checkout import read
from checks.nanoclaw.discovery.discover import Found
from checks.nanoclaw.discovery.form import form_of

FACTS = FIXTURES / "discovery" / "facts.txt"


@dataclass(frozen=True)
class Recall:
    """What was found of a list, in the files that it describes."""

    missed: Sequence[Found]
    wrong: Sequence[Found]
    """Found, and not in the list."""
    right: int

    @property
    def text(self) -> str:
        """Both figures."""
        right = self.right
        return f"recall {right}/{right + len(self.missed)}, precision {right}/{right + len(self.wrong)}"


def compare(found: Sequence[Found], checkout: Path, version: str, *, hot: bool = False) -> Recall | None:
    """Compare with the list of a version; None if there is none. Only the subcommand and the known options count."""
    facts = {each for each in _facts(checkout, version) if each.hot or not hot}
    if not facts:
        return None
    known = {_known(each) for each in found if each.form and (each.hot or not hot)}
    key = lambda each: (each.file, each.line, each.text)  # noqa: E731
    return Recall(sorted(facts - known, key=key), sorted(known - facts, key=key), len(facts & known))


def listed(version: str) -> Sequence[Found]:
    """The places that a version has by the list, whatever checkouts there are."""
    return [found for found, _ in _places(version)]


def _facts(checkout: Path, version: str) -> set[Found]:
    """The places of a version in the files that the checkout has as they were read."""

    @cache
    def same(file: str, blob: str) -> bool:
        here = checkout / file
        return here.is_file() and _blob(read(here, checkout)) == blob

    return {_known(found) for found, blob in _places(version) if same(found.file, blob)}


def _places(version: str) -> Iterator[tuple[Found, str]]:
    """The places of a version, each with the start of its file's hash."""
    file = blob = ""
    for line in lines_of(FACTS.read_text()):
        words = shlex.split(line.replace("@ ", "", 1)) if line and not line.startswith("#") else []
        if line.startswith("@"):
            name, blob, *versions = words
            file = name if version in versions else ""
        elif words and file:
            yield Found(file, int(words[0]), form_of(words[1:])), blob


def _known(found: Found) -> Found:
    """A place without options that are only known at run time."""
    assert found.form
    options = tuple(each for each in found.form.options if not each.startswith("--…"))
    form = type(found.form)(found.form.runtime, found.form.subcommand, options)
    return Found(found.file, found.line, form)


def _blob(data: bytes) -> str:
    """The start of the hash that Git has for a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()[:10]
