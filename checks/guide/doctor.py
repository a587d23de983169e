"""``invoke doctor``: find the troubleshooting entries that apply to a host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from rich.text import Text

from checks.core import run_directories
from checks.core.errors import Exit, WrongUsage
from checks.core.options import AcceptFileOption, AcceptOption, JsonOption, JunitOption, ProfileOption
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_file
from checks.core.progress import Console, Progress, plain_console
from checks.core.terminal import say, say_text
from checks.engine.prepared_host import prepared
from checks.evidence import checklist
from checks.evidence.acceptance import accepted_ids, tell_ended
from checks.evidence.checklist import FAILING, Result
from checks.guide import catalogue, findings, snapshot
from checks.guide import fix as fixing
from checks.guide.catalogue import Entry
from checks.guide.diagnosis import Diagnosis, diagnose
from checks.guide.explain import explain as explain_text
from checks.guide.snapshot import HostSnapshot
from checks.hosts.base import Host
from checks.hosts.local import LocalHost
from checks.hosts.ssh import SshHost

_MARKS = {"blocks": "bold red", "degrades": "yellow", "note": "cyan", "accepted": "dim"}


@dataclass(frozen=True)
class _Options:
    host: str
    profile: str
    fix: bool
    yes: bool
    undo: bool
    accept: Sequence[str]
    accept_file: str
    json: str
    junit: str


def doctor(
    host: Annotated[str, "local (default), ssh://user@host[:port], or a throwaway host (invoke hosts)"] = "",
    profile: ProfileOption = "",
    explain: Annotated[
        str | bool | None, "an error message to explain, or a file with a log; without a value, a log on standard input"
    ] = None,
    fix: Annotated[bool, "fix what this account may fix, after asking; print the commands for the rest"] = False,
    yes: Annotated[bool, "with --fix: do not ask"] = False,
    undo: Annotated[bool, "undo everything that --fix did"] = False,
    accept: AcceptOption = (),
    accept_file: AcceptFileOption = "",
    json: JsonOption = "",
    junit: JunitOption = "",
) -> Exit:
    """Check a host for known problems and fix them (--fix), or explain an error message (--explain).

    Without --fix and --undo, nothing is changed. Exit status: 0 nothing blocks or degrades, or an entry was found;
    1 findings that are not accepted, or no entry; 2 wrong usage; 3 the host can't be used.
    """
    progress = Progress()
    options = _Options(host or "local", profile, fix, yes, undo, accept, accept_file, json, junit)

    def run() -> Exit:
        if explain is None:
            return _examine(options, progress)
        if (host, options) != ("", _Options("local", "", False, False, False, (), "", json, "")):
            raise WrongUsage("--explain can only be combined with --json.")
        require_file("--json", json)
        return explain_text(explain, json)

    return run_and_report(run, progress.say)


def _examine(options: _Options, progress: Progress) -> Exit:
    spec = options.host
    entries = catalogue.load()
    tell_ended(options.accept_file)
    accepted = accepted_ids(options.accept, options.accept_file, entries)
    _require_fixable(options, spec)
    with (
        checklist.reported("invoke doctor", spec, json=options.json, junit=options.junit),
        _host(spec, options.profile, progress) as host,
    ):
        if options.undo:
            return fixing.undo(host)
        taken, diagnoses = _inspected(host, entries, progress)
        results = findings.results(taken, diagnoses, entries, accepted)
        _report(plain_console(), taken, results)
        if options.fix and any(each.state in FAILING or each.state == "note" for each in results):
            wanted = [each for each in diagnoses if each.entry.id not in accepted]
            if _fix(host, taken, wanted, entries, yes=options.yes):
                taken, diagnoses = _inspected(host, entries, progress)
                results = findings.results(taken, diagnoses, entries, accepted)
                say("\nInspected again:")
                for each in results:
                    if each.state in FAILING:
                        say(f"  [{each.state.upper()}] {each.title}: {each.observed}")
        say(f"\n{checklist.summary(results, host.name)}")
        checklist.write("invoke doctor", host.name, results, json=options.json, junit=options.junit)
    return Exit.CASE_FAILED if any(each.state in FAILING for each in results) else Exit.OK


def _inspected(
    host: Host, entries: Mapping[str, Entry], progress: Progress
) -> tuple[HostSnapshot, Sequence[Diagnosis]]:
    with progress.step(f"Inspecting {host.name}"):
        taken = snapshot.take(host)
    return taken, diagnose(taken, entries)


def _require_fixable(options: _Options, spec: str) -> None:
    if options.yes and not options.fix:
        raise WrongUsage("--yes goes with --fix.")
    if options.undo and (options.yes or options.json or options.junit or options.accept or options.accept_file):
        raise WrongUsage("--undo can be combined with --fix and --host only.")
    if (options.fix or options.undo) and not (spec in ("auto", "local") or spec.startswith("ssh://")):
        raise WrongUsage(f"--fix and --undo are for local and ssh://user@host[:port], not for {spec}.")


def _fix(
    host: Host, taken: HostSnapshot, found: Sequence[Diagnosis], entries: Mapping[str, Entry], *, yes: bool
) -> bool:
    """Plan, ask, fix, and print what is left to the user. Whether anything was changed."""
    made = fixing.planned(host, taken, found, entries)
    left, changed = list(made.left), False
    say("")
    if made.actions:
        say_text("\n".join(fixing.describe(made, taken, host)))
        if changed := fixing.confirmed(yes=yes):
            left += fixing.apply(host, made, taken, entries)
            say("To undo this: invoke doctor --undo")
    else:
        say(f"--fix has nothing to do as {taken.first('user')} on {host.name}.")
    if lines := fixing.remaining(left, taken):
        say_text("\n" + "\n".join(lines))
    return changed


@contextlib.contextmanager
def _host(spec: str, profile: str, progress: Progress) -> Iterator[Host]:
    """The host without preflight checks: the doctor must work on hosts that can't be tested."""
    if profile and (spec in ("auto", "local") or spec.startswith("ssh://")):
        raise WrongUsage(f"--profile can't be used with {spec}.", "It is for throwaway hosts (invoke hosts).")
    with run_directories.new_run() as run:
        if spec in ("auto", "local"):
            yield LocalHost()
        elif spec.startswith("ssh://"):
            with contextlib.closing(SshHost.of_run(spec, run)) as host:
                yield host
        else:
            with prepared(spec, profile or None, run, progress) as ready:
                yield ready.host


def _report(console: Console, host: HostSnapshot, results: Sequence[Result]) -> None:
    console.print(Text(f"{host.first('user')} (uid {host.first('uid')}), {host.podman or 'Podman version unknown'}"))
    if "info" not in host.values and not host.root and host.first("podman"):
        console.print(
            "Skipped `podman info`: this account has never used Podman, and the command would create its storage."
        )
    for each in results:
        if each.state in _MARKS:
            mark = Text(f"[{each.state.upper()}]", _MARKS[each.state])
            console.print(Text("\n").append(mark).append(f" {each.title}"))
            console.print(Text(f"  Found: {each.observed}"))
            if each.accepted:
                console.print(Text(f"  Accepted: {each.accepted}"))
            console.print(Text(f"  Fix:   {each.fix}"))
            console.print(Text(f"  More:  {each.link}"))
    for state, title in (("fine", "Fine"), ("not tested", "Not tested")):
        if observed := [each.observed for each in results if each.state == state]:
            console.print(Text(f"\n{title}:"))
            for each_observed in observed:
                console.print(Text(f"  {each_observed}"))
