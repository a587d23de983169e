"""The environment of a container's process, its user, and its isolation from the host."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from checks.engine import isolation
from checks.engine.case_context import CaseContext
from checks.engine.docker import Command, run
from checks.engine.expect import expect, expect_readable, expect_run
from checks.nanoclaw import contract, running
from checks.nanoclaw.contract import Mount

GROUP = "Environment and user"

VALUES = {
    "PLAIN": "value",
    "EMPTY": "",
    "SPACES": "  two words  ",
    "QUOTES": 'it\'s "quoted"',
    "DOLLAR": "$HOME `id` $(id) \\n",
    "EQUALS": "a=b=c",
    "DASHES": "--rm -v /:/host",
    "HASH": "a#b # not a comment",
    "PERCENT": "http://x:a%40b%41%%@host/%h",
    "PATTERN": "* ? [a-z] ~ ~root !!",
    "CONTROL": "tab\treturn\rbell\a",
    "BACKSLASH": "at the end \\",
    "FILE": "@file",
    "LINES": "one\ntwo\n",
    "UNICODE": "Ünïcødé 🦀",
    "LONG": "x" * 50_000,
}


KEYS = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY", "GITHUB_TOKEN",
    "TELEGRAM_BOT_TOKEN", "ONECLI_API_KEY", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK",
)  # fmt: skip
"""Variables of a client that lead to accounts of its user."""
NARROW = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
"""Runs a command with another umask than usual."""


@pytest.mark.case("Environment variable passing", fix="the-container-does-not-start")
def test_environment(ctx: CaseContext) -> None:
    values = {**VALUES, "NONCE": secrets.token_hex(8)}
    flags = [part for key, value in values.items() for part in ("-e", f"{key}={value}")]
    flags[:0] = ["-e", "NONCE=the last one counts"]
    leak = secrets.token_hex(8)
    command = run(ctx.probe, "sh", "-c", "umask >&2; cat /proc/self/environ", options=["--rm", *flags])
    # As from a service with UMask=0077, which has the keys of everything that its user uses.
    done = ctx.docker(command, within=NARROW, env=dict.fromkeys(("NOT_PASSED", *KEYS), leak))
    expect_run(done, stderr_has="0022\n")
    entries = [entry for entry in done.stdout.split("\0") if entry]
    expect(
        all("=" in entry and "\n" not in entry.split("=")[0] for entry in entries), "a list of variables", done.stdout
    )
    seen = dict(entry.split("=", 1) for entry in entries)
    for key, value in values.items():
        expect(seen.get(key) == value, f"{key} to be {value!r}", seen.get(key, "not set"))
    leaked = [entry for entry in entries if leak in entry or "NOT_PASSED" in entry]
    expect(not leaked, "the client's own environment to stay outside", f"{', '.join(leaked)} inside")


@pytest.mark.case("Timezone environment variable", fix="the-container-does-not-start")
def test_timezone(ctx: CaseContext) -> None:
    form = "%Y-%m-%d %H:%M:%S %Z"
    done = ctx.docker(run(ctx.probe, "date", f"+%s {form}", options=["--rm", "-e", "TZ=America/New_York"]))
    expect_run(done)
    epoch, _, got = done.stdout.strip().partition(" ")
    late = ctx.host.ask(["date", "+%s"], int, doing="reading the clock") - expect_readable(int, epoch, "a time")
    expect(abs(late) < 300, "the host's time", f"{late} s less")
    time = expect_readable(
        lambda text: datetime.fromtimestamp(int(text), ZoneInfo("America/New_York")),
        epoch,
        "seconds since 1970 and a local time",
    )
    wanted = time.strftime(form)
    expect(got == wanted, f"New York's time, {wanted}", got)


@pytest.mark.case("--user flag", fix="permission-denied-in-the-workspace")
def test_user(ctx: CaseContext) -> None:
    script = "id -u; id -g; grep -E '^(Uid|Gid):' /proc/self/status; grep ^Groups: /proc/self/status >&2"
    users = ((1000, 1000), (1234, 4321))
    ends = ctx.docker.at_once(
        *(run(ctx.probe, "sh", "-c", script, options=["--rm", "--user", f"{uid}:{gid}"]) for uid, gid in users)
    )
    for (uid, gid), done in zip(users, ends, strict=True):
        uids, gids = "\t".join([str(uid)] * 4), "\t".join([str(gid)] * 4)
        expect_run(done, stdout=f"{uid}\n{gid}\nUid:\t{uids}\nGid:\t{gids}\n", stderr_has="Groups:")
        groups = done.stderr.split("Groups:")[-1].split()
        # With keep-id, Podman also gives a container the host user's group.
        own = {str(gid), str(ctx.facts.gid)} if ctx.facts.engine == "podman" else {str(gid)}
        expect(set(groups) <= own, f"no further groups than {', '.join(sorted(own))}", groups)


@pytest.mark.case("--add-host=host.docker.internal:host-gateway", fix="host-gateway-is-an-invalid-ip-address")
def test_host_gateway(ctx: CaseContext) -> None:
    # Reach a service of the host by that name. The listener is a container on the host's network: each host has the
    # probe image, but not nc.
    word = secrets.token_hex(8)
    name = ctx.name("listener")
    port = str(20000 + secrets.randbelow(12000))
    ctx.start_unrelated(name, "--network=host", script=f"while :; do echo {word} | nc -l -p {port}; done")
    ask = (
        "grep host.docker.internal /etc/hosts;"
        f"for i in 1 2 3 4 5; do nc -w 3 host.docker.internal {port} </dev/null && exit; sleep 0.5; done; exit 1"
    )
    done = ctx.docker(run(ctx.probe, "sh", "-c", ask, options=["--rm", "--add-host=host.docker.internal:host-gateway"]))
    expect_run(done)
    address = done.stdout.split()[0] if done.stdout.split() else ""
    ctx.record.observe("host_gateway", address)
    expect(
        word in done.stdout,
        f"an answer from the host's port {port} by the name host.docker.internal",
        done.stdout + done.stderr,
    )


@pytest.mark.case("Isolation from the host", fix="the-container-does-not-start")
def test_isolation(ctx: CaseContext) -> None:
    # Nothing of the host that was not requested: processes, network, files, privileges. A plain container, and one with
    # the options of each nanoclaw version.
    secret = secrets.token_hex(8)
    script = ("-c", isolation.SCRIPT, "sh", ctx.write("secret", secret), *isolation.start_listener(ctx))
    mounts = [
        Mount(ctx.make("group"), "/workspace/group"),
        Mount(ctx.make("global"), "/workspace/global", readonly=True),
        Mount("/dev/null", "/workspace/group/.env", readonly=True),
    ]
    plain, places = run(ctx.probe, "sh", *script, options=["--rm"]), [mount.target for mount in mounts]
    commands = [plain, *nanoclaws(ctx, script, mounts)]
    for command, done in zip(commands, ctx.docker.at_once(*commands), strict=True):
        expect_run(done)
        isolation.expect_isolated(ctx, done.stdout, secret, () if command is plain else places)
        # And nothing else: the same container, started by the engine without the shim, must look the same.
        reference = ctx.engine(*command.with_options(ctx.docker.flags).words)
        isolation.expect_same_settings(ctx, done.stdout, reference)


def nanoclaws(ctx: CaseContext, script: Sequence[str], mounts: Sequence[Mount]) -> list[Command]:
    """The ``docker run`` of each nanoclaw version, with a shell of the probe image in place of the agent."""
    uid, gid, zone = ctx.uid, ctx.facts.gid, running.ZONE
    streams = contract.run_streams(
        name=ctx.name("streams"), zone=zone, uid=uid, gid=gid, mounts=mounts, image=ctx.probe
    )
    databases = contract.run_databases(
        name=ctx.name("databases"),
        install=ctx.run,
        zone=zone,
        gateway=[],
        uid=uid,
        gid=gid,
        mounts=mounts,
        image=ctx.probe,
    )
    # host-gateway has a case of its own: some versions refuse it. The probe image has no bash.
    options = ["sh" if each == "bash" else each for each in databases.options if not each.startswith("--add-host")]
    return [
        replace(streams, operands=(ctx.probe, "sh", *script)),
        replace(databases, options=tuple(options), operands=(ctx.probe, *script)),
    ]
