"""A whole nanoclaw 2.x: its own set-up, host process and router, from a message to the service's answer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import pytest

from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.docker import shell
from checks.engine.expect import expect
from checks.nanoclaw.installation import DESTINATION, Installation
from checks.nanoclaw.lockdown import OF_THE_HOST, Lockdown
from checks.nanoclaw.running import addressed
from checks.nanoclaw.whole import WholeNanoclaw

GROUP = "Whole nanoclaw"

_ANSWER = "the-agent-does-not-answer"
_LOCKDOWN = "agents-without-egress-do-not-reach-their-gateway"
_NOT_REPLACED = "an-agent-that-outlived-nanoclaw-is-not-replaced"
_RESTART_TIMEOUT = 60.0  # seconds on ordinary hardware; systemd restarts the unit after 5
_SESSION_TIMEOUT = 30.0  # seconds on ordinary hardware; logind stops an account's manager 10 after its last session

# The service manager of an account is a session, too, since systemd 256.
_SESSIONS = """
for session in $(loginctl show-user "$1" --property=Sessions --value); do
    case $(loginctl show-session "$session" --property=Class --value) in
        manager*) ;;
        *) loginctl show-session "$session" --property=Id --property=Service --property=State ;;
    esac
done
"""


def expect_answered(ctx: CaseContext, whole: WholeNanoclaw, installation: Installation) -> None:
    """Send a message with a new answer through nanoclaw's CLI client, and expect exactly this answer."""
    answer = f"The answer is {secrets.token_hex(12)}."
    conversation = whole.handle.provider.service(ctx).conversation(addressed(answer, DESTINATION))
    installation.ask(f"What is the answer? {secrets.token_hex(12)}", conversation, answer)


def expect_one_agent(installation: Installation) -> None:
    """Fail unless one agent runs, and no other container of the installation is left."""
    agents = installation.agents(running=False)
    expect(len(agents) == 1 == len(installation.agents()), "one running agent and no other container", agents)


@pytest.mark.case("nanoclaw's set-up, until its service runs", fix=_ANSWER)
def test_whole_setup(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    whole.ready(ctx)


@pytest.mark.case("A message through nanoclaw's CLI channel", fix=_ANSWER)
def test_whole_message(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    installation = whole.ready(ctx)
    expect_answered(ctx, whole, installation)
    expect_answered(ctx, whole, installation)  # by the agent that is still running
    expect_one_agent(installation)


@pytest.mark.case("A message after nanoclaw was stopped and started", fix=_ANSWER)
def test_whole_restart(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    installation = whole.ready(ctx)
    before = installation.starts()
    installation.control.stop()
    process = installation.control.main_process()
    expect(process == 0, "no host process of nanoclaw", f"process {process}")
    installation.control.start()
    installation.await_start(before)
    expect_answered(ctx, whole, installation)
    expect_one_agent(installation)


def kill_and_start(ctx: CaseContext, installation: Installation) -> None:
    """Kill the host process, and wait until it is started again: by systemd, or here."""
    before, killed = installation.starts(), installation.control.main_process()
    installation.control.kill()
    if ctx.facts.init != "systemd":
        installation.control.start()
    bound = _RESTART_TIMEOUT * ctx.slowness
    started = poll(lambda: installation.control.main_process() not in (0, killed), timeout=bound, interval=0.5)
    expect(started, f"a new host process of nanoclaw within {bound:g} s", "none")
    installation.await_start(before)


@pytest.mark.case("A message after nanoclaw was killed, no orphan left", fix=_ANSWER)
def test_whole_killed(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    installation = whole.ready(ctx)
    expect_answered(ctx, whole, installation)
    kill_and_start(ctx, installation)
    expect_answered(ctx, whole, installation)
    expect_one_agent(installation)


@pytest.mark.case("A message after an agent ended that outlived nanoclaw", fix=_NOT_REPLACED)
def test_whole_adopted(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    installation = whole.ready(ctx)
    expect_answered(ctx, whole, installation)
    kill_and_start(ctx, installation)
    try:
        for agent in installation.agents():
            ctx.engine("kill", agent)
        expect_answered(ctx, whole, installation)
    except BaseException:
        # Its session waits for the agent for half an hour: start anew for the next case.
        before = installation.starts()
        installation.control.stop()
        installation.control.start()
        installation.await_start(before)
        raise


def restart_with(installation: Installation, further: Mapping[str, str] | None = None) -> None:
    """Start nanoclaw and its agents anew, with further settings in its .env."""
    before = installation.starts()
    installation.control.stop()
    installation.remove_agents()
    installation.write_env(further)
    installation.control.start()
    installation.await_start(before)


@pytest.mark.case("A message in the egress lockdown, no way out for the agent", fix=_LOCKDOWN)
@pytest.mark.usefixtures("egress_lockdown")
def test_whole_lockdown(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    installation = whole.ready(ctx)
    lockdown = Lockdown(ctx, installation.image, whole.proxy_port)
    with lockdown.opened():
        own = ctx.host.ask(["hostname", "-I"], str.split, doing="asking for the host's addresses")
        places = [*OF_THE_HOST, *own[:4]]
        before = lockdown.look_without(places)
        expect(bool(before.found) and before.defaults > 0, "the host to answer without the lockdown", before.reached)
        try:
            restart_with(installation, lockdown.settings)
            expect_answered(ctx, whole, installation)
            expect_one_agent(installation)
            [agent] = installation.agents()
            seen = lockdown.look(agent, places)
            expect(seen.defaults == 0, "no default route for the agent", f"{seen.defaults}")
            expect(not seen.found, "no address of the host in the agent's reach", seen.found)
        finally:
            restart_with(installation)


@pytest.mark.case("A message after the end of the login session", fix=_ANSWER)
def test_whole_logout(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    if whole.guest is None:
        pytest.skip("would end the sessions of this account; use a throwaway host")
    installation = whole.ready(ctx)
    before = installation.control.main_process()
    ctx.host.close()
    root, bound = whole.guest.root, _SESSION_TIMEOUT * ctx.slowness
    sessions = shell(_SESSIONS, str(ctx.uid))
    ended = poll(lambda: not root.run(sessions).stdout, timeout=bound, interval=1)
    expect(ended, f"no login session of uid {ctx.uid}", root.run(sessions).stdout)
    # Without lingering, logind stops the account's manager and all its units some seconds later.
    gone = poll(
        lambda: root.run(["systemctl", "is-active", f"user@{ctx.uid}.service"]).returncode != 0,
        timeout=_SESSION_TIMEOUT,
        interval=2,
    )
    expect(not gone, "the account's service manager to run on", "it was stopped: is lingering on?")
    after = installation.control.main_process()
    expect(after == before, f"nanoclaw's host process {before} to run on", f"process {after}")
    expect_answered(ctx, whole, installation)


@pytest.mark.case("A message after a reboot", fix=_ANSWER)
def test_whole_reboot(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    if whole.guest is None:
        pytest.skip("would reboot this machine; use a throwaway host")
    installation = whole.ready(ctx)
    before = installation.starts()
    whole.guest.reboot()
    whole.forward()
    # The log is read by root: a login of the account would start its units.
    installation.await_start(before, by=whole.guest.root)
    expect_answered(ctx, whole, installation)
    expect_one_agent(installation)


@pytest.mark.case("nanoclaw removed without a trace", fix=_ANSWER)
def test_whole_removed(ctx: CaseContext, whole: WholeNanoclaw) -> None:
    installation = whole.ready(ctx)
    whole.remove()
    left = installation.left()
    expect(not left, "no file, unit, process, container or image of the installation", "; ".join(left))
