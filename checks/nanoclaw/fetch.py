"""Fetching a nanoclaw checkout: the pinned commit, cloned into the cache."""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from checks.core import tools
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.outcome import run_and_report
from checks.core.paths import FIXTURES
from checks.core.progress import Progress
from checks.core.run_directories import cache
from checks.core.terminal import say

PIN = FIXTURES / "nanoclaw.toml"
_LONGEST = 200  # characters of a directory's name; file systems take 255 bytes


def nanoclaw(
    action: Annotated[str, "fetch"],
    ref: Annotated[str, "a tag or branch (default: the one in fixtures/nanoclaw.toml)"] = "",
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
    """Clone nanoclaw at ``ref``, or at the pinned commit, and return the directory; an existing clone is kept.

    Raises WrongUsage where ``ref`` can't be the name of a branch or tag, HostProblem where git or the network fails, or
    where the pinned ref is no longer the pinned commit.
    """
    pin = tomllib.loads(PIN.read_text())
    wanted = ref or str(pin["ref"])
    checkouts = cache() / "nanoclaw"
    directory = checkouts / _directory_name(wanted)
    if directory.is_dir():
        return directory
    checkouts.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=checkouts) as temporary:  # no ref begins with a dot
        clone = Path(temporary) / "clone"
        _git("clone", "--quiet", "--depth", "1", f"--branch={wanted}", "--", str(pin["repository"]), str(clone))
        commit = _git("-C", str(clone), "rev-parse", "HEAD").strip()
        if wanted == pin["ref"] and commit != pin["commit"]:
            raise HostProblem(
                f"{wanted} of {pin['repository']} is commit {commit}, not {pin['commit']} as pinned.",
                f"Check what changed, then update {PIN}.",
            )
        try:
            clone.rename(directory)
        except OSError:
            if not directory.is_dir():  # another run may have cloned it at the same time
                raise
    return directory


def _directory_name(ref: str) -> str:
    """The directory name of a ref, unique for each. Raises WrongUsage for an invalid ref."""
    name = quote(ref, safe="")
    if ref.startswith("-") or "\0" in ref or len(name) > _LONGEST or not _git_allows(ref):
        raise WrongUsage(f"--ref {ref!r} is not a valid name of a branch or tag.", "Example: --ref v1.2.0")
    return name


def _git_allows(ref: str) -> bool:
    return _ran_git("check-ref-format", f"refs/heads/{ref}").returncode == 0


def _ran_git(*args: str) -> subprocess.CompletedProcess[str]:
    return tools.run(["git", *args], remedy="Install it with: apt-get install git")


def _git(*args: str) -> str:
    done = _ran_git(*args)
    if done.returncode != 0:
        message = done.stderr.strip() or "no error message"
        raise HostProblem(
            f"git {args[0]} failed: {message.splitlines()[-1]}",
            "Without a network, clone nanoclaw elsewhere and name it with --nanoclaw DIR; "
            "or leave it out to use the project's stub agent.",
        )
    return done.stdout
