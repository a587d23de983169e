"""What an expression may be, as a text or as an array of words, read without regard to who calls the code around it.

A parameter is a mark, for the callers to fill in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from checks.nanoclaw.discovery.form import MAX, NO_MARKS, Lines, combined, concatenated, distinct, hole, rest
from checks.nanoclaw.discovery.project import Definition, Project
from checks.nanoclaw.discovery.rules import among, rules
from checks.nanoclaw.discovery.syntax import Part, given, operands, returned
from checks.nanoclaw.discovery.tree import FUNCTIONS, Node, arguments, bare, callee, member

Value = str | tuple[str, ...]

_DEPTH = 30
_ESCAPED = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{0*([0-9a-fA-F]{1,5})\}|(.))", re.S)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\n": ""}
_SAME = {
    "trim",
    "toString",
    "filter",
    "sort",
    "reverse",
    "strip",
    "copy",
    "toLowerCase",
    "String",
    "str",
    "list",
    "tuple",
}
"""Functions whose result has the words of their object or argument, or fewer."""
_ADDS = {"push": 0, "append": 0, "extend": 0, "add": 0, "unshift": 0, "splice": 2}
MARK = re.compile(r"(?:--)?⟦([0-9]+)⟧")
"""A parameter: with two dashes where it is any number of words."""


@dataclass
class Values:
    """Reads expressions."""

    project: Project
    starts: Callable[[Node], bool]
    """Whether a call starts a program. It adds nothing to an array that it is handed."""
    parameters: list[Definition] = field(default_factory=list)
    """By number: what the marks stand for."""
    gathered: set[int] = field(default_factory=set)
    """The numbers of those that are added to an array of their object, where several calls come together."""
    _known: dict[Node, list[Value]] = field(default_factory=dict)
    _open: set[object] = field(default_factory=set)

    def texts(self, node: Node) -> list[str]:
        """What an expression may be as a text; a mark where nothing is known."""
        parameter = self._parameter(node)
        found = [each if isinstance(each, str) else " ".join(each) for each in self.of(node)]
        return found or [f"⟦{parameter}⟧" if parameter is not None else hole(name_of(node))]

    def lines(self, node: Node) -> Lines:
        """What an expression may be as an array."""
        parameter = self._parameter(node)
        found = distinct(each if isinstance(each, tuple) else (each,) for each in self.of(node))
        if not found and parameter is not None:
            handed = self._changed([(f"--⟦{parameter}⟧",)], bare(node), self.parameters[parameter].scope)
            found = [each for each in handed if isinstance(each, tuple)]
        return found or [(rest(name_of(node)),)]

    def argument(self, found: Definition, call: Node) -> Node | None:
        """What a call hands over as a parameter."""
        words = arguments(call)
        named = [
            each.parts[-1]
            for each in words
            if each.kind == "keyword_argument" and each.text.startswith(f"{found.name}=")
        ]
        if named or found.index >= len(words) or found.part is None:
            return next(iter(named or words[found.index : found.index + 1]), None)
        members = [
            each
            for each in self.project.members.get(str(found.part), ())
            if any(of.contains(each) for of in self.project.objects(words[found.index]))
        ]
        return (given(members[0]) or members[0]) if members else None

    def joined(self, nodes: Iterable[Node]) -> Lines:
        """What the elements of an array may be together."""
        return combined(self._element(each) for each in nodes)

    def of(self, node: Node) -> list[Value]:
        """What an expression may be; nothing where that is not known."""
        node = bare(node)
        if node not in self._known:
            if node in self._open or len(self._open) > _DEPTH:
                return []
            self._open.add(node)
            found = list(dict.fromkeys(self._of(node)))
            self._open.discard(node)
            lines = any(isinstance(each, tuple) for each in found)
            many: Value = (rest("alternatives"),) if lines else hole("alternatives", loose=True)
            self._known[node] = found if len(found) <= MAX else [many]
        return self._known[node]

    def _of(self, node: Node) -> Iterable[Value]:
        match node.kind:
            case "string" | "template_string" | "concatenated_string":
                return concatenated(self._piece(each) for each in node.parts)
            case "array":
                return combined(self._element(each) for each in node.parts)
            case "binary_expression" | "ternary_expression":
                return self._either(node)
            case "identifier" | "shorthand_property_identifier":
                found = self.project.lookup(node.text, node)
                return [value for each in found for value in self._changed(self._defined(each), node, each.scope)]
            case "member_expression":
                parted = member(node)
                start = self._part(parted[0], parted[1]) if parted else []
                return self._changed(start, node, node.tree.root)
            case "subscript_expression":
                of, index = node.get("object"), node.get("index")
                return self._part(of, _index(index)) if of and index else []
            case "call_expression":
                return self._called(node)
        return []

    def _piece(self, node: Node) -> list[str]:
        match node.kind:
            case "string_start" | "string_end":
                return [""]
            case "string_fragment" | "escape_sequence":
                return [_ESCAPED.sub(_unescaped, node.text)]
        return self.texts(node)

    def _element(self, node: Node) -> Lines:
        """An element of an array. One that is spread is all that it may be: what is there under a condition counts."""
        if node.kind != "spread_element":
            return [(each,) for each in self.texts(node)]
        known = self.of(node)
        return [_merged(known)] if known else self.lines(node)

    def _one(self, node: Node) -> tuple[str, ...]:
        """An element that is added: one of the texts that it may be, but all of them that are options."""
        lines = self._element(node)
        if node.kind == "spread_element":
            return _merged(lines)
        options = [line[0] for line in lines if line[0].startswith("-")]
        return tuple(options) or lines[0]

    def _either(self, node: Node) -> Iterable[Value]:
        operator = node.get("operator")
        if node.kind == "ternary_expression" or operator is None or operator.text in {"||", "??", "&&", "or", "and"}:
            found = [self.of(each) for each in operands(node)]
            known = [value for each in found for value in each]
            return known if any(known) or all(found) else []  # ``x ?? ""`` is as unknown as x
        sides = [node.get("left"), node.get("right")]
        if operator.text != "+" or None in sides:
            return []
        if any(isinstance(value, tuple) for each in sides if each for value in self.of(each)):
            return combined(self.lines(each) for each in sides if each)
        return concatenated(self.texts(each) for each in sides if each)

    def _parameter(self, node: Node) -> int | None:
        """The number of the parameter that an expression is."""
        node = bare(node)
        found = (
            [each for each in self.project.lookup(node.text, node) if each.function]
            if node.kind == "identifier"
            else []
        )
        if not found or self._elements(found[0]) is not None:
            return None
        if found[0] not in self.parameters:
            self.parameters.append(found[0])
        return self.parameters.index(found[0])

    def _elements(self, found: Definition) -> list[Value] | None:
        """What the parameter of ``list.map((it) => …)`` is: each word of the list."""
        call = found.function.parent.parent if found.function and found.function.parent else None
        target = callee(call) if call and call.kind == "call_expression" else None
        parted = member(target) if target else None
        if parted is None or parted[1] not in {"map", "flatMap", "forEach"}:
            return None
        return [word for each in self.of(parted[0]) if isinstance(each, tuple) for word in each]

    def _defined(self, found: Definition) -> Iterable[Value]:
        if found.function:
            return self._elements(found) or []
        if found.value is None or found.value.kind in FUNCTIONS | {"class_declaration", "enum_declaration"}:
            return []
        if found.each:
            return [word for each in self.of(found.value) if isinstance(each, tuple) for word in each]
        return self.of(found.value) if found.part is None else self._part(found.value, found.part)

    def _part(self, of: Node, part: Part) -> Iterable[Value]:
        """A part of an object or an array; all of them where it is not known which."""
        whole = [] if isinstance(part, str) else [each for each in self.of(of) if isinstance(each, tuple)]
        if isinstance(part, slice):
            return [each[part] for each in whole]
        if whole:
            return [word for each in whole for word in _words_at(each, part)]
        ends = [
            end
            for each in self._members(of, part)
            for end in (returned(each) if each.kind == "method_definition" else [given(each) or each])
        ]
        return [value for end in ends if end.kind not in FUNCTIONS for value in self.of(end)]

    def _members(self, of: Node, part: Part) -> list[Node]:
        """The members of that name that an object may have; all of them without a name."""
        holders = self.project.objects(of)
        members = (
            self.project.members.get(part, ())
            if isinstance(part, str)
            else [each for holder in holders for each in holder.find(["pair"])]
        )
        return [each for each in members if any(holder.contains(each) for holder in holders)]

    def _called(self, node: Node) -> Iterable[Value]:
        target, words = callee(node), arguments(node)
        if target is None:
            return []
        parted = member(target)
        name = parted[1] if parted else target.text
        if parted and name in {"join", "split", "concat", "slice", "map", "flatMap"}:
            return self._method(parted[0], name, words)
        if name in _SAME and (parted or words):
            return self.of(parted[0] if parted else words[0])
        functions = self.project.functions(target) or (self.project.functions_under(name) if parted else [])
        return [value for function in functions for end in returned(function) for value in self.of(end)]

    def _method(self, of: Node, name: str, words: Sequence[Node]) -> Iterable[Value]:
        match name:
            case "join":
                return self._join(of, words)
            case "split":
                return [tuple(each.split()) for each in self.of(of) if isinstance(each, str)]
            case "concat":
                return combined([self.lines(of), *(self.lines(each) for each in words)])
            case "slice":
                start = (_index(words[0]) if words else None) or 0
                return [each[start:] for each in self.of(of) if isinstance(each, tuple)]
        made = [
            value
            for each in words[:1]
            for function in self.project.functions(each)
            for end in returned(function)
            for value in self.of(end)
        ]
        return [_merged(made)] if made else []

    def _join(self, of: Node, words: Sequence[Node]) -> Iterable[Value]:
        """``words.join(" ")`` of JavaScript, and ``" ".join(words)`` of Python."""
        glue, lists = (of, words[:1]) if of.kind == "string" else (words[0] if words else of, [of])
        between = next((each for each in self.of(glue) if isinstance(each, str)), None)
        blank = between is not None and between.isspace()
        return [
            (" " if between is None else between).join(line)
            for each in lists
            for line in (self.lines(each) if blank else self.of(each))
            if isinstance(line, tuple)
        ]

    def _changed(self, start: Iterable[Value], at: Node, scope: Node) -> list[Value]:
        """What a variable becomes: what is assigned is an alternative, what is added is there in any case."""
        made = _Changes(list(start))
        key = (scope, at.text)
        if key in self._open:
            return made.found
        self._open.add(key)
        for use in self.project.uses.get((at.tree, at.text), ()):
            if scope.contains(use):
                self._change(made, use, at)
        self._open.discard(key)
        lines = [each for each in made.found if isinstance(each, tuple)]
        before, after = [tuple(word for piece in added for word in piece) for added in (made.ahead, made.behind)]
        return [(*before, *each, *after) for each in lines] if before or after else made.found

    def _change(self, made: _Changes, use: Node, at: Node) -> None:
        """What one use of a variable changes."""
        value, left = given(use), use.get("left")
        match use.kind:
            case "variable_declarator":
                alias = use.get("name")
                name = alias.text if alias else ""
                for other in self.project.uses.get((at.tree, name), ()):
                    made.behind += self._added(other, name) if other.kind == "call_expression" else []
            case "assignment_expression" if value and left and left.kind == "subscript_expression":
                made.behind.append(self._one(value))
            case "assignment_expression" if value:
                made.found += self.of(value)
            case "augmented_assignment_expression" if value and (operator := use.get("operator")):
                if operator.text == "+=":
                    self._append(made, value)
            case "call_expression":
                first = f"{at.text}.unshift(" in use.text
                added = self._added(use, at.text)
                (made.ahead if first else made.behind).extend(added)
                if at.kind == "member_expression":
                    self.gathered |= {int(mark[1]) for line in added for word in line for mark in MARK.finditer(word)}

    def _append(self, made: _Changes, value: Node) -> None:
        """Add a value to a text, or to an array."""
        texts = [each for each in made.found if isinstance(each, str)]
        made.found += concatenated([texts, self.texts(value)]) if texts else []
        made.behind += [] if texts else self.lines(value)

    def _added(self, call: Node, name: str) -> Lines:
        """The words that a call adds to the array of a name: as its method, or to what it is handed."""
        target, words = callee(call), arguments(call)
        parted = member(target) if target else None
        if target is None or (parted and parted[0].text == name):
            return self._added_by_method(parted[1], words) if parted else []
        if self.starts(call) or among(target.text, rules().functions.readers):
            return []
        index = next(at for at, each in enumerate(words) if each.text == name)
        functions = self.project.functions(target)
        if not functions:
            return [(rest(target.text),)] if any(isinstance(each, tuple) for each in self.of(words[index])) else []
        parameters = [
            each for function in functions for each in self.project.parameters(function) if each.index == index
        ]
        return [line for each in parameters for line in self._added_within(each, call)]

    def _added_by_method(self, method: str, words: Sequence[Node]) -> Lines:
        if method not in _ADDS:
            return []
        whole = method == "extend"
        pieces = [_merged(self.lines(each)) if whole else self._one(each) for each in words[_ADDS[method] :]]
        return [tuple(word for piece in pieces for word in piece)]

    def _added_within(self, parameter: Definition, call: Node) -> Lines:
        """What a function that is called adds to its parameter."""
        uses = self.project.uses.get((parameter.node.tree, parameter.name), ())
        calls = [use for use in uses if use.kind == "call_expression" and parameter.scope.contains(use) and use != call]
        return [
            line
            for use in calls
            if (of := callee(use)) and of.text.startswith(f"{parameter.name}.")
            for line in self._added(use, parameter.name)
        ]


@dataclass
class _Changes:
    """What a variable may be, and what is added to it."""

    found: list[Value]
    ahead: Lines = field(default_factory=list)
    behind: Lines = field(default_factory=list)


def _words_at(line: tuple[str, ...], part: int | str | None) -> tuple[str, ...]:
    """The word at an index; all of them where it is not known which."""
    if part is None:
        return line
    return line[part : part + 1] if isinstance(part, int) else ()


def _merged(lines: Iterable[Value]) -> tuple[str, ...]:
    """All words of the alternatives."""
    return tuple(word for line in dict.fromkeys(lines) for word in (line if isinstance(line, tuple) else (line,)))


def _unescaped(found: re.Match[str]) -> str:
    """The character of an escape sequence."""
    number = found[1] or found[2] or found[3]
    character = chr(int(number, 16)) if number else _ESCAPES.get(found[4], found[4])
    return character.encode(errors="replace").decode().translate(NO_MARKS)  # not a half of a pair


def _index(node: Node) -> int | None:
    """The number that an expression is."""
    return int(node.text) if re.fullmatch("[0-9]{1,6}", node.text) else None


def name_of(node: Node) -> str:
    """What computes an expression: the function that is called, or its source."""
    node = bare(node)
    target = callee(node) if node.kind == "call_expression" else None
    return target.text if target else node.text
