"""What expressions in TypeScript sources may be: strings, and the words of arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tree_sitter import Node

from checks.nanoclaw.discovery.changes import Change, Kind
from checks.nanoclaw.discovery.names import parameter_at
from checks.nanoclaw.discovery.places import Calls, Given, Places
from checks.nanoclaw.discovery.syntax import arguments, bare, literal, member, parts, returned, text
from checks.nanoclaw.discovery.words import (
    Lines,
    concatenated,
    cut,
    either,
    is_unknown,
    joined,
    marks_in,
    name_of,
    rest,
    unknown,
)

_MOST = 48
_NAMES = {"identifier", "shorthand_property_identifier", "member_expression"}
_NOTHING = {"null", "undefined", "false"}
_READERS = {
    "Array", "Boolean", "JSON", "Object", "Promise", "Set", "String", "console", "fs", "log", "logger", "os", "path",
    "reject", "resolve", "util",
}  # fmt: skip
"""Whose functions do not change an array that they are handed."""
_READING = {"concat", "includes", "push"}
"""Methods that do not either, whosever they are."""


class Values(Places):
    """Looks expressions up. What can't be known is marked so in the answer, never left out."""

    def texts(self, node: Node, calls: Calls = ()) -> list[str]:
        """What an expression's string may be."""
        node = bare(node)
        found = list(dict.fromkeys(self.bounded(self._texts, node, calls)))
        if len(found) > _MOST:
            found = [f"{found[0]} {rest('alternatives')}"]
        return found or [unknown(_named(node))]

    def lines(self, node: Node, calls: Calls = ()) -> Lines:
        """The words of an array; those that are only there under a condition are there."""
        node = bare(node)
        return self.bounded(self._lines, node, calls) or [(rest(_named(node)),)]

    def elements(self, nodes: Sequence[Node], calls: Calls = ()) -> Lines:
        """The words of an array with these elements."""
        return joined(self._element(node, calls) for node in nodes)

    # Strings

    def _texts(self, node: Node, calls: Calls) -> list[str]:
        match node.type:
            case "string" | "number":
                return [literal(node)]
            case "template_string":
                return concatenated(
                    self.texts(parts(child)[0], calls) if child.type == "template_substitution" else [literal(child)]
                    for child in parts(node)
                )
            case "ternary_expression":
                return [each for branch in parts(node)[1:] for each in self.texts(branch, calls)]
            case "binary_expression":
                return self._combined(node, calls)
            case "subscript_expression":  # text.split(' ')[0]
                of, index = parts(node)[0], text(parts(node)[-1])
                return self._elements_at(node, self.lines(of, calls), int(index)) if index.isdigit() else []
            case "call_expression":
                return self._called_texts(node, calls)
        return self._variable_texts(node, calls) if node.type in _NAMES else []

    def _combined(self, node: Node, calls: Calls) -> list[str]:
        left, right = (self.texts(side, calls) for side in parts(node)[:2])
        match _operator(node):
            case "+":
                return concatenated([left, right])
            case "&&":
                return [*right, ""]
            case "||" | "??":  # a default that says something tells what the other side is like
                return [each for each in (*left, *right) if each and not is_unknown(each)] or [*left, *right]
        return []

    def _called_texts(self, call: Node, calls: Calls) -> list[str]:
        if inside := self.into(call, calls):
            return [each for value in returned(inside[0]) for each in self.texts(value, inside[1])]
        callee, given = call.child_by_field_name("function"), arguments(call)
        if callee and text(callee) == "String" and given:
            return self.texts(given[0], calls)
        if callee and (parted := member(bare(callee))):
            of, method = parted
            if method in {"join", "resolve"} and text(of).split(".")[0] == "path":
                return [f"{unknown(text(given[0]))}/" if given else "."]  # a path, whichever; no option is one
            if method == "join":
                separators = self.texts(given[0], calls) if given else [","]
                return [separators[0].join(line) for line in self.lines(of, calls)]
            if method in {"toString", "trim"}:
                return self.texts(of, calls)
        return []

    def _variable_texts(self, node: Node, calls: Calls) -> list[str]:
        origin = self.origin(node, calls)
        found = [*origin.words, *(each for place in origin.places for each in self.texts(*place))]
        if origin.array:
            found += self._elements_at(node, self.lines(*origin.array), origin.at)
        if not origin.known:
            found.append(unknown(_named(node)))
        for change in self.changes(origin.variable):
            with self.changing(origin.variable):
                values = [each for value in change.values[:1] for each in self.texts(value, calls)]
            if change.kind is Kind.REPLACE:
                found += values
            elif change.kind is Kind.APPEND:
                found = concatenated([found or [""], values])
        return found

    def _elements_at(self, node: Node, lines: Lines, at: int | slice | None) -> list[str]:
        """What an expression may be that is an element of an array."""
        if isinstance(at, int):
            lines = [cut(line, slice(at, at + 1)) for line in lines]
        words = [word for line in lines for word in line]
        return [unknown(_named(node)) if marks_in(word) else word for word in words]

    # Arrays

    def _lines(self, node: Node, calls: Calls) -> Lines:
        match node.type:
            case "array":
                return self.elements(parts(node), calls)
            case "ternary_expression":
                return either(*(self.lines(branch, calls) for branch in parts(node)[1:]))
            case "binary_expression" if _operator(node) == "&&":
                return self.lines(parts(node)[1], calls)
            case "binary_expression" if _operator(node) in {"||", "??"}:
                return either(*(self.lines(side, calls) for side in parts(node)[:2]))
            case "call_expression":
                return self._called_lines(node, calls)
            case "string" | "template_string" | "number" | "binary_expression":
                return either([(each,) for each in self.texts(node, calls)])
        if node.type in _NOTHING:
            return [()]
        return self._variable_lines(node, calls) if node.type in _NAMES else []

    def _element(self, node: Node, calls: Calls) -> Lines:
        node = bare(node)
        if node.type == "spread_element":
            return self.lines(parts(node)[0], calls)
        if node.type == "array" or node.type in _NOTHING:
            return self.lines(node, calls)
        return either([(each,) for each in self.texts(node, calls)])

    def _variable_lines(self, node: Node, calls: Calls) -> Lines:
        origin = self.origin(node, calls)
        branches = [self.lines(*place) for place in origin.places]
        branches += [[(word,)] for word in origin.words]
        if origin.rest:
            branches.append(joined(self._element(*place) for place in origin.rest))
        if origin.array and isinstance(origin.at, slice):
            branches.append([cut(line, origin.at) for line in self.lines(*origin.array)])
        elif origin.array or not origin.known:
            branches.append([(rest(_named(node)),)])
        return self._changed(either(*branches), origin.variable, calls)

    def _changed(self, lines: Lines, variable: Node | None, calls: Calls) -> Lines:
        """What an array becomes by all that is done to it."""
        for change in self.changes(variable):
            with self.changing(variable):
                match change.kind:
                    case Kind.REPLACE:
                        lines = either(lines, self.lines(change.values[0], calls))
                    case Kind.APPEND:
                        lines = joined([lines, self.elements(change.values, calls)])
                    case Kind.PREPEND:
                        lines = joined([self.elements(change.values, calls), lines])
                    case Kind.ALIAS:
                        lines = self._changed(lines, change.values[0], calls)
                    case Kind.HAND_OVER:
                        lines = joined([lines, self._handed(change, calls)])
        return lines

    def _handed(self, change: Change, calls: Calls) -> Lines:
        """What a function appends to an array that it is handed."""
        call = change.values[0]
        callee = call.child_by_field_name("function")
        if inside := self.into(call, calls):
            declarer = parameter_at(inside[0], change.index)
            return self._changed([()], declarer, inside[1]) if declarer else [()]
        untouched = call == self.asked or self.starts(call) or reads_only(call)
        return [()] if callee is None or untouched else [(rest(text(callee)),)]

    def _called_lines(self, call: Node, calls: Calls) -> Lines:
        if inside := self.into(call, calls):
            values = returned(inside[0])
            return either(*(self.lines(value, inside[1]) for value in values)) if values else []
        callee, given = call.child_by_field_name("function"), arguments(call)
        parted = member(bare(callee)) if callee else None
        if parted is None:
            return []
        return self._method_lines(*parted, given, calls)

    def _method_lines(self, of: Node, method: str, given: Sequence[Node], calls: Calls) -> Lines:
        """What a method of an array or a text returns."""
        match method:
            case "split":
                separator = literal(given[0]) if given and given[0].type == "string" else ""
                texts = self.texts(of, calls)
                return [tuple(_several(word) for word in each.split(separator.strip() or None)) for each in texts]
            case "slice":
                numbers = [int(text(each)) for each in given if re.fullmatch(r"-?\d+", text(each))]
                which = slice(*(*numbers, None)[:2]) if numbers else slice(None)
                return [cut(line, which) for line in self.lines(of, calls)]
            case "concat":
                return joined(self.lines(each, calls) for each in (of, *given))
            case "map" | "flatMap" if given:
                return self._mapped(of, given[0], calls)
            case "filter" | "flat" | "reverse" | "sort" | "toReversed" | "toSorted":
                return self.lines(of, calls)
        return []

    def _mapped(self, of: Node, callback: Node, calls: Calls) -> Lines:
        """What a function makes of each word of an array."""
        function, lines = self.project.function(callback), self.lines(of, calls)
        if function is None:
            return lines if text(callback) in {"String", "Boolean"} else []

        def made(word: str) -> Lines:
            unfollowed = word in marks_in(word)
            inner = (Given(function, word=unknown("each") if unfollowed else word), *calls)
            found = either(*(self.lines(value, inner) for value in returned(function)))
            return [(word,)] if unfollowed and found == [(unknown("each"),)] else found

        return [made_line for line in lines for made_line in joined(made(word) for word in line)]


def reads_only(call: Node) -> bool:
    """Whether a call is known to neither run nor change what it is handed, by what it is called."""
    callee = call.child_by_field_name("function")
    first, *further = text(callee).replace("?", "").split(".") if callee else [""]
    return (first in _READERS and "prototype" not in further) or (bool(further) and further[-1] in _READING)


def _several(word: str) -> str:
    """A piece of a text; where nothing of the text is known, it is any number of pieces."""
    return rest(name_of(word)) if is_unknown(word) else word


def _operator(node: Node) -> str:
    operator = node.child_by_field_name("operator")
    return text(operator) if operator else ""


def _named(node: Node) -> str:
    """What an expression is called where it could not be followed."""
    callee = node.child_by_field_name("function") if node.type == "call_expression" else None
    return text(callee or node)
