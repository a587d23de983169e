"""Calls that start a program, in JavaScript, TypeScript and Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from checks.nanoclaw.discovery.form import Lines, combined, distinct, form_of, hole, rest
from checks.nanoclaw.discovery.origins import Origins
from checks.nanoclaw.discovery.project import Definition, Project
from checks.nanoclaw.discovery.rules import is_runtime, rules
from checks.nanoclaw.discovery.shell import SHELLS, commands, programs
from checks.nanoclaw.discovery.tree import FUNCTIONS, Node, Tree, arguments, bare, callee, member
from checks.nanoclaw.discovery.values import MARK, Values

_CALLERS, _MAX = 4, 4_000
"""The number of calls that lead to a command at most, and of ways to commands in a project."""


@dataclass(frozen=True, order=True)
class Started:
    """A command line that a call starts."""

    file: str
    line: int
    words: tuple[str, ...]


class Finder:
    """Finds what the calls of a project start."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.values = Values(project, lambda call: self._how(call) != "")
        self._origins = Origins(self.values)
        self._known: dict[Node, str] = {}
        self._asked = 0

    def all(self) -> Iterator[Started]:
        """Every command line of a container runtime, and every one whose program is not known."""
        for tree in self.project.trees:
            for call in tree.root.find(["call_expression"]):
                if how := self._how(call):
                    for line in self._lines(call, how):
                        yield from self._resolved(line, call, ())
                for used in self._used(call):
                    yield Started(tree.file, call.line, (hole(used.text),))

    def _used(self, call: Node) -> Iterator[Node]:
        """The functions that start a program and that a call doesn't simply call: it hands them over, takes them from
        a module by a computed name, or calls their ``call``."""
        target, words = callee(call), arguments(call)
        of, parted = (target.get("object"), member(target)) if target else (None, None)
        if target and of and target.kind == "subscript_expression" and self._origin(of) in _modules():
            yield target
        if parted and (parted[1] in {"apply", "call"} or (parted[1] == "bind" and len(words) > 1)):
            words = [parted[0], *words]
        elif target and self._origin(target) in rules().functions.same:
            return
        for at, each in enumerate(words):
            if self._starts(bare(each)) and not (target and self._is_found_there(target, at)):
                yield each

    def _is_found_there(self, target: Node, at: int) -> bool:
        """Whether the functions of the project that are called have a parameter whose calls are found by its name."""
        functions = self.project.functions(target)
        names = [each.name for of in functions for each in self.project.parameters(of) if each.index == at]
        return len(functions) > 0 and len(names) == len(functions) and all(map(self._kind, names))

    def _starts(self, function: Node) -> bool:
        """Whether an expression is a function that starts a program."""
        if function.kind not in {"identifier", "member_expression"}:
            return False
        return self._kind(self._origin(function)) != ""

    def _resolved(self, line: tuple[str, ...], at: Node, through: tuple[Node, ...]) -> Iterator[Started]:
        """What a command line starts, where callers say what the parameters in it are."""
        self._asked += 1
        found = list(_programs(line))
        marked = [self.values.parameters[int(number)] for words in found for number in self._open(words)]
        functions = {each.function for each in marked if each.function and each.function not in through}
        inner = max(functions, key=lambda each: each.at, default=None)
        callers = self.project.callers(inner) if inner and len(through) < _CALLERS and self._asked < _MAX else []
        gathers = any(self.values.parameters[each].function == inner for each in self._gathered(line))
        for calls in _by_object(callers) if gathers else [[each] for each in callers]:
            for filled in self._filled(line, inner, calls) if inner else ():
                yield from self._resolved(filled, calls[0], (*through, *filter(None, [inner])))
        if not callers:
            for words in found:
                yield from (Started(at.tree.file, at.line, each) for each in self._named(words))

    def _gathered(self, line: tuple[str, ...]) -> set[int]:
        """The marks in a command line for which several calls of an object come together."""
        return {int(mark) for word in line for mark in MARK.findall(word)} & self.values.gathered

    def _open(self, words: tuple[str, ...]) -> list[str]:
        """The marks in a command line that decide what is asked for; the program alone doesn't."""
        first = MARK.findall(words[0])
        if not first and not is_runtime(words[0]):
            return []
        form = form_of(["docker", *(self._unmarked(each, "@") for each in words[1:])])
        # A literal may contain an @, too.
        marks = (re.fullmatch(r".*@([0-9]{1,6})", each) for each in form.unknown)
        numbers = [mark[1] for mark in marks if mark and int(mark[1]) < len(self.values.parameters)]
        return numbers + ([] if form.subcommand or form.unknown else first)

    def _unmarked(self, word: str, numbered: str = "") -> str:
        """A word with the names of parameters in place of their marks."""

        def named(mark: re.Match[str]) -> str:
            name = self.values.parameters[int(mark[1])].name + (numbered and numbered + mark[1])
            return rest(name) if mark[0].startswith("--") else hole(name)

        return MARK.sub(named, word)

    def _named(self, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """A command line without marks: its program is any runtime that a caller hands over."""
        bare_words = [self._unmarked(each) for each in words]
        mark = MARK.fullmatch(words[0])
        known, unknown = self._origins.runtimes(self._expression(int(mark[1]))) if mark else ([], True)
        yield from ((*each.split(), *bare_words[1:]) for each in known)
        if not known and unknown:
            yield tuple(bare_words)

    def _expression(self, number: int) -> Node:
        """The name of a parameter, as an expression."""
        found = self.values.parameters[number]
        return (
            next(
                (
                    each
                    for each in found.node.find(["identifier", "shorthand_property_identifier_pattern"])
                    if each.text == found.name
                ),
                None,
            )
            or found.node
        )

    def _filled(self, line: tuple[str, ...], function: Node, calls: Sequence[Node]) -> Lines:
        """A command line with the arguments of a call, or of all calls of an object, for the function's parameters."""
        lines: Lines = [()]
        for word in line:
            mark = MARK.fullmatch(word)
            found = self.values.parameters[int(mark[1])] if mark else None
            if found and mark and found.function == function and int(mark[1]) in self.values.gathered:
                pieces = combined(self._argument(found, call) for call in calls)
            elif found and found.function == function and word.startswith("--"):
                pieces = self._argument(found, calls[0])
            else:
                texts = [word]
                for number in dict.fromkeys(MARK.findall(word)):
                    each = self.values.parameters[int(number)]
                    if each.function == function:
                        given = self._texts(each, calls[0])
                        texts = [text.replace(f"⟦{number}⟧", value) for text in texts for value in given]
                pieces = [(text,) for text in texts]
            lines = distinct((*before, *piece) for before in lines for piece in pieces)
        return lines

    def _argument(self, found: Definition, call: Node) -> Lines:
        if found.rest:
            return self.values.joined(arguments(call)[found.index :])
        given = self.values.argument(found, call)
        return self.values.lines(given) if given else [()]

    def _texts(self, found: Definition, call: Node) -> list[str]:
        given = self.values.argument(found, call)
        return self._program(given) if given else [hole(found.name)]

    def _lines(self, call: Node, how: str) -> Lines:
        """The command lines of a call; that of a shell is one word behind SHELL."""
        given, values = arguments(call), self.values
        template = call.get("arguments")
        if how == "template" and template:
            return [(_SHELL, each) for each in values.texts(template)]
        if not given:
            return []
        if how == "text":
            return [(_SHELL, each) for each in values.texts(given[0])]
        if how == "each":
            return values.joined(given)
        return self._list_lines(bare(given[0])) if how == "list" else self._program_lines(given)

    def _list_lines(self, first: Node) -> Lines:
        """The command lines of an array, or of an object that has one as ``cmd``."""
        command = [each.parts[-1] for each in first.parts if each.kind == "pair" and each.parts[0].text == "cmd"]
        found = self.values.of(command[0] if command else first) or self.values.lines(first)
        return [(_SHELL, each) if isinstance(each, str) else each for each in found]

    def _program_lines(self, given: Sequence[Node]) -> Lines:
        """The command lines of a program and an array of its arguments."""
        behind = self.values.lines(given[1]) if len(given) > 1 and not self._is_options(given[1]) else [()]
        return [
            (_SHELL, f"{program} {shlex.join(line)}") if " " in program.strip() else (program, *line)
            for program in self._program(given[0])
            for line in behind
        ]

    def _is_options(self, node: Node) -> bool:
        """Whether an argument is options or a callback, where a program has no arguments."""
        return bare(node).kind in {"undefined", "null", *FUNCTIONS} or any(
            of.kind == "object" for of in self.project.objects(node)
        )

    def _program(self, node: Node) -> list[str]:
        texts = self.values.texts(node)
        if self.values.of(node) or MARK.fullmatch(texts[0]):
            return texts
        known, unknown = self._origins.runtimes(node)
        return known or (texts if unknown else [])

    def _how(self, call: Node) -> str:
        """How a call is told what to start; empty if it starts nothing."""
        if call not in self._known:
            self._known[call] = ""
            self._known[call] = self._told(call) or ("words" if self._looks(call) else "")
        return self._known[call]

    def _told(self, call: Node) -> str:
        target = callee(call)
        functions, parted = rules().functions, member(target) if target else None
        if target is None or (parted and parted[1] not in _last_names()):
            return ""
        name = self._origin(target)
        template = call.get("arguments")
        if template and template.kind == "template_string":
            return "template" if name in functions.template else ""
        return self._kind(name)

    def _kind(self, name: str) -> str:
        """How the function of a name is told what to start; empty if it starts nothing."""
        functions, last = rules().functions, name.rpartition(".")[2]
        kinds = {how: getattr(functions, how) for how in ("text", "words", "list", "each")}
        exact = next((how for how, names in kinds.items() if name in names), "")
        return exact or next((how for how, names in kinds.items() if last in names and last in functions.anywhere), "")

    def _looks(self, call: Node) -> bool:
        """Whether a call of an unknown function is told to start a program: ``run("docker", ["ps"])``."""
        given = arguments(call)
        if len(given) < 2 or bare(given[1]).kind != "array" or self.project.functions(callee(call) or call):
            return False
        starters = (*rules().wrappers, *SHELLS)
        return any(is_runtime(each) or PurePosixPath(each).name in starters for each in self.values.texts(given[0]))

    def _origin(self, target: Node, depth: int = 0) -> str:
        """The name of a function where it comes from: ``child_process.exec`` for ``run`` of ``exec as run``."""
        target = bare(target)
        if depth > 8:
            return ""
        if target.kind == "call_expression" and (made := callee(target)):
            name, words, parted = self._origin(made, depth + 1), arguments(target), member(made)
            if parted and parted[1] == "bind":
                return self._origin(parted[0], depth + 1)
            if name in rules().functions.same and words:
                return self._origin(words[0], depth + 1)
            if made.text in {"require", "import"} and words:
                return words[0].text.strip("'\"`").removeprefix("node:")
            return name if name in rules().functions.template else ""
        if parted := member(target):
            return f"{self._origin(parted[0], depth + 1)}.{parted[1]}"
        if target.kind != "identifier":
            return ""
        found = self.project.lookup(target.text, target)
        own = any(each.node.kind in FUNCTIONS for each in found)
        return next((name for each in found if (name := self._of(each, depth))), "" if own else target.text)

    def _of(self, found: Definition, depth: int) -> str:
        if found.module:
            return found.module if found.part == "*" else f"{found.module}.{found.part}"
        plain = found.value is not None and found.part is None and not found.function
        return (
            self._origin(found.value, depth + 1) if plain and found.value and found.value.kind not in FUNCTIONS else ""
        )


def _by_object(calls: Sequence[Node]) -> list[list[Node]]:
    """Calls of methods, those of one object together in their order: of a variable, or one behind the other."""
    found: dict[tuple[object, ...], list[Node]] = {}
    for call in sorted(calls, key=lambda each: each.at[1]):
        of = call
        while of.kind == "call_expression" and (target := callee(of)) and (parted := member(target)):
            of = bare(parted[0])
        key = (of.tree, of.text) if of.kind == "identifier" else (of,)
        found.setdefault(key, []).append(call)
    return list(found.values())


@cache
def _modules() -> set[str]:
    functions = rules().functions
    names = (*functions.text, *functions.words, *functions.list, *functions.each)
    return {name.rpartition(".")[0] for name in names if "." in name}


@cache
def _last_names() -> set[str]:
    functions = rules().functions
    names = (*functions.text, *functions.words, *functions.list, *functions.each, *functions.template)
    return {name.rpartition(".")[2] for name in names}


_SHELL = "⟦shell⟧"


def _is_text(line: tuple[str, ...]) -> bool:
    return line[:1] == (_SHELL,)


def _programs(line: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The command lines that matter: of runtimes, and of programs that are not known."""
    if _is_text(line):
        for _, words in commands(Tree("", "bash", line[1])):
            yield words
    else:
        yield from programs(line)
