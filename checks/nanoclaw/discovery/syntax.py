"""What the syntax of a declaration says: its names, value and scope; and what a function returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from checks.nanoclaw.discovery.tree import FUNCTIONS, SCOPES, Node, arguments, bare, callee, member

CLASSES = {"class_declaration", "class", "enum_declaration"}
Part = str | int | slice | None
"""Which part of a value a name in a pattern is."""


def function_values(node: Node) -> Iterator[Node]:
    """The functions that an expression may be, the operands of ``a ?? b`` among them."""
    return (each for each in operands(node) if each.kind in FUNCTIONS)


def given(declared: Node) -> Node | None:
    """The value in a declaration or an assignment."""
    return declared.get("value") or declared.get("right")


def names_of(function: Node) -> list[str]:
    """The names that a function is called by: its own, and that of the variable or the key that holds it."""
    name, holder = function.get("name"), holder_of(function)
    if name and name.text == "constructor":
        around = next((each for each in function.ancestors if each.kind in CLASSES), None)
        name = around.get("name") if around else None
    found = name or (holder and (holder.get("name") or holder.get("key") or holder.get("left")))
    parted = member(found) if found else None
    return [parted[1] if parted else key_of(found)] if found else []


def owners_of(method: Node) -> set[str]:
    """The names by which something is known to have a method: its class and what that extends; or the variable that
    holds its object, or the function that returns it, with the types that these are declared to have."""
    for each in method.ancestors:
        name = each.get("name")
        if each.kind in CLASSES:
            heritage = [part for part in each.parts if part.kind == "class_heritage"]
            return {part.text for of in heritage for part in of.find(["type_identifier", "identifier"])} | (
                {name.text} if name else set()
            )
        if each.kind in FUNCTIONS or each.kind == "variable_declarator":
            return types_of(each.get("type") or each.get("return_type")) | set(
                names_of(each) if each.kind in FUNCTIONS else [name.text] if name else []
            )
    return set()


def holder_of(node: Node) -> Node | None:
    """What an expression is the value of."""
    holder = node.parent
    while holder and holder.kind in {"parenthesized_expression", "binary_expression", "ternary_expression"}:
        holder = holder.parent
    return holder


def operands(node: Node, depth: int = 0) -> Iterator[Node]:
    """The values that ``a ?? b`` and ``x ? a : b`` may have; of ``a && b``, the last."""
    node = bare(node)
    operator = node.get("operator") if node.kind == "binary_expression" else None
    if depth > 8 or (operator and operator.text not in {"||", "??", "or", "&&", "and"}):
        yield node
    elif node.kind in {"binary_expression", "ternary_expression"}:
        ends = node.parts[::2] if node.kind == "ternary_expression" and node.tree.language == "python" else node.parts
        for each in (
            ends[1:]
            if (node.kind == "ternary_expression" and ends is node.parts)
            or (operator and operator.text in {"&&", "and"})
            else ends
        ):
            yield from operands(each, depth + 1)
    else:
        yield node


def scope_of(node: Node) -> Node:
    """The function, the class or the file around a node."""
    return next((each for each in node.ancestors if each.kind in SCOPES), node.tree.root)


def key_of(name: Node) -> str:
    """The name that a key of an object stands for."""
    return name.text.strip("'\"[]")


def types_of(annotation: Node | None) -> set[str]:
    """The names in an annotation."""
    return {each.text for each in annotation.find(["type_identifier"])} if annotation else set()


def module_of(value: Node) -> str:
    """The module of ``require('x')`` or ``await import('x')``."""
    value = bare(value)
    target, words = (callee(value), arguments(value)) if value.kind == "call_expression" else (None, [])
    known = target and target.text in {"require", "import"} and words
    return words[0].text.strip("'\"`").removeprefix("node:") if known else ""


def leaves(pattern: Node, part: Part = None) -> Iterable[tuple[Node, Part]]:
    """The names of a pattern, each with the part of the value that it is."""
    parts = pattern.parts
    if pattern.kind == "identifier":
        yield pattern, part
    elif pattern.kind == "shorthand_property_identifier_pattern":
        yield pattern, pattern.text
    elif pattern.kind in {"assignment_pattern", "object_assignment_pattern"} and parts:
        yield from leaves(parts[0], part)
    elif pattern.kind == "pair_pattern" and len(parts) == 2:
        yield from leaves(parts[1], key_of(parts[0]))
    elif pattern.kind in {"rest_pattern", "list_splat_pattern"} and parts:
        yield from leaves(parts[0], slice(part, None) if isinstance(part, int) else part)
    elif pattern.kind in {"object_pattern", "array_pattern", "pattern_list", "tuple_pattern"}:
        for at, each in enumerate(parts):
            yield from leaves(each, at if pattern.kind != "object_pattern" else part)


def returned(function: Node) -> list[Node]:
    """The expressions that a function returns."""
    body = function.get("body")
    if body is None or body.kind not in {"statement_block", "block"}:
        return [body] if body else []
    inner = [each for each in body.find(FUNCTIONS) if each != body]
    ends = [each for each in body.find(["return_statement"]) if not any(of.contains(each) for of in inner)]
    return [each.parts[0] for each in ends if each.parts]
