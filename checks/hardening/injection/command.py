"""``invoke inject``: install the recommended configuration, remove it, and check that it is in force."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from checks.core import run_directories
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.options import NanoclawOption
from checks.core.outcome import run_and_report
from checks.core.progress import Progress
from checks.core.terminal import say
from checks.evidence import checklist, store
from checks.evidence.checklist import Result, State
from checks.evidence.hardening_model import InjectionCheck
from checks.evidence.store import Provenance
from checks.hardening.injection import check as proof
from checks.hardening.injection import driver, install
from checks.hardening.injection.reach import SERVICES, TITLES
from checks.hardening.injection.state import Account, read_account, require_account
from checks.hosts import recipe
from checks.hosts.base import Host
from checks.hosts.local import LocalHost
from checks.hosts.ssh import SshHost
from checks.nanoclaw.provider import agent_session

_CHECK = "invoke inject --check"
_ACTIONS = "--check, --install or --uninstall"


@dataclass(frozen=True)
class InjectOptions:
    """The options of ``invoke inject``."""

    check: Annotated[bool, "run an agent as nanoclaw does, and check that every flag is set in its container"] = False
    install: Annotated[bool, "write the recommended configuration for this user"] = False
    uninstall: Annotated[bool, "undo --install"] = False
    driver: Annotated[
        bool, "with --install or --uninstall: act on the docker for nanoclaw 2.2, not on the hardening"
    ] = False
    egress: Annotated[
        str,
        "with --install: block the host and its networks for agents, except these TCP ports, such as 10255; closed: "
        "no exceptions; open: unblock them",
    ] = ""
    dry_run: Annotated[bool, "with --install or --uninstall: print the changes without making them"] = False
    accept_missing: Annotated[bool, "with --install or --check: accept limits that can't be set on this host"] = False
    host: Annotated[str, "local, ssh://user@host[:port], or with --check a throwaway host (invoke hosts)"] = ""
    nanoclaw: NanoclawOption = ""
    json: Annotated[str, "with --check: write the results to this file"] = ""
    junit: Annotated[str, "with --check: write a JUnit XML report to this file"] = ""


def inject(options: InjectOptions) -> Exit:
    """Set the hardening flags for an unmodified nanoclaw, in Podman's own configuration and for agents only.

    With --driver: a docker for nanoclaw 2.2 that translates the commands which Podman does not understand.

    Exit status: 0 done and checked; 1 a flag is not set, or files of yours conflict; 2 wrong usage; 3 the host can't be
    used, or Podman does not apply every setting (all changes were reverted).
    """
    progress = Progress()
    return run_and_report(lambda: _do(options, progress), progress.say)


def _do(options: InjectOptions, progress: Progress) -> Exit:
    _require_consistent(options)
    if options.check:
        return _check(options, progress)
    with _account(options.host or "local") as host:
        if options.driver:
            if options.uninstall:
                return driver.uninstall(host, dry_run=options.dry_run)
            return driver.install(host, dry_run=options.dry_run, accept_missing=options.accept_missing)
        if options.install:
            return install.install(
                host, dry_run=options.dry_run, accept_missing=options.accept_missing, egress=_egress(options.egress)
            )
        status = install.uninstall(host, dry_run=options.dry_run)
        if driver.is_there(host):
            say("The docker for nanoclaw 2.2 stays installed. To remove it: invoke inject --uninstall --driver")
        return status


def _require_consistent(options: InjectOptions) -> None:
    """Raise WrongUsage for options that don't go together."""
    asked = [name for name in ("check", "install", "uninstall") if getattr(options, name)]
    if len(asked) != 1:
        raise WrongUsage(f"Ask for one of {_ACTIONS}.", "See invoke --help inject.")
    if options.dry_run and not (options.install or options.uninstall):
        raise WrongUsage("--dry-run goes with --install or --uninstall.")
    if options.driver and options.check:
        raise WrongUsage("--driver goes with --install or --uninstall.")
    if options.egress and (options.driver or not options.install):
        raise WrongUsage("--egress goes with --install.")
    _egress(options.egress)
    if options.accept_missing and not (options.install or options.check):
        raise WrongUsage("--accept-missing goes with --install or --check.")
    if options.nanoclaw and not options.check:
        raise WrongUsage("--nanoclaw goes with --check, which runs an agent.")
    if (options.json or options.junit) and not options.check:
        raise WrongUsage("--json and --junit go with --check.")


def _egress(text: str) -> install.Egress:
    """What ``--egress`` asks for. Raises WrongUsage."""
    if not text:
        return lambda found: found
    if text == "open":
        return lambda found: replace(found, open_ports=None)
    words = [] if text == "closed" else text.split(",")
    if not all(re.fullmatch(r"[0-9]{1,5}", word) and 0 < int(word) < 1 << 16 for word in words):
        raise WrongUsage(
            f"“{text[:100]}” is not a list of TCP ports.", "For example: --egress 10255; or --egress closed, or open."
        )
    return lambda found: replace(found, open_ports=tuple(map(int, words)))


@contextlib.contextmanager
def _account(spec: str) -> Iterator[Host]:
    if spec == "local":
        with run_directories.new_run() as run:
            run.record_host("local")
            yield LocalHost()
    elif spec.startswith("ssh://"):
        with run_directories.new_run() as run, contextlib.closing(SshHost.of_run(spec, run)) as host:
            yield host
    elif spec in recipe.known():
        raise WrongUsage(
            f"{spec} is a throwaway host: an installation ends with the run.",
            f"To install and check it there: invoke inject --check --host {spec}",
        )
    else:
        raise WrongUsage(f"“{spec}” is not a host to install on.", "Known: local, ssh://user@host[:port].")


def _check(options: InjectOptions, progress: Progress) -> Exit:
    spec = options.host or "auto"
    with checklist.reported(_CHECK, spec, json=options.json, junit=options.junit):
        return _checked(options, spec, progress)


def _checked(options: InjectOptions, spec: str, progress: Progress) -> Exit:
    with agent_session(spec, _plain(spec), options.nanoclaw, progress) as (ready, handle):
        if ready.guest is not None:
            _install_there(ready.host)
        elif not _read_installable(ready.host).installed:
            say(f"The recommended configuration is not installed on {ready.host.name}.")
            say("Install it: invoke inject --install")
            absent = Result(
                id="installed", title="The configuration is installed", state="degrades", observed="it is not",
                fix="invoke inject --install",
            )  # fmt: skip
            checklist.write(_CHECK, ready.host.name, [absent], json=options.json, junit=options.junit)
            return Exit.CASE_FAILED
        facts = ready.host.facts()
        say(f"Host: {ready.host.name}: {facts.distribution}, Podman {facts.version}, uid {facts.uid}")
        say(f"Agent: {handle.agent.name}")
        say()
        results = proof.check(ready, handle, progress)
        bypassed, reached = [], []
        if ready.guest is not None:
            with progress.step("Going round the configuration in every known way"):
                bypassed = proof.bypassed(ready)
            with progress.step("Asking what a container reaches"):
                reached = proof.reached(ready)
            with progress.step("Closing the network, and asking again"):
                asked, closed = proof.closed(ready, handle, reached)
            results, reached = [*results, *asked], [*reached, *closed]
        evidence = store.build(
            InjectionCheck,
            {
                **Provenance(ready.host.name, ready.profile, facts).values(),
                "agent": handle.agent.name,
                "results": results,
                "missing": proof.missing(ready),
                "bypasses": bypassed,
                "reach": reached,
            },
        )
    status = _report(evidence, accept_missing=options.accept_missing)
    found = list(_results(evidence, accept_missing=options.accept_missing))
    checklist.write(_CHECK, evidence.name, found, json=options.json, junit=options.junit)
    return status


def _results(evidence: InjectionCheck, *, accept_missing: bool) -> Iterator[Result]:
    """Each flag and each limit that can't be set, for other programs."""
    for each in evidence.results:
        state: State = "fine" if each.passed else "degrades"
        yield Result(id=each.name, title=each.name, state=state, observed=each.observed)
    for limit, reason in evidence.missing.items():
        accepted = "--accept-missing" if accept_missing else ""
        state = "accepted" if accept_missing else "degrades"
        yield Result(id=limit, title=limit, state=state, observed=f"can't be set: {reason}", accepted=accepted)


def _report(evidence: InjectionCheck, *, accept_missing: bool) -> Exit:
    for result in evidence.results:
        say(f"  [{'PASS' if result.passed else 'FAIL'}] {result.name}: {result.observed}")
    for limit, reason in evidence.missing.items():
        say(f"  [MISSING] {limit}: can't be set on this host: {reason}")
    if evidence.bypasses:
        say("\nGone round on purpose (docs/SECURITY.md):")
    for way in evidence.bypasses:
        lacking = f"not in force: {', '.join(way.lacking)}" if way.lacking else "everything is in force"
        say(f"  {way.name}: {way.error or lacking}")
    if evidence.reach:
        say("\nReached from a container (docs/SECURITY.md):")
    for network in evidence.reach:
        answered = ", ".join(SERVICES[each] for each in network.reached) or "nothing of the host and its network"
        say(f"  on the {TITLES[network.network]}: {network.error or answered}")
    number = len(evidence.results)
    passed = sum(result.passed for result in evidence.results)
    say(f"\n{passed} of {number} checks passed; {len(evidence.missing)} limits can't be set on this host.")
    if evidence.name in recipe.known():
        store.save(evidence)
    if evidence.missing and not accept_missing:
        say("A missing limit fails this check; --accept-missing accepts it.")
        return Exit.CASE_FAILED
    return Exit.OK if passed == number else Exit.CASE_FAILED


def _install_there(host: Host) -> None:
    if why := install.ensure_installed(host, accept_missing=True).conflicts:
        raise HostProblem(why[0])


def _read_installable(host: Host) -> Account:
    found = read_account(host)
    require_account(found)
    return found


def _plain(spec: str) -> str | None:
    """The profile without our configuration, on a host that has profiles."""
    return "stock" if spec in recipe.known() else None
