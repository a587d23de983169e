"""Names in a project's JavaScript, TypeScript and Python sources: what defines them, and who calls a function."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from checks.nanoclaw.discovery.syntax import (
    CLASSES,
    Part,
    function_values,
    given,
    holder_of,
    key_of,
    leaves,
    module_of,
    names_of,
    operands,
    owners_of,
    returned,
    scope_of,
    types_of,
)
from checks.nanoclaw.discovery.tree import FUNCTIONS, Node, Tree, arguments, bare, callee, member

_PARAMETERS = {
    "required_parameter",
    "optional_parameter",
    "typed_parameter",
    "default_parameter",
    "typed_default_parameter",
}
_DECLARED = {"variable_declarator", "public_field_definition", "property_signature", "assignment_expression", "pair"}
_IMPORTS = {
    "import_specifier",
    "export_specifier",
    "namespace_import",
    "import_clause",
    "aliased_import",
    "dotted_name",
}
_INDEXED = (
    "call_expression", "new_expression", "augmented_assignment_expression", "for_in_statement", "enum_assignment",
    "shorthand_property_identifier", *FUNCTIONS, *CLASSES, *_DECLARED, *_IMPORTS,
)  # fmt: skip


@dataclass(frozen=True)
class Definition:
    """One of the things that a name stands for."""

    name: str
    node: Node
    """What declares it."""
    scope: Node
    value: Node | None = None
    """What it starts as; of a name in a pattern, what is taken apart."""
    part: Part = None
    function: Node | None = None
    """Of a parameter: its function."""
    index: int = 0
    rest: bool = False
    each: bool = False
    """Whether it is each element of the value in turn."""
    module: str = ""
    """Of an import: where from; ``part`` is the name there."""

    @property
    def global_(self) -> bool:
        """Whether other files can import it."""
        return self.scope.kind in {"program", "module"}


@dataclass
class Project:
    """All sources, and their names."""

    trees: Sequence[Tree]
    definitions: dict[str, list[Definition]] = field(default_factory=lambda: defaultdict(list))
    members: dict[str, list[Node]] = field(default_factory=lambda: defaultdict(list))
    """By key: what gives a value to the member of an object, a class or an enum."""
    calls: dict[str, list[Node]] = field(default_factory=lambda: defaultdict(list))
    """By the last name of what is called."""
    uses: dict[tuple[Tree, str], list[Node]] = field(default_factory=lambda: defaultdict(list))
    """What may change a variable: calls on it or with it, and assignments."""
    holders: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By the name of a type, a class or a function: variables and fields that hold one, or its result."""

    def __post_init__(self) -> None:
        self._functions: dict[Node, list[Node]] = {}
        self._callers: dict[Node, list[Node]] = {}
        self._aliases: dict[str, set[str]] = defaultdict(set)
        self._files = {re.sub(r"\.\w+$", "", tree.file): tree for tree in self.trees}
        for tree in self.trees:
            for node in tree.root.find(_INDEXED):
                self._index(node)

    def lookup(self, name: str, at: Node) -> list[Definition]:
        """The definitions of a name in the nearest scope that has one, in whatever file it is imported from."""
        found = [each for each in self.definitions.get(name, ()) if each.scope.contains(at)]
        if found:
            nearest = min(each.scope.at[1] - each.scope.at[0] for each in found)
            found = [each for each in found if each.scope.at[1] - each.scope.at[0] == nearest]
        else:
            found = [each for each in self.definitions.get(name, ()) if each.global_ and not each.module]
        return [other for each in found for other in self._imported(each)]

    def functions(self, name: Node) -> list[Node]:
        """The functions that an expression names."""
        if name not in self._functions:
            self._functions[name] = self._named(name)
        return self._functions[name]

    def callers(self, function: Node) -> list[Node]:
        """The calls of a function."""
        if function not in self._callers:
            self._callers[function] = self._calls(function)
        return self._callers[function]

    def _named(self, name: Node) -> list[Node]:
        name = bare(name)
        if name.kind == "identifier":
            return [
                each for found in self.lookup(name.text, name) for each in function_values(found.value or found.node)
            ]
        parted = member(name)
        if parted is None:
            return list(function_values(name))
        known = self.methods(parted[1], parted[0])
        return known or [
            each for found in self._namespace(parted[0], parted[1]) for each in function_values(found.node)
        ]

    def objects(self, node: Node, depth: int = 0) -> list[Node]:
        """The literal, the class or the enum that an object is, where that is plain."""
        node = bare(node)
        if node.kind in {"object", "class_declaration", "class", "enum_declaration"}:
            return [node]
        if node.kind == "this":
            return [each for each in node.ancestors if each.kind in {"class_declaration", "class"}][:1]
        if node.kind == "new_expression" and depth < 6 and (made := callee(node)):
            return self.objects(made, depth + 1)
        found = self.lookup(node.text, node) if node.kind == "identifier" and depth < 6 else []
        return [
            inner
            for each in found
            if each.value and each.part is None and not each.function
            for inner in self.objects(each.value, depth + 1)
        ]

    def functions_under(self, key: str) -> list[Node]:
        """The functions that any object has under a key, if they are few."""
        values = [given(each) or each for each in self.members.get(key, ())]
        return [function for each in values for function in self.functions(each)] if len(values) <= 2 else []

    def parameters(self, function: Node) -> list[Definition]:
        """The parameters of a function."""
        given_ = function.get("parameters") or function.get("parameter")
        names = (
            {each.text for each in given_.find(["identifier", "shorthand_property_identifier_pattern"])}
            if given_
            else set()
        )
        return [each for name in sorted(names) for each in self.definitions[name] if each.function == function]

    def methods(self, name: str, of: Node) -> list[Node]:
        """The methods of a name that an object may have, as far as the names of variables and fields tell."""
        found = [
            each for declared in self.members.get(name, ()) for each in function_values(given(declared) or declared)
        ]
        return [each for each in found if self._held(of, each)]

    def _calls(self, function: Node) -> list[Node]:
        own = names_of(function)
        names = [*own, *(alias for each in own for alias in sorted(self._aliases.get(each, ())))]
        found = [call for name in names for call in self.calls.get(name, ()) if self._may_call(call, name, function)]
        return [*found, *(call for call in self._calls_by_type(function) if call not in found)]

    def _may_call(self, call: Node, name: str, function: Node) -> bool:
        """Whether a call by a name of the function may be of that function."""
        target = callee(call)
        if target is None or function.contains(call):
            return False
        method = function.kind == "method_definition" or (function.parent and function.parent.kind == "pair")
        if parted := member(target):
            return self._held(parted[0], function) if method else function in self.functions(target)
        if method:
            return call.kind == "new_expression"
        if target.kind != "identifier":
            return False
        meant = self.functions(target)
        return function in meant or not (meant or self.lookup(name, target)) or self._given(name, target)

    def _calls_by_type(self, function: Node) -> Iterator[Node]:
        """The calls of what is declared with the type of the variable that holds the function."""
        holder = holder_of(function)
        types = types_of(holder.get("type")) if holder and holder.kind == "variable_declarator" else set()
        for name in {name for each in types for name in self.holders.get(each, ())}:
            for call in self.calls.get(name, ()):
                declared = self.lookup(name, callee(call) or call)[:1]
                yield from (call for each in declared if types_of(each.node.get("type")) & types)

    def _given(self, name: str, at: Node) -> bool:
        """Whether a name is a parameter, or a part of one: a function that is handed over."""
        return all(each.function or each.part is not None for each in self.lookup(name, at))

    def _held(self, of: Node, method: Node) -> bool:
        """Whether an object may be one that has the method."""
        owners = owners_of(method)
        around = next((each for each in method.ancestors if each.kind in CLASSES), None)
        if of.kind == "this":
            return around is not None and around.contains(of)
        made = callee(of) if of.kind in {"call_expression", "new_expression"} else of
        parted = member(made) if made else None
        name = parted[1] if parted else (made or of).text
        if parted and of.kind == "call_expression" and name in _fluent(around):
            return self._held(parted[0], method)
        return name in owners or any(name in self.holders.get(owner, ()) for owner in owners)

    def _namespace(self, of: Node, name: str) -> list[Definition]:
        found = [each for each in self.definitions.get(of.text, ()) if each.part == "*" and each.node.tree is of.tree]
        return [other for each in found for other in self._exported(each, name)]

    def _imported(self, found: Definition, depth: int = 0) -> list[Definition]:
        relative = found.module.startswith(".") and found.part != "*" and depth < 5
        return self._exported(found, str(found.part), depth) if relative else [found]

    def _exported(self, found: Definition, name: str, depth: int = 0) -> list[Definition]:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(found.node.tree.file), found.module))
        path = re.sub(r"\.[cm]?[jt]sx?$", "", path)
        steps = path.split("/")  # a skill's copy of a file imports what is beside the file that it replaces
        tree = next(
            (
                self._files[each]
                for at in range(len(steps))
                for stem in ["/".join(steps[at:])]
                for each in (stem, f"{stem}/index")
                if each in self._files
            ),
            None,
        )
        there = [
            each
            for each in self.definitions.get(name, ())
            if each.global_ and each.node.tree in (tree, tree or each.node.tree)
        ]
        return [other for each in there for other in self._imported(each, depth + 1)]

    def _index(self, node: Node) -> None:
        kind = node.kind
        if kind in {"call_expression", "new_expression"}:
            self._index_call(node)
        elif kind in FUNCTIONS:
            self._index_function(node)
        elif kind in _IMPORTS:
            self._index_import(node)
        elif kind in CLASSES:
            if name := node.get("name"):
                self._add(Definition(name.text, node, scope_of(node), node))
        elif kind == "for_in_statement":
            if (left := node.get("left")) and (
                names := list(leaves(left)) or [(each, None) for each in left.find(["identifier"])]
            ):
                self._add(Definition(names[0][0].text, node, node, node.get("right"), each=True))
        elif kind == "shorthand_property_identifier":
            self.members[node.text].append(node)
        else:
            self._index_declared(node)

    def _index_declared(self, node: Node) -> None:
        name = node.get("name") or node.get("left") or node.get("key") or (node.parts[0] if node.parts else node)
        value, parted = given(node), member(name)
        if node.kind in {"assignment_expression", "augmented_assignment_expression"}:
            of = name.get("object") if name.kind == "subscript_expression" else name
            self.uses[node.tree, (of or name).text].append(node)
        elif node.kind == "variable_declarator" and value and value.kind == "identifier":
            self.uses[node.tree, value.text].append(node)
        if node.kind != "variable_declarator" or parted:
            self.members[parted[1] if parted else key_of(name)].append(node)
        else:
            required = module_of(value) if value else ""
            for leaf, part in leaves(name):
                exported = (part or "*") if required else part
                self._add(Definition(leaf.text, node, scope_of(node), value, exported, module=required))
        self._hold(parted[1] if parted else key_of(name), node.get("type"), value)

    def _hold(self, name: str, annotation: Node | None, value: Node | None) -> None:
        for each in types_of(annotation):
            self.holders[each].add(name)
        for operand in operands(value) if value else ():
            if made := callee(operand) if operand.kind in {"call_expression", "new_expression"} else None:
                self.holders[made.text.rpartition(".")[2]].add(name)

    def _index_call(self, node: Node) -> None:
        target = callee(node)
        parted = member(target) if target else None
        if target:
            self.calls[parted[1] if parted else target.text].append(node)
        if parted:
            self.uses[node.tree, parted[0].text].append(node)
        for each in arguments(node):
            if each.kind in {"identifier", "member_expression"}:
                self.uses[node.tree, each.text].append(node)

    def _index_function(self, node: Node) -> None:
        name = node.get("name")
        if name and node.kind != "method_definition":
            self._add(Definition(name.text, node, scope_of(node), node))
        elif name:
            self.members[name.text].append(node)
        single, several = node.get("parameter"), node.get("parameters")
        for index, each in enumerate([single] if single else several.parts if several else []):
            pattern = each.get("pattern") or each.get("name") or (each.parts[0] if each.kind in _PARAMETERS else each)
            rest = {each.kind, pattern.kind} & {"rest_pattern", "list_splat_pattern"} != set()
            for leaf, part in leaves(pattern):
                self._add(
                    Definition(leaf.text, each, node, each.get("value"), None if rest else part, node, index, rest)
                )
                self._hold(leaf.text, each.get("type"), each.get("value"))
                if any(modifier.kind == "accessibility_modifier" for modifier in each.parts):
                    self.members[leaf.text].append(each)

    def _index_import(self, node: Node) -> None:
        statement = next((each for each in (node, *node.ancestors) if each.kind.endswith("statement")), None)
        source = (statement.get("source") or statement.get("module_name")) if statement else None
        names = node.parts if node.kind != "dotted_name" else [node]
        if statement is None or not names or not _imports_names(node, names[0], source):
            return
        module = source.text.strip("'\"").removeprefix("node:") if source else names[0].text
        part = "default" if node.kind == "import_clause" else names[0].text
        whole = node.kind == "namespace_import" or not source
        self._add(Definition(names[-1].text if node.kind != "import_clause" else names[0].text, node, node.tree.root,
                             part="*" if whole else part, module=module))  # fmt: skip

    def _add(self, definition: Definition) -> None:
        if definition.module and isinstance(definition.part, str) and definition.part != definition.name:
            self._aliases[definition.part].add(definition.name)
        self.definitions[definition.name].append(definition)


def _imports_names(node: Node, first: Node, source: Node | None) -> bool:
    """Whether a part of an import names what is imported; ``source`` is the module that it comes from."""
    if (source and source.contains(node)) or (not source and node.kind != "aliased_import"):
        return False
    around = node.parent.kind if node.parent else ""
    if node.kind == "dotted_name" and around != "import_from_statement":
        return False
    return first.kind not in {"named_imports", "namespace_import"}


def _fluent(around: Node | None) -> set[str]:
    """The methods of a class that return the object itself."""
    methods = around.find(["method_definition"]) if around else []
    return {name for each in methods if any(end.kind == "this" for end in returned(each)) for name in names_of(each)}
