"""Events of nanoclaw 2.2's agents, from which it learns the end of those that it adopted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from checks.cases import driver_2_2
from checks.cases.driver_2_2 import READY, Session, docker_of_service, session, start  # noqa: F401 - of each case here
from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.docker import Started, shell, start_attached
from checks.engine.expect import Mismatch, expect, expect_run
from checks.nanoclaw import session_driver
from checks.nanoclaw.session_driver import Notice, SessionKey

GROUP = driver_2_2.GROUP

_EVENTS_TIMEOUT = 10.0  # seconds on ordinary hardware for an event to be reported; typically 0.1
_SENTINELS = 5
_SILENCES = 10


@contextlib.contextmanager
def watched(ctx: CaseContext, install: str) -> Iterator[Started]:
    """``docker events`` in the background, ended by SIGTERM like nanoclaw's own."""
    pidfile = f"{ctx.directory}/events.pid"
    with ctx.docker.started(session_driver.events(install), timeout=300, pidfile=pidfile) as watching:
        try:
            yield watching
        finally:
            _await_silence(watching)  # or a docker that ignores SIGTERM may end because it can't write the next event
            ctx.host.run(shell('kill -TERM "$(cat "$1")"', pidfile))
            bound, label = _EVENTS_TIMEOUT * ctx.slowness, f"label={session_driver.INSTALL}={install}"
            ended = poll(lambda: not watching.running(), timeout=bound, interval=0.2)
            if not ended:
                ctx.host.run(shell('kill -KILL "$(cat "$1")"', pidfile))
            gone = poll(lambda: not ctx.processes_with(label), timeout=bound, interval=0.2)
            if not gone:
                ctx.host.run(["kill", "-KILL", *ctx.processes_with(label)])
        expect(ended, f"“docker events” to end within {bound:g} s of SIGTERM", "it runs on")
        expect(gone, f"its processes to end within {bound:g} s of SIGTERM", "one runs on without the client")


def _await_silence(watching: Started) -> None:
    """Wait until a second brings no further event."""
    for _ in range(_SILENCES):
        seen = watching.so_far().stdout
        time.sleep(1)
        if watching.so_far().stdout == seen:
            return


@pytest.mark.case("docker events reports the end of an agent", fix="docker-events-has-other-fields-than-dockers")
def test_events(ctx: CaseContext) -> None:
    # An adopted agent has no attached client. Without this event nanoclaw never notices its end.
    agent, killed = session(ctx), session(ctx, "killed")
    # The session's agent before this one ended too: its end must not be reported again.
    agent.created("exit 4")
    expect_run(start(ctx, agent.name), status=4)
    ctx.expect_gone(agent.name)
    killed = Session(ctx, SessionKey(agent.key.install, killed.key.group, killed.key.session))
    foreign = session(ctx, "foreign")
    with watched(ctx, agent.key.install) as watching:
        _await_events(ctx, agent.key.install, lambda: watching.so_far().stdout)
        for each in (agent, killed, foreign):
            each.created("exit 3" if each is not killed else READY)
        expect_run(start(ctx, foreign.name), status=3)
        expect_run(start(ctx, agent.name), status=3)
        with ctx.docker.interactive(start_attached(killed.name)) as client:
            client.expect("ready\n")
            expect_run(ctx.docker("rm", "--force", killed.name, timeout=30))
            client.read_rest()

        def seen() -> list[tuple[SessionKey, Notice]]:
            return session_driver.notices(watching.so_far().stdout, agent.key.install)

        def both_ended() -> bool:
            return {agent.key, killed.key} <= {key for key, notice in seen() if notice is Notice.TERMINAL}

        reported = poll(both_ended, timeout=_EVENTS_TIMEOUT * ctx.slowness, interval=0.3)
        output = watching.so_far()
        expect(output.returncode == -1, "“docker events” to go on", f"exit status {output.returncode}: {output.stderr}")
        last = lines_of(output.stdout.strip())[-1:] or [output.stderr]
        older = [event for event in lines_of(output.stdout) if '"exitCode":"4"' in event.replace(" ", "")]
        expect(not older, "no event from before “docker events” began", older)
        expect(reported, "events with Action “die” and the agents' labels in Actor.Attributes", f"lastly {last[0]}")
        strange = {key.session for key, _ in seen()} & {foreign.key.session}
        expect(not strange, "no events of another installation", strange)


def _await_events(ctx: CaseContext, install: str, output: Callable[[], str]) -> None:
    """Wait until ``docker events`` reports: it does not print when it is ready. Fails the case if it never does."""
    for _ in range(_SENTINELS):
        sentinel = session(ctx, "sentinel", install)
        sentinel.created("true")
        expect_run(ctx.docker("rm", "--force", sentinel.name, timeout=30))
        if poll(lambda: output().strip(), timeout=2 * ctx.slowness, interval=0.3):
            return
    raise Mismatch("“docker events” to report a container that is created", "no output")
