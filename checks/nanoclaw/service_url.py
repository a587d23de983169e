"""How a container reaches a service on its host, found by trying addresses from inside a container."""

from __future__ import annotations

from checks.engine.case_context import CaseContext
from checks.engine.docker import run, shell
from checks.engine.expect import Mismatch
from checks.nanoclaw.service import Service

ENTRY = "a-container-does-not-reach-the-host"
"""The troubleshooting entry for an unreachable service."""

HOST = "host.containers.internal"
"""Podman's name for the host of a container."""

_CANDIDATES = (HOST, "169.254.1.2", "10.0.2.2", "gateway")
"""Podman's name for the host; pasta's address for it (5.3 and later); slirp4netns with allow_host_loopback; Docker's
bridge."""

# The host's address on its default route: the only one that works with Podman 3.0.
_OWN = "ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \\([0-9.]*\\).*/\\1/p'"

# With nc and numeric addresses: a static busybox may be unable to resolve names.
_TRY = """
port=$1 token=$2
shift 2
for name; do
    case $name in
        gateway) address=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p') ;;
        *[a-z]) address=$(sed -n "s/^\\([0-9.]*\\)[[:space:]].*\\b$name\\b.*/\\1/p" /etc/hosts | head -n 1) ;;
        *) address=$name ;;
    esac
    [ -n "$address" ] || continue
    reply=$(printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 "$address" "$port" 2>/dev/null | tail -n 1)
    [ "$reply" != "$token" ] || { [ "$name" = gateway ] && echo "$address" || echo "$name"; exit; }
done
exit 1
"""


def find(ctx: CaseContext, service: Service) -> str:
    """The URL at which containers on this host reach the service. Raises Mismatch if there is none."""
    port = ctx.host.forward_port(service.port)
    candidates = [*_CANDIDATES, *ctx.host.run(["sh", "-c", _OWN]).stdout.split()]
    command = shell(_TRY, str(port), service.token, *candidates)
    done = ctx.docker(run(ctx.probe, *command, options=["--rm"]), timeout=40)
    if done.returncode != 0:
        raise Mismatch(
            "a way from a container to a service on its host",
            f"none of {', '.join(candidates)} works (network: {ctx.facts.network or 'unknown'}); "
            f"the service listens on port {port} of the host"
            + (f"; stderr: {done.stderr.strip()}" if done.returncode not in (0, 1) else ""),
            fix=ENTRY,
        )
    return f"http://{done.stdout.strip()}:{port}"
