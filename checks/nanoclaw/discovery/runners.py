"""Which calls in TypeScript sources start a program, whatever name they do it by."""

from __future__ import annotations

from enum import Enum, auto

from tree_sitter import Node

from checks.nanoclaw.discovery.names import Project, key_of, module_of
from checks.nanoclaw.discovery.syntax import arguments, bare, member, parts, text


class Takes(Enum):
    """How a function that starts programs is told what to start."""

    TEXT = auto()
    """A command line for a shell."""
    WORDS = auto()
    """A program, and perhaps an array of arguments. Some can hand it to a shell: then it may be a whole line."""
    LIST = auto()
    """One array, which begins with the program."""
    TEMPLATE = auto()
    """The template that it tags."""


_TAKES = {
    "exec": Takes.TEXT, "execSync": Takes.TEXT, "execAsync": Takes.TEXT, "execCommand": Takes.TEXT,
    "execaCommand": Takes.TEXT, "execaCommandSync": Takes.TEXT,
    "spawn": Takes.WORDS, "spawnSync": Takes.WORDS, "spawnAsync": Takes.WORDS, "execFile": Takes.WORDS,
    "execFileSync": Takes.WORDS, "execFileAsync": Takes.WORDS, "fork": Takes.WORDS, "execa": Takes.WORDS,
    "execaSync": Takes.WORDS,
    "$": Takes.TEMPLATE,
}  # fmt: skip
_TAGS = {"$", "execa", "execaSync"}
"""Those that may tag a template; called with options they give another one of their kind."""
_DEFAULTS = {"cross-spawn": "spawn", "execa": "execa"}
"""What modules export by default, which anyone may give a name."""
_MADE_BY = {"promisify", "pify"}
_DEPTH = 6


def takes(call: Node, project: Project) -> Takes | None:
    """How a call says what to start; None where it is not known to start anything."""
    callee = call.child_by_field_name("function")
    name = _name(bare(callee), project) if callee else ""
    if name not in _TAKES:
        return None
    given = call.child_by_field_name("arguments")
    if given and given.type == "template_string":
        return Takes.TEMPLATE if name in _TAGS else None
    first = bare(arguments(call)[0]) if arguments(call) else None
    if _TAKES[name] is Takes.WORDS and first and first.type in {"array", "object"}:
        return Takes.LIST  # Bun.spawn(['docker', 'ps']), Bun.spawn({ cmd: ['docker', 'ps'] })
    return _TAKES[name]


def _name(node: Node, project: Project, depth: int = 0) -> str:
    """What its library calls the function that an expression is, or is made of; some other name where it is none."""
    if depth > _DEPTH:
        return ""
    if node.type == "identifier":
        declarer = project.declared(node)
        return _declared(declarer, project, depth + 1) if declarer else text(node)
    if parted := member(node):
        of, name = parted
        return _name(of, project, depth + 1) if name in {"bind", "sync"} else name
    if node.type == "call_expression":
        return _made(node, project, depth + 1)
    if node.type == "ternary_expression":
        names = [_name(bare(branch), project, depth + 1) for branch in parts(node)[1:]]
        return next((name for name in names if name in _TAKES), "")
    return ""


def _made(call: Node, project: Project, depth: int) -> str:
    """What a call gives: ``promisify(exec)``, ``exec.bind(null)``, ``$({ verbose: true })``."""
    callee, given = call.child_by_field_name("function"), arguments(call)
    if callee is None:
        return ""
    if text(callee).rsplit(".", 1)[-1] in _MADE_BY and given:
        return _name(bare(given[0]), project, depth)
    name = _name(bare(callee), project, depth)
    return name if name in _TAGS or text(callee).endswith(".bind") else ""


def _declared(declarer: Node, project: Project, depth: int) -> str:
    match declarer.type:
        case "import_specifier" if name := declarer.child_by_field_name("name"):
            return text(name)
        case "import_clause":
            names = [text(each) for each in parts(declarer) if each.type == "identifier"]
            return _DEFAULTS.get(module_of(declarer), names[0] if names else "")
        case "variable_declarator" if value := declarer.child_by_field_name("value"):
            return _name(bare(value), project, depth)
        case "required_parameter" | "optional_parameter" if pattern := declarer.child_by_field_name("pattern"):
            return text(pattern)
        case "shorthand_property_identifier_pattern" | "identifier":
            return key_of(declarer)
    return ""
