"""Programs of this machine that the project needs for itself: run to their end, and reported where they fail."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.process import Completed, Process, TimedOut

_SYSTEM_DIRECTORIES = ("/usr/sbin", "/sbin")
_TIMEOUT = 3600.0  # seconds; mmdebstrap on a busy machine takes a quarter of that
_OF_A_REPOSITORY = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE",
)  # fmt: skip
_SHOWN = 12  # lines of a failed program's output


def path() -> str:
    """PATH with the directories of mke2fs, which a user's own PATH may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_DIRECTORIES])


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    remedy: str = "Install it with: scripts/install.sh guest",
    timeout: float = _TIMEOUT,
    unset: Collection[str] = (),
) -> Completed:
    """Run a program without input; ``env`` is added to the environment without ``unset``, ``timeout`` is in seconds.

    Raises HostProblem if it is not installed, with the remedy, and after a timeout.
    """
    try:
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        return Process(argv, env={**inherited, "PATH": path(), **(env or {})}).wait(timeout)
    except FileNotFoundError as error:
        raise HostProblem(f"{argv[0]} is not installed.", remedy) from error
    except TimedOut as error:
        raise HostProblem(f"“{error.program}” timed out after {error.timeout:g} s.") from error


def git(*args: str, timeout: float = _TIMEOUT) -> Completed:
    """Run git, whatever repository the environment names: a hook of git sets GIT_DIR for all that it runs.

    Raises as ``run``.
    """
    remedy = "Install it with: apt-get install git"
    return run(["git", *args], remedy=remedy, timeout=timeout, unset=_OF_A_REPOSITORY)


def run_checked(argv: Sequence[str], *, doing: str, env: Mapping[str, str] | None = None, remedy: str = "") -> str:
    """Run a program that must succeed; its standard output.

    Raises HostProblem where it fails: ``doing`` is the step that failed, ``remedy`` what the user can do.
    """
    done = run(argv, env=env)
    if done.returncode != 0:
        printed = lines_of(done.stderr.strip() or done.stdout.strip() or "no output")[-_SHOWN:]
        separator, end = (":\n", "\n") if len(printed) > 1 else (": ", "")
        raise HostProblem(
            f"{Path(argv[0]).name} failed with status {done.returncode} while {doing}{separator}"
            f"{chr(10).join(printed)}{end}",
            remedy,
        )
    return done.stdout
