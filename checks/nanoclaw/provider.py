"""What an agent needs on a prepared host: its image, and a service to talk to."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

from checks.core import run_directories
from checks.core.bounded import parsed
from checks.core.process import TimedOut
from checks.core.progress import Progress
from checks.engine import probe_image
from checks.engine.case_context import CaseContext
from checks.engine.docker import build, shell
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost, prepared
from checks.hosts.guest import Guest
from checks.nanoclaw import service_url
from checks.nanoclaw.agent import Agent, available
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.dockerfile import NAMES
from checks.nanoclaw.gateway import Gateway
from checks.nanoclaw.images import base, disks, mapped_layers
from checks.nanoclaw.running import Question, addressed
from checks.nanoclaw.service import Conversation, Service
from checks.nanoclaw.workspace import Tree

ENTRY = "an-image-does-not-build"
"""The troubleshooting entry for an image that does not build."""

_DISKS = "/var/lib/agent-images"
_BASE = "base.tar"
_COPYING = 300.0  # seconds on ordinary hardware
# Podman writes large files to TMPDIR, or else to a shared directory, where they stay if it is killed. Without
# XDG_RUNTIME_DIR, its own state is in TMPDIR as well, and can't be moved.
_TEMPORARY = '[ -z "${XDG_RUNTIME_DIR:-}" ] || export TMPDIR="$1"'
# A run removes what it has pulled or loaded, by the run's own name for it: podman rmi takes one of two names away.
_PULL = f"""{_TEMPORARY}
podman image exists "$2" && echo present && exit
podman pull -q "$2" >/dev/null && podman tag "$2" "$3" || exit
podman rmi "$2" >/dev/null 2>&1 || : # another run has done so
"""
_LOAD = f"""{_TEMPORARY}
# Two runs that load at once have the same first name for it. No file is left of a lock of a directory.
exec 9<"$HOME" && flock 9 || exit
podman load --input "$1/$2" 9<&- && rm -f -- "$1/$2" && podman tag "$3" "$4" 9<&- && podman rmi "$3" 9<&-
"""


class AgentHandle:
    """An agent with its provider, for a case."""

    def __init__(self, agent: Agent, provider: AgentProvider) -> None:
        self.agent = agent
        self.provider = provider

    @property
    def agent_description(self) -> str:
        """The agent and the origin of its base image, as in evidence."""
        return f"{self.agent.name}; {self.provider.image_base}"

    def image(self, ctx: CaseContext) -> str:
        """The name of the agent's image, on the context's account."""
        return self.provider.image(self.agent, ctx)

    def build(self, ctx: CaseContext) -> str:
        """Build the agent's image with docker on the context's account, even if there is one; its name."""
        return self.provider.build(self.agent, ctx)

    def tag(self, ctx: CaseContext, name: str) -> None:
        """Give the agent's image another name on the context's account."""
        self.provider.tag(self.agent, ctx, name)

    def url(self, ctx: CaseContext) -> str:
        """The URL of the service for containers on the context's host."""
        return self.provider.url(ctx)

    def question(self, ctx: CaseContext, *, silent: bool = False) -> Question:
        """A new question with a random answer."""
        text = f"The answer is {secrets.token_hex(12)}."
        if self.provider.live_key and not silent:
            return Question(
                f"Reply with this and nothing else: {text}", text, Conversation(self.provider.live_key, text)
            )
        prompt = f"What is the answer? {secrets.token_hex(12)}"
        service, url = self.provider.service(ctx), self.url(ctx)
        if self.agent.protocol is AgentProtocol.STREAMS:
            return Question(prompt, text, service.conversation(text, silent=silent), url)
        conversation = service.conversation(addressed(text), silent=silent)
        return Question(prompt, text, conversation, gateway=self.provider.gateway(ctx).admit(conversation))


class AgentProvider:
    """Images and service of one session, made when first used."""

    def __init__(
        self,
        prepared: PreparedHost,
        progress: Progress,
        *,
        live_key: str = "",
        alone: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        images: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        self.live_key = live_key
        """A key of the real service, which then replaces the stub."""
        self._prepared = prepared
        self._progress = progress
        self._alone = alone
        """Keeps other cases from the account's storage while Podman writes a whole image: it locks it for that long."""
        self._service: Service | None = None
        self._gateway: Gateway | None = None
        self._url = ""
        self.images: dict[tuple[str, int], str] = dict(images or {})
        """Names of the present images, by the agent's context and the account's uid."""
        self._failed: dict[str, Mismatch] = {}
        self.image_base = ""
        """The origin of the agents' base image, once there is one."""

    def service(self, ctx: CaseContext) -> Service:
        """The running service."""
        if self._service is None:
            self._service = Service(ctx.host.service_address)
        return self._service

    def gateway(self, ctx: CaseContext) -> Gateway:
        """The credential gateway, for agents of 2.x; the accounts of a host share it."""
        if self._gateway is None:
            # The real gateway is host.docker.internal, Podman's second name for the host. An account may have a setting
            # that makes both mean something else.
            found = urlsplit(self.url(ctx)).hostname or ""
            name = found if found != service_url.HOST else "host.docker.internal"
            gateway = Gateway(self.service(ctx), ctx.host.service_address, name=name)
            gateway.published = ctx.host.forward_port(gateway.proxy_port)
            self._gateway = gateway
        return self._gateway

    def url(self, ctx: CaseContext) -> str:
        """The URL of the service for containers; the accounts of a host share it."""
        if not self._url:
            with self._failing_once("url"):
                self._url = service_url.find(ctx, self.service(ctx))
        return self._url

    def image(self, agent: Agent, ctx: CaseContext) -> str:
        """The agent's image on the context's account."""
        key = (str(agent.context), ctx.uid)
        if key not in self.images:
            guest = self._prepared.guest
            self.images[key] = self._attach(agent, ctx, guest) if guest else self.build(agent, ctx)
        return self.images[key]

    def tag(self, agent: Agent, ctx: CaseContext, name: str) -> None:
        """Give the agent's image another name on the context's account.

        Podman copies the record of a disk's image, but not the names of its id-mapped layers. Without them, each
        container would copy all files of the image.
        """
        doing, engine = "naming the agent's image", ctx.facts.engine
        ctx.host.run_checked([engine, "tag", self.image(agent, ctx), name], timeout=60, doing=doing)
        if self._prepared.guest:
            mapped_layers.keep(ctx.host, f"{_DISKS}/{ctx.uid}")

    def build(self, agent: Agent, ctx: CaseContext) -> str:
        """``docker build`` of the agent's Dockerfile on the context's account. Raises Mismatch if it fails."""
        tag = f"{probe_image.repository(self._prepared.run.id)}:nanoclaw-agent"
        with self._failing_once(f"image of {agent.context} for {ctx.uid}"):
            how, name = self._provide_base(ctx)
            tree = Tree()
            tree.copy(agent.context, "container", agent.root)
            if name:
                for file in NAMES:
                    tree.change(f"container/{file}", lambda data: base.derived_from(data, name))
            tree.lay_out(ctx)
            self.image_base = self.image_base or how  # an attached disk has set it already
            with self._progress.step(f"docker build of {agent.name} (minutes)"):
                done = ctx.docker(build(f"{ctx.directory}/container", options=["-t", tag]), timeout=900)
            if done.returncode != 0:
                got = f"status {done.returncode}: {done.stderr.strip()[-600:]}"
                raise Mismatch("docker build to exit with status 0", got, fix=ENTRY)
            with self._alone():
                self._copy_mapped(ctx, tag)
        self.images[str(agent.context), ctx.uid] = tag
        return tag

    def _copy_mapped(self, ctx: CaseContext, image: str) -> None:
        """Let Podman copy the image's files, which it does for the first container under keep-id."""
        label = f"{probe_image.LABEL}={self._prepared.run.id}"
        first = [ctx.facts.engine, "run", "--rm", "--label", label, "--network=none", "--entrypoint", "true", image]
        with contextlib.suppress(TimedOut):  # if it does not start, the cases say so
            ctx.host.run(first, timeout=_COPYING)

    @contextlib.contextmanager
    def _failing_once(self, step: str) -> Iterator[None]:
        """Repeat an earlier failure at once: trying again would take minutes for each case."""
        if step in self._failed:
            raise self._failed[step].with_traceback(None)
        try:
            yield
        except TimedOut as error:
            self._failed[step] = Mismatch(f"“{error.program}” to exit", f"timed out after {error.timeout:g} s")
            raise
        except Mismatch as failure:
            self._failed[step] = failure
            raise

    def _provide_base(self, ctx: CaseContext) -> tuple[str, str]:
        """Provide the base image on the account: a present one, the registry's, or a substitute.

        Its origin, and the run's own name for it; empty if it has its usual name.
        """
        own = f"{probe_image.repository(self._prepared.run.id)}:base"
        with contextlib.suppress(TimedOut):
            done = ctx.host.run(shell(_PULL, ctx.directory, base.NAME, own), timeout=300)
            if done.returncode == 0:
                return base.FROM_REGISTRY, "" if done.stdout.startswith("present") else own
        archive = disks.base_archive(self._prepared.run, self._progress)
        with self._alone(), self._progress.step("Loading a substitute for the base image"):
            ctx.host.put(f"{ctx.directory}/{_BASE}", archive)
            loading = shell(_LOAD, ctx.directory, _BASE, base.OWN_NAME, own)
            ctx.host.run_checked(loading, timeout=300, doing="loading a base image")
        return base.SUBSTITUTE, own

    def _attach(self, agent: Agent, ctx: CaseContext, guest: Guest) -> str:
        """Provide the image on a disk for a guest's account."""
        accounts = guest.recipe.accounts
        source = disks.ImageSource(agent.slug, agent.name, f"localhost/{agent.image}", agent.context, agent.root)
        image = disks.ready(source, accounts, guest.run, self._progress)
        directory = f"{_DISKS}/{ctx.uid}"
        guest.attach_disk(image.disks[ctx.uid], disks.label(ctx.uid), directory)
        settings = f'[storage]\ndriver = "overlay"\n[storage.options]\nadditionalimagestores = ["{directory}"]\n'
        # A kernel without overlay mounts for normal users needs fuse-overlayfs, which Podman finds by itself otherwise.
        asked = [ctx.facts.engine, "info", "--format", "json"]
        if program := ctx.host.ask(asked, _mount_program, doing="“podman info”"):
            settings += f'[storage.options.overlay]\nmount_program = "{program}"\n'
        if guest.recipe.init == "plain":
            # If / is not a shared mount, the new mount does not reach the account's existing Podman namespace.
            ctx.host.run_checked(["podman", "system", "migrate"], timeout=60, doing="letting Podman see the disk")
        ctx.host.put(f"{ctx.facts.home}/.config/containers/storage.conf", settings.encode())
        self.image_base = image.base
        return agent.image

    def close(self) -> None:
        """Stop the gateway and the service."""
        if self._gateway:
            self._gateway.close()
        if self._service:
            self._service.close()


def _mount_program(info: str) -> str:
    """The program that mounts overlays, from the output of ``podman info``; empty if the kernel does."""
    options = parsed(info)["store"]["graphOptions"] or {}
    program = options.get("overlay.mount_program", {}).get("Executable", "")
    if not isinstance(program, str):
        raise TypeError("the mount program is not a path")
    return program


@contextlib.contextmanager
def agent_session(
    spec: str, profile: str | None, nanoclaw: str, progress: Progress, *, factor: float = 1.0
) -> Iterator[tuple[PreparedHost, AgentHandle]]:
    """Start a run on the host that ``spec`` names, with the first available agent.

    ``nanoclaw`` is a checkout's directory, or empty. ``factor`` multiplies every timeout. Raises like ``prepared``.
    """
    agents = available(nanoclaw)
    with (
        run_directories.new_run() as run,
        prepared(spec, profile, run, progress, factor=factor) as ready,
        contextlib.closing(AgentProvider(ready, progress)) as provider,
    ):
        yield ready, AgentHandle(next(iter(agents.values())), provider)
