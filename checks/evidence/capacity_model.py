"""The evidence of ``invoke parallel``."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from checks.evidence.model import Bytes, Count, Part, Positive, Run, Seconds, Text

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
