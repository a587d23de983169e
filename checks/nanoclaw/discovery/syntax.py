"""Syntax trees of TypeScript and shell sources, and small questions about their nodes."""

from __future__ import annotations

from collections.abc import Iterator

import tree_sitter_bash
import tree_sitter_typescript
from tree_sitter import Language, Node, Parser

_TYPESCRIPT = Language(tree_sitter_typescript.language_typescript())
_SHELL = Language(tree_sitter_bash.language())

FUNCTIONS = {
    "function_declaration", "generator_function_declaration", "arrow_function", "function_expression",
    "method_definition",
}  # fmt: skip
_WRAPPED = {
    "parenthesized_expression", "as_expression", "satisfies_expression", "non_null_expression", "await_expression",
}  # fmt: skip
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\n": ""}


def typescript(source: bytes) -> Node:
    """The tree of a TypeScript source."""
    return Parser(_TYPESCRIPT).parse(source).root_node


def shell(source: bytes) -> Node:
    """The tree of a shell source."""
    return Parser(_SHELL).parse(source).root_node


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in the order of the source."""
    ahead = [node]
    while ahead:
        node = ahead.pop()
        yield node
        ahead.extend(reversed(node.children))


def text(node: Node) -> str:
    """The source of a node."""
    return node.text.decode(errors="replace") if node.text else ""


def parts(node: Node | None) -> list[Node]:
    """The children that mean something."""
    return [child for child in node.named_children if child.type != "comment"] if node else []


def bare(node: Node) -> Node:
    """An expression without what does not change its value: parentheses, types, ``await``."""
    while True:
        if node.type in _WRAPPED:
            node = parts(node)[0]
        elif node.type == "type_assertion":
            node = parts(node)[-1]
        else:
            return node


def literal(node: Node) -> str:
    """The text that a string literal, or a piece of a template, stands for."""
    if node.type == "escape_sequence":
        escaped = text(node)[1:]
        return _ESCAPES.get(escaped, escaped if len(escaped) == 1 else text(node))
    return "".join(literal(child) for child in parts(node)) if node.type == "string" else text(node)


def arguments(call: Node) -> list[Node]:
    """What a call hands over. A tagged template has no arguments, but its template."""
    given = call.child_by_field_name("arguments")
    return parts(given) if given and given.type == "arguments" else []


def member(node: Node) -> tuple[Node, str] | None:
    """The object and the name of ``object.name``."""
    of, name = node.child_by_field_name("object"), node.child_by_field_name("property")
    return (bare(of), text(name)) if node.type == "member_expression" and of and name else None


def returned(function: Node) -> list[Node]:
    """The expressions that a function may return."""
    body = function.child_by_field_name("body")
    if body is None:
        return []
    if body.type != "statement_block":
        return [bare(body)]
    found, ahead = [], [body]
    while ahead:
        node = ahead.pop()
        if node.type == "return_statement":
            found += parts(node)[:1]
        elif node.type not in FUNCTIONS:
            ahead.extend(reversed(node.children))
    return found
