"""``invoke doctor``: what of the guide applies to a host, found by looking."""

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
from checks.guide.diagnosis import Finding, findings
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
) -> Exit:
    """Check a host for known problems, without changing it; or find the entry for an error message (--explain).

    Exit status: 0 no known problem, or an entry was found; 1 known problems, or no entry; 2 wrong usage; 3 the host
    can't be reached.
    """
    progress = Progress()
    if explain is None:
        return run_and_report(lambda: _examine(host or "local", profile, progress), progress.say)

    def run() -> Exit:
        if host or profile:
            raise WrongUsage("--explain looks at a text and --host at a host: one at a time.")
        return explain_text(explain)

    return run_and_report(run, progress.say)


def _examine(spec: str, profile: str, progress: Progress) -> Exit:
    entries = catalogue.load()
    with _host(spec, profile, progress) as host:
        with progress.step(f"Looking at {host.name}"):
            look = snapshot.look(host)
        found = findings(look, entries)
    say("\n".join(_report(look, found)))
    return Exit.CASE_FAILED if found else Exit.OK


@contextlib.contextmanager
def _host(spec: str, profile: str, progress: Progress) -> Iterator[Host]:
    """The host as it is: it need not be one that can be tested, since that is what is to be found out."""
    if profile and (spec in ("auto", "local") or spec.startswith("ssh://")):
        raise WrongUsage(f"{spec} is looked at as it is.", "--profile is for throwaway hosts (invoke hosts).")
    with run_directories.new_run() as run:
        if spec in ("auto", "local"):
            yield LocalHost()
        elif spec.startswith("ssh://"):
            with contextlib.closing(SshHost.parse(spec, sockets=run.sockets)) as host:
                yield host
        else:
            with prepared(spec, profile or None, run, progress) as ready:
                yield ready.host


def _report(look: snapshot.HostSnapshot, found: Sequence[Finding]) -> Iterator[str]:
    podman = look.podman or "no podman that tells its version"
    yield f"{look.one('user')} (uid {look.one('uid')}), {podman}"
    if "info" not in look.seen and not look.root and look.one("podman"):
        yield "Podman was not asked: this account has not used it yet, and its first command would make a storage."
    if not found:
        yield "Nothing was found: no entry of the guide that a look can tell applies."
        return
    many = f"{len(found)} entries of the guide apply, the worst first"
    yield f"{'1 entry of the guide applies' if len(found) == 1 else many}:"
    for each in found:
        yield ""
        yield each.entry.title
        yield f"  Seen: {each.seen}"
        yield f"  Fix:  {each.entry.quick}"
        yield f"  More: {GUIDE}#{each.entry.id}"
