"""The version of this project, with the commit of the checkout where git reports one."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path

from packaging.version import Version

from checks.core import tools
from checks.core.errors import HostProblem
from checks.core.paths import ROOT

_TIMEOUT = 5.0  # seconds


def version() -> str:
    """The version, in a git checkout with its commit: ``0.1.0+1a2b3c4d5e6f``."""
    return f"{number()}+{commit()}" if commit() else number()


@functools.cache
def number() -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


@functools.cache
def commit() -> str:
    """The commit of this checkout, as ``commit_of``."""
    return commit_of(ROOT)


def comparable(text: str) -> Version:
    """The version of another program by its numbers; of RHEL's Podman, “4.9.4-rhel”, 4.9.4. Zero without numbers."""
    numbers = re.match(r"\d{1,9}(\.\d{1,9}){0,3}", text, re.ASCII)
    return Version(numbers[0] if numbers else "0")


def commit_of(checkout: Path) -> str:
    """The commit that a git checkout has checked out, 12 digits; empty where git reports none or can't be run.

    Files that differ from it don't count. git runs no program for this, whatever the checkout's own settings are.
    """
    if not (checkout / ".git").exists():  # a copy below another repository is not of that repository's commit
        return ""
    try:
        done = tools.git("-C", str(checkout), "rev-parse", "--verify", "--short=12", "HEAD", timeout=_TIMEOUT)
    except HostProblem:
        return ""
    found = done.stdout.strip()
    return found if done.returncode == 0 and re.fullmatch("[0-9a-f]{12,40}", found) else ""
