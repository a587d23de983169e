"""Where the value of an expression may come from, which no reading of the expression alone can tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from checks.nanoclaw.discovery.form import hole
from checks.nanoclaw.discovery.project import Definition
from checks.nanoclaw.discovery.rules import is_runtime
from checks.nanoclaw.discovery.syntax import given, operands, returned
from checks.nanoclaw.discovery.tree import Node, arguments, bare, callee, member
from checks.nanoclaw.discovery.values import Values, name_of

_MAX = 150
"""Expressions to follow, and members of one name to look at."""


@dataclass
class Origins:
    """Follows expressions to whatever gives a value to anything of their names, anywhere."""

    values: Values
    _known: dict[Node, tuple[list[str], bool]] = field(default_factory=dict)
    _cut: bool = False
    """Whether there was too much to follow."""

    def runtimes(self, node: Node) -> tuple[list[str], bool]:
        """The container runtimes that an expression may be, and whether it may be something that is not known."""
        if node not in self._known:
            found: set[str] = set()
            seen: set[Node] = set()
            unknown = False
            ahead = [bare(node)]
            while ahead and not self._cut:
                self._cut = len(seen) > _MAX
                each = ahead.pop(0)
                if each not in seen:
                    seen.add(each)
                    texts = {text for text in self.values.of(each) if isinstance(text, str)}
                    found |= {text for text in texts if is_runtime(text.partition(" ")[0])}
                    origins = [] if texts else [bare(other) for other in self._of(each)]
                    unknown |= not (texts or origins)
                    ahead += origins
            self._known[node] = ([*sorted(found), *[hole(name_of(node))] * self._cut], unknown)
            self._cut = False
        return self._known[node]

    def _of(self, node: Node) -> Iterator[Node]:
        """The expressions that an expression takes its value from, whichever object it is a member of."""
        project = self.values.project
        for each in operands(node):
            if parted := member(each):
                yield from self._of_member(parted[1])
            elif each.kind in {"identifier", "shorthand_property_identifier"}:
                yield from (value for found in project.lookup(each.text, each) for value in self._of_definition(found))
            elif each.kind == "call_expression" and (target := callee(each)):
                yield from (end for function in project.functions(target) for end in returned(function))
            if each != node:
                yield each

    def _of_member(self, name: str) -> Iterator[Node]:
        declared = self._few(self.values.project.members.get(name, []))
        yield from (value for of in declared if (value := given(of) or (of if of.kind.startswith("short") else None)))
        yield from (name for of in declared if of.kind.endswith("_parameter") for name in of.find(["identifier"])[:1])

    def _of_definition(self, found: Definition) -> Iterator[Node]:
        if found.function:
            yield from self._handed(found)
        elif isinstance(found.part, str):
            yield from self._given(found.part)
            return
        if found.value and not found.each:
            yield from operands(found.value)

    def _handed(self, found: Definition) -> Iterator[Node]:
        """What callers hand over as a parameter."""
        assert found.function
        for call in self._few(self.values.project.callers(found.function)):
            words = arguments(call)
            if found.part is None and not found.rest and found.index < len(words):
                yield words[found.index]
            elif isinstance(found.part, str):
                yield from self._given(found.part)

    def _given(self, name: str) -> Iterator[Node]:
        """What is given to members of a name."""
        return (value for of in self._few(self.values.project.members.get(name, [])) if (value := given(of)))

    def _few(self, nodes: list[Node]) -> list[Node]:
        """The nodes; where they are too many, some of them, and the origin counts as not known."""
        self._cut |= len(nodes) > _MAX
        return nodes[:_MAX]
