"""The version of this project, with the commit of the checkout where git reports one."""

from __future__ import annotations

import functools
import subprocess
import tomllib

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
    """The commit of this checkout, 12 digits; empty outside a git checkout or where git can't be run."""
    argv = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    if not (ROOT / ".git").exists():  # a copy below another repository is not of that repository's commit
        return ""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
