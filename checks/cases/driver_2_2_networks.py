"""The networks of nanoclaw 2.2: those of its own, and the lockdown of agents that have no egress."""

from __future__ import annotations

import secrets

import pytest

from checks.cases import driver_2_2
from checks.cases.driver_2_2 import (
    docker_of_service,  # noqa: F401 - of each case here
    session,
    start,
)
from checks.engine.case_context import CaseContext
from checks.engine.docker import create_network, run
from checks.engine.expect import expect, expect_run
from checks.nanoclaw import session_driver

GROUP = driver_2_2.GROUP

_NETWORK = "a-bridge-network-needs-nft"

# /etc/hosts comes before DNS, for Node.js too. With nc: a static busybox may be unable to resolve names otherwise.
_ASK = f"""
name={session_driver.EGRESS_ALIAS}
address=$(sed -n "s/^\\([0-9.]*\\)[[:space:]].*\\b$name\\b.*/\\1/p" /etc/hosts | head -n 1)
[ -n "$address" ] || address=$(nslookup "$name" | sed -n '1,/^$/d; s/^Address[^:]*: *\\([0-9.]*\\).*/\\1/p' | head -n 1)
echo "$name is ${{address:-unknown}}" >&2
printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 "$address" 10255 | tail -n 1
"""


@pytest.mark.case("docker network ls --filter label=", fix=_NETWORK)
def test_network_list(ctx: CaseContext) -> None:
    install = f"slug-{secrets.token_hex(4)}"
    ours, foreign = f"ncl-{ctx.run}-{install}", f"ncl-{ctx.run}-{install}-2"
    for name, value in ((ours, install), (foreign, f"{install}-2")):
        expect_run(ctx.docker(create_network(name, options=["--label", f"{session_driver.INSTALL}={value}"])))
    expect_run(ctx.docker(*session_driver.networks(install)), stdout=f"{ours}\n")
    expect_run(ctx.docker("network", "rm", ours))
    left = ctx.engine("network", "ls", "--format", "{{.Name}}").split()
    expect(ours not in left and foreign in left, f"{ours} removed, and {foreign} kept", left)
    expect_run(ctx.docker("network", "rm", foreign))


@pytest.mark.case("docker network create --internal", fix=_NETWORK)
def test_network_internal(ctx: CaseContext) -> None:
    # The lockdown of agents: a network without a way out, on which only the gateway can be reached.
    network = f"nanoclaw-egress-{ctx.run}-{secrets.token_hex(4)}"
    done = ctx.docker("network", "inspect", network)
    expect(done.returncode not in (0, 124, 137), "“docker network inspect” to fail before", f"status {done.returncode}")
    expect_run(ctx.docker(create_network(network, options=["--internal"])))
    expect_run(ctx.docker("network", "inspect", network))
    agent = session(ctx)
    agent.created("ip route; echo; ip -o link", network=session_driver.on_network(network))
    done = start(ctx, agent.name)
    expect_run(done)
    routes, _, links = done.stdout.partition("\n\n")
    expect("eth0" in links, "a network interface in the container", links)
    expect("default" not in routes, "no default route in the container", routes)
    ctx.expect_gone(agent.name)  # Podman may remove a container a moment after its client has ended
    expect_run(ctx.docker("network", "rm", network))


class Lockdown:
    """A network without egress, and a gateway on a network of its own, as Docker Compose starts it."""

    def __init__(self, ctx: CaseContext) -> None:
        self.ctx = ctx
        self.word = secrets.token_hex(4)
        self.network, self.own, self.gateway = (
            f"{kind}-{ctx.run}-{self.word}" for kind in ("nanoclaw-egress", "onecli", "onecli-gateway")
        )
        expect_run(ctx.docker(create_network(self.network, options=["--internal"])))
        expect_run(ctx.docker(create_network(self.own)))
        script = f"mkdir /tmp/web; echo {self.word} > /tmp/web/index.html; exec httpd -f -p 10255 -h /tmp/web"
        options = ["-d", "--name", self.gateway, "--network", self.own]
        expect_run(ctx.docker(run(ctx.probe, "sh", "-c", script, options=options), timeout=40))

    def remove(self) -> None:
        """Remove the gateway and both networks."""
        expect_run(self.ctx.docker("rm", "--force", self.gateway, timeout=40))
        for network in (self.network, self.own):
            expect_run(self.ctx.docker("network", "rm", network))


@pytest.mark.case("docker network connect --alias", fix="agents-without-egress-do-not-reach-their-gateway")
def test_network_connect(ctx: CaseContext) -> None:
    lockdown = Lockdown(ctx)
    expect_run(ctx.docker(*session_driver.connect(lockdown.network, lockdown.gateway), timeout=30))
    agent = session(ctx)
    agent.created(_ASK, network=session_driver.on_network(lockdown.network))
    expect_run(start(ctx, agent.name), stdout=f"{lockdown.word}\n")
    ctx.expect_gone(agent.name)
    # The gateway itself needs the way out of its own network.
    links = ctx.engine("exec", lockdown.gateway, "sh", "-c", "ip -o link | grep -c eth; ip route | grep -c ^default")
    expect(links.split() == ["2", "1"], "the gateway on both networks, with one way out", links)
    # After a start, nanoclaw removes its networks, and relies on the refusal for those in use.
    done = ctx.docker("network", "rm", lockdown.network)
    left = ctx.engine("network", "ls", "--format", "{{.Name}}").split()
    kept = done.returncode not in (0, 124, 137) and lockdown.network in left
    expect(kept, "a network in use to be kept", f"status {done.returncode}; networks {', '.join(left)}")
    up = ctx.engine("ps", "--quiet", "--filter", f"name={lockdown.gateway}", "--filter", "status=running").strip()
    expect(up != "", "its container to run on", "it does not run")
    lockdown.remove()


@pytest.mark.case("docker network inspect --format with .Containers", fix="docker-network-inspect-lists-no-containers")
def test_network_containers(ctx: CaseContext) -> None:
    # nanoclaw starts no agent unless its gateway is listed.
    lockdown = Lockdown(ctx)
    expect_run(ctx.docker(*session_driver.attached(lockdown.network)), stdout="\n")
    expect_run(ctx.docker(*session_driver.connect(lockdown.network, lockdown.gateway), timeout=30))
    done = ctx.docker(*session_driver.attached(lockdown.network))
    expect_run(done)
    expect(done.stdout.split() == [lockdown.gateway], f"the network's only container, {lockdown.gateway}", done.stdout)
    lockdown.remove()
