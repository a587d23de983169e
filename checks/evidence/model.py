"""The evidence files as types. ``checks/evidence/schema.json`` is generated from them: ``invoke render schema``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

VERSION = 1

Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0, description="Bytes")]
Seconds = Annotated[float, Meta(ge=0, description="Seconds of wall time")]
Time = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$",
        description="UTC",
        extra_json_schema={"format": "date-time"},
    ),
]
Outcome = Literal["passed", "failed", "skipped"]


class Part(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything that an evidence file has: unknown keys are refused, defaults are not written."""


# Every run


class Project(Part):
    """The project that made the evidence."""

    version: Text
    commit: Annotated[str, Meta(description="Empty outside a git checkout")] = ""


class Host(Part):
    """The host of a run: its name, the profile it had, and its facts."""

    name: Text
    profile: Literal["recommended", "stock", "as-is"]
    kernel: Text
    distribution: str
    uid: Count
    gid: Count
    cpus: Positive
    cgroups: Literal["v2", "v1", "hybrid"]
    init: Annotated[str, Meta(description="The name of the first process")]
    docker: Annotated[str, Meta(description="The path of docker on the account's PATH")]
    engine: Literal["podman", "docker"]
    version: Annotated[str, Meta(description="The engine's version")]
    runtime: str
    conmon: str
    network: Annotated[str, Meta(description="The rootless network helper and its package; else bridge")]
    storage: Annotated[str, Meta(description="The engine's storage driver")]
    rootless: bool


class Run(Part, kw_only=True):
    """What the evidence of every run has."""

    directory: ClassVar[str] = ""
    """Below evidence/."""
    command: ClassVar[str]
    """What writes the file."""
    version: Literal[1]
    project: Project | None = None
    """None in files of before 0.2."""
    started: Time
    host: Host

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host.name

    @property
    def profile(self) -> str:
        """The host's profile."""
        return self.host.profile

    @property
    def filename(self) -> str:
        """The file's path below the directory of its kind."""
        return f"{stem(self.name)}.json"


_NANOCLAW = re.compile(r"nanoclaw (\S+) \(commit ([0-9a-f]{12,40})\)")


def nanoclaw_of(agent: str) -> tuple[str, str] | None:
    """The version and the commit of the nanoclaw whose agent that is; None if it isn't one of nanoclaw's own."""
    found = _NANOCLAW.match(agent)
    return (found[1], found[2]) if found else None


def stem(host: str) -> str:
    """The host's part of a file name."""
    return host.replace("/", "_")


# invoke verify: evidence/HOST-PROFILE.json


class Output(Part):
    """One stream of a command."""

    bytes: Bytes
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    text: Annotated[str, Meta(description="Its first 2000 bytes")]


class Command(Part):
    """One command of a case."""

    argv: Annotated[list[str], Meta(min_length=1)]
    status: Annotated[int, Meta(description="Exit status; 128 + n after signal n")]
    seconds: Seconds
    stdout: Output
    stderr: Output


class Case(Part):
    """One case: how it ended, its commands and observations."""

    id: Annotated[str, Meta(pattern="^[a-z0-9-]+$")]
    group: Text
    label: Text
    outcome: Outcome
    seconds: Seconds
    commands: list[Command]
    observations: Mapping[str, str | int | float | bool]
    expected: Annotated[str | None, Meta(description="Of a failed case")] = None
    got: Annotated[str | None, Meta(description="Of a failed case")] = None
    fix: Annotated[str, Meta(description="Of a failed case: the quick fix of its troubleshooting entry")] = ""
    entry: Annotated[str, Meta(description="Of a failed case: where its troubleshooting entry is")] = ""
    reason: Annotated[str, Meta(description="Why the case was skipped")] = ""
    accepted: Annotated[str, Meta(description="Of a failed case: why the user accepts the failure")] = ""

    def __post_init__(self) -> None:
        failed = self.outcome == "failed"
        if failed != (self.expected is not None) or failed != (self.got is not None):
            raise ValueError("a failed case, and no other, has “expected” and “got”")
        if self.outcome == "skipped" and not self.reason:
            raise ValueError("a skipped case has a “reason”")
        if self.outcome == "passed" and not self.commands:
            raise ValueError("a passed case has “commands”")


class Verification(Run, kw_only=True):
    """One run of `invoke verify`."""

    command = "invoke verify"
    agent: str = ""
    cases: list[Case]

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{stem(self.name)}-{self.profile}.json"

    def case(self, id_: str) -> Case | None:
        """The case with that id, if it ran."""
        return next((case for case in self.cases if case.id == id_), None)


# invoke matrix --nanoclaw: evidence/nanoclaw/HOST-VERSION.json


class AgentVerification(Verification, kw_only=True):
    """One run of the cases that start an agent, with the agent of a nanoclaw checkout."""

    directory = "nanoclaw"
    command = "invoke matrix --nanoclaw"

    def __post_init__(self) -> None:
        """Check that the agent is nanoclaw's own, of a known version and commit."""
        if not nanoclaw_of(self.agent):
            raise ValueError(f"the agent must be “nanoclaw VERSION (commit COMMIT)”, and is “{self.agent}”")

    @property
    def nanoclaw(self) -> tuple[str, str]:
        """The version and the commit of the checkout."""
        found = nanoclaw_of(self.agent)
        assert found
        return found

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{stem(self.name)}-{stem(self.nanoclaw[0])}.json"


# invoke sabotage: evidence/mutation/HOST.json, and with --nanoclaw HOST-VERSION.json


class MutationResult(Part):
    """One case under one mutation."""

    mutation: Text
    digest: Text
    case: Text
    label: Text
    verdict: Text
    expected: str
    got: str
    seconds: Seconds


class MutationRun(Run, kw_only=True):
    """One run of `invoke sabotage`."""

    directory = "mutation"
    command = "invoke sabotage"
    agent: Annotated[str, Meta(description="The nanoclaw that was given; empty if none was")] = ""
    seconds: Seconds
    results: list[MutationResult]

    @property
    def filename(self) -> str:
        """The file's name."""
        found = nanoclaw_of(self.agent)
        return f"{stem(self.name)}-{stem(found[0])}.json" if found else super().filename


# invoke reproduce: evidence/reproductions/HOST/ENTRY.json


class CommandResult(Part):
    """The result of the symptom's commands: the exit status, and both outputs together."""

    exit_status: int
    output: str


class Reproduction(Part, kw_only=True):
    """One troubleshooting entry, reproduced on one host."""

    directory: ClassVar[str] = "reproductions"
    command: ClassVar[str] = "invoke reproduce"
    version: Literal[1]
    project: Project | None = None
    entry: Text
    host: Text
    profile: Literal["recommended", "stock"]
    podman: Annotated[str, Meta(pattern=r"^\d+\.\d+")]
    distribution: Text
    kernel: Text
    finished: Time
    seconds: Seconds
    commands: Annotated[
        Mapping[Literal["break", "setup", "symptom", "fix"], list[str]],
        Meta(description="The commands that ran, by purpose, each with the user that ran it"),
    ]
    baseline: Annotated[
        CommandResult | None, Meta(description="Before the problem was caused; null if the host has it")
    ]
    broken: CommandResult
    fixed: Annotated[CommandResult | None, Meta(description="After the fix; null if the fix was not tested")]
    error_line: Annotated[str, Meta(min_length=1, description="The line that showed the symptom")]
    snapshot: Annotated[Mapping[str, Sequence[str]], Meta(description="The doctor's snapshot of the broken host")]
    snapshot_taken_at: Annotated[float, Meta(description="Seconds since the epoch, by this machine's clock")]
    diagnoses: Annotated[list[str], Meta(description="The entries that the doctor reported on the broken host")]
    baseline_diagnoses: Annotated[list[str], Meta(description="The entries that it reported before")]

    @property
    def filename(self) -> str:
        """The file's path below the directory of its kind."""
        return f"{stem(self.host)}/{self.entry}.json"

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host
