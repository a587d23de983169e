"""Where in TypeScript sources a variable, a parameter or a property gets its values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tree_sitter import Node

from checks.nanoclaw.discovery.changes import Change, changes
from checks.nanoclaw.discovery.names import Parameter, Project, key_of, parameter
from checks.nanoclaw.discovery.syntax import FUNCTIONS, arguments, bare, member, parts, returned, text

_DEPTH = 40
_STEPS = 5_000
_T = TypeVar("_T")


@dataclass(frozen=True)
class Given:
    """What the parameters of a function stand for: the arguments of a call, or one word that it is applied to."""

    function: Node
    arguments: tuple[Node, ...] = ()
    word: str = ""


Calls = tuple[Given, ...]
"""The calls that led to where an expression stands, the last one first."""
Place = tuple[Node, Calls]


@dataclass(frozen=True)
class Origin:
    """Where a variable's values come from."""

    places: Sequence[Place] = ()
    """The expressions that it starts as."""
    known: bool = False
    """Whether it starts as nothing else."""
    words: tuple[str, ...] = ()
    """What else it starts as."""
    array: Place | None = None
    """The array that it is from."""
    at: int | slice | None = None
    """Which of its elements it is; None where it is each of them in turn."""
    rest: Sequence[Place] = ()
    """The elements that it starts as an array of."""
    variable: Node | None = None
    """What its changes are to be looked for by."""


@dataclass
class Places:
    """Leads from names to expressions, along the calls that led to the names."""

    project: Project
    starts: Callable[[Node], bool]
    """Whether a call starts a program. An array that it is handed stays as it is."""
    asked: Node | None = None
    """The call that it is all about."""
    wanted: list[Node] = field(default_factory=list)
    """The functions whose callers, not known here, would have said more."""
    _open: set[str] = field(default_factory=set)
    _depth: int = 0
    _steps: int = 0

    def begin(self, call: Node) -> None:
        """Forget what was looked up for another call."""
        self.asked, self.wanted, self._steps = call, [], 0

    def bounded(self, look: Callable[[Node, Calls], list[_T]], node: Node, calls: Calls) -> list[_T]:
        """An answer, or none where the question leads round in circles or further than real sources do."""
        self._depth += 1
        self._steps += 1
        try:
            return look(node, calls) if self._depth < _DEPTH and self._steps < _STEPS else []
        finally:
            self._depth -= 1

    def object(self, node: Node, calls: Calls) -> Place | None:
        """The literal that an object is written as, where there is just one."""
        found = self.bounded(self._objects, bare(node), calls)
        return found[0] if len(found) == 1 else None

    def property(self, node: Node, key: str, calls: Calls) -> Place | None:
        """What an object has under a key, as far as it is written as a literal."""
        if found := self.object(node, calls):
            for each in parts(found[0]):
                name, value = each.child_by_field_name("key") or each, each.child_by_field_name("value") or each
                if each.type in {"pair", "shorthand_property_identifier"} and text(name).strip("'\"") == key:
                    return value, found[1]
        return None

    def origin(self, node: Node, calls: Calls) -> Origin:
        """Where the values of a name, or of ``object.property``, come from."""
        if parted := member(node):
            of, key = parted
            place = _own_field(node, key, calls) if of.type == "this" else self.property(of, key, calls)
            return Origin([place] if place else [], known=place is not None, variable=node)
        declarer = self.project.declared(node)
        if declarer is None or declarer.type in FUNCTIONS:
            return Origin()
        if each := parameter(declarer):
            return self._argument(each, declarer, calls)
        if declarer.type == "for_in_statement":
            each_of = declarer.child_by_field_name("right")
            return Origin(array=(each_of, calls) if each_of else None, known=each_of is not None)
        if declarer.type == "variable_declarator":
            value = declarer.child_by_field_name("value")
            return Origin([(value, calls)] if value else [], known=True, variable=declarer)
        return self._taken_apart(declarer, calls)

    def changes(self, variable: Node | None) -> list[Change]:
        """What is done to a variable later; nothing while the changes themselves are looked at."""
        if variable is None or _key(variable) in self._open:
            return []
        return list(changes(self.project.uses(variable)))

    @contextlib.contextmanager
    def changing(self, variable: Node | None) -> Iterator[None]:
        """While what a variable becomes is looked up: it is what it was before where that speaks of it."""
        inner = {_key(variable)} - self._open if variable else set()
        self._open |= inner
        try:
            yield
        finally:
            self._open -= inner

    def into(self, call: Node, calls: Calls) -> Place | None:
        """The function of the project that is called, and the calls that lead into it. Not in circles."""
        callee = call.child_by_field_name("function")
        function = self.project.function(callee) if callee else None
        if function is None or sum(each.function == function for each in calls) > 1:
            return None
        return function, (Given(function, tuple(arguments(call))), *calls)

    def _taken_apart(self, leaf: Node, calls: Calls) -> Origin:
        """Where a name in the pattern of a declaration, ``const { a } = b``, gets its value."""
        inner = leaf
        while (holder := inner.parent) and holder.type.endswith("_pattern"):
            inner = holder
        value = holder.child_by_field_name("value") if holder and holder.type == "variable_declarator" else None
        if value is None:
            return Origin(variable=leaf)
        if inner.type == "array_pattern":
            commas = [child for child in inner.children if child.type == "," and child.end_byte <= leaf.start_byte]
            several = leaf.parent is not None and leaf.parent.type == "rest_pattern"
            at = slice(len(commas), None) if several else len(commas)
            return Origin(array=(value, calls), at=at, known=True, variable=leaf)
        place = self.property(value, key_of(leaf), calls)
        return Origin([place] if place else [], known=place is not None, variable=leaf)

    def _objects(self, node: Node, calls: Calls) -> list[Place]:
        if node.type == "object":
            return [(node, calls)]
        if node.type == "call_expression":
            inner = self.into(node, calls)
            values = [(value, inner[1]) for value in returned(inner[0])] if inner else []
        elif node.type in {"identifier", "shorthand_property_identifier", "member_expression"}:
            origin = self.origin(node, calls)
            values = list(origin.places) if origin.known else []
        else:
            return []
        return [found for value, along in values for found in self.bounded(self._objects, bare(value), along)]

    def _argument(self, each: Parameter, declarer: Node, calls: Calls) -> Origin:
        default = [(each.default, calls)] if each.default else []
        at = next((at for at, given in enumerate(calls) if given.function == each.function), None)
        if at is None:
            self.wanted.append(each.function)
            return Origin(default, variable=declarer)
        given, outside = calls[at], calls[at + 1 :]
        if given.word:
            return Origin(words=(given.word,) if not each.key else (), known=not each.key, variable=declarer)
        if each.rest:
            behind = [(argument, outside) for argument in given.arguments[each.index :]]
            return Origin(rest=behind, known=True, variable=declarer)
        if any(argument.type == "spread_element" for argument in given.arguments[: each.index + 1]):
            return Origin(default, variable=declarer)
        if each.index >= len(given.arguments):
            return Origin(default, known=not each.key, variable=declarer)
        argument = given.arguments[each.index]
        if not each.key:
            return Origin([(argument, outside)], known=True, variable=declarer)
        place = self.property(argument, each.key, outside)
        return Origin([place] if place else [], known=place is not None, variable=declarer)


def _key(variable: Node) -> str:
    """What tells a variable from others; ``object.property`` is the same wherever it is written."""
    return text(variable) if variable.type == "member_expression" else str(variable.id)


def _own_field(node: Node, key: str, calls: Calls) -> Place | None:
    """What ``this.key`` is declared as."""
    around = node.parent
    while around is not None and around.type != "class_body":
        around = around.parent
    for each in parts(around):
        name, value = each.child_by_field_name("name"), each.child_by_field_name("value")
        if each.type == "public_field_definition" and name and value and text(name) == key:
            return value, calls
    return None
