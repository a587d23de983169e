"""Finds what a checkout runs of a container runtime, without running anything of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checks.core.errors import WrongUsage
from checks.nanoclaw.discovery.code import Finder
from checks.nanoclaw.discovery.files import CODE, UNREAD, UNTAGGED, sources
from checks.nanoclaw.discovery.form import Form, form_of
from checks.nanoclaw.discovery.project import Project
from checks.nanoclaw.discovery.rules import is_runtime, named_runtime
from checks.nanoclaw.discovery.shell import commands, starters
from checks.nanoclaw.discovery.tree import Tree


@dataclass(frozen=True, order=True)
class Found:
    """A place that starts a container runtime, or that may."""

    file: str
    """Relative to the checkout."""
    line: int
    form: Form | None
    unread: str = ""
    """Without a form: what could not be followed."""

    @property
    def hot(self) -> bool:
        """Whether nanoclaw itself runs it, not its set-up, a skill or a script."""
        return self.file.startswith("src/")

    @property
    def text(self) -> str:
        """What is run, or what could not be followed."""
        return self.form.text if self.form else self.unread


def discover(checkout: Path) -> list[Found]:
    """Every place of a checkout that starts a container runtime or that may, in the order of the files.

    Raises WrongUsage for sources that are too large, nested too deeply, or unreadable. Hostile sources can take any
    time and memory: see ``discover_in_child``.
    """
    try:
        trees = list(sources(checkout))
        return sorted(
            {each for found in (_unread(trees), _scripts(trees), _code(trees)) for each in found},
            key=lambda each: (each.file, each.line, each.text),
        )
    except RecursionError:
        raise WrongUsage(f"A source in {checkout} is nested too deeply.", "Is it nanoclaw's source?") from None
    except OSError as error:
        raise WrongUsage(f"{error.filename or checkout} can't be read: {error.strerror}.") from error


def _unread(trees: list[Tree]) -> Iterator[Found]:
    for tree in trees:
        if tree.language == UNREAD:
            yield Found(tree.file, tree.line, None, tree.text)
        elif tree.language != UNTAGGED and (name := named_runtime(tree.text)):
            for error in tree.root.find(["ERROR"])[:1]:
                yield Found(tree.file, error.line, None, f"a syntax error, in a source with {name[0]}")


def _scripts(trees: list[Tree]) -> Iterator[Found]:
    scripts = [tree for tree in trees if tree.language == "bash"]
    functions = {name for tree in scripts for name in starters(tree)}
    for tree in scripts:
        for line, words in commands(tree, functions=sorted(functions)):
            yield _found(tree.file, line, words)
    for tree in (Tree(tree.file, "bash", tree.text, tree.line) for tree in trees if tree.language == UNTAGGED):
        yield from (_found(tree.file, line, words) for line, words in commands(tree) if is_runtime(words[0]))


def _code(trees: list[Tree]) -> Iterator[Found]:
    for started in Finder(Project([tree for tree in trees if tree.language in CODE])).all():
        yield _found(started.file, started.line, started.words)


def _found(file: str, line: int, words: tuple[str, ...]) -> Found:
    if is_runtime(words[0]):
        return Found(file, line, form_of(words))
    return Found(file, line, None, " ".join(words[:3]))
