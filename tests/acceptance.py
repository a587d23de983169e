"""What tests/acceptance.sh runs: the commands of a new user, over ssh, on a throwaway host of the profile stock."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.core import run_directories
from checks.core.errors import Exit, HostProblem
from checks.core.lines import lines_of
from checks.core.outcome import run_and_report
from checks.core.paths import DEFAULT_GUEST, ROOT
from checks.core.progress import Progress
from checks.engine.prepared_host import prepared
from checks.hosts.guest import GuestAccount
from checks.runner import verify

_TIMEOUT = 7200  # seconds, for a command
_FAILURE = re.compile(r"^  \[FAIL\].*(?:\n {9}.*)*", re.MULTILINE)
_SHOWN = 12  # last lines of a command that ended with another status than expected

# Everything in the home but Podman's storage and caches, which no fix is about: kind, mode, name, and of what is no
# directory also the time of its last change, its target or checksum.
_HOME = r"""
cd "$HOME" && find . -xdev \( -path ./.local/share/containers -o -path ./.cache \) -prune -o -print0 | sort -z |
    xargs -0 -n 1 sh -c 'stat -c "%F %a %n" "$1"; [ -d "$1" ] || stat -c "%Y %n" "$1"
        [ ! -f "$1" ] || sha256sum "$1"; [ ! -L "$1" ] || readlink "$1"' sh
loginctl show-user "$(id -un)" --property=Linger
"""


@dataclass(frozen=True)
class _Step:
    """One command, and the exit status that it must have."""

    command: Sequence[str]
    status: Exit


def _steps(url: str, factor: float, only: Sequence[str]) -> Sequence[_Step]:
    cases = [word for pattern in only for word in ("--only", pattern)]
    return [
        _Step(["doctor", "--host", url], Exit.CASE_FAILED),
        _Step(["doctor", "--host", url, "--fix", "--yes"], Exit.OK),
        _Step(["doctor", "--host", url], Exit.OK),
        _Step(["inject", "--host", url, "--install", "--driver"], Exit.OK),
        _Step(["verify", "--host", url, "--timeout-factor", f"{factor:g}", *cases], Exit.OK),
        _Step(["inject", "--host", url, "--uninstall", "--driver"], Exit.OK),
        _Step(["doctor", "--host", url, "--undo"], Exit.OK),
        _Step(["doctor", "--host", url], Exit.CASE_FAILED),
    ]


def _try(host: str, only: Sequence[str], factor: float, progress: Progress) -> Exit:
    with run_directories.new_run() as run, prepared(host, "stock", run, progress) as ready:
        assert ready.guest
        account = ready.guest.members[0]
        assert isinstance(account, GuestAccount)
        before = _contents(account)
        environment = _with_ssh(run.directory / "bin", account.options)
        worst = Exit.OK
        for step in _steps(f"ssh://{account.destination}:{account.port}", account.slowness * factor, only):
            if not _run(step, environment):
                worst = Exit.CASE_FAILED
        changed = sorted(set(before) ^ set(_contents(account)))
        print("\n".join([f"Not as before: {line}" for line in changed]) or "The home is as before, byte for byte.")
        return Exit.CASE_FAILED if changed else worst


def _run(step: _Step, environment: dict[str, str]) -> bool:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *step.command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_TIMEOUT, check=False,
    )  # fmt: skip
    as_expected = done.returncode == step.status
    shown = lines_of(done.stdout.strip())
    failures = [line for found in _FAILURE.findall(done.stdout) for line in lines_of(found)]
    print(
        f"invoke {shlex.join(step.command)}: exit status {done.returncode} after {time.monotonic() - began:.0f} s",
        flush=True,
    )
    for line in shown[-1:] if as_expected else [*failures, *shown[-_SHOWN:]]:
        print(f"    {line}")
    if not as_expected:
        print(f"    expected exit status {step.status}")
    return as_expected


def _contents(account: GuestAccount) -> list[str]:
    return account.ask(["sh", "-c", _HOME], lines_of, doing="reading the home")


def _with_ssh(directory: Path, options: Sequence[str]) -> dict[str, str]:
    """An environment whose ssh knows the guest's key, as the user's own would from ~/.ssh/config."""
    real = shutil.which("ssh")
    if real is None:
        raise HostProblem("ssh is not installed.", "Install it with: scripts/install.sh guest")
    directory.mkdir()
    (directory / "ssh").write_text(f'#!/bin/sh\nexec {shlex.join([real, *options])} "$@"\n')
    (directory / "ssh").chmod(0o755)
    return {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}


def main() -> Exit:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tests/acceptance.sh")
    parser.add_argument("--host", default=DEFAULT_GUEST)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--timeout-factor", default="1")
    options = parser.parse_args()
    progress = Progress()
    return run_and_report(
        lambda: _try(options.host, options.only, verify.factor_of(options.timeout_factor), progress), progress.say
    )


if __name__ == "__main__":
    sys.exit(main())
