"""The project's own messages: titles and links of entries, and the failed cases of a report."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Set
from functools import cache

from checks.core.paths import GUIDE, ROOT
from checks.guide.catalogue import Entry, Match
from checks.guide.facts import Kind
from checks.guide.log_text import Line, LogText, one_form

_LINK = re.compile(rf"{re.escape(GUIDE.rpartition('/')[2])}#([a-z0-9_-]{{1,100}})")
_FAILED = re.compile(r"\[FAIL\] {1,3}(.{1,100})")
_AROUND = " #.'*:"
"""Characters around a title: Markdown's, or a full stop."""
_CASES = ROOT / "checks" / "cases"


def find(log: LogText, entries: Mapping[str, Entry], known: Set[str]) -> Iterator[Match]:
    """The entries that a text names, besides those already known."""
    found = set(known)
    titles = {one_form(entry.title).lower(): entry for entry in entries.values()}
    marked = log.possible((f"{GUIDE.rpartition('/')[2].lower()}#", "[fail]"))
    for line in [*marked, *log.equal({*titles, *entries}, _AROUND)]:
        for entry, start, end in _named(line, entries, titles):
            if entry.id not in found:
                found.add(entry.id)
                yield Match(entry, Kind.CAUSE, line, start, end)


def _named(line: Line, entries: Mapping[str, Entry], titles: Mapping[str, Entry]) -> Iterator[tuple[Entry, int, int]]:
    name = line.lowered.strip(_AROUND)
    title = titles.get(name) or entries.get(name)
    if title:
        yield title, 0, len(line.text)
    for hit in _LINK.finditer(line.text):
        if hit[1] in entries:
            yield entries[hit[1]], *hit.span()
    if failed := _FAILED.search(line.text):
        label = failed[1].lower().rstrip(" .")
        fix = next((fix for case, fix in _fixes().items() if label == case or label.startswith(f"{case} ")), "")
        if fix in entries:
            yield entries[fix], *failed.span()


@cache
def _fixes() -> Mapping[str, str]:
    """The entry of each case, by its label in one form. Read from the sources: this package is below the cases."""
    found = {}
    for path in sorted(_CASES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "case"):
                continue
            values = [*node.args, *(each.value for each in node.keywords if each.arg == "fix")]
            texts = [each.value for each in values if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            if len(texts) == 2:
                found[one_form(texts[0]).lower()] = texts[1]
    return found
