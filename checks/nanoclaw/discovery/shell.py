"""Command lines: in shell scripts, and in the arguments of programs that start another program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from checks.nanoclaw.discovery.form import Lines, combined, concatenated, distinct, has_rest, hole, is_hole, rest
from checks.nanoclaw.discovery.rules import is_runtime, named_runtime, rules
from checks.nanoclaw.discovery.tree import Node, Tree

SHELLS = {"ash", "bash", "dash", "sg", "sh", "su", "zsh"}
"""Programs that are told a command line with -c."""
_NAMES = {"variable_name", "special_variable_name"}
_DEPTH = 4


def programs(words: Sequence[str], depth: int = 0) -> Iterator[tuple[str, ...]]:
    """The command lines of container runtimes that a command line starts, and those that may start one: their program
    is not known, or may start what its arguments name."""
    words = unwrapped(words)
    if not words:
        return
    program = PurePosixPath(words[0]).name
    line: str | None = ""
    if program == "container" and len(words) > 1 and re.match(r"\w", words[1]) and words[1] not in rules().apple:
        return
    if is_runtime(program) or is_hole(program) or has_rest(words[0]) or "⟦" in words[0]:
        yield tuple(words)
    elif program in SHELLS:
        line = _of_shell(program, words)
        if line is None:
            yield (hole(f"{program}.stdin"),)
    elif program == "eval":
        line = " ".join(words[1:])
    elif program not in rules().harmless and any(named_runtime(each) for each in words[1:]):
        yield tuple(words)
    if line and depth < _DEPTH:
        for _, each in commands(Tree("", "bash", line), depth + 1):
            yield each


def _of_shell(program: str, words: Sequence[str]) -> str | None:
    """The command line that a shell is told with -c, empty if it runs a file; None if it reads its standard input."""
    at = next((at for at, word in enumerate(words) if re.fullmatch(r"-[a-z]*c[a-z]*", word)), len(words))
    reads = "-s" in words or all(each.startswith("-") for each in words[1:])
    if at == len(words) and program not in {"sg", "su"} and reads:
        return None
    return " ".join(words[at + 1 : at + 2])


def unwrapped(words: Sequence[str]) -> Sequence[str]:
    """The command behind programs that start another one."""
    wrappers = rules().wrappers
    while words and (wrapper := PurePosixPath(words[0]).name) in wrappers:
        at = 1
        while at < len(words) and (words[at].startswith("-") or (wrapper == "env" and "=" in words[at])):
            if has_rest(words[at]) or (wrapper == "command" and words[at] in {"-v", "-V"}):
                return []
            at += 2 if words[at] in wrappers[wrapper] else 1
        words = words[at + (wrapper == "timeout") :]
    return words


def commands(tree: Tree, depth: int = 0, functions: Sequence[str] = ()) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The lines of a script with what they start, as ``programs`` does. ``functions`` start their arguments."""
    script = _Script(tree, set(functions))
    for node in tree.root.find(["command"]):
        for words in script.words(node):
            for each in programs(words, depth):
                if each[0] not in script.arguments or not script.in_function(node):
                    yield node.line, each


def starters(tree: Tree) -> Iterator[str]:
    """The functions of a script that start their arguments as a command: ``f() { timeout 5 "$@"; }``."""
    for function in tree.root.find(["function_definition"]):
        name, script = function.get("name"), _Script(tree)
        if name and any(
            started and started[0] in script.arguments
            for command in function.find(["command"])
            for words in script.words(command)
            for started in [unwrapped(words)]
        ):
            yield name.text


@dataclass
class _Script:
    """A script, and what its variables may hold."""

    tree: Tree
    functions: set[str] = field(default_factory=set)
    values: dict[str, Lines] = field(default_factory=dict)
    arguments = frozenset({rest("@"), rest("*")})

    def __post_init__(self) -> None:
        for node in self.tree.root.find(["variable_assignment"]):
            name = node.get("name")
            if name and name.kind == "variable_name":
                self._assign(name.text, node.get("value"), adds=node.text.startswith(f"{name.text}+="))

    def in_function(self, node: Node) -> bool:
        """Whether a command is part of a function, whose arguments are known where it is called."""
        return any(each.kind == "function_definition" for each in node.ancestors)

    def words(self, command: Node) -> Lines:
        """The words of a command, in the alternatives that its variables give."""
        given = [each for each in command.parts if not each.kind.endswith(("_redirect", "_assignment"))]
        around = command.parent
        if around and around.kind == "redirected_statement":  # words behind a redirection belong to the command
            for redirect in (each for each in around.parts if each.kind == "file_redirect"):
                given += [each for each in redirect.parts if each.kind != "file_descriptor"][1:]
        return [self._started(line) for line in combined(self._word(each) for each in given)]

    def _started(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Behind a function that starts its arguments: the command that begins with a program of interest."""
        if words and words[0] in self.functions:
            known = SHELLS | set(rules().wrappers)
            for at, word in enumerate(words[1:], 1):
                if is_runtime(word) or word in known or word in self.functions:
                    return self._started(words[at:])
            return ()
        return words

    def _assign(self, name: str, value: Node | None, *, adds: bool) -> None:
        new: Lines = self._word(value) if value else [("",)]
        before = self.values.get(name, [])
        if value and value.kind == "array":
            new = combined([before, new]) if adds else new
        else:
            new = distinct(
                ("".join((*old, " ".join(line))),) for old in (before if adds else []) or [()] for line in new
            )
        self.values[name] = new if adds else distinct([*before, *new])

    def _word(self, node: Node) -> Lines:
        """What a word of a command line becomes: itself, or as many as a variable has."""
        parts = node.parts
        match node.kind:
            case "string":
                whole = len(parts) == 1 and re.fullmatch(r'"\$(@|\{\w+\[@\](:[^}]*)?\})"', node.text)
                return self._expanded(parts[0]) if whole else [(each,) for each in self._quoted(parts)]
            case "raw_string":
                return [(node.text[1:-1],)]
            case "ansi_c_string":
                return [(node.text[2:-1],)]
            case "array":
                return combined(self._word(each) for each in parts)
            case "simple_expansion" | "expansion":
                return self._expanded(node)
            case "command_substitution":
                return [(_output(node),)]
            case "concatenation":
                return distinct(("".join(piece),) for piece in combined(self._word(each) for each in parts))
            case "command_name":
                return self._word(parts[0]) if parts else [(node.text,)]
            case "word" | "number":
                return [(re.sub(r"\\(.)", r"\1", node.text),)]
        return [(hole(node.text),)]

    def _quoted(self, parts: Sequence[Node]) -> list[str]:
        """A text between double quotes."""
        pieces: list[list[str]] = []
        for each in parts:
            if each.kind == "string_content":
                pieces.append([re.sub(r'\\(["$`\\])', r"\1", each.text)])
                continue
            source = each.text
            pieces.append([source[: len(source) - len(source.lstrip())]])  # the grammar has blanks in expansions
            if each.kind == "command_substitution":
                pieces.append([_output(each)])
            else:
                pieces.append([" ".join(line) for line in self._held(each, loose=False)])
        return concatenated(pieces)

    def _expanded(self, node: Node) -> Lines:
        """What stands where a variable is not quoted, or where it is an array: any number of words."""
        whole = "[@]" in node.text
        return [
            tuple(piece for word in line for piece in ([word] if whole else word.split()))
            for line in self._held(node, loose=True)
        ]

    def _held(self, node: Node, *, loose: bool) -> Lines:
        """What a variable may hold, its default where it has none."""
        names = node.find(sorted(_NAMES))
        name = names[0].text if names else node.text
        source = node.text
        operator = re.match(r"\$\{[!#]?\w*(?:\[.\])?(:?[-=+?]|[:#%/^,])?", source)
        default = [each for each in node.parts if each.kind not in {*_NAMES, "subscript"}]
        several = name in {"@", "*"} or "[@]" in source or "[*]" in source
        nothing: Lines = [(rest(name) if several else hole(name, loose=loose),)]
        kind = (operator[1] or "") if operator else ""
        if kind in {":+", "+"}:
            return self._word(default[0]) if default else [()]
        if kind not in {"", ":-", "-", ":=", "=", ":"}:
            return nothing
        known = [line for line in self.values.get(name, []) if any(line) and not any(map(is_hole, line))]
        if known:
            return known
        return self._word(default[0]) if default and kind != ":" else nothing


def _output(node: Node) -> str:
    """What stands where the output of a command does; the program where the command asks for its path."""
    asked = re.search(r"(?:which|command -v|type -p)\s+(\w+)", node.text)
    return asked[1] if asked else hole(node.text)
