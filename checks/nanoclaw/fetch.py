"""Fetching a nanoclaw checkout into the cache: a pinned commit, or any branch or tag."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from msgspec import Meta

from checks.core import strict_toml, tools
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.lines import lines_of
from checks.core.outcome import run_and_report
from checks.core.paths import FIXTURES
from checks.core.process import Completed
from checks.core.progress import Progress
from checks.core.run_directories import cache
from checks.core.strict_toml import Table, Text
from checks.core.terminal import say

PINS = FIXTURES / "nanoclaw.toml"
_AS_COMMITTED = {"core.autocrlf": "false", "core.eol": "lf", "core.symlinks": "true"}
"""Settings of a clone: with those of a user of Windows, its scripts would not run in a container."""
_LONGEST = 200  # characters of a directory's name; file systems take 255 bytes


class Pin(Table, frozen=True):
    """A version of nanoclaw that the project knows."""

    name: Text
    description: Text
    commit: Annotated[str, Meta(pattern="^[0-9a-f]{40}$")]
    date: date


class Pins(Table, frozen=True):
    """The pinned versions."""

    repository: Text
    default: Text
    pin: tuple[Pin, ...]

    def __post_init__(self) -> None:
        if self.default not in (names := [each.name for each in self.pin]):
            raise ValueError(f"“default” is not one of {', '.join(names)}")


def nanoclaw(
    action: Annotated[str, "fetch"],
    ref: Annotated[
        str, "a version in fixtures/nanoclaw.toml, a tag or a branch (default: the newest in that file)"
    ] = "",
) -> Exit:
    """Clone nanoclaw and print the directory: `invoke nanoclaw fetch`.

    Exit status: 0 cloned, or already there; 2 wrong usage; 3 the clone failed.
    """

    def run() -> Exit:
        if action != "fetch":
            raise WrongUsage(f"Unknown action “{action}”.", "The only one is: invoke nanoclaw fetch")
        say(str(fetch(ref)))
        return Exit.OK

    return run_and_report(run, Progress().say)


def fetch(ref: str = "") -> Path:
    """Clone nanoclaw at ``ref`` and return the directory; an existing clone is kept, if it is of that commit.

    ``ref`` is the name of a pin, by default the pinned one, or a tag or branch. Raises WrongUsage where it can't be any
    of these, HostProblem where git or the network fails.
    """
    pins = strict_toml.load(PINS, Pins)
    wanted = ref or pins.default
    checkouts = cache() / "nanoclaw"
    directory = checkouts / _directory_name(wanted)
    pinned = next((each for each in pins.pin if each.name == wanted), None)
    if directory.is_dir():
        commit = _commit(directory)
        if not commit or (pinned and commit != pinned.commit):
            raise HostProblem(
                f"{directory} is not a clone of {wanted}: its commit is {commit or 'none'}.", "Remove it."
            )
        return directory
    checkouts.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=checkouts) as temporary:  # no ref begins with a dot
        clone = Path(temporary) / "clone"
        if pinned:
            _git("init", "--quiet", "--", str(clone))
            for setting, value in _AS_COMMITTED.items():
                _git("-C", str(clone), "config", setting, value)
            _git("-C", str(clone), "fetch", "--quiet", "--depth", "1", "--", pins.repository, pinned.commit)
            _git("-C", str(clone), "checkout", "--quiet", "--detach", "FETCH_HEAD")
        else:
            settings = [f"--config={setting}={value}" for setting, value in _AS_COMMITTED.items()]
            _git("clone", "--quiet", "--depth", "1", f"--branch={wanted}", *settings, "--", pins.repository, str(clone))
        try:
            clone.rename(directory)
        except OSError:
            if not directory.is_dir():  # another run may have cloned it at the same time
                raise
    return directory


def _commit(clone: Path) -> str:
    """What a clone has checked out; empty if it is none. Without .git of its own it would be another clone's."""
    if not (clone / ".git").is_dir():
        return ""
    there = _ran_git("-C", str(clone), "rev-parse", "--verify", "HEAD")
    return there.stdout.strip() if there.returncode == 0 else ""


def _directory_name(ref: str) -> str:
    """The directory name of a ref, unique for each. Raises WrongUsage for an invalid ref."""
    name = quote(ref, safe="")
    if ref.startswith("-") or "\0" in ref or len(name) > _LONGEST or not _git_allows(ref):
        raise WrongUsage(f"--ref {ref!r} is not a valid name of a branch or tag.", "Example: --ref 2.0.64")
    return name


def _git_allows(ref: str) -> bool:
    checked = _ran_git("check-ref-format", f"refs/heads/{ref}")
    if checked.returncode not in (0, 1):
        raise _failed(("check-ref-format",), checked)
    return checked.returncode == 0


def _ran_git(*args: str) -> Completed:
    return tools.git(*args)


def _git(*args: str) -> str:
    done = _ran_git(*args)
    if done.returncode != 0:
        raise _failed(args, done)
    return done.stdout


def _failed(args: Sequence[str], done: Completed) -> HostProblem:
    lines = lines_of(done.stderr.strip()) or ["no error message"]
    message = next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
    return HostProblem(
        f"git {args[2] if args[0] == '-C' else args[0]} failed: {message}",
        "Without a network, clone nanoclaw elsewhere and name it with --nanoclaw DIR; "
        "or leave it out to use the project's stub agent.",
    )
