"""nanoclaw 2.2's egress lockdown: its agents on a network without a way out, on which only the gateway is.

Its gateway is a container, like OneCLI's. It leads to the stub gateway of this machine.

Source: src/egress-lockdown.ts of https://github.com/nanocoai/nanoclaw, commit 58dc63edbbf2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from checks.core.answers import Unreadable, understood
from checks.core.bounded import parsed
from checks.core.paths import FIXTURES
from checks.core.polling import poll
from checks.engine.case_context import CaseContext
from checks.engine.docker import create_network, run
from checks.engine.expect import Mismatch, expect, expect_run

SOURCE = "src/egress-lockdown.ts"
"""The file that only a nanoclaw with a lockdown has."""
OF_THE_HOST = ("host.containers.internal", "169.254.1.2")
"""Podman's name for the host in every container, and pasta's address for it."""

_WITNESS = "witness"
_PROGRAMS = FIXTURES / "lockdown"
_LIFE = 1800.0  # seconds until the host's part ends by itself
_START_TIMEOUT = 30.0  # seconds on ordinary hardware


class Answer(msgspec.Struct, frozen=True):
    """What answered at a name."""

    address: str
    said: str


class Look(msgspec.Struct, frozen=True):
    """What a container sees of the networks."""

    defaults: int
    """Default routes."""
    reached: Mapping[str, Answer]

    @property
    def found(self) -> list[str]:
        """The names and addresses at which the host's witness answers."""
        return [name for name, answer in self.reached.items() if answer.said == _WITNESS]


class Lockdown:
    """The gateway's container and the host's part, for one case."""

    def __init__(self, ctx: CaseContext, image: str, port: int) -> None:
        """``image`` is the agent's, ``port`` the one of the gateway's proxy on the loopback of the host."""
        self._ctx = ctx
        self._image = image
        self._port = port
        self._own = f"onecli-{ctx.run}"
        self._directory = ctx.make("gateway")
        self.gateway = f"onecli-gateway-{ctx.run}"
        self.network = f"nanoclaw-egress-{ctx.run}"
        self.witness = 0
        """The port at which the host greets whoever reaches it."""
        self.settings = {
            "NANOCLAW_EGRESS_LOCKDOWN": "true",
            "NANOCLAW_EGRESS_NETWORK": self.network,
            "ONECLI_GATEWAY_CONTAINER": self.gateway,
        }

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Start the gateway's container, and the host's part; remove both and the networks at the end."""
        with self._host_part():
            expect_run(self._ctx.docker(create_network(self._own)))
            try:
                self._start_gateway()
                yield
            finally:
                engine = self._ctx.facts.engine
                self._ctx.host.run([engine, "rm", "-f", self.gateway], timeout=40)
                for network in (self.network, self._own):
                    self._ctx.host.run([engine, "network", "rm", network], timeout=40)

    @contextlib.contextmanager
    def _host_part(self) -> Iterator[None]:
        program = (_PROGRAMS / "host.py").read_text()
        argv = ["python3", "-I", "-c", program, f"{self._directory}/socket", str(self._port)]
        started = self._ctx.host.start(argv, timeout=_LIFE)
        bound = _START_TIMEOUT * self._ctx.slowness
        if not poll(lambda: "\n" in started.so_far().stdout or not started.running(), timeout=bound, interval=0.2):
            started.kill()
            raise Mismatch("the host's part of the gateway to start", f"it printed nothing within {bound:g} s")
        words = started.so_far().stdout.split()
        if len(words) != 2 or not all(word.isdecimal() for word in words):
            raise Mismatch("the host's part of the gateway to start", started.so_far().stderr.strip()[-300:])
        self.witness = int(words[1])
        try:
            yield
        finally:
            self._ctx.host.run(["kill", words[0]])
            started.kill()

    def _start_gateway(self) -> None:
        script = (_PROGRAMS / "gateway.mjs").read_text()
        options = [
            "-d", "--name", self.gateway, "--network", self._own, "--user", f"{self._ctx.uid}:{self._ctx.facts.gid}",
            "-v", f"{self._directory}:/gateway", "--entrypoint", "node",
        ]  # fmt: skip
        words = ["--input-type=module", "-e", script, str(self._port), "/gateway/socket"]
        expect_run(self._ctx.docker(run(self._image, *words, options=options), timeout=120))
        ready = poll(
            lambda: "ready" in self._ctx.engine("logs", self.gateway),
            timeout=_START_TIMEOUT * self._ctx.slowness,
            interval=0.5,
        )
        expect(ready, "the gateway's container to listen", "it does not")

    def look(self, agent: str, names: Sequence[str]) -> Look:
        """What a running agent sees of the networks, and of the host at these names and addresses."""
        return self._look([self._ctx.facts.engine, "exec", agent, "node"], names)

    def look_without(self, names: Sequence[str]) -> Look:
        """The same from a container on the default network."""
        engine = self._ctx.facts.engine
        return self._look([engine, "run", "--rm", "--entrypoint", "node", self._image], names)

    def _look(self, node: Sequence[str], names: Sequence[str]) -> Look:
        script = (_PROGRAMS / "look.mjs").read_text()
        done = self._ctx.host.run([*node, "--input-type=module", "-e", script, str(self.witness), *names], timeout=120)
        try:
            return understood(lambda answer: msgspec.convert(parsed(answer), Look), done.stdout)
        except Unreadable as odd:
            raise Mismatch("a container to say what it reaches", f"{odd}; {done.stderr.strip()[-300:]}") from odd
