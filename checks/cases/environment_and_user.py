"""The environment of a container's process, its user, and its isolation from the host."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from checks.engine.case_context import CaseContext
from checks.engine.docker import run
from checks.engine.expect import expect, expect_run

GROUP = "Environment and user"

VALUES = {
    "PLAIN": "value",
    "EMPTY": "",
    "SPACES": "  two words  ",
    "QUOTES": 'it\'s "quoted"',
    "DOLLAR": "$HOME `id` $(id) \\n",
    "EQUALS": "a=b=c",
    "DASHES": "--rm -v /:/host",
    "LINES": "one\ntwo\n",
    "UNICODE": "Ünïcødé 🦀",
    "LONG": "x" * 50_000,
}


@pytest.mark.case("Environment variable passing", fix="the-container-does-not-start")
def test_environment(ctx: CaseContext) -> None:
    values = {**VALUES, "NONCE": secrets.token_hex(8)}
    flags = [part for key, value in values.items() for part in ("-e", f"{key}={value}")]
    leak = secrets.token_hex(8)
    own = dict.fromkeys(("NOT_PASSED", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"), leak)
    done = ctx.docker(run(ctx.probe, "cat", "/proc/self/environ", options=["--rm", *flags]), env=own)
    expect_run(done)
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
    expect(epoch.isdigit(), "seconds since 1970 and a local time", done.stdout)
    wanted = datetime.fromtimestamp(int(epoch), ZoneInfo("America/New_York")).strftime(form)
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


# Namespaces, privileges and network; then device and inode of each mount point, and its file at the path of the host's
# secret.
ISOLATION = """
pwd
for space in pid net mnt ipc uts; do readlink /proc/self/ns/$space; done
grep -E '^(CapBnd|Seccomp):' /proc/self/status
awk '$2 == "00000000" { print "routed" }' /proc/net/route
for mount in $(cut -d' ' -f5 /proc/self/mountinfo); do
    stat -c 'at %d:%i' "$mount" 2>/dev/null
    cat "$mount/$1" 2>/dev/null
done
echo given:
cat /proc/sys/kernel/hostname
sed -E 's/^([^ ]+ ){3}([^ ]+ [^ ]+ [^ ]+).* - ([^ ]+) .*/mount \\2 \\3/' /proc/self/mountinfo | sort
ls /dev | sed 's/^/device /'
df -k /dev/shm
env | sort
cat /etc/hosts /etc/resolv.conf /proc/self/limits /proc/self/oom_score_adj
grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status
umask
cd /sys/fs/cgroup && grep -s . memory.max memory.high memory.swap.max cpu.max cpu.weight cpuset.cpus pids.max io.max
true
"""
DIRECTORIES = """
stat -L -c '%d:%i %n' / /home "$HOME" /etc /root /run /tmp /usr /var /var/tmp "/run/user/$(id -u)" 2>/dev/null
true
"""
CAPABILITIES = 0xA80425FB  # Docker's default set; Podman's is a subset


@pytest.mark.case("Isolation from the host", fix="the-container-does-not-start")
def test_isolation(ctx: CaseContext) -> None:
    # Nothing of the host that was not requested: processes, network, files, privileges.
    secret = secrets.token_hex(8)
    path = ctx.write("secret", secret)
    asked = run(ctx.probe, "sh", "-c", ISOLATION, "sh", path, options=["--rm"])
    done = ctx.docker(asked)
    expect_run(done)
    expect(done.stdout.startswith("/\n"), "the image's own working directory, /", done.stdout)
    kinds = ("pid", "net", "mnt", "ipc", "uts")
    spaces = ctx.host.run(["readlink", *(f"/proc/self/ns/{kind}" for kind in kinds)]).stdout.split()
    own = done.stdout.split()[1 : 1 + len(kinds)]
    listed = tuple(space.split(":")[0] for space in own)
    expect(listed == kinds, f"a list of its namespaces: {', '.join(kinds)}", own)
    expect(not set(spaces) & set(own), f"namespaces of its own: {', '.join(kinds)}", f"{own}, the host's {spaces}")
    bounding = re.search(r"CapBnd:\s*([0-9a-f]{16})\n", done.stdout)
    beyond = int(bounding[1], 16) & ~CAPABILITIES if bounding else -1
    expect(beyond == 0, "no capability beyond Docker's default set", bounding[0] if bounding else "")
    expect(re.search(r"Seccomp:\s*2\n", done.stdout) is not None, "a filter of system calls (Seccomp: 2)", done.stdout)
    expect("routed" in done.stdout, "a network with a way out", "no default route")
    directories = dict(line.split(" ", 1) for line in ctx.host.run(["sh", "-c", DIRECTORIES]).stdout.splitlines())
    seen = [
        directories[each] for each in re.findall(r"^at (\d+:\d+)$", done.stdout, re.MULTILINE) if each in directories
    ]
    expect(not seen, "the host's own directories to be out of reach", f"mounted inside: {', '.join(seen)}")
    expect(secret not in done.stdout, "a host file that was not mounted to be out of reach", "its content")
    # And nothing else: the same container, started by the engine without the shim, must look the same.
    got, wanted = given(done.stdout), given(ctx.engine(*asked.with_options(ctx.docker.flags).words))
    differing = [
        *(f"also “{line}”" for line in got if line not in wanted),
        *(f"not “{line}”" for line in wanted if line not in got),
    ]
    expect(
        got == wanted,
        f"mounts, devices, environment, names and limits as {ctx.facts.engine} itself sets them",
        "; ".join(differing) or "the same lines in another order, or twice",
    )


def given(output: str) -> list[str]:
    """The lines of a container's output below “given:”, without its own id and name."""
    hostname, *lines = re.sub(r"[0-9a-f]{64}", "ID", output.rpartition("given:\n")[2]).strip().split("\n")
    own = [" ".join(line.replace(f"HOSTNAME={hostname}", "HOSTNAME=HOST").split()) for line in lines]
    return ["the container itself" if hostname in line.split(" ") else line for line in own]
