"""Syntax trees: nodes of ast-grep that know their file, with one set of kinds for JavaScript, TypeScript and Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property

from ast_grep_py import Rule, SgNode, SgRoot

_KINDS = {
    "call": "call_expression", "attribute": "member_expression", "subscript": "subscript_expression",
    "list": "array", "tuple": "array", "dictionary": "object", "list_splat": "spread_element",
    "boolean_operator": "binary_expression", "binary_operator": "binary_expression",
    "conditional_expression": "ternary_expression", "interpolation": "template_substitution",
    "string_content": "string_fragment", "function_definition": "function_declaration", "lambda": "arrow_function",
    "assignment": "variable_declarator", "augmented_assignment": "augmented_assignment_expression",
    "class_definition": "class_declaration", "for_statement": "for_in_statement",
}  # fmt: skip
"""Python's kinds as JavaScript's. A Python assignment declares its variable."""
_FIELDS = {
    ("member_expression", "property"): "attribute", ("subscript_expression", "object"): "value",
    ("subscript_expression", "index"): "subscript", ("variable_declarator", "name"): "left",
    ("variable_declarator", "value"): "right", ("spread_element", "argument"): "",
}  # fmt: skip
_WRAPPED = {
    "parenthesized_expression", "as_expression", "satisfies_expression", "non_null_expression", "await_expression",
    "type_assertion", "await", "expression_statement", "spread_element", "template_substitution", "unary_expression",
}  # fmt: skip
FUNCTIONS = {
    "function_declaration", "generator_function_declaration", "arrow_function", "function_expression",
    "method_definition",
}  # fmt: skip
SCOPES = FUNCTIONS | {"program", "module", "statement_block", "class_body", "for_in_statement", "for_statement"}


@dataclass(eq=False)
class Tree:
    """The syntax tree of a source."""

    file: str
    """Relative to the checkout."""
    language: str
    text: str = field(repr=False)
    line: int = 1
    """The line of the file that the text begins in."""

    @cached_property
    def root(self) -> Node:
        """Its root."""
        text = self.text.encode(errors="replace").decode()  # the parser takes no surrogates, which JSON may bring
        return Node(self, SgRoot(text, self.language).root())


class Node:
    """A node. Two nodes are equal if they are the same piece of the same source."""

    __slots__ = ("at", "kind", "raw", "tree")

    def __init__(self, tree: Tree, raw: SgNode) -> None:
        self.tree, self.raw = tree, raw
        kind, around = raw.kind(), raw.range()
        self.kind = _KINDS.get(kind, kind) if tree.language == "python" else kind
        self.at = (around.start.index, around.end.index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self.tree, self.at, self.kind) == (other.tree, other.at, other.kind)

    def __hash__(self) -> int:
        return hash((id(self.tree), self.at, self.kind))

    @property
    def text(self) -> str:
        """Its source."""
        return self.raw.text()

    @property
    def line(self) -> int:
        """Its line in the file, from 1."""
        return self.raw.range().start.line + self.tree.line

    @property
    def parts(self) -> list[Node]:
        """Its named children, without comments."""
        return [Node(self.tree, each) for each in self.raw.named_children() if each.kind() != "comment"]

    @property
    def parent(self) -> Node | None:
        """The node around it."""
        raw = self.raw.parent()
        return Node(self.tree, raw) if raw else None

    @property
    def ancestors(self) -> Iterator[Node]:
        """The nodes around it, the nearest first."""
        node = self.parent
        while node:
            yield node
            node = node.parent

    def get(self, name: str) -> Node | None:
        """The child of a field."""
        if self.tree.language == "python":
            name = _FIELDS.get((self.kind, name), name)
        raw = self.raw.field(name) if name else None
        return Node(self.tree, raw) if raw else None

    def find(self, kinds: Iterable[str]) -> list[Node]:
        """All nodes of these kinds in it, in the order of the source."""
        rule = _rule(self.tree.language, frozenset(kinds))
        return [Node(self.tree, each) for each in self.raw.find_all(any=rule)] if rule else []

    def contains(self, other: Node) -> bool:
        """Whether another node of the same source lies in it."""
        return self.tree is other.tree and self.at[0] <= other.at[0] and other.at[1] <= self.at[1]


def bare(node: Node) -> Node:
    """An expression without what doesn't change its value: parentheses, types, ``await``."""
    while node.kind in _WRAPPED and (parts := node.parts):
        node = parts[-1] if node.kind == "type_assertion" else parts[0]
    return node


def arguments(call: Node) -> list[Node]:
    """The arguments of a call; a tagged template has none."""
    given = call.get("arguments")
    return given.parts if given and given.kind in {"arguments", "argument_list"} else []


def member(node: Node) -> tuple[Node, str] | None:
    """The object and the name of ``object.name``."""
    of, name = node.get("object"), node.get("property")
    return (bare(of), name.text) if node.kind == "member_expression" and of and name else None


def callee(call: Node) -> Node | None:
    """What is called."""
    found = call.get("function") or call.get("constructor")
    return bare(found) if found else None


@cache
def _rule(language: str, kinds: frozenset[str]) -> list[Rule]:
    """The rule for kinds of nodes, of those that the language has."""
    raw = {*kinds, *(raw for raw, kind in _KINDS.items() if kind in kinds and language == "python")}
    return [{"kind": kind} for kind in sorted(raw) if _has(language, kind)]


def _has(language: str, kind: str) -> bool:
    try:
        SgRoot("", language).root().find(kind=kind)
    except RuntimeError:
        return False
    return True
