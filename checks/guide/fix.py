"""``invoke doctor --fix`` and ``--undo``: fix what the account may fix, look again, and restore what there was."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

import msgspec

from checks.core.answers import fields
from checks.core.errors import Exit, HostProblem
from checks.core.lines import lines_of
from checks.core.process import TimedOut
from checks.core.terminal import say, say_text
from checks.engine import placement, probe_container
from checks.engine.docker import shell
from checks.engine.placement import BACKUP_SUFFIX, PART_SUFFIX, File
from checks.guide import catalogue, snapshot
from checks.guide.catalogue import Entry, User, wrap
from checks.guide.diagnosis import Diagnosis, diagnose
from checks.guide.explain import plain
from checks.guide.findings import fix_on
from checks.guide.fix_plan import (
    ALLOWED,
    WRITABLE_BY_USERNS,
    Action,
    Left,
    Plan,
    candidates,
    filled,
    plan,
    variables,
    writable,
)
from checks.guide.snapshot import HostSnapshot
from checks.hosts.base import Host

RECORD = ".local/state/nanoclaw-verify/fixes.json"
"""What was done, below the home: ``--undo`` reads it. It is written before the files that it names."""

_ASK = r"""
say() { printf '%s\t%s\n' "$1" "$(printf %s "$2" | base64 | tr -d '\n')"; }
say uid "$(id -u)"
say user "$(id -un)"
say home "$HOME"
say owner "$(stat -L -c '%u %U' "$HOME" 2>/dev/null)"
say elsewhere "${XDG_CONFIG_HOME:+$XDG_CONFIG_HOME/containers}"
"""

# As nanoclaw runs agents: as the account's own uid, with a directory of the account.
_WRITE = ": >/workspace/probe/written && echo written"

_Path = Annotated[str, msgspec.Meta(pattern="^/")]


class Fixes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``--fix`` did on an account."""

    files: dict[_Path, str]
    """The SHA-256 of each file that was written."""
    directories: list[_Path]
    """Those that were made for them, the outer ones first."""
    undo: list[str]
    """The commands that undo the commands that were run."""


_NOTHING = Fixes({}, [], [])


@dataclass(frozen=True)
class _Probe:
    """A container in which the account's uid writes to a directory of the account."""

    wrote: bool
    error: str
    """Why no container ran; empty if one did."""


def planned(host: Host, taken: HostSnapshot, found: Sequence[Diagnosis], entries: Mapping[str, Entry]) -> Plan:
    """The plan for these findings. Raises WrongUsage or HostProblem if nothing can be placed for this account."""
    home = _require_home(host)
    present = placement.read(host, candidates(found, home)) if candidates(found, home) else {}
    return plan(taken, found, entries, present)


def describe(made: Plan, taken: HostSnapshot, host: Host) -> list[str]:
    """What the plan would do, for the question."""
    lines = [f"--fix would do this as {taken.first('user')} on {host.name}:"] if made.actions else []
    for action in made.actions:
        lines.append(f"  {action.entry.title}")
        for file in action.files:
            lines.append(f"    write {file.path}:")
            lines += [f"      {line}" for line in lines_of(file.data.decode())]
        if action.command:
            lines.append(f"    run: {filled(action.command, variables(taken))}")
    return lines


def remaining(left: Sequence[Left], taken: HostSnapshot) -> list[str]:
    """The commands that are left to the user: exactly as they are to be typed, grouped by who types them."""
    known, lines, shown = variables(taken), [], set()
    for each in left:
        lines += ["", f"{each.entry.title}"]
        if each.reason:
            lines.append(f"  Not fixed: {each.reason}.")
        if not each.steps:
            lines.append(f"  By hand: {fix_on(each.entry, taken)}")
        for step in each.steps:
            if (step.user, step.script) in shown:
                lines.append("  The same commands as above.")
                continue
            shown.add((step.user, step.script))
            who = "As root" if step.user is User.ROOT else f"As {known['account']}"
            lines += [f"  {line}" for line in lines_of(wrap(plain(step.text)))] if step.text else []
            lines.append(f"  {who}:")
            lines += [f"    {line}" for line in lines_of(filled(step.script, known))]
    return ["Left to you:", *lines] if lines else []


def confirmed(*, yes: bool) -> bool:
    """Ask once whether to make the changes."""
    if yes:
        return True
    if not sys.stdin.isatty():
        say("Nothing was changed: standard input is not a terminal. To make the changes: invoke doctor --fix --yes")
        return False
    say_text("Make these changes? [y/N] ", end="")
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    say("Nothing was changed.")
    return False


def apply(host: Host, made: Plan, taken: HostSnapshot, entries: Mapping[str, Entry]) -> list[Left]:
    """Carry out the plan and look again; the actions whose problem is still found are left to the user.

    Raises HostProblem, with everything as before, if a file can't be written or does not have its effect.
    """
    with placement.locked(host):
        home = _require_home(host)
        found = [each for each in diagnose(taken, entries) if each.entry.id in _ids(made)]
        if planned(host, snapshot.take(host), found, entries).actions != made.actions:
            raise HostProblem(f"{host.name} changed meanwhile. Nothing was changed.", "Run invoke doctor --fix again.")
        before = _probe(host) if made.files else None
        recorded = _recorded(host, home)
        written = placement.place(host, [_record(host, home, recorded, made), *made.files])
        try:
            failed = _run(host, made, taken)
            then = {each.entry.id for each in diagnose(snapshot.take(host), entries)}
            after = _probe(host) if made.files else None
            _require_effect(made, then, before, after)
        except BaseException:
            _undo_commands(host, [action.undo for action in made.actions if action.undo], taken.first("user"))
            written.undo()
            raise
        written.keep()
        if failed:
            _forget(host, home, recorded, made, failed)
    for file in made.files:
        say(f"Wrote {file.path}.")
    # A command that ends with 0 has not mended anything yet. What it did stays in the record, for --undo.
    lasting = {
        action.entry.id: "the doctor still finds it after the command"
        for action in made.actions
        if action.entry.id in then
    }
    unfixed = lasting | failed
    for action in made.actions:
        if action.entry.id not in unfixed:
            say(f"Fixed: {action.entry.title}{_seen(action, after)}.")
    return [Left(action.entry, unfixed[action.entry.id], action.entry.fix_commands) for action in made.actions
            if action.entry.id in unfixed]  # fmt: skip


def undo(host: Host) -> Exit:
    """Restore what there was before every ``--fix``; CASE_FAILED, with nothing removed, if a file was edited since."""
    home = _require_home(host)
    with placement.locked(host):
        recorded = _recorded(host, home)
        if recorded == _NOTHING:
            placement.take_away(host, [], [f"{home}/{RECORD}{PART_SUFFIX}"])
            say(f"Nothing to undo on {host.name}.")
            return Exit.OK
        contents = placement.read(host, list(recorded.files)) if recorded.files else {}
        edited = [path for path, data in contents.items() if data is not None and _digest(data) != recorded.files[path]]
        if edited:
            for path in edited:
                say(f"{path} was edited after --fix wrote it, and is left unchanged. Remove it by hand.")
            say(f"Nothing was undone on {host.name}.")
            return Exit.CASE_FAILED
        user = _account(host)["user"]
        if lasting := _undo_commands(host, recorded.undo, user):
            raise HostProblem(
                f"On {host.name}, “{lasting[0]}” failed. Nothing was removed.", "Run it as root, then again."
            )
        ours = [*recorded.files, f"{home}/{RECORD}"]
        parts = [f"{path}{suffix}" for path in ours for suffix in (PART_SUFFIX, BACKUP_SUFFIX)]
        placement.take_away(host, recorded.directories, [*recorded.files, *parts, f"{home}/{RECORD}"])
        there = [path for path, data in placement.read(host, ours).items() if data is not None]
    if there:
        raise HostProblem(f"On {host.name}, {', '.join(there)} could not be removed.")
    for path, data in contents.items():
        if data is not None:
            say(f"Removed {path}.")
    for command in recorded.undo:
        say(f"Ran {filled(command, {'account': user})}.")
    return Exit.OK


def _ids(made: Plan) -> set[str]:
    return {action.entry.id for action in made.actions} | {each.entry.id for each in made.left}


def _account(host: Host) -> dict[str, str]:
    values = host.ask(shell(_ASK), fields, doing="reading the account")
    return {key: os.fsdecode(value) for key, value in values}


def _require_home(host: Host) -> str:
    """The account's home. Raises WrongUsage or HostProblem if no file may be placed there."""
    about = _account(host)
    placement.require_own_home(
        uid=int(about["uid"]), user=about["user"], home=about["home"], owner=about["owner"],
        xdg_directory=about["elsewhere"],
    )  # fmt: skip
    return about["home"]


def _recorded(host: Host, home: str) -> Fixes:
    """What earlier runs did; an interrupted one may have left only the unfinished record."""
    record = f"{home}/{RECORD}"
    contents = placement.read(host, [record, f"{record}{PART_SUFFIX}"])
    data = next((each for each in contents.values() if each is not None), None)
    if data is None:
        return _NOTHING
    try:
        found = msgspec.json.decode(data, type=Fixes)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if contents[record] is None:  # it was interrupted while it wrote the record, before it did anything else
            return _NOTHING
        raise HostProblem(f"{record} on {host.name} is not a record of --fix: {error}.", "Move it away.") from error
    known = writable(catalogue.load().values(), home)
    above = {str(directory) for path in (*known, record) for directory in PurePosixPath(path).parents}
    found = Fixes(
        {_spelt(path, known, home): digest for path, digest in found.files.items()},
        [_spelt(path, above, home) for path in found.directories],
        found.undo,
    )
    for path in (*found.files, *found.directories):
        if path not in (known if path in found.files else above):
            raise HostProblem(f"{record} on {host.name} names {path}, which --fix never writes.", "Move it away.")
    for command in found.undo:
        if command not in ALLOWED.values():
            raise HostProblem(
                f"{record} on {host.name} has a command that --fix never runs: {command}", "Move it away."
            )
    return found


def _spelt(path: str, known: Iterable[str], home: str) -> str:
    """A recorded path as it is called now: HOME was perhaps spelt otherwise, with a slash at its end or over a link."""
    below = (each for each in known if each.startswith(f"{home}/"))
    return next((each for each in below if path.endswith(each.removeprefix(home))), path)


def _record(host: Host, home: str, recorded: Fixes, made: Plan, failed: Sequence[str] = ()) -> File:
    path = f"{home}/{RECORD}"
    new = placement.missing_directories(host, [path, *(file.path for file in made.files)])
    undone = [action.undo for action in made.actions if action.undo and action.entry.id not in failed]
    merged = Fixes(
        files={**recorded.files, **{file.path: _digest(file.data) for file in made.files}},
        directories=placement.outer_first({*recorded.directories, *new}),
        undo=list(dict.fromkeys([*recorded.undo, *undone])),
    )
    return File(path, msgspec.json.format(msgspec.json.encode(merged)) + b"\n", 0o600)


def _forget(host: Host, home: str, recorded: Fixes, made: Plan, failed: Mapping[str, str]) -> None:
    """Take commands that failed out of the record, or the record itself if nothing was done."""
    if made.files or recorded != _NOTHING or any(action.entry.id not in failed for action in made.actions):
        before = _recorded(host, home)
        kept = Fixes(recorded.files, before.directories, recorded.undo)
        placement.place(host, [_record(host, home, kept, made, list(failed))]).keep()
    else:
        before = _recorded(host, home)
        placement.take_away(host, before.directories, [f"{home}/{RECORD}"])


def _run(host: Host, made: Plan, taken: HostSnapshot) -> dict[str, str]:
    """Run the commands; the reason of each that failed, by entry."""
    failed = {}
    for action in made.actions:
        if action.command:
            done = host.run(["sh", "-ec", action.command], env={"account": taken.first("user")}, timeout=30)
            if done.returncode != 0:
                failed[action.entry.id] = probe_container.tail(done.stderr) or f"exit status {done.returncode}"
    return failed


def _undo_commands(host: Host, commands: Sequence[str], user: str) -> list[str]:
    """Run these commands; those that failed."""
    return [
        filled(command, {"account": user})
        for command in commands
        if host.run(["sh", "-ec", command], env={"account": user}, timeout=30).returncode != 0
    ]


def _probe(host: Host) -> _Probe:
    with probe_container.directory_on(host) as directory:
        try:
            values = probe_container.run(host, (), [directory, "", _WRITE])
        except TimedOut as late:
            return _Probe(wrote=False, error=f"timed out after {late.timeout:g} s")
    wrote = values.get("inside", "").strip() == "written"
    return _Probe(wrote, "" if wrote or "started" in values else probe_container.tail(values["error"]))


def _require_effect(made: Plan, then: set[str], before: _Probe | None, after: _Probe | None) -> None:
    """Raise HostProblem unless every file has the effect that its entry promises."""
    restored = "The previous files were restored."
    for action in made.actions:
        if action.files and action.entry.id in then:
            raise HostProblem(f"The doctor still finds “{action.entry.title}” with the new files. {restored}")
    if before is None or after is None:
        return
    if before.wrote and not after.wrote:
        raise HostProblem(f"With the new files, a container fails that worked before: {after.error}. {restored}")
    keep_id = any(action.files and action.entry.id == WRITABLE_BY_USERNS for action in made.actions)
    if keep_id and not after.wrote and not _same(before.error, after.error):
        raise HostProblem(f"With the new files, a container still can't write: {after.error}. {restored}")


def _same(before: str, after: str) -> bool:
    """Whether no container starts, with and without the new files, for one reason."""
    return bool(before and after) and "permission denied" not in after.lower()


def _seen(action: Action, after: _Probe | None) -> str:
    """What was seen of a fix, besides that the doctor no longer finds the problem."""
    if action.entry.id != WRITABLE_BY_USERNS or after is None:
        return ""
    if after.wrote:
        return "; a container wrote to a directory of this account as its user"
    return f"; not seen in a container, because none starts on this host: {after.error}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
