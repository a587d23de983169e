"""What a container sees of its host and of the engine's settings, read inside."""

from __future__ import annotations

import json
import re
import secrets
import signal
from collections.abc import Collection, Mapping

from checks.core.bounded import parsed
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.expect import expect, expect_readable

_GIVEN = "given:\n"

SCRIPT = """
for space in pid net mnt ipc uts; do readlink /proc/self/ns/$space; done
grep -E '^(CapBnd|Seccomp|SigBlk|SigIgn):' /proc/self/status
echo open: # in no pipe, of which the shell would have an end open
ls /proc/$$/fd
echo opened
for stream in stdout stderr; do (: >"/dev/$stream") 2>/dev/null && echo "opens $stream"; done
grep -q -E '^127[.]0[.]0[.]1[[:space:]](.*[[:space:]])?localhost([[:space:]]|$)' /etc/hosts && echo "knows localhost"
sed -n 's/^nameserver /asks /p' /etc/resolv.conf
awk '$2 == "00000000" { print "routed" }' /proc/net/route
for mount in $(cut -d' ' -f5 /proc/self/mountinfo); do
    stat -c 'at %d:%i' "$mount" 2>/dev/null
    cat "$mount/$1" 2>/dev/null
done
echo given:
cat /proc/sys/kernel/hostname
echo "working directory $(pwd)"
sed -E 's/^([^ ]+ ){3}([^ ]+ [^ ]+ [^ ]+).* - ([^ ]+) .*/mount \\2 \\3/' /proc/self/mountinfo | sort
sed -n -E 's/^([^ ]+ ){4}([^ ]+) [^ ]+ (shared|master|unbindable).*/propagation \\2 \\3/p' /proc/self/mountinfo | sort
ls /dev | sed 's/^/device /'
df -k /dev/shm
env | sort
cat /etc/hosts /etc/resolv.conf /proc/self/limits /proc/self/oom_score_adj
grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status
umask
(cd /proc/sys/net/ipv4 && grep . ip_unprivileged_port_start ping_group_range)
ip -o link | sed 's/.* \\(mtu [0-9]*\\) .*/\\1/'
cat /proc/self/cgroup
if [ -n "${2:-}" ]; then
    for address in $(ip route | awk '$1 == "default" { print $3 }'; awk '/^[0-9]/ { print $1 }' /etc/hosts) 10.0.2.2; do
        printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 "$address" "$2" 2>/dev/null | grep -q "$3" &&
            echo "the host's loopback" &
    done | sort -u
fi
cd /sys/fs/cgroup && grep -s . memory.max memory.high memory.swap.max cpu.max cpu.weight cpuset.cpus pids.max io.max
true
"""
"""Prints namespaces, privileges, signals, open files, names and routes; device and inode of each mount point, with the
content of the file ``$1`` below it; and, after “given:”, everything that an engine sets. With the port ``$2`` and the
word ``$3`` of ``start_listener``, it also tells whether it reaches the host's loopback: at its gateway, at an address
that has a name, or at slirp4netns's address of the host."""

STEP = (
    "for space in pid net mnt ipc uts; do readlink /proc/self/ns/$space; done;"
    " grep -E '^(CapBnd|Seccomp):' /proc/self/status; sed -E 's/^([^ ]+ ){4}([^ ]+) .*/at \\2/' /proc/self/mountinfo"
)
"""For a step of a build, on one line. Prints namespaces and privileges like ``SCRIPT``, and the mount points."""

_ASK_LOOPBACK = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 127.0.0.1 $0"
_DIRECTORIES = """
stat -L -c '%d:%i %n' / /home "$HOME" /etc /root /run /tmp /usr /var /var/tmp "/run/user/$(id -u)" 2>/dev/null
true
"""
_NAMESPACES = ("pid", "net", "mnt", "ipc", "uts")
_SIGNALS = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD,
)  # fmt: skip
"""Those that programs rely on. An --init blocks the ones of a terminal for the program that it starts."""
_OF_THE_CLIENT = {
    ("Config", key)
    for key in ("Annotations", "CreateCommand", "AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce")
}
"""What ``run`` and ``create`` record differently."""
_OF_THE_ENGINE = re.compile(
    r"/|/(dev|proc|sys)(/.*)?|/etc/(hosts|hostname|resolv\.conf|passwd|group)|/run/(\.containerenv|podman-init|secrets)"
    r"|/(dev|sbin)/(init|docker-init)"
)
"""The mounts that an engine gives every container."""
_CAPABILITIES = 0xA80425FB  # Docker's default set; Podman's is a subset


def start_listener(ctx: CaseContext) -> tuple[str, str]:
    """Start a web server on the host's loopback, in an unrelated container; its port, and the word that it answers.

    It has answered on the host's loopback: without that, a container that can't reach it proves nothing. Raises
    HostProblem if it does not answer.
    """
    port, word = str(20000 + secrets.randbelow(12000)), secrets.token_hex(8)
    name = ctx.name("loopback")
    script = f"cd /tmp && echo {word} > index.html && exec httpd -f -p 127.0.0.1:{port}"
    ctx.start_unrelated(name, "--network=host", script=script)
    asked = [ctx.facts.engine, "exec", name, "sh", "-c", _ASK_LOOPBACK, port]
    if not poll(lambda: word in ctx.host.run(asked).stdout, timeout=15 * ctx.slowness, interval=0.2):
        raise HostProblem(f"A web server on port {port} of the host's loopback does not answer on the host itself.")
    return port, word


def expect_isolated(ctx: CaseContext, output: str, secret: str, mounts: Collection[str] = ()) -> None:
    """Fail unless the output of ``SCRIPT`` shows nothing of the host, and no content ``secret`` of a host file.

    ``mounts`` are the places that were asked for. Others are in a file of the engine's settings, such as ``volumes``.
    """
    expect_confined(ctx, output)
    _expect_usable(output)
    expect("routed" in output, "a network with a way out", "no default route")
    directories = dict(line.split(" ", 1) for line in lines_of(ctx.host.run(["sh", "-c", _DIRECTORIES]).stdout))
    seen = [directories[each] for each in re.findall(r"^at (\d+:\d+)$", output, re.MULTILINE) if each in directories]
    expect(not seen, "the host's own directories to be out of reach", f"mounted inside: {', '.join(seen)}")
    expect(secret not in output, "a host file that was not mounted to be out of reach", "its content")
    _expect_no_further({line.split()[2] for line in _given(output) if line.startswith("mount ")}, mounts)


def expect_confined(ctx: CaseContext, output: str) -> None:
    """Fail unless an output that begins like that of ``SCRIPT`` has namespaces of its own, and few privileges."""
    spaces = ctx.host.run(["readlink", *(f"/proc/self/ns/{kind}" for kind in _NAMESPACES)]).stdout.split()
    own = output.split()[: len(_NAMESPACES)]
    listed = tuple(space.split(":")[0] for space in own)
    expect(listed == _NAMESPACES, f"a list of its namespaces: {', '.join(_NAMESPACES)}", own)
    expect(
        not set(spaces) & set(own), f"namespaces of its own: {', '.join(_NAMESPACES)}", f"{own}, the host's {spaces}"
    )
    bounding = re.search(r"CapBnd:\s*([0-9a-f]{16})\n", output)
    beyond = int(bounding[1], 16) & ~_CAPABILITIES if bounding else -1
    expect(beyond == 0, "no capability beyond Docker's default set", bounding[0] if bounding else "")
    expect(re.search(r"Seccomp:\s*2\n", output) is not None, "a filter of system calls (Seccomp: 2)", output)


def expect_step_isolated(ctx: CaseContext, output: str) -> None:
    """Fail unless the output of ``STEP`` in a build shows nothing of the host."""
    expect_confined(ctx, output)
    _expect_no_further({line.removeprefix("at ") for line in lines_of(output) if line.startswith("at ")})


def _expect_no_further(places: Collection[str], mounts: Collection[str] = ()) -> None:
    """Fail if something is mounted that is neither an engine's own nor in ``mounts``, or if nothing is."""
    unasked = sorted(place for place in {*places} - {*mounts} if not _OF_THE_ENGINE.fullmatch(place))
    expect(bool(places) and not unasked, "no mount but the engine's own and those asked for", unasked)


def _expect_usable(output: str) -> None:
    """Fail unless a program has the signals, streams and names that it relies on, and no file of the engine's."""
    said = lines_of(output.partition(_GIVEN)[0])
    given = "\n".join(line for line in said if line.startswith(("SigBlk:", "SigIgn:")))
    masks = expect_readable(_masks, given, "the signals that are blocked and ignored")
    lost = [each.name for each in _SIGNALS if any(mask >> (each - 1) & 1 for mask in masks)]
    expect(len(masks) == 2 and not lost, "no signal that is blocked or ignored", lost)
    opened = sorted(output.partition("\nopen:\n")[2].partition("\nopened\n")[0].split())
    expect(opened == ["0", "1", "2"], "no open file but stdin, stdout and stderr", opened)
    streams = [line for line in said if line.startswith("opens ")]
    expect(streams == ["opens stdout", "opens stderr"], "/dev/stdout and /dev/stderr to be writable", streams)
    expect("knows localhost" in said, "localhost to be 127.0.0.1 in /etc/hosts", "it is not")
    own = [line for line in said if line.startswith(("asks 127.", "asks ::1"))]
    expect(not own, "no name server at the container's own loopback, where none is", own)


def _masks(lines: str) -> list[int]:
    return [int(line.split()[1], 16) for line in lines_of(lines)]


def expect_same_settings(ctx: CaseContext, output: str, reference: str) -> None:
    """Fail unless two outputs of ``SCRIPT`` show the same settings; ``reference`` is of the engine without the shim."""
    got, wanted = _given(output), _given(reference)
    differing = [
        *(f"also “{line}”" for line in got if line not in wanted),
        *(f"not “{line}”" for line in wanted if line not in got),
    ]
    expect(
        got == wanted,
        f"mounts, devices, environment, names and limits as {ctx.facts.engine} itself sets them",
        "; ".join(differing) or "the same lines in another order, or twice",
    )


_SETS = ("Env", "CapAdd", "CapDrop")
"""Lists without an order. Podman 3.0 has the capabilities in another one each time."""


def recorded(ctx: CaseContext, name: str) -> Mapping[str, str]:
    """What the engine has recorded of a container's settings, without what differs between two of the same command."""
    described = ctx.engine("container", "inspect", name)
    found = expect_readable(lambda answer: dict(parsed(answer)[0]), described, "a container described, as JSON")
    identity = {str(found["Id"]): "ID", str(found["Id"])[:12]: "ID"}
    settings = {}
    for part in ("Config", "HostConfig"):
        for key, value in found[part].items():
            if (part, key) not in _OF_THE_CLIENT:
                text = json.dumps(sorted(value) if key in _SETS and value else value, sort_keys=True)
                for own, word in identity.items():
                    text = text.replace(own, word)
                settings[f"{part}.{key}"] = text
    return settings


def expect_same_record(got: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Fail unless two containers have the same settings; ``wanted`` is of the engine without the shim.

    The engine's record shows options that nothing inside shows, such as a time limit. It proves no effect.
    """
    differing = [
        f"{key} {got.get(key, 'missing')} instead of {wanted.get(key, 'none')}"
        for key in sorted({*got, *wanted})
        if got.get(key) != wanted.get(key)
    ]
    expect(not differing, "the settings that the engine itself records for this command", "; ".join(differing))


def expect_nothing_added(output: str, reference: str, mounts: Collection[str]) -> None:
    """Fail unless all mounts and devices in an output of ``SCRIPT`` are of ``reference``, or are ``mounts``."""
    objects = expect_readable(_objects, output, "mounts and devices")
    added = sorted(objects - _objects(reference) - {f"mount {target}" for target in mounts})
    expect(not added, "no mount and no device that nobody asked for", ", ".join(added))


def _objects(output: str) -> set[str]:
    """The mounts and devices in an output, each as its kind and path."""
    words = [line.split() for line in _given(output)]
    return {f"{line[0]} {line[2 if line[0] == 'mount' else 1]}" for line in words if line[0] in ("mount", "device")}


def _given(output: str) -> list[str]:
    """The settings in an output, without the container's own id and name."""
    hostname, *lines = re.sub(r"[0-9a-f]{64}", "ID", output.rpartition(_GIVEN)[2]).strip().split("\n")
    own = [" ".join(line.replace(f"HOSTNAME={hostname}", "HOSTNAME=HOST").split()) for line in lines]
    return ["the container itself" if hostname in line.split(" ") else line for line in own]
