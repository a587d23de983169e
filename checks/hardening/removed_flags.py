"""The proof of the proof: behind a docker that loses one flag, that flag's row turns red, and no other one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from checks.core.paths import FIXTURES
from checks.engine.case_context import CaseContext
from checks.engine.docker import shell
from checks.engine.flags import Flag, Hardening
from checks.hardening.flag_results import FlagResult
from checks.hardening.individual import attacked
from checks.hardening.proofs import Enforcement
from checks.hardening.session import HardeningSession
from checks.hosts.base import Host
from checks.hosts.prefixed import PrefixedHost

DOCKER = FIXTURES / "hardening" / "docker"

_BEHIND = 'PATH=$1:$PATH LOST=$2 LOST_WORDS=$3 && export PATH LOST LOST_WORDS && shift 3 && exec "$@"'


def behind(host: Host, directory: str, flag: Flag) -> Host:
    """That host, with a program of ours before docker that loses one flag of what it is given."""
    return PrefixedHost(host, shell(_BEHIND, directory, *lost(flag)))


def lost(flag: Flag) -> tuple[str, str]:
    """By what a docker knows the flag that it loses, whatever its value, and how many words it has."""
    first = flag.options[0]
    name = first if first.startswith("--security-opt") else first.partition("=")[0]
    return name, str(len(flag.options))


@dataclass(frozen=True)
class RemovedFlagResult:
    """Which rows turned red when a flag was lost."""

    flag: Flag
    red: Mapping[str, str]
    """The flags whose row was red, by their ids, with what was said of them."""

    @property
    def seen(self) -> bool:
        """Whether that flag's row turned red, and no other one."""
        return set(self.red) == {self.flag.id}


def lose(session: HardeningSession, hardening: Hardening, flags: Sequence[Flag]) -> list[RemovedFlagResult]:
    """Lose one flag after another, and try the attacks on all of them each time."""
    ctx = session.ctx("sabotage")
    directory = place(ctx)
    found = []
    for flag in flags:
        prepared = replace(session.prepared, host=behind(session.prepared.host, directory, flag))
        with session.progress.step(f"Losing {flag.text}"):
            red = {row.flag.id: said(row) for row in attacked(session.on(prepared), hardening, flags) if not holds(row)}
        session.progress.say(f"  {flag.text} lost: red is {', '.join(red) or 'nothing'}")
        found.append(RemovedFlagResult(flag, red))
    return found


def place(ctx: CaseContext) -> str:
    """Put the program on the bench's host; the directory that it is in."""
    directory = ctx.make("first-on-path")
    ctx.host.put(f"{directory}/docker", DOCKER.read_bytes(), mode=0o755)
    return directory


def holds(row: FlagResult) -> bool:
    """Whether the flag bites; one that is only written up has nothing to bite with, and has to be in force."""
    return row.ok if row.flag.documented else row.bite is Enforcement.BITES


def said(row: FlagResult) -> str:
    """What was said of a row that is red."""
    through = [each.under.attack for each in row.bitten if each.bite is Enforcement.NOT_ENFORCED]
    return "; ".join(
        [*(each for each in (row.trouble, row.lacking) if each), *(f"{attack} succeeds" for attack in through)]
    )
