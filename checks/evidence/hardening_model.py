"""The evidence of ``invoke harden`` and ``invoke inject --check``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from checks.evidence.model import Count, Outcome, Part, Run, Seconds, Text, nanoclaw_of, stem

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
        return f"{stem(self.name)}-{self.kind}.json"


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


# invoke inject --check: evidence/injection/check/HOST-NANOCLAW.json


class CheckResult(Part):
    """One check of the installed configuration."""

    name: Text
    passed: bool
    observed: str


class BypassResult(Part):
    """What a container has that was started in a way that goes round the installed configuration."""

    name: Text
    lacking: Annotated[list[str], Meta(description="Settings that are not in force")] = msgspec.field(
        default_factory=list
    )
    error: Annotated[str, Meta(description="What Podman printed if it can't start one in that way")] = ""


class Reach(Part):
    """What a container reached, on one network."""

    network: Text
    reached: Annotated[list[str], Meta(description="The services that answered")] = msgspec.field(default_factory=list)
    error: Annotated[str, Meta(description="Why no container could ask")] = ""


class InjectionCheck(Run, kw_only=True):
    """One run of `invoke inject --check`."""

    directory = "injection/check"
    command = "invoke inject --check"
    agent: str
    results: Annotated[list[CheckResult], Meta(min_length=1)]
    missing: Annotated[Mapping[str, str], Meta(description="Limits that the host can't set, and why")]
    bypasses: Annotated[list[BypassResult], Meta(description="Empty where none was tried")] = msgspec.field(
        default_factory=list
    )
    reach: Annotated[list[Reach], Meta(description="Empty where it was not asked")] = msgspec.field(
        default_factory=list
    )

    @property
    def nanoclaw(self) -> str:
        """The version of the nanoclaw whose agent was checked; ``stub`` for the stub agent."""
        found = nanoclaw_of(self.agent)
        return found[0] if found else "stub"

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{stem(self.name)}-{stem(self.nanoclaw)}.json"
