"""Answers of programs on hosts and in containers: for one that can't be parsed, only ``Unreadable`` is raised."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TypeVar

from checks.core.errors import WrongUsage
from checks.core.lines import lines_of

T = TypeVar("T")
A = TypeVar("A", str, bytes)

_SHOWN = 100  # characters of the reason, which may quote the answer


class Unreadable(ValueError):
    """An answer that can't be parsed; its text is the reason."""


def understood(parse: Callable[[A], T], answer: A) -> T:
    """What ``parse`` makes of an answer. Raises Unreadable for everything that a parser raises for odd text.

    ``parse`` must not be a generator: it would raise later. Its other problems, and mismatches, are passed on.
    """
    try:
        return parse(answer)
    except Unreadable:
        raise
    except LookupError as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else "a part is missing"
        raise Unreadable(what[:_SHOWN]) from error
    except (ArithmeticError, AttributeError, TypeError, ValueError, WrongUsage) as error:
        # WrongUsage: of a parser that reads the project's own files, too. An answer is never the user's mistake.
        raise Unreadable(str(error)[:_SHOWN] or type(error).__name__) from error


def decoded(text: str) -> bytes:
    """The bytes of a text in base64. Raises ValueError for other text."""
    return base64.b64decode(text, validate=True)


def fields(text: str) -> list[tuple[str, bytes]]:
    """The lines of a key, a tab and a value in base64. Raises ValueError for other lines."""
    found = []
    for line in lines_of(text):
        key, tab, value = line.partition("\t")
        if not tab:
            raise ValueError("a line without a tab")
        found.append((key, decoded(value)))
    return found
