"""Limits, read inside the container, and enforced: an ignored limit fails its case."""

from __future__ import annotations

import re

import pytest

from checks.engine.case_context import IN_A_SERVICE, CaseContext
from checks.engine.docker import run, shell
from checks.engine.expect import expect, expect_readable, expect_run

GROUP = "Resource limits"

CGROUP = "/sys/fs/cgroup"
FIX = "limits-are-accepted-and-ignored"


def limit(ctx: CaseContext, flag: str, file: str, wanted: str) -> None:
    """Fail unless a container started with the flag reads that limit in its cgroup."""
    done = ctx.docker(run(ctx.probe, "cat", f"{CGROUP}/{file}", options=["--rm", flag]))
    ctx.record.observe(file, done.stdout.strip())
    expect(
        done.returncode == 0,
        f"{flag} to be accepted, and {file} to be readable inside",
        f"status {done.returncode}: {done.stderr.strip()}",
    )
    expect(done.stdout == f"{wanted}\n", f"{file} to be {wanted} inside, from {flag}", done.stdout)


@pytest.mark.case("--cpus", fix=FIX)
def test_cpus(ctx: CaseContext) -> None:
    limit(ctx, "--cpus=2", "cpu.max", "200000 100000")
    # CPU time of two busy loops limited to half a processor, by the cgroup's accounting and the clock.
    script = (
        "spent() { sed -n 's/^usage_usec //p' /sys/fs/cgroup/cpu.stat; }; now() { cut -d' ' -f1 /proc/uptime; };"
        "(while :; do :; done) & (while :; do :; done) & sleep 0.5;"
        "a=$(spent); s=$(now); sleep 4; b=$(spent); e=$(now);"
        "kill %1 %2; echo $a $b $s $e"
    )
    done = ctx.docker(run(ctx.probe, "sh", "-c", script, options=["--rm", "--cpus=0.5"]), timeout=30)
    expect_run(done)
    share = expect_readable(_share, done.stdout, "CPU time and clock, before and after")
    ctx.record.observe("share_of_half_a_cpu", round(share, 2))
    expect(0.35 <= share <= 0.65, "two busy loops under --cpus=0.5 to get about 0.5 processors", f"{share:.2f}")


def _share(output: str) -> float:
    """The processors that were used: of the CPU time in µs and the clock in s, before and after each."""
    before, after, start, end = (float(part) for part in output.split())
    return (after - before) / 1e6 / (end - start)


@pytest.mark.case("--memory", fix=FIX)
def test_memory(ctx: CaseContext) -> None:
    limit(ctx, "--memory=4g", "memory.max", str(4 << 30))
    # An allocation within the limit works. One far above it, and above the swap that comes with it, is killed.
    script = (
        "dd if=/dev/zero of=/dev/null bs=40M count=1 2>/dev/null && echo 40 MiB fit;"
        "exec dd if=/dev/zero of=/dev/null bs=256M count=1"
    )
    command = run(ctx.probe, "sh", "-c", script, options=["--rm", "--memory=64m"])
    # Podman's conmon then leaves a file “oom” in the client's directory.
    done = ctx.docker(command, within=["env", "-C", ctx.make("client")], timeout=30)
    expect_run(done, status=137, stdout="40 MiB fit\n")


@pytest.mark.case("--pids-limit", fix=FIX)
def test_pids_limit(ctx: CaseContext) -> None:
    limit(ctx, "--pids-limit=256", "pids.max", "256")
    # The subshell exits at its first failed fork. The rest uses shell builtins only.
    script = "(n=0; while [ $n -lt 120 ]; do sleep 60 & n=$((n+1)); echo $n > /tmp/n; done); read n < /tmp/n; echo $n"
    done = ctx.docker(run(ctx.probe, "sh", "-c", script, options=["--rm", "--pids-limit=64"]), timeout=30)
    expect_run(done, stderr_has="fork")
    expect(re.fullmatch(r"\d+\n", done.stdout) is not None, "a number of forks", done.stdout)
    forked = expect_readable(int, done.stdout, "a number of forks")
    ctx.record.observe("forked_under_64", forked)
    expect(56 <= forked <= 64, "about 62 forks under --pids-limit=64, and then no more", forked)


@pytest.mark.case("--cpus, --memory and --pids-limit together", fix=FIX)
def test_all_limits(ctx: CaseContext) -> None:
    # As a user service where the account has a session, like nanoclaw: the container's cgroup is a different one there.
    flags = ("--cpus=2", "--memory=4g", "--pids-limit=256")
    files = [f"{CGROUP}/{file}" for file in ("cpu.max", "memory.max", "pids.max")]
    script = 'cat "$@"; [ "$(cat /sys/fs/cgroup/memory.swap.max 2>/dev/null)" != max ] || echo swap without end'
    done = ctx.docker(
        run(ctx.probe, *shell(script, *files), options=["--rm", *flags]),
        within=IN_A_SERVICE if ctx.has_session else None,
    )
    expect_run(done, stdout=f"200000 100000\n{4 << 30}\n256\n")
