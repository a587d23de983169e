"""The plan of ``invoke doctor --fix``: what of the entries' own fixes the account may do, and what is left.

Commands that only write configuration files are run in an empty directory first: the files that they make there are
then placed in the account's home, all or none. So the guide, the doctor and the fix can't differ.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.core import run_directories
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.engine.placement import File
from checks.guide.catalogue import Entry, Step, User
from checks.guide.diagnosis import Diagnosis, diagnose
from checks.guide.findings import needs_systemd
from checks.guide.podman_errors import malformed
from checks.guide.snapshot import HostSnapshot

WRITABLE_BY_USERNS = "permission-denied-in-the-workspace"

_SETTINGS = ".config/containers"
_WRITES_FILES = re.compile(
    r"mkdir -p ~/\.config/containers(/containers\.conf\.d)?|printf '[^']*' >~/(?P<file>\.config/containers/[\w./-]+)"
)
ALLOWED = {'loginctl enable-linger "$account"': 'loginctl disable-linger "$account"'}
"""Root commands that systemd may allow to the account itself, with the command that undoes each."""


@dataclass(frozen=True)
class Action:
    """The fix of one finding that the account may try."""

    entry: Entry
    files: Sequence[File] = ()
    command: str = ""
    undo: str = ""


@dataclass(frozen=True)
class Left:
    """A fix that is left to the user: the reason, and its steps."""

    entry: Entry
    reason: str = ""
    """Empty if its commands are simply not the account's."""
    steps: Sequence[Step] = ()


@dataclass(frozen=True)
class Plan:
    """What is done, and what is left."""

    actions: Sequence[Action]
    left: Sequence[Left]

    @property
    def files(self) -> list[File]:
        """The files of all actions, each once."""
        return list({file.path: file for action in self.actions for file in action.files}.values())


def candidates(diagnoses: Sequence[Diagnosis], home: str) -> list[str]:
    """The paths of the files that fixes may write."""
    made = [file.path for each in diagnoses if _writes_files(each.entry) for file in _files(each.entry, home)]
    return list(dict.fromkeys(made))


def writable(entries: Iterable[Entry], home: str) -> set[str]:
    """The paths of all files that any fix may write."""
    return {file.path for entry in entries if _writes_files(entry) for file in _files(entry, home)}


def plan(
    host: HostSnapshot,
    diagnoses: Sequence[Diagnosis],
    entries: Mapping[str, Entry],
    present: Mapping[str, bytes | None],
) -> Plan:
    """Plan the fixes of these findings. ``present`` has the content of each candidate, None for a missing one."""
    actions: list[Action] = []
    left: list[Left] = []
    for each in diagnoses:
        if each.entry.id in {entry.id for entry in _fixed_by(actions, host, entries, diagnoses)}:
            continue  # the file of a finding before it fixes it too
        found = _planned(each.entry, actions, host, entries, present)
        if isinstance(found, Action):
            actions.append(found)
        else:
            left.append(found)
    return Plan(actions, left)


def variables(host: HostSnapshot) -> dict[str, str]:
    """The values of the variables in the entries' commands, as far as they are known."""
    several = {"name": host.lines("unwatched"), "file": malformed(host)}
    known = {"account": host.first("user"), "path": host.first("docker")}
    return {**known, **{name: values[0] for name, values in several.items() if len(values) == 1}}


def filled(script: str, known: Mapping[str, str]) -> str:
    """The script with the known variables in place, as it can be typed."""

    def value(found: re.Match[str]) -> str:
        return shlex.quote(known[found[1]] + found[2]) if found[1] in known else found[0]

    return re.sub(r'"\$(\w+)([^"$]*)"', value, script)


def _planned(
    entry: Entry,
    before: Sequence[Action],
    host: HostSnapshot,
    entries: Mapping[str, Entry],
    present: Mapping[str, bytes | None],
) -> Action | Left:
    if not _writes_files(entry):
        first = entry.fix_commands[0].script if entry.fix_commands else ""
        if first in ALLOWED and len(entry.fix_commands) == 1 and host.systemd:
            return Action(entry, command=first, undo=ALLOWED[first])
        return Left(entry, steps=_possible(entry, host))
    if not _possible(entry, host):
        return Left(entry, f"Podman {host.short_version} does not use pasta for networks here, which its file is for")
    files = _files(entry, host.first("home"))
    for file in files:
        if present.get(file.path) not in (None, file.data):
            lines = " / ".join(line for line in lines_of(file.data.decode()) if line)
            return Left(entry, f"{file.path} exists and has other content; it is left unchanged. Add to it: {lines}")
    if conflict := next(_conflicts(files, host), ""):
        return Left(entry, conflict)
    earlier = [file for action in before for file in action.files]
    now = {each.entry.id for each in diagnose(with_files(host, earlier), entries)}
    then = {each.entry.id: each for each in diagnose(with_files(host, [*earlier, *files]), entries)}
    if entry.id in then:
        reason = f"the file alone would not change it: {then[entry.id].observation}"
        return Left(entry, reason, _possible(entry, host))
    if new := [each for id_, each in then.items() if id_ not in now]:
        return Left(entry, f"its file would cause another problem: {new[0].observation}", _possible(entry, host))
    return Action(entry, files)


def _possible(entry: Entry, host: HostSnapshot) -> Sequence[Step]:
    """The steps of its fix that can work on this host."""
    if host.lacks_systemd and needs_systemd(entry):
        return ()
    return [step for step in entry.fix_commands if host.uses_pasta or "pasta_options" not in step.script]


def _fixed_by(
    actions: Sequence[Action], host: HostSnapshot, entries: Mapping[str, Entry], diagnoses: Sequence[Diagnosis]
) -> list[Entry]:
    """The findings that the files of these actions fix."""
    files = [file for action in actions for file in action.files]
    if not files:
        return []
    then = {each.entry.id for each in diagnose(with_files(host, files), entries)}
    return [each.entry for each in diagnoses if each.entry.id not in then]


def with_files(host: HostSnapshot, files: Sequence[File]) -> HostSnapshot:
    """The snapshot as it would be with these files."""
    values = {key: list(lines) for key, lines in host.values.items()}
    for file in files:
        if file.path.endswith(".conf"):
            values[f"conf:{file.path}"] = lines_of(file.data.decode())
            values["conf"] = list(dict.fromkeys([*values.get("conf", ()), file.path]))
    return HostSnapshot(values, host.taken_at)


def _is_machines(path: str) -> bool:
    return path.startswith(("/usr/share/containers/", "/etc/containers/"))


def _conflicts(files: Sequence[File], host: HostSnapshot) -> Iterator[str]:
    """Settings of the user that contradict those in our files."""
    ours = with_files(HostSnapshot({}, host.taken_at), files).settings
    own = {file.path for file in files}
    theirs = [(path, table) for path, table in host.settings if path not in own and not _is_machines(path)]
    for _, wanted in ours:
        for section, values in wanted.items():
            for key, value in values.items() if isinstance(values, dict) else ():
                for path, table in theirs:
                    there = table.get(section)
                    if isinstance(there, dict) and key in there and there[key] != value:
                        yield f"{path} sets {key} = {there[key]!r}; it is left unchanged. Remove that setting from it"


def _writes_files(entry: Entry) -> bool:
    """Whether the commands of its fix are the account's and only write files of Podman's configuration."""
    steps = entry.fix_commands
    lines = [line for step in steps for line in step.run]
    return bool(lines) and all(step.user is User.ACCOUNT for step in steps) and all(map(_WRITES_FILES.fullmatch, lines))


def _files(entry: Entry, home: str) -> list[File]:
    """The files that its commands write, for that home: made by these commands in an empty home."""
    with tempfile.TemporaryDirectory(dir=run_directories.cache()) as directory:
        (Path(directory) / _SETTINGS / "containers.conf.d").mkdir(parents=True)
        script = "\n".join(step.script for step in entry.fix_commands)
        environment = {"HOME": directory, "PATH": os.defpath}
        try:
            subprocess.run(["sh", "-ec", script], env=environment, check=True, stdin=subprocess.DEVNULL, timeout=20)
        except subprocess.SubprocessError as error:
            raise HostProblem(
                f"The files of a fix can't be made in {directory}: {error}.", "Is the disk full?"
            ) from error
        lines = [_WRITES_FILES.fullmatch(line) for step in entry.fix_commands for line in step.run]
        names = sorted({line["file"] for line in lines if line and line["file"]})
        return [File(f"{home}/{name}", (Path(directory) / name).read_bytes(), 0o644) for name in names]
