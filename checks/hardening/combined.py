"""All compatible flags together: the set that is recommended, its agent, its browser, and the verification under it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checks.core.progress import Console
from checks.engine.flags import Flag, Hardening
from checks.evidence.run import CaseResult, Evidence
from checks.hardening.attacks import AttackResult
from checks.hardening.browser import BrowserResult
from checks.hardening.flag_results import FlagResult
from checks.hardening.proofs import ContainerSpec, Plan
from checks.hardening.session import HardeningSession, Smoke
from checks.matrix import expectations
from checks.matrix.expectations import ExpectedFailure
from checks.runner import verify
from checks.runner.verify import VerifyOptions

SELECTION = (
    "Container lifecycle", "Bind mounts", "Environment and user", "Resource limits", "streams-passing-user",
    "Edge cases", "!docker ps", "!docker rm", "!image that does not exist",
)  # fmt: skip
"""The cases that are run with the flags on: those on what a container does, and the full invocation of an agent. These
flags reach neither ``docker build`` nor how containers are found and removed."""


@dataclass
class CombinedResult:
    """What was found out of the recommended set."""

    options: tuple[str, ...]
    rows: list[FlagResult]
    """Each flag of the set, as one of it."""
    smoke: Smoke | None = None
    sights: list[BrowserResult] = field(default_factory=list)
    """Chromium under the set."""
    verified: Evidence | None = None

    @property
    def failed(self) -> list[str]:
        """The labels of the cases that failed with the flags on, and are not known to fail there without them."""
        return [case.label for case in self._failures() if self._known(case.id) is None]

    @property
    def known(self) -> list[tuple[str, str]]:
        """The labels of those that are known to fail there, flags or no flags, and why."""
        found = [(case.label, self._known(case.id)) for case in self._failures()]
        return [(label, known.because) for label, known in found if known]

    def _failures(self) -> list[CaseResult]:
        return [case for case in self.verified.cases if case.outcome == "failed"] if self.verified else []

    def _known(self, case: str) -> ExpectedFailure | None:
        return expectations.load().of(case, self.verified.described_host) if self.verified else None

    @property
    def ok(self) -> bool:
        """Whether it can be recommended."""
        return bool(
            self.smoke
            and self.smoke.passed
            and not self.smoke.missing
            and self.sights
            and self.sights[0].works
            and self.verified
            and not self.failed
            and all(row.ok for row in self.rows)
        )

    def ask(self, session: HardeningSession, hardening: Hardening) -> None:
        """Ask an agent that has the set."""
        self.smoke = session.ask(hardening.enabled, self.options)

    def browse(self, session: HardeningSession) -> None:
        """Start Chromium under the set."""
        self.sights += session.browse(self.options)

    def as_json(self) -> dict[str, Any]:
        """It as evidence stores it."""
        cases = self.verified.cases if self.verified else []
        return {
            "options": list(self.options),
            "ok": self.ok,
            "flags": [row.as_json() for row in self.rows],
            **({"agent": self.smoke.as_json()} if self.smoke else {}),
            "browser": [sight.as_json() for sight in self.sights],
            "cases": [
                {
                    "id": case.id,
                    "label": case.label,
                    "outcome": case.outcome,
                    "seconds": round(case.seconds, 1),
                    **({"reason": case.reason} if case.reason else {}),
                    **({"got": case.got} if case.got else {}),
                    **({"known": dict(self.known)[case.label]} if case.label in dict(self.known) else {}),
                }
                for case in cases
            ],
        }


def run_combined(
    session: HardeningSession, hardening: Hardening, options: VerifyOptions, console: Console
) -> CombinedResult:
    """Try the recommended set."""
    chosen = hardening.recommended()
    plan = Plan(hardening)
    for flag in hardening.enabled:
        plan.among(flag, chosen)
    trials = session.attack(plan.cells)
    found = CombinedResult(tuple(chosen), [])
    with session.progress.step("Asking an agent, and looking at its browser"):
        tasks: list[Callable[[], None]] = [
            lambda: found.ask(session, hardening),
            lambda: found.browse(session),
        ]
        session.at_once(lambda task: task(), tasks)
    assert found.smoke
    for flag in hardening.enabled:
        found.rows.append(_row(flag, plan, chosen, trials, found.smoke))
    console.print("\nThe verification, with these flags on every docker run:")
    _, found.verified = verify.session(
        options,
        lambda: contextlib.nullcontext(session.prepared),
        console,
        session.progress,
        provider=session.handle.provider,
    )
    return found


def _row(
    flag: Flag, plan: Plan, chosen: list[str], trials: Mapping[ContainerSpec, AttackResult], smoke: Smoke
) -> FlagResult:
    row = FlagResult(flag, tuple(chosen))
    row.bitten = plan.bites(flag, chosen, trials)
    row.missing, row.trouble = plan.in_force(flag, chosen, trials)
    row.smokes.append((None, smoke))
    return row
