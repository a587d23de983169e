"""The trials of ``invoke harden``: flags alone, together, in combination and removed, and Chromium under them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from checks.core.paths import FIXTURES
from checks.core.progress import Console
from checks.engine.docker import shell
from checks.engine.flags import Flag, Hardening, Subject, Workaround
from checks.evidence.hardening_model import Smoke
from checks.hardening.browser import NO_SANDBOX, BrowserResults, BrowserSetup, browser_setups, in_words
from checks.hardening.enforcement import Plan
from checks.hardening.results import CombinedResult, FlagCombination, FlagResult, RemovedFlagResult, removal_reason
from checks.hardening.session import HardeningSession
from checks.hosts.base import Host
from checks.hosts.prefixed import PrefixedHost
from checks.runner import verify
from checks.runner.verify import VerifyOptions

SELECTION = (
    "Container lifecycle", "Bind mounts", "Environment and user", "Resource limits", "streams-passing-user",
    "Edge cases", "!docker ps", "!docker rm", "!image that does not exist",
)  # fmt: skip
"""The cases that run with the flags on: those on what a container does, and the full invocation of an agent. These
flags affect neither ``docker build`` nor how containers are found and removed."""


# Each flag alone.


def run_individually(session: HardeningSession, flags: Sequence[Flag]) -> list[FlagResult]:
    """Try each flag with nothing else set but what it needs: attacks, then an agent."""
    results = attack_individually(session, flags)
    baseline = _Baseline(session)
    with session.progress.step("Asking agents"):
        session.parallel(
            lambda result: _ask(session, result, baseline), [each for each in results if each.flag.recommended]
        )
    return results


def attack_individually(session: HardeningSession, flags: Sequence[Flag]) -> list[FlagResult]:
    """Try the attacks on each flag alone, and read what is in force; no agent is asked."""
    plan = Plan(session.hardening)
    for flag in flags:
        plan.alone(flag)
    containers = session.attack(plan.containers)
    results = []
    for flag in flags:
        options = session.hardening.options(flag)
        result = FlagResult(flag, tuple(options), plan.comparisons(flag, options, containers))
        result.unenforced_in_probe, result.error = plan.unenforced(flag, options, containers)
        results.append(result)
    return results


class _Baseline:
    """An agent without any flag, asked once and only if needed."""

    def __init__(self, session: HardeningSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._smoke: Smoke | None = None

    def smoke(self) -> Smoke:
        with self._lock:
            self._smoke = self._smoke or self._session.ask([], [])
            return self._smoke


def _ask(session: HardeningSession, result: FlagResult, baseline: _Baseline) -> None:
    """Ask an agent under the flag alone, then with one work-around after another until it answers."""
    flags = [*(session.hardening.flag(each) for each in result.flag.needs), result.flag]
    for workaround, options in _attempts(result, flags):
        smoke = session.ask(flags, options)
        result.smokes.append((workaround, smoke))
        session.progress.say(f"  {' '.join(options)}: {_answered(smoke)}")
        if smoke.passed:
            return
    result.baseline = baseline.smoke()


def _attempts(result: FlagResult, flags: Sequence[Flag]) -> Iterator[tuple[Workaround | None, list[str]]]:
    yield None, list(result.options)
    for flag in flags:
        for each in flag.workarounds_for(Subject.AGENT):
            yield each, [*result.options, *each.options]


def _answered(smoke: Smoke) -> str:
    return "the agent answers" if smoke.passed else "no answer"


# All flags together.


def run_combined(session: HardeningSession, options: VerifyOptions, console: Console) -> CombinedResult:
    """Try the recommended set: its attacks, an agent, its browser, and the verification under it."""
    hardening = session.hardening
    chosen = hardening.recommended()
    plan = Plan(hardening)
    for flag in hardening.enabled:
        plan.among(flag, chosen)
    containers = session.attack(plan.containers)
    found = CombinedResult(tuple(chosen), [])

    def ask() -> None:
        found.smoke = session.ask(hardening.enabled, chosen)

    def browse() -> None:
        found.browser += session.browse(chosen)

    tasks: list[Callable[[], None]] = [ask, browse]
    with session.progress.step("Asking an agent, and starting its browser"):
        session.parallel(lambda task: task(), tasks)
    assert found.smoke
    for flag in hardening.enabled:
        result = FlagResult(flag, tuple(chosen), plan.comparisons(flag, chosen, containers))
        result.unenforced_in_probe, result.error = plan.unenforced(flag, chosen, containers)
        result.smokes.append((None, found.smoke))
        found.flags.append(result)
    console.print("\nThe verification, with these flags on every docker run:")
    found.verified = verify.session(
        options,
        lambda: contextlib.nullcontext(session.prepared),
        console,
        session.progress,
        provider=session.handle.provider,
    )
    return found


# Combinations of flags.


def combinations_of(hardening: Hardening, flags: Sequence[Flag]) -> list[tuple[Flag, ...]]:
    """Single flags, pairs, all but one, all; each with what its flags need, and each set once."""
    found: dict[tuple[Flag, ...], None] = {}
    for size in (1, 2, len(flags) - 1, len(flags)):
        for some in combinations(flags, max(size, 0)):
            wanted = {flag.id for flag in some} | {needed for flag in some for needed in flag.needs}
            if some:
                found[tuple(flag for flag in hardening.flags if flag.id in wanted)] = None
    return list(found)


def run_combinations(session: HardeningSession, flags: Sequence[Flag]) -> list[FlagCombination]:
    """Try every combination: an agent and its browser."""
    every = combinations_of(session.hardening, flags)

    def one(some: tuple[Flag, ...]) -> FlagCombination:
        options = session.hardening.hardened(some)
        found = FlagCombination(some, session.ask(some, options), *session.browse(options))
        names = " ".join(flag.id for flag in some)
        session.progress.say(f"  {names}: {_answered(found.smoke)}; {in_words(found.browser)}")
        return found

    with session.progress.step(f"Trying {len(every)} combinations"):
        return session.parallel(one, every)


# Chromium.


def browse_all(session: HardeningSession, flags: Sequence[Flag]) -> list[BrowserResults]:
    """Start Chromium under every set of flags, as it is and without its sandbox."""
    setups = browser_setups(session.hardening, flags)

    def one(setup: BrowserSetup) -> BrowserResults:
        found = BrowserResults(setup, tuple(session.browse(setup.options, ([], [NO_SANDBOX]))))
        for start in found.starts:
            session.progress.say(f"  {setup.name}: {in_words(start)}")
        return found

    with session.progress.step(f"Starting Chromium under {len(setups)} sets of flags"):
        return session.parallel(one, setups)


# A docker that drops a flag: the test of the attacks themselves.

DROPPING_DOCKER = FIXTURES / "hardening" / "docker"
_DROPPING = 'PATH=$1:$PATH DROPPED=$2 DROPPED_WORDS=$3 && export PATH DROPPED DROPPED_WORDS && shift 3 && exec "$@"'


def run_without_each(session: HardeningSession, flags: Sequence[Flag]) -> list[RemovedFlagResult]:
    """Let docker drop one flag after another, and try the attacks on all of them each time."""
    ctx = session.context("remove")
    directory = ctx.make("first-on-path")
    ctx.host.put(f"{directory}/docker", DROPPING_DOCKER.read_bytes(), mode=0o755)
    found = []
    for flag in flags:
        prepared = replace(session.prepared, host=with_dropping_docker(session.prepared.host, directory, flag))
        with session.progress.step(f"Dropping {flag.text}"):
            results = attack_individually(session.on(prepared), flags)
        failed = {each.flag.id: removal_reason(each) for each in results if not each.enforced}
        session.progress.say(f"  {flag.text} dropped: {', '.join(failed) or 'nothing'} failed")
        found.append(RemovedFlagResult(flag, failed))
    return found


def with_dropping_docker(host: Host, directory: str, flag: Flag) -> Host:
    """That host, with a program before docker that drops one flag from the command line."""
    return PrefixedHost(host, shell(_DROPPING, directory, *dropped(flag)))


def dropped(flag: Flag) -> tuple[str, str]:
    """The option that the program drops, whatever its value, and how many words the flag has."""
    first = flag.options[0]
    name = first if first.startswith("--security-opt") else first.partition("=")[0]
    return name, str(len(flag.options))
