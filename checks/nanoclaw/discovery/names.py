"""What the names in a project's TypeScript sources stand for, across its files."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from tree_sitter import Node

from checks.nanoclaw.discovery.syntax import FUNCTIONS, bare, member, parts, text, walk

_SCOPES = FUNCTIONS | {"program", "statement_block", "for_statement", "for_in_statement", "switch_body", "catch_clause"}
_LEAVES = {"identifier", "shorthand_property_identifier_pattern"}
_IMPORTS = {"import_specifier", "namespace_import", "import_clause"}
_BUILT_IN = {
    "call", "concat", "filter", "flat", "flatMap", "join", "map", "push", "reverse", "slice", "sort", "splice", "split",
    "toString", "trim", "unshift",
}  # fmt: skip
"""Methods of strings and arrays. A project's own of these names are taken for them, as most calls mean those."""
_SUFFIXES = (".ts", ".mts", ".cts", "/index.ts")


@dataclass(frozen=True)
class Parameter:
    """Which of a function's parameters a name is."""

    function: Node
    index: int
    rest: bool = False
    default: Node | None = None
    key: str = ""
    """The property of the argument that it is, where the parameter is a pattern."""


@dataclass
class Source:
    """A source file and what is declared in it."""

    file: str
    root: Node
    scopes: dict[int, dict[str, Node]] = field(default_factory=dict)
    """By the id of the node that a name is visible in: what it was declared by."""
    names: dict[str, list[Node]] = field(default_factory=dict)
    """Where a name is used."""
    members: dict[str, list[Node]] = field(default_factory=dict)
    """Where ``object.property`` is used."""
    calls: list[Node] = field(default_factory=list)
    methods: dict[str, list[Node]] = field(default_factory=dict)
    passed_on: list[Node] = field(default_factory=list)
    """``export … from`` statements."""

    def __post_init__(self) -> None:
        ahead = [(self.root, self.root.id)]
        while ahead:
            node, scope = ahead.pop()
            self._declare(node, scope)
            self._note(node)
            inner = node.id if node.type in _SCOPES else scope
            ahead.extend((child, inner) for child in reversed(node.children))

    def _note(self, node: Node) -> None:
        match node.type:
            case "identifier" | "shorthand_property_identifier":
                self.names.setdefault(text(node), []).append(node)
            case "member_expression":
                self.members.setdefault(text(node), []).append(node)
            case "call_expression":
                self.calls.append(node)
            case "method_definition" if name := node.child_by_field_name("name"):
                self.methods.setdefault(text(name), []).append(node)
            case "public_field_definition" | "pair":
                name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
                name = name or node.child_by_field_name("key")
                if name and value and bare(value).type in FUNCTIONS:
                    self.methods.setdefault(text(name), []).append(bare(value))
            case "export_statement" if node.child_by_field_name("source"):
                self.passed_on.append(node)

    def _declare(self, node: Node, scope: int) -> None:
        name = node.child_by_field_name("name")
        match node.type:
            case "function_declaration" | "generator_function_declaration" | "class_declaration" if name:
                self._put(scope, name, node)
            case "variable_declarator" if name:
                self._put_pattern(scope, name, node)
            case "required_parameter" | "optional_parameter" if (
                pattern := node.child_by_field_name("pattern")
            ) and _of_function(node):
                inner = parts(pattern)[0] if pattern.type == "rest_pattern" else pattern
                self._put_pattern(scope, inner, node)
            case "arrow_function" if single := node.child_by_field_name("parameter"):
                self._put(node.id, single, single)
            case "for_in_statement" if (left := node.child_by_field_name("left")) and node.child_by_field_name("kind"):
                self._put_pattern(node.id, left, node)
            case "import_specifier" if name:
                self._put(scope, node.child_by_field_name("alias") or name, node)
            case "namespace_import" | "import_clause":
                for child in parts(node):
                    if child.type == "identifier":
                        self._put(scope, child, node)

    def _put_pattern(self, scope: int, pattern: Node, declarer: Node) -> None:
        if pattern.type == "identifier":
            self._put(scope, pattern, declarer)
        elif pattern.type in {"object_pattern", "array_pattern"}:
            for leaf in walk(pattern):
                if leaf.type in _LEAVES:
                    self._put(scope, leaf, leaf)

    def _put(self, scope: int, name: Node, declarer: Node) -> None:
        self.scopes.setdefault(scope, {}).setdefault(text(name), declarer)

    def at_top(self, name: str) -> Node | None:
        """What declares a name for the whole file."""
        return self.scopes.get(self.root.id, {}).get(name)

    def declaration(self, name: Node) -> Node | None:
        """What declares a name where it is used."""
        wanted, scope = text(name), name.parent
        while scope is not None:
            if found := self.scopes.get(scope.id, {}).get(wanted):
                return found
            scope = scope.parent
        return None


class Project:
    """All sources together: a name may come from another file."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self._by_file = {source.file: source for source in sources}
        self._by_root = {source.root.id: source for source in sources}
        self._callers: dict[int, list[Node]] | None = None
        self._declared: dict[int, Node | None] = {}
        self._anywhere: dict[str, Node] = {}
        self._methods: dict[str, list[Node]] = {}
        for source in sources:
            for name, declarer in source.scopes.get(source.root.id, {}).items():
                if declarer.type not in _IMPORTS:
                    self._anywhere.setdefault(name, declarer)
            for name, methods in source.methods.items():
                self._methods.setdefault(name, []).extend(methods)

    def source_of(self, node: Node) -> Source:
        """The source that a node stands in."""
        while node.parent is not None:
            node = node.parent
        return self._by_root[node.id]

    def declared(self, name: Node) -> Node | None:
        """What declares a name, in this file, in the one that it is imported from, or, as a last resort, in any."""
        if name.id not in self._declared:
            self._declared[name.id] = self._declaration(name)
        return self._declared[name.id]

    def _declaration(self, name: Node) -> Node | None:
        source = self.source_of(name)
        found = source.declaration(name)
        if found is None:
            return self._anywhere.get(text(name))
        if found.type == "import_specifier" and (exported := found.child_by_field_name("name")):
            return self._exported(source, module_of(found), text(exported)) or found
        return found

    def function(self, callee: Node) -> Node | None:
        """The project's function that a call calls, where there is just one that it may be."""
        callee = bare(callee)
        if callee.type in FUNCTIONS:
            return callee
        if callee.type == "identifier":
            return _function_of(self.declared(callee))
        if parted := member(callee):
            of, name = parted
            namespace = self.source_of(of).declaration(of) if of.type == "identifier" else None
            if namespace and namespace.type == "namespace_import":
                return _function_of(self._exported(self.source_of(of), module_of(namespace), name))
            return self._method(of, name)
        return None

    def _method(self, of: Node, name: str) -> Node | None:
        """The method of this name, where there is just one that an object may have."""
        methods = self._methods.get(name, [])
        if of.type == "this":
            methods = [each for each in methods if _class_around(each) == _class_around(of)]
        elif name in _BUILT_IN or self._foreign(of):
            return None
        return methods[0] if len(methods) == 1 else None

    def _foreign(self, of: Node) -> bool:
        """Whether an object is known to come from a package."""
        declarer = self.declared(of) if of.type == "identifier" else None
        value = declarer.child_by_field_name("value") if declarer and declarer.type == "variable_declarator" else None
        if value and bare(value).type == "new_expression":
            of_class = bare(value).child_by_field_name("constructor")
            declarer = self.declared(of_class) if of_class and of_class.type == "identifier" else None
            return declarer is None or declarer.type in _IMPORTS
        return declarer is not None and declarer.type in _IMPORTS

    def callers(self, function: Node) -> list[Node]:
        """The calls of one of the project's functions."""
        if self._callers is None:
            self._callers = {}
            for source in self.sources:
                for call in source.calls:
                    callee = call.child_by_field_name("function")
                    if callee and (called := self.function(callee)):
                        self._callers.setdefault(called.id, []).append(call)
        return self._callers.get(function.id, [])

    def uses(self, node: Node) -> list[Node]:
        """Where the file uses a variable, given by what declares it, or ``object.property``, given by one use."""
        source = self.source_of(node)
        if node.type == "member_expression":
            return source.members.get(text(node), [])
        return [use for use in source.names.get(_declared_name(node), []) if source.declaration(use) == node]

    def _exported(self, source: Source, module: str, name: str, depth: int = 0) -> Node | None:
        if not module.startswith(".") or depth > 5:
            return None
        base = posixpath.normpath(posixpath.join(posixpath.dirname(source.file), module))
        stem = posixpath.splitext(base)[0] if base.endswith((".js", ".mjs", ".cjs", ".ts")) else base
        target = next((self._by_file[stem + suffix] for suffix in _SUFFIXES if stem + suffix in self._by_file), None)
        if target is None:
            return None
        if found := target.at_top(name):
            if found.type == "import_specifier" and (inner := found.child_by_field_name("name")):
                return self._exported(target, module_of(found), text(inner), depth + 1)
            return found
        for statement in target.passed_on:
            specifiers = [each for each in walk(statement) if each.type == "export_specifier"]
            renamed = {
                text(each.child_by_field_name("alias") or parts(each)[0]): text(parts(each)[0]) for each in specifiers
            }
            wanted = renamed.get(name) if specifiers else name
            if wanted and (passed := self._exported(target, module_of(statement), wanted, depth + 1)):
                return passed
        return None


def module_of(node: Node) -> str:
    """The module that an import, or an ``export … from``, names."""
    while node.parent is not None and not node.child_by_field_name("source"):
        node = node.parent
    source = node.child_by_field_name("source")
    return text(source)[1:-1] if source else ""


def parameter(declarer: Node) -> Parameter | None:
    """Which parameter a declaration is, where it is one."""
    holder: Node | None = declarer
    while holder and holder.type not in {"required_parameter", "optional_parameter"} | FUNCTIONS | _SCOPES:
        holder = holder.parent
    if holder is None:
        return None
    if holder.type == "arrow_function" and holder.child_by_field_name("parameter") == declarer:
        return Parameter(holder, 0)
    if holder.type in _SCOPES or holder.parent is None or holder.parent.parent is None:
        return None
    pattern = holder.child_by_field_name("pattern")
    index = [each.id for each in parts(holder.parent)].index(holder.id)
    key = "" if holder == declarer else key_of(declarer)
    rest = pattern is not None and pattern.type == "rest_pattern"
    return Parameter(holder.parent.parent, index, rest, holder.child_by_field_name("value"), key)


def parameter_at(function: Node, index: int) -> Node | None:
    """What declares a function's parameter."""
    if single := function.child_by_field_name("parameter"):
        return single if index == 0 else None
    declared = parts(function.child_by_field_name("parameters"))
    return declared[index] if index < len(declared) else None


def key_of(leaf: Node) -> str:
    """The property that a name in an object pattern is taken from; of an array pattern, something that is no name."""
    around = leaf.parent
    while around is not None and around.type in {"assignment_pattern", "object_assignment_pattern"}:
        around = around.parent
    if around is None or around.type == "array_pattern":
        return "[]"
    key = around.child_by_field_name("key") if around.type == "pair_pattern" else None
    return text(key) if key else text(leaf)


def _class_around(node: Node) -> Node | None:
    around = node.parent
    while around is not None and around.type not in {"class_body", "object"}:
        around = around.parent
    return around


def _function_of(declarer: Node | None) -> Node | None:
    """The function that is declared, by its name or as the value of a variable."""
    if declarer and declarer.type == "variable_declarator":
        declarer = declarer.child_by_field_name("value")
        declarer = bare(declarer) if declarer else None
    return declarer if declarer and declarer.type in FUNCTIONS else None


def _of_function(node: Node) -> bool:
    """Whether a parameter is a function's; those of a mere type are not visible anywhere."""
    return node.parent is not None and node.parent.parent is not None and node.parent.parent.type in FUNCTIONS


def _declared_name(declarer: Node) -> str:
    if declarer.type in {"required_parameter", "optional_parameter"}:
        pattern = declarer.child_by_field_name("pattern")
        return text(parts(pattern)[0] if pattern and pattern.type == "rest_pattern" else pattern) if pattern else ""
    name = declarer.child_by_field_name("name") or declarer.child_by_field_name("left")
    return text(name) if name else text(declarer)
