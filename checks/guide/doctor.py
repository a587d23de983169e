"""``invoke doctor``: find the troubleshooting entries that apply to a host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Annotated

from checks.core import run_directories
from checks.core.errors import Exit, WrongUsage
from checks.core.options import ProfileOption
from checks.core.outcome import run_and_report
from checks.core.paths import GUIDE
from checks.core.progress import Progress
from checks.core.terminal import say
from checks.engine.prepared_host import prepared
from checks.guide import catalogue, snapshot
from checks.guide.diagnosis import CHECKS, Diagnosis, diagnose
from checks.guide.explain import explain as explain_text
from checks.hosts.base import Host
from checks.hosts.local import LocalHost
from checks.hosts.ssh import SshHost


def doctor(
    host: Annotated[str, "local (default), ssh://user@host[:port], or a throwaway host (invoke hosts)"] = "",
    profile: ProfileOption = "",
    explain: Annotated[
        str | bool | None, "an error message to explain; without a value, a log on standard input"
    ] = None,
    json: Annotated[bool, "with --explain, print the entries as JSON"] = False,
) -> Exit:
    """Check a host for known problems, without changing it; or find the entry for an error message (--explain).

    Exit status: 0 no known problem, or an entry was found; 1 known problems, or no entry; 2 wrong usage; 3 the host
    can't be reached.
    """
    progress = Progress()
    if explain is None and not json:
        return run_and_report(lambda: _examine(host or "local", profile, progress), progress.say)

    def run() -> Exit:
        if host or profile:
            raise WrongUsage("--explain can't be combined with --host or --profile.")
        if explain is None:
            raise WrongUsage("--json can only be combined with --explain.")
        return explain_text(explain, as_json=json)

    return run_and_report(run, progress.say)


def _examine(spec: str, profile: str, progress: Progress) -> Exit:
    entries = catalogue.load()
    with _host(spec, profile, progress) as host:
        with progress.step(f"Inspecting {host.name}"):
            taken = snapshot.take(host)
        diagnoses = diagnose(taken, entries)
    say("\n".join(_report(taken, diagnoses)))
    return Exit.CASE_FAILED if diagnoses else Exit.OK


@contextlib.contextmanager
def _host(spec: str, profile: str, progress: Progress) -> Iterator[Host]:
    """The host without preflight checks: the doctor must work on hosts that can't be tested."""
    if profile and (spec in ("auto", "local") or spec.startswith("ssh://")):
        raise WrongUsage(f"--profile can't be used with {spec}.", "It is for throwaway hosts (invoke hosts).")
    with run_directories.new_run() as run:
        if spec in ("auto", "local"):
            yield LocalHost()
        elif spec.startswith("ssh://"):
            with contextlib.closing(SshHost.parse(spec, sockets=run.sockets)) as host:
                yield host
        else:
            with prepared(spec, profile or None, run, progress) as ready:
                yield ready.host


def _report(host: snapshot.HostSnapshot, diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    yield f"{host.first('user')} (uid {host.first('uid')}), {host.podman or 'Podman version unknown'}"
    if "info" not in host.values and not host.root and host.first("podman"):
        yield "Skipped `podman info`: this account has never used Podman, and the command would create its storage."
    if not diagnoses:
        yield f"No known problems found ({len(CHECKS)} checks)."
        return
    yield "1 known problem found:" if len(diagnoses) == 1 else f"{len(diagnoses)} known problems found, worst first:"
    for each in diagnoses:
        yield ""
        yield each.entry.title
        yield f"  Found: {each.observation}"
        yield f"  Fix:   {each.entry.quick_fix}"
        yield f"  More:  {GUIDE}#{each.entry.id}"
