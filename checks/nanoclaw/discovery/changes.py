"""What a TypeScript source does to a variable after it was declared, without a look at the values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from tree_sitter import Node

from checks.nanoclaw.discovery.syntax import arguments, member, text


class Kind(Enum):
    """What is done."""

    REPLACE = auto()
    """``x = value``"""
    APPEND = auto()
    """``x.push(values)``, ``x += value``"""
    PREPEND = auto()
    """``x.unshift(values)``"""
    HAND_OVER = auto()
    """``f(x)``: what happens to it there is another question."""
    ALIAS = auto()
    """``const y = x``: what is done to ``y`` is done to it."""


@dataclass(frozen=True)
class Change:
    """One thing done to a variable."""

    kind: Kind
    values: Sequence[Node]
    """What is put in; of a variable that is handed over: the call; of an alias: what declares it."""
    index: int = 0
    """Which argument a variable that is handed over is."""


_METHODS = {"push": (Kind.APPEND, 0), "unshift": (Kind.PREPEND, 0), "splice": (Kind.APPEND, 2)}


def changes(uses: Sequence[Node]) -> Iterator[Change]:
    """The changes to a variable, given all its uses."""
    for use in uses:
        around = use.parent
        if around is None:
            continue
        match around.type:
            case "member_expression" if (parted := member(around)) and parted[0] == use:
                yield from _method(around, parted[1])
            case "subscript_expression" if around.child_by_field_name("object") == use:
                yield from _assigned(around, Kind.APPEND)
            case "assignment_expression" | "augmented_assignment_expression":
                yield from _assigned(use, Kind.REPLACE)
            case "variable_declarator" if around.child_by_field_name("value") == use:
                yield Change(Kind.ALIAS, [around])
            case "arguments" if around.parent and around.parent.type == "call_expression":
                given = [each.id for each in arguments(around.parent)]
                yield Change(Kind.HAND_OVER, [around.parent], given.index(use.id))


def _method(callee: Node, name: str) -> Iterator[Change]:
    call = callee.parent
    if name in _METHODS and call and call.type == "call_expression" and call.child_by_field_name("function") == callee:
        kind, behind = _METHODS[name]
        yield Change(kind, arguments(call)[behind:])


def _assigned(target: Node, kind: Kind) -> Iterator[Change]:
    around = target.parent
    if around is None or around.child_by_field_name("left") != target:
        return
    value = around.child_by_field_name("right")
    if value and around.type == "assignment_expression":
        yield Change(kind, [value])
    elif value and around.type == "augmented_assignment_expression":
        operator = around.child_by_field_name("operator")
        yield Change(Kind.APPEND if operator and text(operator) == "+=" else Kind.REPLACE, [value])
