"""Check that the recommended configuration is in force, in a container of nanoclaw's own invocation."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from checks.core.errors import HostProblem
from checks.core.process import TimedOut
from checks.core.progress import Progress
from checks.engine import container_state
from checks.engine.case_context import CaseContext
from checks.engine.docker import Docker, Record, run
from checks.engine.expect import Mismatch, expect
from checks.engine.prepared_host import PreparedHost
from checks.evidence.hardening_model import BypassResult, CheckResult, Reach
from checks.hardening import browser
from checks.hardening.injection import attacked, bypasses, effect, install, reach, state
from checks.hardening.injection.settings import Setting, Settings, in_force, seen
from checks.hardening.injection.state import Account
from checks.hosts.base import Host
from checks.hosts.prefixed import PrefixedHost
from checks.nanoclaw import contract, running
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.gateway import Access
from checks.nanoclaw.provider import AgentHandle
from checks.nanoclaw.running import Question, RunningAgent, StreamsAgent
from checks.nanoclaw.service import Conversation

_ANSWERS = "The agent answers"
_NOWHERE = "http://127.0.0.1:9"
"""An address for an agent that can't reach the service: the discard port of its own loopback."""


def check(prepared: PreparedHost, handle: AgentHandle, progress: Progress) -> list[CheckResult]:
    """Check the files, run an agent exactly as nanoclaw does, read its container's state, await its answer; attack.

    The agent is started by a service with the environment of nanoclaw's unit, where there is one.
    """
    found = state.read_account(prepared.host)
    wrong = state.problems(found)
    results = [_result("The configuration is in place", not wrong, " ".join(wrong) or "every file as installed")]
    ctx = CaseContext(prepared.host, prepared.owner, "injection", Record())
    try:
        image = handle.image(ctx)
    except (Mismatch, TimedOut) as failure:
        return [*results, _result("The agent's image is available", False, str(failure))]
    unasked = ""
    try:
        question = handle.question(ctx)
    except (Mismatch, TimedOut) as failure:  # its container's state can be read all the same
        unasked = str(failure)
        nowhere = Access({"HTTPS_PROXY": _NOWHERE}, "")
        question = Question("none", "none", Conversation("none", "none"), _NOWHERE, nowhere)
    service, carrier = _service(found)
    # From here on as nanoclaw runs docker, which sets no label of ours.
    ctx.docker = Docker(PrefixedHost(prepared.host, carrier) if carrier else prepared.host, "", ctx.record)
    with (
        progress.step(f"Asking an agent{service}, and reading its container's state"),
        _reachable(prepared.host, question, lambda found: found),
    ):
        results += _of_agent(ctx, handle.agent, image, question, found.settings, unasked, service)
    results += attacked.attacked(prepared, handle, found.settings, progress)
    results += _browsed(prepared, handle, progress)
    results.append(_of_others(ctx, found.settings))
    return results


def _service(found: Account) -> tuple[str, Sequence[str]]:
    """As which service nanoclaw would start an agent, and the command that starts one so."""
    if found.services is None:
        return "", ()
    if found.units:
        name, environment = next(iter(found.units.items()))
        return f" as {name} would", [*effect.as_unit(environment)]
    return " as a service of the user's", effect.AS_SERVICE


def bypassed(prepared: PreparedHost) -> list[BypassResult]:
    """What a container has that goes round the installed configuration, in each way that is known."""
    ctx = CaseContext(prepared.host, prepared.owner, "bypasses", Record())
    return list(bypasses.measure(ctx, state.read_account(prepared.host).settings))


def reached(prepared: PreparedHost, networks: Sequence[str] = (reach.DEFAULT, reach.INTERNAL)) -> list[Reach]:
    """What a container reaches of the host and its networks, on a throwaway host."""
    assert prepared.guest
    ctx = CaseContext(prepared.host, prepared.owner, "reach", Record())
    return list(reach.measure(ctx, prepared.guest.root, networks))


def closed(
    prepared: PreparedHost, handle: AgentHandle, before: Sequence[Reach]
) -> tuple[list[CheckResult], list[Reach]]:
    """Close the network of a throwaway host's agents; whether an agent still answers, and what it then reaches.

    ``before`` is what a container reached without that.
    """
    ctx = CaseContext(prepared.host, prepared.owner, "closed", Record())
    image, question = handle.image(ctx), handle.question(ctx)
    ctx.docker = Docker(prepared.host, "", ctx.record)  # sets no label of ours
    with _reachable(prepared.host, question, lambda found: replace(found, open_ports=())):
        found = state.read_account(prepared.host)
        results = list(_of_agent(ctx, handle.agent, image, question, found.settings, "", ""))
    network = Setting.NETWORK.capitalize()
    told = [
        _result(each.name if each.name == network else f"{network}: {each.name}", each.passed, each.observed)
        for each in results
        if each.name in (network, _ANSWERS) or not each.passed
    ]
    after = reached(prepared, [reach.CLOSED])
    answered = [reach.SERVICES[name] for each in after for name in each.reached]
    observed = [each.error for each in after if each.error] or answered or ["nothing answered"]
    if not any(each.reached for each in before):
        observed = ["nothing answered before, either"]
    out = _result(f"{network}: nothing of the host is reached", observed == ["nothing answered"], ", ".join(observed))
    return [*told, out], after


@contextlib.contextmanager
def _reachable(host: Host, question: Question, egress: install.Egress) -> Iterator[None]:
    """Open the port of the service that answers, for agents whose network is closed, and close it again."""
    before = state.read_account(host)
    after = egress(before)
    if after.open_ports is None:
        yield
        return
    addresses = [question.url, *(question.gateway.environment.values() if question.gateway else ())]
    ports = {int(port) for each in addresses for port in re.findall(r"://[^/ ]{1,300}:([0-9]{1,5})\b", each)}
    opened = tuple(sorted({*after.open_ports, *ports}))
    install.ensure_installed(host, accept_missing=True, egress=lambda found: replace(found, open_ports=opened))
    try:
        yield
    finally:
        install.ensure_installed(
            host, accept_missing=True, egress=lambda found: replace(found, open_ports=after.open_ports)
        )


def missing(prepared: PreparedHost) -> Mapping[Setting, str]:
    """The settings that this host can't set, each with the reason."""
    gone = state.read_account(prepared.host).settings.missing()
    return {setting: f"the cgroup controller “{name}” is not delegated to users" for name, setting in gone.items()}


def _result(name: str, passed: bool, observed: str) -> CheckResult:
    return CheckResult(name=name, passed=passed, observed=observed)


def _of_agent(
    ctx: CaseContext, which: Agent, image: str, question: Question, settings: Settings, unasked: str, service: str
) -> Iterator[CheckResult]:
    name = ""
    try:
        with running.started(ctx, which, image, question) as agent:
            name = agent.name
            yield _unmodified(agent, image, service)
            yield from _inside(ctx, agent, settings)
            yield _result(_ANSWERS, False, unasked) if unasked else _answered(agent)
    finally:
        if name:
            with contextlib.suppress(HostProblem):
                ctx.host.run([ctx.facts.engine, "rm", "-f", name], timeout=30)


def _unmodified(agent: RunningAgent, image: str, service: str) -> CheckResult:
    """Whether the command is nanoclaw's: no label or option of ours, and the docker of the account's PATH."""
    ctx, sent = agent.ctx, list(agent.client.so_far().argv)
    own = [
        "docker",
        *contract.run_streams(
            name=agent.name, zone=running.ZONE, uid=ctx.uid, gid=ctx.facts.gid,
            mounts=agent.workspace.mounts, image=image,
        ).words,
    ]  # fmt: skip
    if not isinstance(agent, StreamsAgent):  # the 2.x command has the gateway's options besides
        own = [word for word in sent if not word.startswith(("--label=nanoclaw-verify", "nanoclaw-verify="))]
    return _result("The invocation is nanoclaw's own", sent == own, " ".join(sent[:6]) + f" …{service}")


def _inside(ctx: CaseContext, agent: RunningAgent, settings: Settings) -> Iterator[CheckResult]:
    """What is in force for the agent's first process: Podman gives a process of `exec` rights of its own."""
    try:
        ctx.await_running(agent.name)
        done = ctx.host.run([ctx.facts.engine, "exec", agent.name, *container_state.argv()], timeout=30)
        now = container_state.parse(done.stdout)
    except (Mismatch, ValueError, TimedOut) as failure:
        why = running.last_output(agent.client.so_far()) or str(failure)
        for setting in settings.required():
            yield _result(setting.capitalize(), False, "unknown: the agent's container is not running")
        yield _result("The agent's container starts", False, why)
        return
    for setting in settings.required():
        yield _result(setting.capitalize(), in_force(setting, settings, now, ctx.uid), seen(setting, now))


def _answered(agent: RunningAgent) -> CheckResult:
    try:
        running.expect_answer(agent)
        agent.close()
    except (Mismatch, TimedOut) as failure:
        return _result(_ANSWERS, False, str(failure))
    return _result(_ANSWERS, True, "with the service's exact reply")


def _browsed(prepared: PreparedHost, handle: AgentHandle, progress: Progress) -> Iterator[CheckResult]:
    """Whether Chromium works in a container that its mount makes an agent's, if the agent's image has it."""
    ctx = CaseContext(prepared.host, prepared.owner, "browser", Record())
    image = handle.image(ctx)
    looking = ["-c", "command -v chromium || echo none"]
    if ctx.docker(run(image, *looking, options=["--rm", "--entrypoint", "sh"]), timeout=40).stdout == "none\n":
        return
    with progress.step("Starting Chromium in an agent's container"):
        start = browser.browse(ctx, image, ["-v", f"{ctx.make('group')}:/workspace/group"])[0]
    yield _result("Chromium works, with its sandbox", browser.works(start), browser.in_words(start))


def _of_others(ctx: CaseContext, settings: Settings) -> CheckResult:
    """Another container of the same user, with a mount, not nanoclaw's: only its user namespace may change."""
    what = "Other containers are unchanged"
    directory = ctx.make("others")
    argv = [ctx.facts.engine, "run", "--rm", "-v", f"{directory}:/data", ctx.probe, *container_state.argv()]
    try:
        done = ctx.host.run(argv, timeout=40)
        expect(done.returncode == 0, "another container to run", done.stderr.strip()[-300:])
        now = container_state.parse(done.stdout)
    except (Mismatch, ValueError, TimedOut) as failure:
        return _result(what, False, str(failure))
    touched = [
        each
        for each in settings.required()
        if each not in (Setting.USER, Setting.SYSTEM_CALLS) and in_force(each, settings, now, ctx.uid)
    ]
    return _result(what, not touched, ", ".join(touched) or "a writable root, capabilities and limits unchanged")
