"""Installing a whole nanoclaw 2.x on a prepared host, with the credential gateway that its agents need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from checks.core.paths import ROOT
from checks.core.progress import Progress
from checks.engine.case_context import CaseContext
from checks.engine.expect import Mismatch, expect
from checks.engine.prepared_host import PreparedHost
from checks.hosts.base import Host, directories_of
from checks.hosts.guest import Guest
from checks.nanoclaw.gateway import Gateway
from checks.nanoclaw.images import kit
from checks.nanoclaw.installation import Installation, UnitControl
from checks.nanoclaw.provider import AgentHandle

APP_PORT, PROXY_PORT = 10254, 10255
"""The ports of a real gateway, on the loopback of a throwaway host."""

DROP_IN = ROOT / "examples" / "containers.conf.d" / "60-credential-gateway.conf"
"""The setting by which an agent reaches the proxy's port on the loopback of its host."""

_CONTAINER_TIMEOUT = 300.0  # seconds on ordinary hardware: the first container under keep-id copies the image
_SERVICE_TIMEOUT = 240.0  # seconds on ordinary hardware, most of them for compiling TypeScript
_KIT = "/opt/nanoclaw-kit"


class WholeNanoclaw:
    """A whole nanoclaw for the cases of a run, installed when first used.

    On a throwaway host, the gateway listens on the loopback like a real one, and the drop-in lets agents reach it. On
    other hosts, whose configuration is not changed, it listens on all addresses.
    """

    def __init__(self, prepared: PreparedHost, handle: AgentHandle, progress: Progress) -> None:
        self.prepared = prepared
        self.handle = handle
        self._progress = progress
        self._gateway: Gateway | None = None
        self._installation: Installation | None = None
        self._set_up = False
        self._failed: Mismatch | None = None

    @property
    def host(self) -> Host:
        """The account that owns the installation."""
        return self.prepared.host

    @property
    def guest(self) -> Guest | None:
        """The throwaway host, if it is one."""
        return self.prepared.guest

    def installed(self, ctx: CaseContext) -> Installation:
        """The installation, its files in place. Its set-up steps have not run where it is new."""
        if self._installation is None:
            self._installation = self._install(ctx)
        self._installation.record = ctx.record
        return self._installation

    def gateway(self, ctx: CaseContext) -> Gateway:
        """The gateway, reachable from the host's account."""
        if self._gateway is None:
            service = self.handle.provider.service(ctx)
            self._gateway = Gateway(service, "127.0.0.1" if self.guest else self.host.service_address)
            self.forward()
        return self._gateway

    def forward(self) -> None:
        """Make the gateway's ports available on a throwaway host: at the start, and after a boot."""
        assert self._gateway
        if self.guest:  # by root: a connection of the account would keep its session alive
            self.guest.root.forward_port(self._gateway.app_port, at=APP_PORT)
            self._gateway.published = self.guest.root.forward_port(self._gateway.proxy_port, at=PROXY_PORT)

    @property
    def proxy_port(self) -> int:
        """The port of the gateway's proxy, on the loopback of the host."""
        assert self._gateway
        return self._gateway.published or self._gateway.proxy_port

    def let_agents_reach_the_gateway(self) -> None:
        """Install the drop-in on a throwaway host."""
        if self.guest:
            self.host.put(self._drop_in(), DROP_IN.read_bytes())

    def withdraw_drop_in(self) -> None:
        """Remove the drop-in."""
        if self.guest:
            self.host.run(["rm", "-f", "--", self._drop_in()])

    def _drop_in(self) -> str:
        return f"{self.host.facts().home}/.config/containers/containers.conf.d/{DROP_IN.name}"

    def _install(self, ctx: CaseContext) -> Installation:
        image = self.handle.image(ctx)
        made = kit.ready(self.handle.agent, self.prepared.run, self._progress)
        directory = self.host.make_private_directory(f"{directories_of(self.prepared.owner.run)}-whole")
        with self._progress.step(f"Installing {self.handle.agent.name}"):
            if self.guest:
                self.guest.attach_disk(made.disk, kit.LABEL, _KIT)
                copy = ["cp", "-r", f"{_KIT}/nanoclaw", f"{_KIT}/bin", f"{_KIT}/lib", directory]
                self.host.run_checked(copy, timeout=120, doing="copying nanoclaw")
            else:
                self.host.unpack(directory, made.archive.read_bytes(), timeout=120, doing="unpacking nanoclaw")
        gateway = self.gateway(ctx)
        installation = Installation(
            self.host,
            directory,
            image=image if image.startswith("localhost/") else f"localhost/{image}",
            gateway=gateway,
            app_port=APP_PORT if self.guest else gateway.app_port,
            slowness=ctx.slowness,
        )
        installation.write_settings()
        self.handle.tag(ctx, installation.tag)
        self.let_agents_reach_the_gateway()
        return installation

    def ready(self, ctx: CaseContext) -> Installation:
        """The installation, set up by nanoclaw's own steps, its service running. Raises Mismatch if a step fails."""
        if self._failed:
            raise self._failed.with_traceback(None)
        installation = self.installed(ctx)
        if not self._set_up:
            try:
                set_up(installation)
            except Mismatch as failure:
                self._failed = failure  # each case would repeat minutes
                raise
            self._set_up = True
        elif not installation.control.main_process():  # the case before has failed
            before = installation.starts()
            installation.control.start()
            installation.await_start(before)
        return installation

    def remove(self) -> None:
        """Remove the installation from its host."""
        if self._installation:
            self._installation.remove()
            self.withdraw_drop_in()
            self._installation, self._set_up = None, False

    def close(self) -> None:
        """Remove the installation, and stop the gateway."""
        self.remove()
        if self._gateway:
            self._gateway.close()


def set_up(installation: Installation) -> None:
    """Run the steps of nanoclaw's set-up that touch the container runtime, and check the effect of each."""
    docker = installation.step("environment").get("DOCKER")
    expect(docker == "running", "nanoclaw's set-up to find “DOCKER: running”", docker)
    built = installation.step("container", timeout=_CONTAINER_TIMEOUT)
    expect(
        (built.get("BUILD_OK"), built.get("TEST_OK")) == ("true", "true"), "its image built, its container run", built
    )
    before = installation.starts()
    service = installation.step("service", timeout=_SERVICE_TIMEOUT)
    if isinstance(installation.control, UnitControl):
        kind, unit, loaded = (service.get(each) for each in ("SERVICE_TYPE", "SERVICE_UNIT", "SERVICE_LOADED"))
        expected = ("systemd-user", installation.unit, "true")
        expect((kind, unit, loaded) == expected, f"the active user unit {installation.unit}", service)
    else:
        expect(service.get("SERVICE_TYPE") == "nohup", "a script that starts nanoclaw without systemd", service)
        installation.control.start()
    installation.await_start(before)
    expect(installation.control.main_process() > 0, "a running host process of nanoclaw", "none")
    installation.step("cli-agent", "--display-name", "Verify", "--agent-name", "Andy")


@contextlib.contextmanager
def whole_nanoclaw(prepared: PreparedHost, handle: AgentHandle, progress: Progress) -> Iterator[WholeNanoclaw]:
    """A whole nanoclaw until the block ends."""
    with contextlib.closing(WholeNanoclaw(prepared, handle, progress)) as whole:
        yield whole
