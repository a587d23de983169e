"""Finds docker command lines in TypeScript and shell sources, without running them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import tree_sitter_bash
import tree_sitter_typescript
from tree_sitter import Language, Node, Parser

from checks.nanoclaw.invocation import UNKNOWN, Shape, shape_of

_TYPESCRIPT = Language(tree_sitter_typescript.language_typescript())
_SHELL = Language(tree_sitter_bash.language())

_SKIPPED = {"node_modules", "dist", ".git", ".claude", "skills"}
"""Folders that are not what runs: what is installed, what is built, and recipes that change the source once applied."""

_SHELL_RUNNERS = {"exec", "execSync", "execAsync"}
_WRAPPERS = {"sudo", "env", "exec", "nice", "systemd-run", "timeout", "with_timeout"}
_FUNCTIONS = {"function_declaration", "arrow_function", "function_expression", "method_definition"}
_DEPTH = 12


@dataclass(frozen=True)
class Found:
    """A docker command in a source."""

    file: str
    """Relative to the checkout."""
    line: int
    shape: Shape

    @property
    def hot(self) -> bool:
        """Whether it is nanoclaw itself that runs it, not its set-up or a script beside it."""
        return self.file.startswith("src/")


def discover(checkout: Path) -> list[Found]:
    """Every docker command in a checkout's TypeScript and shell sources, tests left out."""
    paths = [path for path in sorted(checkout.rglob("*")) if path.is_file() and not _skipped(path, checkout)]
    sources = [_Source(path, checkout) for path in paths if path.suffix in {".ts", ".mts", ".cts"}]
    project = _Project(sources)
    found = [each for source in sources for each in project.commands(source)]
    for path in paths:
        if path.suffix == ".sh":
            found += _in_shell(path.read_bytes(), str(path.relative_to(checkout)), 1)
    return sorted(set(found), key=lambda each: (each.file, each.line, each.shape.text))


def _skipped(path: Path, checkout: Path) -> bool:
    return bool(_SKIPPED & set(path.relative_to(checkout).parts)) or ".test." in path.name


# Shell


def _in_shell(text: bytes, file: str, first_line: int, known: Mapping[str, str] | None = None) -> list[Found]:
    root = Parser(_SHELL).parse(text).root_node
    values = dict(known or {})
    for node in _walk(root):
        if node.type == "variable_assignment":
            name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
            if name and value and name.type == "variable_name":
                before = values.get(_text(name), "") if b"+=" in (node.text or b"") else ""
                values[_text(name)] = f"{before} {_shell_word(value, values)}".strip()
    found = []
    for node in _walk(root):
        if node.type == "command":
            given = [child for child in node.named_children if child.type != "variable_assignment"]
            words = [part for child in given for part in _shell_parts(child, values)]
            at = _docker_at(words)
            if at is not None:
                found.append(Found(file, first_line + node.start_point[0], shape_of(words[at + 1 :])))
    return found


def _shell_parts(node: Node, values: Mapping[str, str]) -> list[str]:
    """A word of a command line; an array's expansion is as many as it has."""
    word = _shell_word(node, values)
    return word.split() if "[@]" in _text(node) else [word]


def _shell_word(node: Node, values: Mapping[str, str]) -> str:
    if node.type in {"word", "number", "string_content", "raw_string", "concatenation", "command_name", "string"}:
        if node.type == "raw_string":
            return _text(node)[1:-1]
        if not node.named_children:
            return "" if node.type == "string" else _text(node)
        return "".join(_shell_word(child, values) for child in node.named_children)
    if node.type == "array":
        return " ".join(_shell_word(child, values) for child in node.named_children)
    if node.type in {"simple_expansion", "expansion"}:
        names = [child for child in _walk(node) if child.type == "variable_name"]
        default = [child for child in node.named_children if child.type not in {"variable_name", "subscript"}]
        if names and values.get(_text(names[0]), UNKNOWN) != UNKNOWN:
            return values[_text(names[0])]
        return _shell_word(default[0], values) if default else UNKNOWN
    return UNKNOWN


def _docker_at(words: Sequence[str]) -> int | None:
    """Where ``docker`` is the command: first, or behind commands that run another one."""
    at = 0
    while at < len(words) and words[at] in _WRAPPERS:
        bounded = words[at] == "timeout"
        at += 1
        while at < len(words) and (words[at].startswith("-") or (bounded and words[at][:1].isdigit())):
            at += 1
    return at if at < len(words) and words[at] == "docker" else None


# TypeScript


class _Source:
    def __init__(self, path: Path, checkout: Path) -> None:
        self.file = str(path.relative_to(checkout))
        self.root = Parser(_TYPESCRIPT).parse(path.read_bytes()).root_node


@dataclass
class _Project:
    """All sources together: a constant or a function may come from another file."""

    sources: Sequence[_Source]
    constants: dict[str, Node] = field(default_factory=dict)
    functions: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for source in self.sources:
            for node in _walk(source.root):
                if node.type == "function_declaration" and (name := node.child_by_field_name("name")):
                    self.functions.setdefault(_text(name), node)
                elif node.type == "variable_declarator" and _function_around(node) is None:
                    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
                    if name and value:
                        self.constants.setdefault(_text(name), value)

    def commands(self, source: _Source) -> Iterator[Found]:
        """The docker commands that a source runs."""
        for call in _walk(source.root):
            if call.type != "call_expression":
                continue
            callee, arguments = call.child_by_field_name("function"), call.child_by_field_name("arguments")
            given = arguments.named_children if arguments else []
            if callee is None or not given:
                continue
            line = call.start_point[0] + 1
            if _text(callee).rsplit(".", 1)[-1] in _SHELL_RUNNERS:
                for text in self.texts(given[0]):
                    for found in _in_shell(text.encode(), source.file, line):
                        yield Found(source.file, line, found.shape)
            elif len(given) > 1 and "docker" in self.texts(given[0]):
                yield Found(source.file, line, shape_of(self.words(given[1])))

    def texts(self, node: Node, depth: int = 0) -> list[str]:
        """What an expression's string may be; UNKNOWN where it is not to be known."""
        if depth > _DEPTH:
            return [UNKNOWN]
        match node.type:
            case "string":
                return ["".join(_text(child) for child in node.named_children)]
            case "template_string":
                return self._template(node, depth)
            case "identifier":
                value = self._value_of(node)
                return self.texts(value, depth + 1) if value else [UNKNOWN]
            case "ternary_expression":
                return [text for child in node.named_children[1:] for text in self.texts(child, depth + 1)]
            case "binary_expression":
                sides = [self.texts(child, depth + 1) for child in node.named_children]
                if any(child.type in {"||", "??"} for child in node.children):
                    known = [text for side in sides for text in side if text != UNKNOWN]
                    return known or [UNKNOWN]
                return ["".join(parts) for parts in product(*sides)]
            case "subscript_expression":  # text.split(' ')[0]
                inside = node.named_children[0]
                index = _text(node.named_children[-1])
                words = self.words(inside, depth + 1)
                return [words[int(index)]] if index.isdigit() and int(index) < len(words) else [UNKNOWN]
            case "call_expression":
                if function := self._function_of(node):
                    return [text for each in _returned(function) for text in self.texts(each, depth + 1)] or [UNKNOWN]
        if node.type in {"parenthesized_expression", "as_expression", "non_null_expression", "await_expression"}:
            return self.texts(node.named_children[0], depth + 1)
        return [UNKNOWN]

    def words(self, node: Node, depth: int = 0) -> list[str]:
        """The strings of an array, those that are only there under a condition included."""
        if depth > _DEPTH:
            return [UNKNOWN]
        match node.type:
            case "array" | "arguments":
                return [word for child in node.named_children for word in self._element(child, depth)]
            case "identifier":
                value = self._value_of(node)
                if value is None:
                    return [UNKNOWN]
                return [*self.words(value, depth + 1), *self._pushed(node, depth)]
            case "ternary_expression":
                return [word for child in node.named_children[1:] for word in self.words(child, depth + 1)]
            case "call_expression":
                return self._called(node, depth)
        if node.type in {"parenthesized_expression", "as_expression", "non_null_expression", "await_expression"}:
            return self.words(node.named_children[0], depth + 1)
        return [UNKNOWN]

    def _element(self, node: Node, depth: int) -> list[str]:
        if node.type == "comment":
            return []
        if node.type == "spread_element":
            return self.words(node.named_children[0], depth + 1)
        return self.texts(node, depth + 1)[:1]

    def _called(self, node: Node, depth: int) -> list[str]:
        if function := self._function_of(node):
            return [word for each in _returned(function) for word in self.words(each, depth + 1)]
        callee = node.child_by_field_name("function")
        if callee and callee.type == "member_expression":
            of, method = callee.named_children[0], _text(callee.named_children[-1])
            if method == "split":
                return self.texts(of, depth + 1)[0].split()
            if method == "slice":
                return self.words(of, depth + 1)[1:]
            if method in {"flatMap", "map", "filter", "concat"}:
                return [part for word in self.words(of, depth + 1) for part in word.split()]
        return [UNKNOWN]

    def _pushed(self, name: Node, depth: int) -> list[str]:
        """What is pushed onto an array in the function that it is local to."""
        words = []
        for call in _walk(_function_around(name) or _root(name)):
            callee = call.child_by_field_name("function") if call.type == "call_expression" else None
            if callee and _text(callee) == f"{_text(name)}.push" and (given := call.child_by_field_name("arguments")):
                words += self.words(given, depth + 1)
        return words

    def _template(self, node: Node, depth: int) -> list[str]:
        parts = [
            self.texts(child.named_children[0], depth + 1) if child.type == "template_substitution" else [_text(child)]
            for child in node.named_children
        ]
        return ["".join(each) for each in product(*parts)]

    def _value_of(self, name: Node) -> Node | None:
        """What a name stands for: a local's first value, else a constant of the project. A parameter is not known."""
        function = _function_around(name)
        while function is not None:
            for node in _walk(function):
                declared = node.child_by_field_name("name") if node.type == "variable_declarator" else None
                if declared is not None and _text(declared) == _text(name):
                    return node.child_by_field_name("value")
            parameters = function.child_by_field_name("parameters")
            if parameters and any(
                _text(each) == _text(name) for each in _walk(parameters) if each.type == "identifier"
            ):
                return None
            function = _function_around(function)
        return self.constants.get(_text(name))

    def _function_of(self, call: Node) -> Node | None:
        callee = call.child_by_field_name("function")
        return self.functions.get(_text(callee)) if callee and callee.type == "identifier" else None


def _returned(function: Node) -> list[Node]:
    """What a function's own return statements return."""
    return [
        node.named_children[0]
        for node in _walk(function)
        if node.type == "return_statement" and node.named_children and _function_around(node) == function
    ]


def _function_around(node: Node) -> Node | None:
    parent = node.parent
    while parent is not None and parent.type not in _FUNCTIONS:
        parent = parent.parent
    return parent


def _root(node: Node) -> Node:
    while node.parent is not None:
        node = node.parent
    return node


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Node) -> str:
    return node.text.decode(errors="replace") if node.text else ""
