"""The shape of a docker command line: its subcommand and options, without the values that change from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UNKNOWN = "…"
"""Stands for what a source computes at run time."""

_TWO_WORDS = {"builder", "buildx", "compose", "container", "image", "network", "system", "volume"}
_WITH_VALUE = {
    "run": {
        "--add-host", "--cap-add", "--cap-drop", "--cpus", "--entrypoint", "--label", "--memory", "--mount", "--name",
        "--network", "--pids-limit", "--platform", "--security-opt", "--tmpfs", "--user", "--workdir", "-e", "-u", "-v",
        "-w",
    },
    "build": {"--build-arg", "--file", "--label", "--platform", "--tag", "-f", "-t"},
    "ps": {"--filter", "--format", "-f"},
    "stop": {"--time", "-t"},
    "logs": {"--since", "--tail", "-n"},
    "image inspect": {"--format", "-f"},
    "inspect": {"--format", "-f"},
}  # fmt: skip
_MEANINGFUL = {"--format", "--add-host", "--cap-drop", "--security-opt"}
"""Options whose value decides what is asked for."""


@dataclass(frozen=True)
class Shape:
    """A kind of docker command."""

    subcommand: str
    options: frozenset[str]

    @property
    def text(self) -> str:
        """The shape as one would type it."""
        return " ".join(["docker", self.subcommand, *sorted(self.options)]).replace("  ", " ")

    def within(self, other: Shape) -> bool:
        """Whether who proves ``other`` proves this one."""
        return self.subcommand == other.subcommand and self.options <= other.options


def shape_of(words: Sequence[str]) -> Shape:
    """The shape of a command line, which starts behind ``docker``."""
    rest = list(words)
    if not rest or rest[0].startswith("-"):
        return Shape(rest[0] if rest else "", frozenset())
    subcommand = rest.pop(0)
    if subcommand in _TWO_WORDS and rest and not rest[0].startswith("-"):
        subcommand = f"{subcommand} {rest.pop(0)}"
    options = set()
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            if subcommand == "run" and word != UNKNOWN:
                break  # the image; what follows is the container's
            continue
        name, given, value = word.partition("=")
        if not given and name in _WITH_VALUE.get(subcommand, set()) and rest:
            value = rest.pop(0)
        options.add(_option(name, value))
    return Shape(subcommand, frozenset(options))


def _option(name: str, value: str) -> str:
    if name == "--filter":
        return f"{name} {value.partition('=')[0]}="
    if name == "-v" and value.endswith(":ro"):
        return "-v :ro"
    if name in _MEANINGFUL:
        return f"{name} {value}"
    return name
