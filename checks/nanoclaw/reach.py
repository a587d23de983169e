"""How a container reaches a service on its host: tried out from inside one, since it depends on the network at hand."""

from __future__ import annotations

from checks.bench import Bench
from checks.docker import shell
from checks.expect import Mismatch
from checks.nanoclaw.service import Service

_CANDIDATES = ("host.containers.internal", "169.254.1.2", "10.0.2.2", "gateway")
"""Podman's own name for the host; pasta's mapping of it (5.3 and later); slirp4netns with allow_host_loopback; Docker's
bridge."""

_TRY = """
port=$1 token=$2
shift 2
for address; do
    [ "$address" != gateway ] || address=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')
    [ "$(wget -q -T 2 -O - "http://$address:$port/" 2>/dev/null)" != "$token" ] || { echo "$address"; exit; }
done
exit 1
"""


def find(bench: Bench, service: Service) -> str:
    """The URL by which a container on this host reaches the service. Raises Mismatch, with the reason, if none is."""
    port = bench.host.lend(service.port)
    command = shell(_TRY, str(port), service.token, *_CANDIDATES)
    done = bench.docker("run", "--rm", bench.probe, *command, timeout=40)
    if done.status != 0:
        raise Mismatch(
            "a way from a container to a service on its host",
            f"none of {', '.join(_CANDIDATES)} led there (network: {bench.facts.network or 'unknown'}); "
            f"the host offers it on port {port}"
            + (f"; stderr: {done.err.strip()}" if done.status not in (0, 1) else ""),
        )
    return f"http://{done.out.strip()}:{port}"
