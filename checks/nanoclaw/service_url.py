"""How a container reaches a service on its host: tried out from inside one, since it depends on the network at hand."""

from __future__ import annotations

from checks.engine.case_context import CaseContext
from checks.engine.docker import run, shell
from checks.engine.expect import Mismatch
from checks.nanoclaw.service import Service

ENTRY = "a-container-does-not-reach-the-host"
"""The guide's entry on a service that is not reached."""

_CANDIDATES = ("host.containers.internal", "169.254.1.2", "10.0.2.2", "gateway")
"""Podman's own name for the host; pasta's mapping of it (5.3 and later); slirp4netns with allow_host_loopback; Docker's
bridge."""

# The host's own address, on its way to a network that nobody has: Podman 3.0 gives a container no other way to it.
_OWN = "ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \\([0-9.]*\\).*/\\1/p'"

# With nc and numeric addresses: a static busybox may not be able to look a name up.
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
    came=$(printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 "$address" "$port" 2>/dev/null | tail -n 1)
    [ "$came" != "$token" ] || { [ "$name" = gateway ] && echo "$address" || echo "$name"; exit; }
done
exit 1
"""


def find(ctx: CaseContext, service: Service) -> str:
    """The URL by which a container on this host reaches the service. Raises Mismatch, with the reason, if none is."""
    port = ctx.host.forward_port(service.port)
    candidates = [*_CANDIDATES, *ctx.host.run(["sh", "-c", _OWN]).stdout.split()]
    command = shell(_TRY, str(port), service.token, *candidates)
    done = ctx.docker(run(ctx.probe, *command, options=["--rm"]), timeout=40)
    if done.returncode != 0:
        raise Mismatch(
            "a way from a container to a service on its host",
            f"none of {', '.join(candidates)} led there (network: {ctx.facts.network or 'unknown'}); "
            f"the host offers it on port {port}"
            + (f"; stderr: {done.stderr.strip()}" if done.returncode not in (0, 1) else ""),
            fix=ENTRY,
        )
    return f"http://{done.stdout.strip()}:{port}"
