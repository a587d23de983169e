"""Options that several tasks share: each with its type and its help, which ends with the default where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

HostOption = Annotated[str, "auto, local, ssh://user@host[:port], or a throwaway host from `invoke hosts`"]
ThrowawayHostOption = Annotated[str, "a throwaway host from `invoke hosts`"]
UsedHostOption = Annotated[str, "a throwaway host from `invoke hosts`, local, or ssh://user@host[:port]"]
ProfileOption = Annotated[str, "the profile of a throwaway host: recommended (default) or stock"]
NanoclawOption = Annotated[
    str, "a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw, else the project's stub agent)"
]
TimeoutFactorOption = Annotated[str, "multiply every timeout by this number, for slow machines"]
EvidenceOption = Annotated[str, "write evidence to this directory"]
JsonOption = Annotated[str, "write the results to this file, as JSON"]
JunitOption = Annotated[str, "write a JUnit XML report to this file"]
AcceptOption = Annotated[Sequence[str], "don't fail for this id; repeatable"]
AcceptFileOption = Annotated[str, "accept the failures in this TOML file: [[accept]] with id, reason and until"]
