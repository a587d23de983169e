"""The sources in a checkout: which files are read, as what, and the scripts inside of other files."""

from __future__ import annotations

import codecs
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from checks.core.bounded import parsed
from checks.core.errors import WrongUsage
from checks.nanoclaw.checkout import read, walk
from checks.nanoclaw.discovery.form import NO_MARKS
from checks.nanoclaw.discovery.rules import among, named_runtime, rules
from checks.nanoclaw.discovery.shell import unwrapped
from checks.nanoclaw.discovery.tree import Tree

LARGEST, TOTAL = 512 << 10, 32 << 20
"""Bytes of a source and of all files, and the number of entries: seven times those of nanoclaw, or more."""
CODE = {"typescript", "tsx", "javascript", "python"}
UNTAGGED = "untagged"
"""The language of a piece that may be a shell's, or prose: only what is plainly a command counts."""
UNREAD = "unread"
"""The language of a piece that nothing here reads, and that may start a container runtime."""

_SHEBANG = re.compile(r"#!\s*(?:\S*/env\s+(?:-\S+\s+)*)?(?:\S*/)?([a-z]+)")
_SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "ash"}
_INTERPRETERS = {
    **dict.fromkeys(_SHELLS, "shell"), "python": "python", "node": "javascript", "bun": "tsx", "tsx": "tsx",
}  # fmt: skip
_FENCE = re.compile(r"^([ \t>]*)(`{3,}|~{3,})[ \t]*([^\n`]*)\n(.*?)(?:^[ \t>]*\2[ \t]*$|\Z)", re.M | re.S)
_FENCED = {
    "": UNTAGGED, **dict.fromkeys((*_SHELLS, "console", "fish", "shell", "shell-session", "nc:run"), "shell"),
    "typescript": "typescript", "ts": "typescript", "javascript": "javascript", "js": "javascript", "python": "python",
}  # fmt: skip
_INERT = {"css", "diff", "html", "json", "jsonc", "markdown", "md", "sql", "text", "toml", "txt", "yaml", "yml"}
_IMPORTED = re.compile(r"['\"`](\.{1,2}/[\w@./-]+)['\"`]")
_RUN = re.compile(r"(?<![\w@./-])((?:[\w@.-]+/)+[\w@.-]+)")
_TEMPLATE = re.compile(r"\$?\{{1,3}(\w{1,100})[^}]{0,200}\}{1,3}")
_PROGRAM = re.compile(
    r"<key>Program(?:Arguments)?</key>\s{0,200}(?:<array>)?(.{0,4000}?)(?:</array>|\n\s{0,200}<key>)", re.S
)
_UNIT = re.compile(r"^\s*Exec\w+\s*=\s*[-@:+!]*(.*)$", re.M)
_INSTRUCTION = re.compile(r"^\s*(?:RUN|CMD|ENTRYPOINT)\b((?:\\\n|[^\n])*)", re.M | re.I)
_MAKE = re.compile(r"^(\w+)\s*[:?+]?=\s*(.*)$")


def sources(checkout: Path) -> Iterator[Tree]:
    """The sources in a checkout. Raises WrongUsage if they are too large or too many."""
    room = TOTAL
    left_out = {*rules().skipped, *rules().tests}
    for path in walk(checkout, lambda path: path.name in left_out and (checkout / path).is_dir()):
        name = str(path.relative_to(checkout))
        kind = next((rule.read_as for rule in rules().file if among(name, rule.globs)), "")
        if path.is_symlink() and (path.is_dir() or (kind != "ignored" and (kind or _is_elsewhere(path, checkout)))):
            yield Tree(name, UNREAD, f"a link to {path.readlink()}")
        if path.is_symlink() or not path.is_file() or kind == "ignored":
            continue
        data = read(path, checkout, LARGEST if kind else TOTAL)
        room -= len(data)
        if room < 0:
            raise WrongUsage(f"The sources of {checkout} are larger than {TOTAL} bytes, the limit.")
        utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if utf_16 else "utf-8", errors="replace").replace("\r\n", "\n")
        text = text.translate(NO_MARKS).replace("\0", " ")  # may be part of a string, but ends a parser's text
        if not kind and (asked := _SHEBANG.match(text)):
            kind = _INTERPRETERS.get(asked[1].rstrip("3"), "")
        for piece in _READERS.get(kind, _code if kind in CODE else _unread)(Tree(name, kind, text)):
            yield piece
            yield from _left_out(piece, checkout)


def _is_elsewhere(link: Path, checkout: Path) -> bool:
    """Whether a link leads to a file that is not read under its own name."""
    if not link.is_file():
        return False
    target, root = link.resolve(), checkout.resolve()
    if not target.is_relative_to(root):
        return True
    return not {*rules().skipped, *rules().tests}.isdisjoint(target.relative_to(root).parts[:-1])


def _left_out(tree: Tree, checkout: Path) -> Iterator[Tree]:
    """The tests that a source imports or that a script runs: they are not read."""
    code = tree.language in CODE
    named = _IMPORTED if code else _RUN if tree.language == "bash" else None
    for found in named.finditer(tree.text) if named else ():
        for start in {PurePosixPath(tree.file).parent, PurePosixPath()}:
            name = os.path.normpath(start / found[1])
            path = checkout / name
            if not name.startswith("..") and _is_test(name, code) and any(path.parent.glob(f"{path.stem}.*")):
                yield _piece(tree, f"{name}, a test, which is not read", found.start(), UNREAD)


def _is_test(name: str, imported: bool) -> bool:
    inside, case = not set(PurePosixPath(name).parts[:-1]).isdisjoint(rules().tests), among(name, rules().file[0].globs)
    return inside or case if imported else inside and not case  # scripts name the cases that a test runner runs


def _code(tree: Tree) -> Iterator[Tree]:
    yield tree
    for found in re.finditer(r"^ *Exec\w+=.*$", tree.text, re.M):  # a unit that the code writes
        yield from _unit(_piece(tree, found[0], found.start(), "unit"))


def _shell(tree: Tree) -> Iterator[Tree]:
    yield _piece(tree, tree.text, 0, "bash")


def _unread(tree: Tree) -> Iterator[Tree]:
    """A file of a kind that is not known: as far as it has a runtime's name in it."""
    if found := named_runtime(tree.text):
        yield _piece(
            tree,
            f"{PurePosixPath(tree.file).suffix or 'a file of no known kind'} with {found[0]}",
            found.start(),
            UNREAD,
        )


def _skill(tree: Tree) -> Iterator[Tree]:
    """The blocks and the inline commands of a text."""
    plain = tree.text
    for found in _FENCE.finditer(tree.text):
        indent, tag = len(found[1]), (found[3].split() or [""])[0].lower()
        body = "\n".join(line[indent:] if not line[:indent].strip(" \t>") else line for line in found[4].split("\n"))
        plain = plain[: found.start()] + re.sub(r"[^\n]", " ", found[0]) + plain[found.end() :]
        if language := _FENCED.get(tag):
            if language in {"shell", UNTAGGED}:
                body = re.sub(r"<([\w][\w -]*)>", r"\1", re.sub(r"^[ \t]*\$ ", "", body, flags=re.M))
            yield _piece(tree, body, found.start(4), "bash" if language == "shell" else language)
        elif tag not in _INERT and (name := named_runtime(body)):
            yield _piece(tree, f"a block of “{tag}” with {name[0]}", found.start(4), UNREAD)
    for found in re.finditer(r"(?<!`)(?<!→ )`([^`\n]+)`(?!`| →)", plain):  # an arrow tells of a change
        words = unwrapped(found[1].split())
        if len(words) > 1 and words[0] in rules().runtimes and re.fullmatch(r"[a-z-]+", words[1]):
            yield _piece(tree, found[1], found.start(1), UNTAGGED)


def _make(tree: Tree) -> Iterator[Tree]:
    """Recipes, and variables as a shell's."""
    lines = []
    for line in tree.text.split("\n"):
        expanded = re.sub(r"\$[({](\w+)[)}]", r"${\1}", line.lstrip("\t")).replace("$$", "$")
        given = _MAKE.match(expanded)
        lines.append(
            expanded.lstrip("@-+") if line.startswith("\t") else f"{given[1]}={shlex.quote(given[2])}" if given else ""
        )
    yield _piece(tree, "\n".join(lines), 0, "bash")


def _scripts(tree: Tree) -> Iterator[Tree]:
    """The scripts of a package.json."""
    try:
        scripts = parsed(tree.text).get("scripts", {})
    except (ValueError, RecursionError, AttributeError):
        yield _piece(tree, "a package.json that is not valid", 0, UNREAD)
        return
    for name, script in scripts.items() if isinstance(scripts, dict) else ():
        at = tree.text.find(json.dumps(name, ensure_ascii=False), tree.text.find('"scripts"'))
        yield _piece(tree, str(script), max(at, 0), "bash")


def _compose(tree: Tree) -> Iterator[Tree]:
    yield _piece(tree, "a compose file, whose services compose starts", 0, UNREAD)


def _workflow(tree: Tree) -> Iterator[Tree]:
    """The commands of a workflow's steps; what else in it starts containers."""
    lines = tree.text.split("\n")
    for number, line in enumerate(lines):
        found = re.match(r"([ -]*)(run|uses|container|services):[ \t]*(.*)$", line)
        if found is None:
            continue
        if found[2] == "run":
            indent, block = len(found[1]), [found[3] if not re.fullmatch(r"[|>][-+\d]*", found[3]) else ""]
            for behind in lines[number + 1 :]:
                if behind.strip() and len(behind) - len(behind.lstrip()) <= indent:
                    break
                block.append(behind)
            body = re.sub(r"\$\{\{[^}]*\}\}", "X", "\n".join(block))
            yield Tree(tree.file, "bash", body, number + 1)
        elif found[2] != "uses" or re.search(r"docker|podman|container", found[3]):
            yield Tree(tree.file, UNREAD, f"a workflow's “{found[2]}”", number + 1)


def _dockerfile(tree: Tree) -> Iterator[Tree]:
    for found in _INSTRUCTION.finditer(tree.text):
        body = re.sub(r"--[a-z]+=\S+", "", found[1]) if found[1].lstrip().startswith("--") else found[1]
        yield _piece(tree, " ".join(_strings(body)) if body.lstrip().startswith("[") else body, found.start(1), "bash")


def _unit(tree: Tree) -> Iterator[Tree]:
    """The commands of a unit of systemd, or of a property list of launchd."""
    for found in _UNIT.finditer(tree.text):
        yield _piece(tree, _TEMPLATE.sub(r"\1", found[1]), found.start(1), "bash")
    for found in _PROGRAM.finditer(tree.text):
        words = re.findall(r"<string>(.*?)</string>", found[1], re.S)
        yield _piece(tree, shlex.join(words), found.start(1), "bash")


def _strings(text: str) -> list[str]:
    return [shlex.quote(each) for each in re.findall(r'"((?:[^"\\]|\\.)*)"', text)]


def _piece(tree: Tree, text: str, at: int, language: str) -> Tree:
    return Tree(tree.file, language, text, tree.line + tree.text.count("\n", 0, at))


_READERS = {
    "shell": _shell, "skill": _skill, "make": _make, "scripts": _scripts, "compose": _compose, "workflow": _workflow,
    "dockerfile": _dockerfile, "unit": _unit,
}  # fmt: skip
