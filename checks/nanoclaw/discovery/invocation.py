"""The shape of a docker command line: its subcommand and options, without the values that change from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from checks.nanoclaw.discovery.words import REST, is_loose, is_unknown, marks_in, name_of, rest

_CREATE = {
    "--add-host", "--annotation", "--attach", "--blkio-weight", "--cap-add", "--cap-drop", "--cgroup-parent",
    "--cgroupns", "--cidfile", "--cpu-period", "--cpu-quota", "--cpu-shares", "--cpus", "--cpuset-cpus",
    "--detach-keys", "--device", "--dns", "--domainname", "--entrypoint", "--env", "--env-file", "--expose",
    "--gpus", "--group-add", "--health-cmd", "--hostname", "--ip", "--ipc", "--label", "--label-file", "--link",
    "--log-driver", "--log-opt", "--mac-address", "--memory", "--memory-reservation", "--memory-swap", "--mount",
    "--name", "--network", "--network-alias", "--oom-score-adj", "--pid", "--pids-limit", "--platform",
    "--publish", "--pull", "--restart", "--runtime", "--security-opt", "--shm-size", "--stop-signal",
    "--stop-timeout", "--storage-opt", "--sysctl", "--tmpfs", "--ulimit", "--user", "--userns", "--uts",
    "--volume", "--volumes-from", "--workdir", "-a", "-c", "-e", "-h", "-l", "-m", "-p", "-u", "-v", "-w",
}  # fmt: skip
_WITH_VALUE = {
    "run": _CREATE,
    "create": _CREATE,
    "build": {
        "--add-host", "--build-arg", "--build-context", "--cache-from", "--cache-to", "--file", "--label", "--network",
        "--output", "--platform", "--progress", "--secret", "--ssh", "--tag", "--target", "-f", "-o", "-t",
    },
    "ps": {"--filter", "--format", "--last", "-f", "-n"},
    "stop": {"--signal", "--time", "--timeout", "-s", "-t"},
    "logs": {"--since", "--tail", "--until", "-n"},
    "image inspect": {"--format", "-f"},
    "inspect": {"--format", "--type", "-f"},
}  # fmt: skip
"""Options whose value may be a word of its own, by subcommand: docker's command line reference, Docker 28."""
_TWO_WORDS = {"builder", "buildx", "compose", "container", "image", "network", "system", "volume"}
_MEANINGFUL = {"--format", "--add-host", "--cap-drop", "--security-opt"}
"""Options whose value decides what is asked for."""
_OPERANDS = {"build": 0, "images": 0, "info": 0, "ps": 0, "run": 0, "version": 0}
"""How many words of which nothing is known are taken to be what a subcommand is about; elsewhere one, the container or
image that it must be told. These need not be told any, or have so many options that such a word may well be one."""


@dataclass(frozen=True)
class Shape:
    """A kind of docker command."""

    subcommand: str
    options: frozenset[str]

    @property
    def text(self) -> str:
        """The shape as one would type it."""
        return " ".join(filter(None, ["docker", self.subcommand, *sorted(self.options)]))

    @property
    def unfollowed(self) -> frozenset[str]:
        """What computes arguments that could not be followed. Nothing proves what they ask for."""
        marks = {option.removeprefix(REST) for option in self.options if option.startswith(REST)}
        return frozenset(marks | ({name_of(self.subcommand)} if is_unknown(self.subcommand) else set()))

    def within(self, other: Shape) -> bool:
        """Whether who proves ``other`` proves this one."""
        return self.subcommand == other.subcommand and self.options <= other.options

    def knowing(self, what: str, adds: Sequence[str]) -> Shape:
        """The shape where arguments that could not be followed are known to be these."""
        return replace(self, options=self.options - {rest(what)} | shape_of([self.subcommand, *adds]).options)


def shape_of(words: Sequence[str]) -> Shape:
    """The shape of a command line, which starts behind ``docker``."""
    ahead = list(words)
    if not ahead or ahead[0].startswith("-"):
        return Shape("" if not ahead or marks_in(ahead[0]) else ahead[0], frozenset(_marks(ahead)))
    subcommand = _take_subcommand(ahead)
    options, operands = set(), []
    while ahead:
        word = ahead.pop(0)
        if not word.startswith("-"):
            operands.append(word)
            if subcommand == "run" and not is_unknown(word):
                break  # the image; what follows is the container's
            continue
        options |= marks_in(word)
        if word.startswith(REST):
            continue
        name, given, value = word.partition("=")
        if not given and name in _WITH_VALUE.get(subcommand, set()) and ahead and not ahead[0].startswith(REST):
            value = ahead.pop(0)
            options |= marks_in(value)
        options.add(_option(name, value))
    enough = len(operands) <= _OPERANDS.get(subcommand, 1)
    options |= {rest(name_of(word)) for word in operands if is_loose(word) or (is_unknown(word) and not enough)}
    return Shape(subcommand, frozenset(options))


def _take_subcommand(words: list[str]) -> str:
    """Remove the subcommand, of one word or two, from the start of ``words``."""
    subcommand = words.pop(0)
    if subcommand in _TWO_WORDS and words and not words[0].startswith("-"):
        return f"{subcommand} {words.pop(0)}"
    return subcommand


def _marks(words: Sequence[str]) -> set[str]:
    return {mark for word in words for mark in marks_in(word)}


def _option(name: str, value: str) -> str:
    if name == "--filter":
        return f"{name} {value.partition('=')[0]}="
    if name == "-v" and value.endswith(":ro"):
        return "-v :ro"
    if name in _MEANINGFUL:
        return f"{name} {value}"
    return name
