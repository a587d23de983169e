"""Attacks tried in containers, and what each container reports of the flags that are in force there.

An attack succeeds where its flag is not in force. It is refused only if it printed what the kernel or the program
prints for that. One that failed for another reason, such as a missing program, proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from checks.core.lines import blocks_of, lines_of
from checks.core.process import Completed, TimedOut
from checks.engine.case_context import CaseContext
from checks.engine.docker import run, shell
from checks.engine.expect import shown
from checks.engine.flags import HELPERS, Attack, User

_READING, _READ = re.compile(r"==reading (\d{1,9})"), re.compile("==end")
_ATTEMPT, _TRIED = re.compile(r"==attack (\S+)"), re.compile(r"==status (\d{1,9})")


class AttackOutcome(StrEnum):
    """How an attack ended."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    BROKEN = "could not be tried"


@dataclass(frozen=True)
class AttackAttempt:
    """How an attack ended, and what it printed."""

    attack: str
    outcome: AttackOutcome
    output: str


@dataclass(frozen=True)
class AttackResult:
    """A container in which attacks were tried."""

    options: tuple[str, ...]
    outputs: Mapping[str, str] | None
    """What each script of the flags' readings printed; None if the container did not start or did not get that far."""
    attempts: Mapping[str, AttackAttempt]
    """By the attack's id."""
    error: str
    """Why there are no outputs; otherwise the engine's warnings."""


def attempt(
    ctx: CaseContext,
    image: str,
    scripts: Sequence[str],
    attacks: Sequence[Attack],
    options: Sequence[str],
    user: User,
) -> AttackResult:
    """Run the scripts of the readings, then the attacks, in one container with these options of ``docker run``.

    Through the docker under test: what it makes of the options is the question.
    """
    attacks = sorted(attacks, key=lambda attack: attack.last)
    script = reading_script(scripts) + "".join(
        f"attack{at}() {{\n{attack.script}\n}}\n"
        f"printf '==attack {attack.id}\\n'; attack{at} 2>&1; printf '\\n==status %s\\n' \"$?\"\n"
        for at, attack in enumerate(attacks)
    )
    command = run(image, *shell(script), options=["--rm", "--user", user.option, *options])
    try:
        done = ctx.docker(command, timeout=60)
    except TimedOut as error:
        done = error.partial
    return parse(done, scripts, attacks, options)


def parse(done: Completed, scripts: Sequence[str], attacks: Sequence[Attack], options: Sequence[str]) -> AttackResult:
    """Read a container's output. An attack without a result could not be tried."""
    before, begun, rest = done.stdout.partition("==attack ")
    outputs: Mapping[str, str] | None = None
    error = "\n".join(line for line in lines_of(done.stderr) if "Emulate Docker CLI" not in line).strip()
    try:
        outputs = parse_readings(before, scripts)
    except ValueError as problem:
        error = f"status {done.returncode}: {error or problem}"
    tried = blocks_of(begun + rest, _ATTEMPT, _TRIED)
    printed = {attack[1]: (int(status[1]), output) for attack, output, status in tried}
    why = error if outputs is None else f"the container ended before, with status {done.returncode}: {error}"
    attempts = {
        attack.id: result(attack, *printed[attack.id])
        if attack.id in printed
        else AttackAttempt(attack.id, AttackOutcome.BROKEN, shown(why))
        for attack in attacks
    }
    return AttackResult(tuple(options), outputs, attempts, error)


def result(attack: Attack, status: int, output: str) -> AttackAttempt:
    """How an attack ended: by its exit status, and after a failure by its output."""
    output = output.strip()
    if status == 0:
        return AttackAttempt(attack.id, AttackOutcome.SUCCEEDED, output)
    refused = re.search(attack.refused, output, re.MULTILINE)
    return AttackAttempt(attack.id, AttackOutcome.REFUSED if refused else AttackOutcome.BROKEN, output)


def reading_script(scripts: Sequence[str]) -> str:
    """A shell script that runs these scripts in any image with a POSIX shell, grep, cut, tail, cat and stat."""
    parts = (
        f"printf '==reading {at}\\n'; (\n{script}\n) 2>&1; printf '\\n==end\\n'\n" for at, script in enumerate(scripts)
    )
    return HELPERS + "".join(parts)


def parse_readings(text: str, scripts: Sequence[str]) -> dict[str, str]:
    """What each script printed. Raises ValueError for incomplete output."""
    readings = ((int(reading[1]), output) for reading, output, _ in blocks_of(text, _READING, _READ))
    outputs = {scripts[at]: output.strip() for at, output in readings if at < len(scripts)}
    if len(outputs) != len(scripts):
        raise ValueError(f"the container did not report its state: {shown(text)}")
    return outputs
