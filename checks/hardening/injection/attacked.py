"""The attacks that the flags must stop, tried where the installed hook sets the flags and no option does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from checks.core.progress import Progress
from checks.engine import flags
from checks.engine.flags import Attack, Flag, Hardening
from checks.engine.prepared_host import PreparedHost
from checks.evidence.hardening_model import CheckResult
from checks.hardening.attacks import AttackResult
from checks.hardening.enforcement import AttackComparison, ContainerSpec, Enforcement, overall
from checks.hardening.injection.settings import CONTROLLERS, Settings
from checks.hardening.session import HardeningSession
from checks.nanoclaw.provider import AgentHandle


def attacked(prepared: PreparedHost, handle: AgentHandle, settings: Settings, progress: Progress) -> list[CheckResult]:
    """Try the attacks in a container that its mount makes an agent's, and in another one, where they must succeed."""
    hardening = flags.load()
    session = HardeningSession(prepared, handle, hardening, progress)
    session.prepare(agent=False)
    mount = ("-v", f"{session.context('workspace').make('group')}:/workspace/group")
    chosen = list(_of_hook(hardening.enabled, settings))
    plans = {flag.id: ContainerOptions(_needed(hardening, flag), mount) for flag in chosen}
    containers: dict[ContainerSpec, dict[str, Attack]] = {}
    for flag in chosen:
        for attack in flag.attacks:
            for options in plans[flag.id]:
                containers.setdefault(ContainerSpec(options, attack.user), {})[attack.id] = attack
    results = session.attack(containers)
    return [_result(flag, plans[flag.id], results) for flag in chosen]


class ContainerOptions(NamedTuple):
    """The options of the two containers that attacks are tried in."""

    elsewhere: tuple[str, ...]
    agent: tuple[str, ...]


def _needed(hardening: Hardening, flag: Flag) -> tuple[str, ...]:
    """The options of the flags without which an attack on this one proves nothing."""
    return tuple(word for needed in flag.needs for word in hardening.flag(needed).options)


def _of_hook(known: Sequence[Flag], settings: Settings) -> Iterator[Flag]:
    """The flags that the hook sets here, and whose attacks need no value of their own."""
    impossible = {CONTROLLERS[name][1] for name in settings.missing()}
    for flag in known:
        possible = flag.options[0].partition("=")[0] not in impossible
        if flag.hook and flag.attacks and not flag.attack_options and possible:
            yield flag


def _result(flag: Flag, options: ContainerOptions, results: Mapping[ContainerSpec, AttackResult]) -> CheckResult:
    compared = [
        AttackComparison(
            results[ContainerSpec(options.elsewhere, attack.user)].attempts[attack.id],
            results[ContainerSpec(options.agent, attack.user)].attempts[attack.id],
        )
        for attack in flag.attacks
    ]
    tried = "; ".join(f"{each.attack}: {each.under.outcome}, elsewhere {each.without.outcome}" for each in compared)
    passed = overall(compared) is Enforcement.ENFORCED
    return CheckResult(name=f"Attacks on {flag.text}", passed=passed, observed=tried)
