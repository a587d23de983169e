"""What an agent needs to run on a stage: its image on the host, a service for it to talk to."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping

from checks.core.bounded import parsed
from checks.core.progress import Progress
from checks.engine import probe_image
from checks.engine.case_context import CaseContext
from checks.engine.docker import build, shell
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost
from checks.hosts.guest import Guest
from checks.hosts.process import TimedOut
from checks.nanoclaw import service_url
from checks.nanoclaw.agent import Agent
from checks.nanoclaw.contract import Design
from checks.nanoclaw.images import base, disks
from checks.nanoclaw.running import Question, addressed
from checks.nanoclaw.service import Conversation, Service
from checks.nanoclaw.workspace import Tree

ENTRY = "an-image-does-not-build"
"""The guide's entry on an agent's image that does not build."""

_DISKS = "/var/lib/agent-images"


class AgentHandle:
    """What a case needs to run agents of one design."""

    def __init__(self, agent: Agent, provider: AgentProvider) -> None:
        self.agent = agent
        self.provider = provider

    @property
    def described(self) -> str:
        """Which agent it is, and how the base of its image came, once it is there; as evidence has it."""
        return f"{self.agent.name}; {self.provider.image_base}"

    def image(self, ctx: CaseContext) -> str:
        """The agent's image, on the bench's account; its name."""
        return self.provider.image(self.agent, ctx)

    def build(self, ctx: CaseContext) -> str:
        """Build the agent's image through docker on the bench's account, whatever is there already; its name."""
        return self.provider.build(self.agent, ctx)

    def url(self, ctx: CaseContext) -> str:
        """Where a container on the bench's host finds the service."""
        return self.provider.url(ctx)

    def question(self, ctx: CaseContext, *, silent: bool = False) -> Question:
        """A question that nobody has asked before, and an answer that nobody can guess."""
        text = f"The answer is {secrets.token_hex(12)}."
        if self.provider.live_key and not silent:
            return Question(
                f"Reply with this and nothing else: {text}", text, Conversation(self.provider.live_key, text)
            )
        wrapped = addressed(text) if self.agent.design is Design.DATABASES else text
        conversation = self.provider.service(ctx).conversation(wrapped, silent=silent)
        return Question(f"What is the answer? {secrets.token_hex(12)}", text, conversation, self.url(ctx))


class AgentProvider:
    """Images and service of one session; made when first asked for."""

    def __init__(
        self,
        prepared: PreparedHost,
        progress: Progress,
        *,
        live_key: str = "",
        images: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        self.live_key = live_key
        """A key of the real service, where that is to be asked in the stub's place."""
        self._prepared = prepared
        self._progress = progress
        self._service: Service | None = None
        self._url = ""
        self.images: dict[tuple[str, int], str] = dict(images or {})
        """The images that are there already: their names, by the agent's context and the account's uid."""
        self._failed: dict[str, Mismatch] = {}
        self._lent_to: list[CaseContext] = []
        self.image_base = ""
        """How the base of the agents' images came, once one is there."""

    def service(self, ctx: CaseContext) -> Service:
        """The service, listening."""
        if self._service is None:
            self._service = Service(ctx.host.service_address)
        return self._service

    def url(self, ctx: CaseContext) -> str:
        """Where containers find the service; worked out once, since accounts of a host share their kind of network."""
        if not self._url:
            with self._failing_once("url"):
                self._url = service_url.find(ctx, self.service(ctx))
        return self._url

    def image(self, agent: Agent, ctx: CaseContext) -> str:
        """The agent's image on the bench's account."""
        key = (str(agent.context), ctx.uid)
        if key not in self.images:
            guest = self._prepared.guest
            self.images[key] = self._plug(agent, ctx, guest) if guest else self.build(agent, ctx)
        return self.images[key]

    def build(self, agent: Agent, ctx: CaseContext) -> str:
        """``docker build`` of the agent's Dockerfile on the bench's account. Raises Mismatch where it fails."""
        tag = f"{probe_image.repository(self._prepared.run.id)}:nanoclaw-agent"
        with self._failing_once(f"image of {agent.context} for {ctx.uid}"):
            tree = Tree()
            tree.copy(agent.context, "container", agent.root)
            tree.lay_out(ctx)
            how = self._provide_base(ctx)
            self.image_base = self.image_base or how  # a disk that is plugged in has said it already
            with self._progress.step(f"docker build of {agent.name} (minutes)"):
                done = ctx.docker(build(f"{ctx.directory}/container", options=["-t", tag]), timeout=900)
            if done.returncode != 0:
                got = f"status {done.returncode}: {done.stderr.strip()[-600:]}"
                raise Mismatch("docker build to end with status 0", got, fix=ENTRY)
        self.images[str(agent.context), ctx.uid] = tag
        return tag

    @contextlib.contextmanager
    def _failing_once(self, what: str) -> Iterator[None]:
        """What failed before fails again at once and in the same words: trying anew would take minutes a case."""
        if what in self._failed:
            raise self._failed[what].with_traceback(None)
        try:
            yield
        except TimedOut as error:
            self._failed[what] = Mismatch(f"“{error.program}” to exit", f"timed out after {error.timeout:g} s")
            raise
        except Mismatch as failure:
            self._failed[what] = failure
            raise

    def _provide_base(self, ctx: CaseContext) -> str:
        """See that the account has the base image: its own, its registry's, or else a stand-in. How it came."""
        with contextlib.suppress(TimedOut):
            script = 'podman image exists "$1" || podman pull -q "$1"'
            if ctx.host.run(shell(script, base.NAME), timeout=300).returncode == 0:
                return base.FROM_REGISTRY
        archive = disks.base_archive(self._prepared.run, self._progress)
        with self._progress.step("Loading a stand-in for the base image"):
            ctx.host.run_checked(["podman", "load"], stdin=archive, timeout=300, doing="loading a base image")
        self._lent_to.append(ctx)
        return base.STAND_IN

    def _plug(self, agent: Agent, ctx: CaseContext, guest: Guest) -> str:
        """Hand a guest's account the image on a disk."""
        accounts = guest.recipe.accounts
        source = disks.ImageSource(agent.slug, agent.name, f"localhost/{agent.image}", agent.context, agent.root)
        image = disks.ready(source, accounts, guest.run, self._progress)
        directory = f"{_DISKS}/{ctx.uid}"
        guest.plug(image.disks[ctx.uid], disks.label(ctx.uid), directory)
        settings = f'[storage]\ndriver = "overlay"\n[storage.options]\nadditionalimagestores = ["{directory}"]\n'
        # A kernel that lets no plain user mount overlays needs the program that Podman found by itself until now.
        options = parsed(ctx.engine("info", "--format", "json"))["store"]["graphOptions"] or {}
        if program := options.get("overlay.mount_program", {}).get("Executable"):
            settings += f'[storage.options.overlay]\nmount_program = "{program}"\n'
        if guest.recipe.init == "plain":
            # Where / is not shared, the mount does not reach the namespace in which the account's Podman lives by now.
            ctx.host.run_checked(["podman", "system", "migrate"], timeout=60, doing="letting Podman see the disk")
        ctx.host.put(f"{ctx.facts.home}/.config/containers/storage.conf", settings.encode())
        self.image_base = image.base
        return agent.image

    def close(self) -> None:
        """Stop the service, take back what was lent."""
        if self._service:
            self._service.close()
        for ctx in self._lent_to:
            ctx.host.run(["podman", "rmi", base.NAME], timeout=60)
