"""Regular expressions for untrusted text, limited in cost.

A pattern is refused if its time could grow faster than the text: an unbounded repeat, a repeat in a repeat, or too many
ways to match at one place. Each pattern has a literal, a string in every match, so that other texts are skipped.
"""

from __future__ import annotations

import re

# The standard library's own parser: the only one that reads a pattern as re does. Not public, and unchanged for years.
from re import _constants as parts  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_WAYS = 2000  # of trying a pattern at one place of a text
_SHORTEST = 3  # characters of a literal; a shorter one is in any text

_QUOTES = re.compile('["`\u2018\u2019\u201c\u201d\u201e]')
_SPACES = re.compile(r"\\.|\[[^]]*\]| (?![?*+{])")
"""What may be a space: but not within a set, or one that is repeated."""

_REPEATS = {parts.MAX_REPEAT, parts.MIN_REPEAT, parts.POSSESSIVE_REPEAT}


class Unbounded(ValueError):
    """A pattern takes too long on some text."""


class Pattern:
    """A regular expression that ignores the case of ASCII letters. Not a dataclass: msgspec would read it as a table.

    ``literals`` are strings in lower case; every text that the pattern matches contains one of them. Any quote in the
    expression stands for ', the only quote of a searched text.
    """

    def __init__(self, expression: re.Pattern[str], loose: re.Pattern[str], literals: tuple[str, ...]) -> None:
        self.compiled = expression
        self._loose = loose
        self.literals = literals

    def search(self, text: str, lowered: str, *, loose: bool = False) -> tuple[int, int] | None:
        """The place of the first match. ``lowered`` is the text in lower case; ``loose`` makes each space optional."""
        expression = self._loose if loose else self.compiled
        hit = expression.search(text) if loose or self.possible(lowered) else None
        return hit.span() if hit else None

    def longest(self, text: str, lowered: str) -> int:
        """The length of the longest match in a text, 0 if none. ``lowered`` is the text in lower case."""
        if not self.possible(lowered):
            return 0
        return max((len(hit[0]) for hit in self.compiled.finditer(text)), default=0)

    def possible(self, lowered: str) -> bool:
        """Whether a text, in lower case, may match."""
        return any(each in lowered for each in self.literals)


def compiled(text: str) -> re.Pattern[str]:
    """Compile a regular expression. Raises Unbounded if it costs too much, re.error if it is invalid."""
    expression = re.compile(text, re.IGNORECASE | re.ASCII)
    _ways(parser.parse(text, re.IGNORECASE | re.ASCII))
    return expression


def pattern(text: str) -> Pattern:
    """The same for long texts. Also raises Unbounded if it has no literal."""
    text = _QUOTES.sub("'", text)
    expression = compiled(text)
    literals = _literals(parser.parse(text, re.IGNORECASE | re.ASCII))
    if not literals:
        raise Unbounded(f"every match needs {_SHORTEST} fixed consecutive characters")
    loose = re.compile(_SPACES.sub(lambda found: " ?" if found[0] == " " else found[0], text), re.IGNORECASE | re.ASCII)
    return Pattern(expression, loose, tuple(each.lower() for each in literals))


def _ways(items: Any) -> int:
    """The number of ways to try the items at one place. Raises Unbounded."""
    ways = 1
    for at, (kind, value) in enumerate(items):
        if kind in _REPEATS:
            least, most, repeated = value
            if most is parts.MAXREPEAT:
                raise Unbounded("a repeat has no bound: write {0,300} instead of * and {1,300} instead of +")
            within = _ways(repeated)
            if most > 1 and within > 1:
                raise Unbounded("a repeat is within another one")
            if not _ends_at(repeated, items[at + 1 : at + 2]):
                ways *= 1 + within if (least, most) == (0, 1) else within * (most - least + 1)
        elif kind is parts.BRANCH:
            ways *= _ways_of_branch(value[1])
        elif kind is parts.SUBPATTERN:
            ways *= _ways(value[-1])
        elif kind in (parts.ASSERT, parts.ASSERT_NOT):
            ways *= _ways(value[1])
        elif kind is parts.ATOMIC_GROUP:
            ways *= _ways(value)
        elif kind in (parts.GROUPREF, parts.GROUPREF_EXISTS):
            raise Unbounded("it refers to a group")
        if ways > _WAYS:
            raise Unbounded(f"it has more than {_WAYS} ways to match at one place")
    return ways


def _ways_of_branch(branches: Any) -> int:
    if all(kind is parts.LITERAL for each in branches for kind, _ in each):
        words = ["".join(chr(value) for _, value in each).lower() for each in branches]
        return max(sum(word.startswith(other) for other in words) for word in words)  # only these match at one place
    return sum(_ways(each) for each in branches)


def _ends_at(repeated: Any, following: Any) -> bool:
    """Whether a repeat can end in one way only: it excludes the character that follows, like ``[^/]*/``."""
    return len(repeated) == len(following) == 1 and (repeated[0][0], repeated[0][1], following[0]) == (
        parts.NOT_LITERAL,
        following[0][1],
        (parts.LITERAL, following[0][1]),
    )


def _literals(items: Any) -> list[str]:
    """Strings of which every match contains one; empty if none is long enough."""
    found: list[list[str]] = []
    run = ""
    for kind, value in items:
        if kind is parts.LITERAL:
            run += chr(value)
            continue
        found.append([run])
        run = ""
        if kind is parts.SUBPATTERN:
            found.append(_literals(value[-1]))
        elif kind is parts.BRANCH:
            several = [_literals(each) for each in value[1]]
            found.append([each for some in several for each in some] if all(several) else [])
        elif kind in _REPEATS and value[0] > 0:
            found.append(_literals(value[2]))
    found.append([run])
    usable = [each for each in found if each and all(len(one) >= _SHORTEST for one in each)]
    return max(usable, key=lambda each: min(len(one) for one in each), default=[])
