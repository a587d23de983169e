"""A nanoclaw checkout for who has none: the pinned commit, cloned into the cache."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

from checks.hosts.recipe import FIXTURES
from checks.problems import Exit, HostProblem, Problem, WrongUsage
from checks.runs import cache
from checks.terminal import say

PIN = FIXTURES / "nanoclaw.toml"


def act(action: str, ref: str) -> Exit:
    """``invoke nanoclaw ACTION``."""
    try:
        if action != "fetch":
            raise WrongUsage(f"invoke nanoclaw can’t “{action}”.", "It can: fetch.")
        say(str(fetch(ref)))
    except Problem as problem:
        say(str(problem), error=True)
        return problem.exit
    return Exit.OK


def fetch(ref: str = "") -> Path:
    """Clone nanoclaw at ``ref``, or at the pinned commit, and return the folder; one that is there already is kept.

    Raises HostProblem where git or the network fails, or where the pinned ref is no longer the pinned commit.
    """
    pin = tomllib.loads(PIN.read_text())
    wanted = ref or str(pin["ref"])
    folder = cache() / "nanoclaw" / wanted.replace("/", "_")
    if folder.is_dir():
        return folder
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    _git("clone", "--quiet", "--depth", "1", "--branch", wanted, "--", str(pin["repository"]), str(aside))
    commit = _git("-C", str(aside), "rev-parse", "HEAD").strip()
    if wanted == pin["ref"] and commit != pin["commit"]:
        shutil.rmtree(aside)
        raise HostProblem(
            f"{wanted} of {pin['repository']} is commit {commit}, not {pin['commit']} as pinned.",
            f"Look at what changed; then correct {PIN}.",
        )
    aside.rename(folder)
    return folder


def _git(*args: str) -> str:
    try:
        done = subprocess.run(["git", *args], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise HostProblem("git is not installed.", "Install it with: apt-get install git") from error
    if done.returncode != 0:
        said = done.stderr.strip() or "it did not say why"
        raise HostProblem(
            f"git {args[0]} failed: {said.splitlines()[-1]}",
            "Without a network, clone nanoclaw elsewhere and name it with --nanoclaw DIR; "
            "or leave it out: the project's stand-in agent is used.",
        )
    return done.stdout
