"""The shortest proof that an agent runs: it returns the exact reply of the service."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from checks.core.entry_point import require_utf8
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.outcome import run_and_report
from checks.core.process import TimedOut
from checks.core.progress import Progress
from checks.core.terminal import say
from checks.engine.case_context import CaseContext
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost
from checks.nanoclaw import running
from checks.nanoclaw.provider import AgentHandle, agent_session
from checks.nanoclaw.running import Refused, RunningAgent

_OPTIONS = ("--host", "--nanoclaw")
_USAGE = "tests/smoke.sh [--host HOST] [--nanoclaw DIR] [FLAG OF docker run]..."


def smoke(
    prepared: PreparedHost,
    handle: AgentHandle,
    flags: Sequence[str] = (),
    *,
    case: str = "smoke",
    factor: float = 1.0,
    inspect: Callable[[RunningAgent], None] = lambda _: None,
) -> Record:
    """Start an agent with additional flags of ``docker run``, wait for its answer, and stop it; the record.

    ``case`` names its directory; two agents at the same time need different ones. ``inspect`` is called after the
    answer, while the agent runs. Raises Mismatch or TimedOut without an answer, and leaves no container.
    """
    record = Record()
    ctx = CaseContext(prepared.host, prepared.owner, case, record, factor=factor)
    image, question = handle.image(ctx), handle.question(ctx)
    with running.started(ctx, handle.agent, image, question, flags=flags) as agent:
        try:
            running.expect_answer(agent)
            inspect(agent)
            agent.close()
        except (Mismatch, TimedOut):
            ctx.host.run([ctx.facts.engine, "rm", "-f", agent.name], timeout=60)
            raise
    return record


def main(argv: Sequence[str]) -> Exit:
    """``tests/smoke.sh``. OK only if the agent returned the exact answer."""
    progress = Progress()
    return run_and_report(lambda: _answer(argv, progress), progress.say)


def _answer(argv: Sequence[str], progress: Progress) -> Exit:
    options, flags = _parsed(argv)
    host = options.get("--host", "auto")
    try:
        with (
            agent_session(host, None, options.get("--nanoclaw", ""), progress) as (ready, handle),
            progress.step(f"Asking {handle.agent.name}"),
        ):
            _ask(ready, handle, flags)
    except (Mismatch, TimedOut) as failure:
        say(f"FAIL: {failure}")
        return Exit.CASE_FAILED
    say("PASS: the agent returned the expected answer.")
    return Exit.OK


def _ask(prepared: PreparedHost, handle: AgentHandle, flags: Sequence[str]) -> None:
    """Ask an agent. Raises WrongUsage or HostProblem if docker refuses the flags, not the agent's own command."""
    try:
        smoke(prepared, handle, flags)
    except Refused as refused:
        if not flags or _is_refused(prepared, handle):
            raise
        if refused.by_runtime:
            raise HostProblem(
                f"{prepared.host.name} can't start a container with {shlex.join(flags)}: {refused.reported}"
            ) from refused
        raise WrongUsage(f"docker run refuses {shlex.join(flags)}: {refused.reported}") from refused


def _is_refused(prepared: PreparedHost, handle: AgentHandle) -> bool:
    """Whether docker also refuses to start the agent without additional flags."""
    try:
        smoke(prepared, handle, case="smoke-without-flags")
    except Refused:
        return True
    except (Mismatch, TimedOut):
        return False
    return False


def _parsed(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The script's own options, and the rest: flags for docker run."""
    require_utf8(argv)
    options: dict[str, str] = {}
    flags = list(argv)
    while flags and flags[0].partition("=")[0] in _OPTIONS:
        name, given, value = flags.pop(0).partition("=")
        if not given:
            if not flags:
                raise WrongUsage(f"{name} needs a value.", _USAGE)
            value = flags.pop(0)
        if not value:
            raise WrongUsage(f"{name} has an empty value.", _USAGE)
        if name in options:
            raise WrongUsage(f"{name} is given twice.", _USAGE)
        options[name] = value
    if error := next((flag for flag in flags if flag.partition("=")[0] in _OPTIONS), ""):
        raise WrongUsage(f"{error.partition('=')[0]} must precede the flags of docker run.", _USAGE)
    if flags and not flags[0].startswith("-"):
        raise WrongUsage(f"“{flags[0]}” is not a flag.", _USAGE)
    return options, flags
