"""What an agent's container can reach from the host it runs on: asked inside, of services that answer with a word.

The services are made by root on a throwaway host. A machine of the host's network is a network namespace with its own
address, and the metadata service of clouds has its address on the host's loopback interface.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence

from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.process import TimedOut
from checks.engine import probe_container
from checks.engine.case_context import CaseContext
from checks.engine.docker import shell
from checks.evidence.hardening_model import Reach
from checks.hosts.base import Host

SERVICES = {
    "loopback": "a service on the host's loopback",
    "host": "a service on the host's own address",
    "metadata": "a metadata service (169.254.169.254)",
    "network": "another machine of the host's network",
}
"""The words that the services answer with, and what they stand for."""

DEFAULT, INTERNAL, CLOSED = "default", "internal", "closed"
NETWORKS = {DEFAULT: (), INTERNAL: ("--internal",), CLOSED: ()}
"""The networks that are tried, each with the options of ``network create``; the default one is not created.

The last one is what ``--egress closed`` makes of it, for an agent.
"""
TITLES = {DEFAULT: "default network", INTERNAL: "internal network", CLOSED: "default network with --egress closed"}

_TIMEOUT = 60.0  # seconds
_DIRECTORY = "/run/nanoclaw-reach"
_MACHINE = "198.51.100.2"  # RFC 5737: for documentation
_METADATA = "169.254.169.254"

_START = f"""
set -e
word=$1 port=$2
ip address add {_METADATA}/32 dev lo
ip netns add nanoclaw-reach
ip link add reach0 type veth peer name reach1 netns nanoclaw-reach
ip address add 198.51.100.1/24 dev reach0
ip link set reach0 up
ip -n nanoclaw-reach address add {_MACHINE}/24 dev reach1
ip -n nanoclaw-reach link set reach1 up
own=$(ip -4 route get 192.0.2.1 | sed -n 's/.* src \\([0-9.]*\\).*/\\1/p')
serve() {{
    name=$1 address=$2
    shift 2
    mkdir -p "{_DIRECTORY}/$name"
    echo "$word $name" >"{_DIRECTORY}/$name/index.html"
    "$@" busybox httpd -p "$address:$port" -h "{_DIRECTORY}/$name"
}}
serve loopback 127.0.0.1 env
serve host "$own" env
serve metadata {_METADATA} env
serve network {_MACHINE} ip netns exec nanoclaw-reach
echo "$own"
"""

# Anchored, so that it does not end this shell, whose command line has the words, too.
_STOP = f"""
pkill -f "^busybox httpd -p .* -h {_DIRECTORY}/"
ip netns del nanoclaw-reach
ip link del reach0 2>/dev/null
ip address del {_METADATA}/32 dev lo
rm -rf {_DIRECTORY}
"""

_ASK = f"""
word=$1 port=$2 own=$3
names=$(awk '/^[0-9]/ {{ print $1 }}' /etc/hosts)
routes=$(ip route | awk '$1 == "default" {{ print $3 }}')
for address in $names $routes "$own" 10.0.2.2 169.254.1.2 {_METADATA} {_MACHINE}; do
    printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 "$address" "$port" 2>/dev/null | grep "^$word" &
done
wait
"""


def measure(ctx: CaseContext, root: Host, networks: Sequence[str]) -> Iterator[Reach]:
    """Ask from a container on each of these NETWORKS; on the closed one, a mount makes it an agent's.

    ``root`` is root on the same throwaway host. Raises HostProblem.
    """
    word, port = secrets.token_hex(8), str(20000 + secrets.randbelow(12000))
    try:
        own = root.ask(shell(_START, word, port), lambda text: lines_of(text)[-1], doing="starting services to reach")
        for name in networks:
            with _network(ctx, name, NETWORKS[name]) as network:
                yield _asked(ctx, name, network, [word, port, own])
    finally:
        root.run(shell(_STOP), timeout=_TIMEOUT)


@contextlib.contextmanager
def _network(ctx: CaseContext, name: str, options: Sequence[str]) -> Iterator[str]:
    """The name of a new network with these options; empty for the default one."""
    if not options:
        yield ""
        return
    created = f"nanoclaw-reach-{ctx.run}-{name}"
    engine = ctx.facts.engine
    with contextlib.suppress(TimedOut):
        ctx.host.run([engine, "network", "create", *options, created], timeout=_TIMEOUT)
    try:
        yield created
    finally:
        with contextlib.suppress(TimedOut, HostProblem):
            ctx.host.run([engine, "network", "rm", "-f", created], timeout=_TIMEOUT)


def _asked(ctx: CaseContext, name: str, network: str, arguments: Sequence[str]) -> Reach:
    options = [f"--network={network}"] if network else []
    if name == CLOSED:
        options += ["-v", f"{ctx.make('closed')}:/workspace/group"]
    argv = [ctx.facts.engine, "run", "--rm", *options, ctx.probe, *shell(f"{_ASK}\necho asked", *arguments)]
    try:
        done = ctx.host.run(argv, timeout=_TIMEOUT)
    except TimedOut as late:
        return Reach(network=name, error=f"timed out after {late.timeout:g} s")
    lines = lines_of(done.stdout)
    if lines[-1:] != ["asked"]:
        return Reach(network=name, error=probe_container.tail(done.stderr) or f"status {done.returncode}")
    return Reach(network=name, reached=[each for each in SERVICES if f"{arguments[0]} {each}" in lines])
