"""``invoke reproduce``: a throwaway host is broken on purpose, seen broken, mended as the guide says, seen mended."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from checks.core import run_directories
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_directory
from checks.core.progress import Progress
from checks.core.selection import matches
from checks.core.terminal import say
from checks.engine import probe_image
from checks.engine.prepared_host import PreparedHost, prepared, profiles
from checks.evidence import model, store
from checks.evidence.model import Shown
from checks.guide import catalogue, records, snapshot
from checks.guide.catalogue import Entry
from checks.guide.diagnosis import LOOKS, findings
from checks.guide.records import Reproduced
from checks.guide.reproduction import Commands, Reproduction, Sign, Who
from checks.hosts import recipe
from checks.hosts.process import Completed, TimedOut

_BOUND = 100.0  # seconds on ordinary hardware for one block of commands; installing a package is the longest
_KEPT = 2000  # characters of an output that the record holds
_MIRROR = re.compile(r"https?://[^/\s]+(?=/debian)")  # which one a machine uses is its own business


@dataclass(frozen=True)
class ReproduceOptions:
    """The options of ``invoke reproduce``."""

    only: Annotated[
        Sequence[str], "reproduce entries whose id or title contains this text; repeatable (default: all that can be)"
    ] = ()
    host: Annotated[
        str, "a throwaway host (default: each entry's own); without --only, only the entries written for this host"
    ] = ""
    evidence: Annotated[str, "write the records to this directory (default: the project's evidence/reproductions)"] = ""
    list: Annotated[bool, "print the entries that would be reproduced, each with its host, and exit"] = False


class Failed(Exception):
    """An entry that is not what the guide says of it."""


def reproduce(options: ReproduceOptions) -> Exit:
    """Cause the problems of troubleshooting entries on a throwaway host, and check that the documented fixes work.

    Exit status: 0 every entry was confirmed; 1 at least one was not; 2 wrong usage; 3 a host can't be used.
    """
    progress = Progress()
    return run_and_report(lambda: _reproduce(options, progress), progress.say)


def _reproduce(options: ReproduceOptions, progress: Progress) -> Exit:
    entries = catalogue.load()
    chosen = _chosen(options, entries)
    if options.list:
        for entry, how in chosen:
            say(f"{options.host or how.host:20} {entry.id}")
        return Exit.OK
    require_directory("--evidence", options.evidence)
    directory = Path(options.evidence or records.DIRECTORY).absolute()
    failed, unusable = 0, 0
    with Guests(entries, progress) as guests:
        for at, (entry, how) in enumerate(chosen, 1):
            host = options.host or how.host
            progress.say(f"[{at}/{len(chosen)}] {entry.title}, on {host}")
            try:
                record = Attempt(entry, how, entries, progress).on(guests, host)
            except Failed as failure:
                failed += 1
                say(f"FAIL  {entry.id} on {host}: {failure}")
            except HostProblem as problem:
                unusable += 1
                guests.discard()
                say(f"ERROR {entry.id} on {host}: {problem}")
            else:
                store.save(record, directory)
                say(f"{_verdict(record, how)}  {entry.id} on {record.place}, {record.seconds:.0f} s")
    say(f"{len(chosen) - failed - unusable} of {len(chosen)} reproduced.")
    if failed:
        return Exit.CASE_FAILED
    return Exit.HOST_UNUSABLE if unusable else Exit.OK


def _verdict(record: Reproduced, how: Reproduction) -> str:
    return "MENDED" if record.mended else f"SEEN (not mended: {how.unmended})"


def _chosen(options: ReproduceOptions, entries: Mapping[str, Entry]) -> list[tuple[Entry, Reproduction]]:
    """The entries that were asked for; with a host alone, those that are made for it."""
    can = [(entry, entry.reproduce) for entry in entries.values() if entry.reproduce]
    for pattern in options.only:
        if not any(matches(pattern, (entry.id, entry.title)) for entry, _ in can):
            known = any(matches(pattern, (entry.id, entry.title)) for entry in entries.values())
            why = f"No entry that matches “{pattern}” can be reproduced." if known else f"No entry matches “{pattern}”."
            raise WrongUsage(why, "invoke reproduce --list shows those that can be.")
    if options.host and recipe.load(options.host).engine != "podman":
        raise WrongUsage(f"{options.host} has no Podman to break.", "invoke hosts shows the others.")
    chosen = [
        (entry, how)
        for entry, how in can
        if (any(matches(pattern, (entry.id, entry.title)) for pattern in options.only) if options.only
            else options.host in ("", how.host))
    ]  # fmt: skip
    if not chosen:
        raise WrongUsage(f"No entry is made for {options.host}.", "Name some by --only; --list shows them.")
    # Those that share a guest one after the other, so that it is resumed once.
    return sorted(chosen, key=lambda each: (each[1].host, each[1].profile, not each[1].undo))


class Guests:
    """One throwaway host at a time: handed on as long as each entry takes back what it did, else thrown away."""

    def __init__(self, entries: Mapping[str, Entry], progress: Progress) -> None:
        self._entries = entries
        self._progress = progress
        self._taken = contextlib.ExitStack()
        self._now: tuple[str, str] | None = None
        self._prepared: PreparedHost | None = None
        self.healthy: Sequence[str] = ()
        """What the doctor names on the host as it was resumed."""

    def __enter__(self) -> Guests:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def take(self, host: str, profile: str) -> PreparedHost:
        """An unbroken host."""
        if self._prepared is None or self._now != (host, profile):
            self.discard()
            run = self._taken.enter_context(run_directories.new_run())
            self._prepared = self._taken.enter_context(prepared(host, profile, run, self._progress))
            self._now = (host, profile)
            self.healthy = named(self._prepared, self._entries)
        return self._prepared

    def discard(self) -> None:
        """Throw the host away."""
        self._prepared = None
        self._taken.close()


class Attempt:
    """One entry on one host."""

    def __init__(self, entry: Entry, how: Reproduction, entries: Mapping[str, Entry], progress: Progress) -> None:
        self._entry = entry
        self._how = how
        self._entries = entries
        self._progress = progress

    def on(self, guests: Guests, host: str) -> Reproduced:
        """Break that host, see it, mend it, see it. Raises Failed where something is not as the entry says."""
        if self._how.profile not in profiles(recipe.load(host)):
            raise WrongUsage(f"{host} has no profile “{self._how.profile}”.")
        ready = guests.take(host, self._how.profile)
        begun = time.monotonic()
        try:
            record = self._seen_through(ready, guests.healthy, begun)
        except BaseException:
            guests.discard()
            raise
        if not self._taken_back(ready, guests.healthy):
            guests.discard()
        return record

    def _seen_through(self, ready: PreparedHost, healthy: Sequence[str], begun: float) -> Reproduced:
        how, facts = self._how, ready.host.facts()
        unbroken = None
        if how.breaking:
            with self._step("Looking at the unbroken host"):
                unbroken = self._symptom(ready)
            self._expect(unbroken, how.mended, "the unbroken host")
            with self._step("Breaking it"):
                self._do(ready, how.breaking, "breaking the host")
        with self._step("Looking for the symptom"):
            broken = self._symptom(ready)
            look = snapshot.look(ready.host)
        if not how.symptom.sign.shown(broken.status, broken.output):
            raise Failed(f"the symptom was not seen. {_ended(broken)}")
        found = [each.entry.id for each in findings(look, self._entries)]
        added = [each for each in found if each not in healthy]
        if self._entry.id in LOOKS and not how.unseen:
            if how.breaking and added[:1] != [self._entry.id]:
                raise Failed(
                    f"the doctor named {', '.join(added) or 'nothing'} on the broken host, not this entry first"
                )
            if self._entry.id not in found:
                raise Failed(f"the doctor named {', '.join(found) or 'nothing'}, and not this entry")
        mended = None
        if not how.unmended:
            with self._step("Mending it as the guide says"):
                self._do(ready, self._entry.commands, "the guide's fix")
            with self._step("Looking whether it is mended"):
                mended = self._symptom(ready)
            self._expect(mended, how.mended, "the mended host")
            # What takes everything back is looked at afterwards.
            if not how.undo and self._entry.id in LOOKS and self._entry.id in named(ready, self._entries):
                raise Failed("the doctor still names this entry on the mended host")
        values = {
            "version": model.VERSION, "project": store.project(), "entry": self._entry.id, "host": ready.host.name,
            "profile": ready.profile, "podman": facts.version, "distribution": facts.distribution,
            "kernel": facts.kernel, "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begun, 1), "ran": records.scripts(self._entry), "unbroken": unbroken,
            "broken": broken, "mended": mended, "captured": _captured(how.symptom.sign, broken.output),
            "seen": look.seen, "asked_at": round(look.asked_at, 1), "findings": found, "healthy": healthy,
        }  # fmt: skip
        return store.build(Reproduced, values)

    def _expect(self, shown: Shown, mended: Sign, where: str) -> None:
        if not mended.shown(shown.status, shown.output):
            raise Failed(f"{where} does not show what a sound one does. {_ended(shown)}")
        if self._how.symptom.sign.shown(shown.status, shown.output):
            raise Failed(f"{where} shows the symptom as well. {_ended(shown)}")

    def _symptom(self, ready: PreparedHost) -> Shown:
        self._do(ready, self._how.given, "what the symptom needs")
        ready.host.close()  # the next command is typed after a new login
        done = self._run(ready, self._how.symptom.commands, lambda script: script)
        return Shown(done.returncode, _MIRROR.sub("http://MIRROR", f"{done.stdout}{done.stderr}")[-_KEPT:])

    def _do(self, ready: PreparedHost, several: Sequence[Commands], what: str) -> None:
        for commands in several:
            done = self._run(ready, commands, lambda script: f"set -e\n{script}")
            if done.returncode != 0:
                ended = _ended(Shown(done.returncode, f"{done.stdout}{done.stderr}"[-_KEPT:]))
                raise Failed(f"{what} went wrong at “{commands.script}”. {ended}")

    def _run(self, ready: PreparedHost, commands: Commands, script: Callable[[str], str]) -> Completed:
        assert ready.guest
        host = ready.guest.root if commands.who is Who.ROOT else ready.host
        account = next(iter(ready.guest.recipe.accounts))
        if commands.who is Who.ROOT:
            ready.host.close()  # while root is at it, nobody else is logged in
        values = {
            "account": account,
            "image": f"{probe_image.repository(ready.owner.images)}:probe",
            **self._how.variables,
        }
        try:
            return host.run(["bash", "-lc", script(commands.script)], env=values, timeout=_BOUND)
        except TimedOut as error:
            return error.partial

    def _taken_back(self, ready: PreparedHost, healthy: Sequence[str]) -> bool:
        """Whether the host is again as it was before, so that another entry may have it."""
        if not self._how.undo:
            return False
        with contextlib.suppress(Failed), self._step("Taking it back"):
            self._do(ready, self._how.undo, "taking it back")
            return named(ready, self._entries) == list(healthy)
        return False

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        with self._progress.step(f"  {what}"):
            yield


def named(ready: PreparedHost, entries: Mapping[str, Entry]) -> list[str]:
    """The entries that the doctor names on a host."""
    return [each.entry.id for each in findings(snapshot.look(ready.host), entries)]


def _ended(shown: Shown) -> str:
    return f"Exit status {shown.status}; it said: {shown.output.strip() or 'nothing'}"


def _captured(sign: Sign, output: str) -> str:
    lines = [line for line in output.splitlines() if sign.pattern.search(line)]
    return (lines or [output.strip()])[-1].strip()
