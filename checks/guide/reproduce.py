"""``invoke reproduce``: cause a known problem on a throwaway host, verify the symptom, and test the fix."""

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
from checks.core.lines import lines_of
from checks.core.outcome import run_and_report
from checks.core.output_paths import require_directory
from checks.core.process import Completed, TimedOut
from checks.core.progress import Progress
from checks.core.selection import matches, selection
from checks.core.terminal import say
from checks.engine import probe_image
from checks.engine.prepared_host import PreparedHost, prepared, profiles
from checks.evidence import model, store
from checks.evidence.model import CommandResult
from checks.guide import catalogue, records, snapshot
from checks.guide.catalogue import Commands, Entry, Expected, Reproduction, User
from checks.guide.diagnosis import diagnose
from checks.guide.host_checks import CHECKS
from checks.guide.records import ReproductionRecord
from checks.hosts import recipe

_TIMEOUT = 100.0  # seconds on ordinary hardware for one block of commands; installing a package takes longest
_MAX_OUTPUT = 2000  # characters of an output that the record keeps
_MIRROR = re.compile(r"https?://[^/\s]+(?=/debian)")  # the mirror differs from machine to machine


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


class ReproductionFailed(Exception):
    """The host did not behave as the entry describes."""


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
        for entry, plan in chosen:
            say(f"{options.host or plan.host:20} {entry.id}")
        return Exit.OK
    require_directory("--evidence", options.evidence)
    directory = Path(options.evidence or records.DIRECTORY).absolute()
    if options.only:
        possible = sum(1 for each in entries.values() if each.reproduce)
        progress.say(selection([entry.id for entry, _ in chosen], possible, kind="entries"))
    failed, unusable = 0, 0
    with Guests(entries, progress) as guests:
        for number, (entry, plan) in enumerate(chosen, 1):
            host = options.host or plan.host
            progress.say(f"[{number}/{len(chosen)}] {entry.title}, on {host}")
            try:
                record = Attempt(entry, plan, entries, progress).run(guests, host)
            except ReproductionFailed as failure:
                failed += 1
                say(f"FAIL  {entry.id} on {host}: {failure}")
            except HostProblem as problem:
                unusable += 1
                guests.discard()
                say(f"ERROR {entry.id} on {host}: {problem}")
            else:
                store.save(record, directory)
                result = "FIXED" if record.fixed else f"REPRODUCED (fix not tested: {plan.not_fixed})"
                say(f"{result}  {entry.id} on {record.place}, {record.seconds:.0f} s")
    say(f"{len(chosen) - failed - unusable} of {len(chosen)} reproduced.")
    if failed:
        return Exit.CASE_FAILED
    return Exit.HOST_UNUSABLE if unusable else Exit.OK


def _chosen(options: ReproduceOptions, entries: Mapping[str, Entry]) -> list[tuple[Entry, Reproduction]]:
    """The selected entries; with a host alone, the entries that have it as their default."""
    possible = [(entry, entry.reproduce) for entry in entries.values() if entry.reproduce]
    for pattern in options.only:
        if not any(matches(pattern, (entry.id, entry.title)) for entry, _ in possible):
            known = any(matches(pattern, (entry.id, entry.title)) for entry in entries.values())
            reason = "can be reproduced" if known else "exists"
            raise WrongUsage(f"No entry matching “{pattern}” {reason}.", "To list the entries: invoke reproduce --list")
    if options.host and recipe.load(options.host).engine != "podman":
        raise WrongUsage(f"{options.host} does not run Podman.", "To list the hosts: invoke hosts")
    chosen = [
        (entry, plan)
        for entry, plan in possible
        if (any(matches(pattern, (entry.id, entry.title)) for pattern in options.only) if options.only
            else options.host in ("", plan.host))
    ]  # fmt: skip
    if not chosen:
        raise WrongUsage(f"No entry has {options.host} as its default host.", "Select entries with --only.")
    # Keep entries that can share a guest together, so that it is resumed once.
    return sorted(chosen, key=lambda each: (each[1].host, each[1].profile, not each[1].undo))


class Guests:
    """Provides one throwaway host at a time, which is reused while each entry undoes its changes."""

    def __init__(self, entries: Mapping[str, Entry], progress: Progress) -> None:
        self._entries = entries
        self._progress = progress
        self._resources = contextlib.ExitStack()
        self._key: tuple[str, str] | None = None
        self._prepared: PreparedHost | None = None
        self.baseline_diagnoses: Sequence[str] = ()
        """The entries that the doctor reports on the host as resumed."""

    def __enter__(self) -> Guests:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def take(self, host: str, profile: str) -> PreparedHost:
        """Return a host without changes of an earlier entry."""
        if self._prepared is None or self._key != (host, profile):
            self.discard()
            run = self._resources.enter_context(run_directories.new_run())
            self._prepared = self._resources.enter_context(prepared(host, profile, run, self._progress))
            self._key = (host, profile)
            self.baseline_diagnoses = diagnosed(self._prepared, self._entries)
        return self._prepared

    def discard(self) -> None:
        self._prepared = None
        self._resources.close()


class Attempt:
    """The reproduction of one entry on one host."""

    def __init__(self, entry: Entry, plan: Reproduction, entries: Mapping[str, Entry], progress: Progress) -> None:
        self._entry = entry
        self._plan = plan
        self._entries = entries
        self._progress = progress

    def run(self, guests: Guests, host: str) -> ReproductionRecord:
        """Run all steps. Raises ReproductionFailed if the host does not behave as the entry describes."""
        if self._plan.profile not in profiles(recipe.load(host)):
            raise WrongUsage(f"{host} has no profile “{self._plan.profile}”.")
        ready = guests.take(host, self._plan.profile)
        try:
            record = self._reproduce(ready, guests.baseline_diagnoses)
        except BaseException:
            guests.discard()
            raise
        if not self._undone(ready, guests.baseline_diagnoses):
            guests.discard()
        return record

    def _reproduce(self, ready: PreparedHost, baseline_diagnoses: Sequence[str]) -> ReproductionRecord:
        started = time.monotonic()
        plan, facts = self._plan, ready.host.facts()
        baseline = fixed = None
        if plan.breaking:
            with self._step("Checking that the symptom is absent"):
                baseline = self._symptom(ready)
            self._expect(baseline, plan.fixed, "before the problem was caused")
            with self._step("Causing the problem"):
                self._execute(ready, plan.breaking, "Causing the problem")
        with self._step("Checking the symptom"):
            broken = self._symptom(ready)
            taken = snapshot.take(ready.host)
        if not plan.symptom.matches(broken.exit_status, broken.output):
            raise ReproductionFailed(f"the symptom did not appear. {_described(broken)}")
        diagnoses = [each.entry.id for each in diagnose(taken, self._entries)]
        self._check_doctor(diagnoses, baseline_diagnoses)
        if not plan.not_fixed:
            with self._step("Applying the fix"):
                self._execute(ready, self._entry.fix_commands, "The fix")
            with self._step("Checking the fix"):
                fixed = self._symptom(ready)
            self._expect(fixed, plan.fixed, "after the fix")
            # With undo commands, the doctor runs again after them.
            if not plan.undo and self._entry.id in CHECKS and self._entry.id in diagnosed(ready, self._entries):
                raise ReproductionFailed("the doctor still reports this entry after the fix")
        values = {
            "version": model.VERSION, "project": store.project(), "entry": self._entry.id, "host": ready.host.name,
            "profile": ready.profile, "podman": facts.version, "distribution": facts.distribution,
            "kernel": facts.kernel, "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1), "commands": records.commands_of(self._entry),
            "baseline": baseline, "broken": broken, "fixed": fixed, "error_line": _error_line(plan, broken.output),
            "snapshot": taken.values, "snapshot_taken_at": round(taken.taken_at, 1), "diagnoses": diagnoses,
            "baseline_diagnoses": baseline_diagnoses,
        }  # fmt: skip
        return store.build(ReproductionRecord, values)

    def _check_doctor(self, diagnoses: Sequence[str], baseline_diagnoses: Sequence[str]) -> None:
        if self._entry.id not in CHECKS or self._plan.not_diagnosed:
            return
        new = [each for each in diagnoses if each not in baseline_diagnoses]
        if self._plan.breaking and new[:1] != [self._entry.id]:
            raise ReproductionFailed(f"the doctor reported {', '.join(new) or 'nothing'}; expected this entry first")
        if self._entry.id not in diagnoses:
            raise ReproductionFailed(f"the doctor reported {', '.join(diagnoses) or 'nothing'}; expected this entry")

    def _expect(self, result: CommandResult, expected: Expected, when: str) -> None:
        if not expected.matches(result.exit_status, result.output):
            raise ReproductionFailed(f"unexpected result {when}. {_described(result)}")
        if self._plan.symptom.matches(result.exit_status, result.output):
            raise ReproductionFailed(f"the symptom appeared {when}. {_described(result)}")

    def _symptom(self, ready: PreparedHost) -> CommandResult:
        self._execute(ready, self._plan.setup, "Setup")
        ready.host.close()  # run the next command after a new login
        done = self._run(ready, self._plan.symptom, lambda script: script)
        output = _MIRROR.sub("http://MIRROR", f"{done.stdout}{done.stderr}")[-_MAX_OUTPUT:]
        return CommandResult(exit_status=done.returncode, output=output)

    def _execute(self, ready: PreparedHost, several: Sequence[Commands], purpose: str) -> None:
        for commands in several:
            done = self._run(ready, commands, lambda script: f"set -e\n{script}")
            if done.returncode != 0:
                output = f"{done.stdout}{done.stderr}"[-_MAX_OUTPUT:]
                result = CommandResult(exit_status=done.returncode, output=output)
                raise ReproductionFailed(f"{purpose} failed at “{commands.script}”. {_described(result)}")

    def _run(self, ready: PreparedHost, commands: Commands, script: Callable[[str], str]) -> Completed:
        assert ready.guest
        host = ready.host
        if commands.user is User.ROOT:
            host = ready.guest.root
            ready.host.close()  # the account must not be logged in while root makes changes
        variables = {
            "account": next(iter(ready.guest.recipe.accounts)),
            "image": f"{probe_image.repository(ready.owner.images)}:probe",
            **self._plan.variables,
        }
        try:
            return host.run(["bash", "-lc", script(commands.script)], env=variables, timeout=_TIMEOUT)
        except TimedOut as error:
            return error.partial

    def _undone(self, ready: PreparedHost, baseline_diagnoses: Sequence[str]) -> bool:
        """Run the undo commands. Return whether the next entry can use the host."""
        if not self._plan.undo:
            return False
        with contextlib.suppress(ReproductionFailed), self._step("Undoing the changes"):
            self._execute(ready, self._plan.undo, "Undoing the changes")
            return diagnosed(ready, self._entries) == list(baseline_diagnoses)
        return False

    @contextlib.contextmanager
    def _step(self, text: str) -> Iterator[None]:
        with self._progress.step(f"  {text}"):
            yield


def diagnosed(ready: PreparedHost, entries: Mapping[str, Entry]) -> list[str]:
    """The ids of the entries that the doctor reports on a host."""
    return [each.entry.id for each in diagnose(snapshot.take(ready.host), entries)]


def _described(result: CommandResult) -> str:
    return f"Exit status {result.exit_status}, output: {result.output.strip() or 'none'}"


def _error_line(plan: Reproduction, output: str) -> str:
    lines = [line for line in lines_of(output) if plan.symptom.pattern.search(line)]
    return (lines or [output.strip()])[-1].strip()
