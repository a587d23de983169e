"""The evidence files as types. ``checks/evidence/schema.json`` is generated from them: ``invoke render schema``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

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
    profile: Literal["recommended", "stock", "as-it-is"]
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
        return f"{_stem(self.name)}.json"


def _stem(host: str) -> str:
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
    reason: Annotated[str, Meta(description="Why the case was skipped")] = ""

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
        return f"{_stem(self.name)}-{self.profile}.json"

    def case(self, id_: str) -> Case | None:
        """The case with that id, if it ran."""
        return next((case for case in self.cases if case.id == id_), None)


# invoke sabotage: evidence/trust/HOST.json


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

    directory = "trust"
    command = "invoke sabotage"
    seconds: Seconds
    results: list[MutationResult]


# invoke harden: evidence/hardening/HOST-KIND.json

Enforcement = Literal["enforced", "accepted, not enforced", "inconclusive", "could not be tried"]


class AttackTrial(Part):
    """One attempt of an attack."""

    outcome: Literal["succeeded", "refused", "could not be tried"]
    output: str


class Attack(Part, rename={"with_": "with"}):
    """An attack without the flag and with it."""

    id: Text
    enforcement: Enforcement
    without: AttackTrial
    with_: AttackTrial


class Smoke(Part):
    """One agent that was asked for an answer."""

    options: list[str]
    passed: bool
    seconds: Seconds
    workaround: str = ""
    failure: str = ""
    unenforced: Annotated[Mapping[str, str], Meta(description="By flag: what was not in force in the container")] = (
        msgspec.field(default_factory=dict)
    )


class BrowserStart(Part):
    """One start of Chromium."""

    options: list[str]
    arguments: Annotated[list[str], Meta(description="Chromium's own options")]
    rendered: bool
    seconds: Seconds
    workaround: str = ""
    sandbox: str = ""
    layers: str = ""
    failure: str = ""


class FlagRow(Part):
    """One flag: whether an agent runs with it, and whether it is enforced."""

    id: Text
    flag: Text
    options: list[str]
    verdict: Literal["compatible", "compatible with a work-around", "dropped", "not judged", "documented, not enabled"]
    enforcement: Enforcement
    ok: bool
    workarounds: Annotated[list[str], Meta(description="The ids of those that were needed")]
    attacks: list[Attack]
    agent: list[Smoke]
    unenforced: Annotated[str, Meta(description="What of the flag was not in force in a container")] = ""
    error: Annotated[str, Meta(description="Why no container started with the flag")] = ""
    baseline: Annotated[Smoke | None, Meta(description="An agent without any flag")] = None


class CombinedCase(Part):
    """One case of the verification with all flags."""

    id: str
    label: str
    outcome: Outcome
    seconds: Seconds
    reason: str = ""
    got: str = ""
    expected_failure: Annotated[str, Meta(description="Why it fails there, with flags or without")] = ""


class CombinedFlags(Part):
    """All flags together."""

    options: list[str]
    ok: bool
    flags: Annotated[list[FlagRow], Meta(min_length=1)]
    agent: Smoke
    browser: Annotated[list[BrowserStart], Meta(min_length=1)]
    cases: list[CombinedCase]


class BrowserRow(Part):
    """Chromium under some flags."""

    name: Text
    options: list[str]
    required: Annotated[bool, Meta(description="Whether Chromium must work, with its sandbox on")]
    ok: bool
    starts: Annotated[list[BrowserStart], Meta(min_length=1)]


class FlagCombination(Part):
    """Some flags together."""

    flags: list[str]
    ok: bool
    agent: Smoke
    browser: BrowserStart


class HardeningRun(Run, kw_only=True, tag_field="kind"):
    """Base of the kinds of `invoke harden`."""

    directory = "hardening"
    command = "invoke harden"
    seconds: Count
    agent: Text

    @property
    def kind(self) -> str:
        """``each``, ``all``, ``browser`` or ``combinations``."""
        return str(self.__struct_config__.tag)

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{_stem(self.name)}-{self.kind}.json"


class EachFlag(HardeningRun, kw_only=True, tag="each"):
    """One run of `invoke harden --each`."""

    results: Annotated[list[FlagRow], Meta(min_length=1)]


class AllFlags(HardeningRun, kw_only=True, tag="all"):
    """One run of `invoke harden --all`."""

    results: CombinedFlags


class BrowserRun(HardeningRun, kw_only=True, tag="browser"):
    """One run of `invoke harden --browser`."""

    results: Annotated[list[BrowserRow], Meta(min_length=1)]


class CombinationRun(HardeningRun, kw_only=True, tag="combinations"):
    """One run of `invoke harden --combinations`."""

    results: Annotated[list[FlagCombination], Meta(min_length=1)]


# invoke inject --check: evidence/injection/check/HOST.json


class CheckResult(Part):
    """One check of the installed configuration."""

    name: Text
    passed: bool
    observed: str


class InjectionCheck(Run, kw_only=True):
    """One run of `invoke inject --check`."""

    directory = "injection/check"
    command = "invoke inject --check"
    agent: str
    results: Annotated[list[CheckResult], Meta(min_length=1)]
    missing: Annotated[Mapping[str, str], Meta(description="Limits that the host can't set, and why")]


# invoke parallel: evidence/parallel/HOST.json


class Container(Part):
    """What one container used. A value is missing if the kernel does not count it."""

    kernel_peaks: Annotated[
        list[Literal["memory", "tasks"]], Meta(description="The peaks that the kernel recorded; the others are sampled")
    ] = msgspec.field(default_factory=list)
    memory: Annotated[Bytes | None, Meta(description="Peak, page cache included")] = None
    unreclaimable: Annotated[Bytes | None, Meta(description="Peak of process memory and tmpfs, sampled")] = None
    tasks: Annotated[Count | None, Meta(description="Peak number of processes and threads")] = None


class Browser(Part):
    """One page rendered by Chromium in an agent's container."""

    rendered: bool
    seconds: Seconds
    container: Container
    failure: str = ""


class HostLoad(Part):
    """The memory of the host during a step."""

    samples: Annotated[int, Meta(ge=1, description="Number of samples")]
    total: Bytes
    swap: Bytes
    available: Annotated[Bytes, Meta(description="MemAvailable before the step")]
    min_available: Bytes
    swap_used: Annotated[Bytes, Meta(description="Peak")]
    oom_kills: Annotated[int, Meta(ge=0, description="Processes that the kernel killed for lack of memory")]
    containers_memory: Annotated[
        Bytes | None, Meta(description="Peak of all containers together, page cache included")
    ] = None
    containers_unreclaimable: Annotated[
        Bytes | None, Meta(description="Peak of their process memory and tmpfs together")
    ] = None


class Turn(Part):
    """One question to one agent of a step."""

    seconds: Seconds
    container: Container
    failure: str = ""


class CapacityStep(Part):
    """Some number of agents at once."""

    agents: Positive
    answered: Count
    fits: bool
    timeout: Annotated[int, Meta(ge=1, description="Seconds that each agent had to answer")]
    seconds: Annotated[float, Meta(ge=0, description="Seconds to the last answer")]
    host: HostLoad
    turns: list[Turn]
    host_error: Annotated[str, Meta(description="Why the host stopped responding")] = ""


class Capacity(Run, kw_only=True):
    """One run of `invoke parallel`."""

    directory = "parallel"
    command = "invoke parallel"
    seconds: Count
    agent: Text
    slowness: Annotated[float, Meta(ge=1, description="More than 1 on an emulated host")]
    flags: Annotated[list[str], Meta(description="The options that every container had")]
    max_agents: Annotated[int, Meta(ge=1, description="The number of agents asked for")]
    browser: Browser
    steps: Annotated[list[CapacityStep], Meta(min_length=1)]


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
    when: Time
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
        return f"{_stem(self.host)}/{self.entry}.json"

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host


KINDS: tuple[Any, ...] = (
    Verification, MutationRun, EachFlag, AllFlags, BrowserRun, CombinationRun, InjectionCheck,
    Capacity, Reproduction,
)  # fmt: skip
"""Every kind of evidence file."""
