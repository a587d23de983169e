"""Finds docker command lines in shell sources, and in argument lists that start one behind other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tree_sitter import Node

from checks.nanoclaw.discovery.invocation import Shape, shape_of
from checks.nanoclaw.discovery.syntax import parts, shell, text, walk
from checks.nanoclaw.discovery.words import Lines, distinct, either, is_unknown, joined, rest, unknown

_SHELLS = {"ash", "bash", "dash", "sg", "sh", "su", "zsh"}
"""Programs that are told a command line with -c."""
_WRAPPERS: Mapping[str, frozenset[str]] = {
    "command": frozenset(), "env": frozenset({"-u", "-C", "-S", "--unset", "--chdir"}), "exec": frozenset({"-a"}),
    "nice": frozenset({"-n", "--adjustment"}), "nohup": frozenset(), "setsid": frozenset(),
    "sudo": frozenset({"-u", "-g", "-h", "-p", "-C", "-D", "--user", "--group", "--chdir"}),
    "systemd-run": frozenset({"-u", "-p", "-E", "-M", "--unit", "--property", "--setenv", "--machine", "--slice"}),
    "time": frozenset(), "timeout": frozenset({"-k", "-s", "--kill-after", "--signal"}), "with_timeout": frozenset(),
    "xargs": frozenset({"-n", "-I", "-L", "-P", "-d", "-a", "-s", "--max-args", "--max-procs", "--replace"}),
}  # fmt: skip
"""Programs that run another one, and those of their options that have a value behind them."""
_NAMES = {"variable_name", "special_variable_name"}
_DEPTH = 4


def in_shell(source: str | bytes, depth: int = 0) -> Iterator[tuple[int, Shape]]:
    """The docker commands of a shell source, with the line, from 0, that each stands on."""
    root = shell(source.encode() if isinstance(source, str) else source)
    script = _Script(root)
    for node in walk(root):
        if node.type == "command":
            for words in script.words(node):
                for shape in of_words(words, depth):
                    yield node.start_point[0], shape


def of_words(words: Sequence[str], depth: int = 0) -> Iterator[Shape]:
    """The docker command that an argument list is, or that it has another program start."""
    words = _unwrapped(words)
    program = PurePosixPath(words[0]).name if words else ""
    line = ""
    if program == "docker":
        yield shape_of(words[1:])
    elif program in _SHELLS:
        at = next((at for at, word in enumerate(words) if re.fullmatch(r"-[a-z]*c[a-z]*", word)), len(words))
        line = " ".join(words[at + 1 : at + 2])
    elif program == "eval":
        line = " ".join(words[1:])
    if line and depth < _DEPTH:
        for _, shape in in_shell(line, depth + 1):
            yield shape


def leads_to_docker(program: str) -> bool:
    """Whether a program is docker, or one that may start it."""
    name = PurePosixPath(program).name
    return name == "docker" or name in _SHELLS or name in _WRAPPERS


def _unwrapped(words: Sequence[str]) -> Sequence[str]:
    """The command behind programs that run another one."""
    while words and (wrapper := PurePosixPath(words[0]).name) in _WRAPPERS:
        at = 1
        while at < len(words) and _before_command(words[at], wrapper):
            if wrapper == "command" and words[at] in {"-v", "-V"}:
                return []
            at += 2 if words[at] in _WRAPPERS[wrapper] else 1
        if wrapper == "timeout":
            at += 1  # how long
        words = words[at:]
    return words


def _before_command(word: str, wrapper: str) -> bool:
    """Whether a word still tells a program how to run another one; what is not known may."""
    return word.startswith("-") or is_unknown(word) or (wrapper == "env" and "=" in word)


@dataclass
class _Script:
    """A shell source and what its variables may hold."""

    root: Node
    values: dict[str, Lines] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in walk(self.root):
            name = node.child_by_field_name("name") if node.type == "variable_assignment" else None
            if name and name.type == "variable_name":
                self._assign(text(name), node.child_by_field_name("value"), adds=b"+=" in (node.text or b""))

    def words(self, command: Node) -> Lines:
        """The words of a command, in the alternatives that its variables give."""
        given = [part for part in parts(command) if not part.type.endswith(("_redirect", "_assignment"))]
        around = command.parent
        if around and around.type == "redirected_statement":  # words behind a redirection are the command's too
            for redirect in (part for part in parts(around) if part.type == "file_redirect"):
                given += [part for part in parts(redirect) if part.type != "file_descriptor"][1:]
        return joined(self._word(part) for part in given)

    def _assign(self, name: str, value: Node | None, *, adds: bool) -> None:
        new: Lines = self._word(value) if value else [("",)]
        before = self.values.get(name, [])
        if value and value.type == "array":
            new = joined([before, new]) if adds else new
        else:
            new = distinct(
                ["".join((*old, " ".join(line)))] for old in (before if adds else []) or [()] for line in new
            )
        self.values[name] = new if adds else distinct([*before, *new])

    def _word(self, node: Node) -> Lines:
        """What a word of a command line becomes: itself, or as many as a variable has."""
        match node.type:
            case "string":
                inner = parts(node)
                whole = len(inner) == 1 and re.fullmatch(r'"\$(@|\{\w+\[@\](:[^}]*)?\})"', text(node))
                return self._expanded(inner[0]) if whole else [(each,) for each in self._quoted(node)]
            case "raw_string":
                return [(text(node)[1:-1],)]
            case "ansi_c_string":
                return [(text(node)[2:-1],)]
            case "array":
                return joined(self._word(part) for part in parts(node))
            case "simple_expansion" | "expansion":
                return self._expanded(node)
            case "command_substitution":
                return [(_substituted(node, loose=True),)]
            case "concatenation":
                pieces = joined(self._word(part) for part in parts(node))
                return distinct(["".join(piece)] for piece in pieces)
            case "command_name":
                return self._word(parts(node)[0]) if parts(node) else [(text(node),)]
            case "word" | "number":
                return [(re.sub(r"\\(.)", r"\1", text(node)),)]
        return [(unknown(text(node)),)]

    def _quoted(self, node: Node) -> list[str]:
        """A text between double quotes."""
        pieces: list[Lines] = []
        for part in parts(node):
            if part.type == "string_content":
                pieces.append([(re.sub(r'\\(["$`\\])', r"\1", text(part)),)])
                continue
            source = text(part)
            pieces.append([(source[: len(source) - len(source.lstrip())],)])  # the grammar has blanks in expansions
            if part.type == "command_substitution":
                pieces.append([(_substituted(part, loose=False),)])
            else:
                pieces.append(distinct([" ".join(line)] for line in self._held(part, loose=False)))
        return ["".join(line) for line in joined(pieces)]

    def _expanded(self, node: Node) -> Lines:
        """What stands where a variable is not quoted, or where it is an array: any number of words."""
        whole = "[@]" in text(node)
        return [
            tuple(piece for word in line for piece in ([word] if whole else word.split()))
            for line in self._held(node, loose=True)
        ]

    def _held(self, node: Node, *, loose: bool) -> Lines:
        """What a variable may hold, its default where it has none."""
        names = [part for part in walk(node) if part.type in _NAMES]
        name = text(names[0]) if names else text(node)
        operator = next((text(each) for each in node.children[2:] if not each.is_named), "}")
        default = [part for part in parts(node) if part.type not in {*_NAMES, "subscript"}]
        several = name in {"@", "*"} or "[@]" in text(node) or "[*]" in text(node)
        nothing: Lines = [(rest(name),)] if several else [(unknown(name, loose=loose),)]
        if operator in {":+", "+"}:
            return self._word(default[0]) if default else [()]
        if operator not in {"}", ":-", "-", ":=", "=", ":"}:
            return nothing
        known = [line for line in self.values.get(name, []) if not any(is_unknown(word) for word in line)]
        if known:
            return either(known)
        return self._word(default[0]) if default and operator != ":" else nothing


def _substituted(node: Node, *, loose: bool) -> str:
    """What stands where the output of a command does; a question for a program is answered with the program."""
    asked = re.search(r"(?:which|command -v|type -p)\s+(\w+)", text(node))
    return asked[1] if asked else unknown(text(node), loose=loose)
