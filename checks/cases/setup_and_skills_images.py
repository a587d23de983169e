"""Images in nanoclaw's set-up and skills: listing and removing them, and the build cache.

An agent's image is nanoclaw's own. After `install_packages`, an agent has an image built from it.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping

import pytest
import tomli_w

from checks.cases import setup_and_skills
from checks.cases.image_operations import image
from checks.core.lines import lines_of
from checks.core.polling import poll
from checks.core.process import Completed
from checks.engine.case_context import CaseContext
from checks.engine.docker import build, create, run, shell, start_attached
from checks.engine.expect import Mismatch, expect, expect_run

GROUP = setup_and_skills.GROUP

_IMAGE = "an-image-does-not-build"
_VFS = 'ls -d "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"/containers/vfs-* 2>/dev/null'
_ENDED = 10.0  # seconds, times the slowness: conmon runs Podman once more after a container's end

_PRUNED = "docker-builder-prune-deletes-the-agents-images"


class Images:
    """An agent's image and one built from it, for commands to keep or to remove.

    ``environment`` selects the store.
    """

    def __init__(self, ctx: CaseContext, environment: Mapping[str, str] | None = None, base: str = "") -> None:
        self.ctx, self.environment, self._from = ctx, dict(environment or {}), base or ctx.probe
        self.word = secrets.token_hex(8)
        self.base, self.derived = (image(ctx, f"{kind}-{self.word[:6]}") for kind in ("agent", "packages"))
        self._build(self.base, f"FROM {self._from}\nENV BASE=of-{self.word}\nRUN echo $((6 * 7)) > /built\n")
        self.derive(self.derived, self.word)

    def derive(self, tag: str, word: str) -> None:
        """Build one more image from the agent's, with this word."""
        self._build(tag, f"FROM {self.base}\nENV WORD={word}\n")

    def _build(self, tag: str, steps: str) -> None:
        self.ctx.write("Dockerfile", steps)
        within = ["env", "-C", self.ctx.directory]
        command = build(".", options=["-t", tag])
        expect_run(self.ctx.docker(command, within=within, env=self.environment, timeout=60))

    def run(self, tag: str, name: str = "") -> Completed:
        """Run an image, which prints its word, that of the base and what its build wrote. Never from a registry."""
        options = ["--rm", "--pull=never", *(["--name", name] if name else [])]
        command = run(tag, "sh", "-c", 'echo "${WORD:-none} $BASE"; cat /built', options=options)
        return self.ctx.docker(command, env=self.environment)

    def expect_built(self, tag: str, word: str) -> None:
        """Fail the case unless an image runs, has this word and what its build wrote, and is free again."""
        name = self.ctx.name("built")
        expect_run(self.run(tag, name), stdout=f"{word} of-{self.word}\n42\n")
        self.ctx.expect_gone(name)


@pytest.mark.case("docker images", fix=_IMAGE)
def test_images(ctx: CaseContext) -> None:
    made = Images(ctx)
    rows = _rows(ctx)
    for tag, word in ((made.base, "none"), (made.derived, made.word)):
        identity = rows.get(tag, "")
        expect(identity != "", f"a row of the image {tag}", "none")
        made.expect_built(identity, word)  # the id in the row is the image's
    ctx.engine("rmi", made.derived)
    rows = _rows(ctx)
    left = [tag for tag in (made.base, made.derived) if tag in rows]
    expect(left == [made.base], f"{made.base} alone after the other one was removed", left)


def _rows(ctx: CaseContext) -> dict[str, str]:
    """The names with tags that ``docker images`` prints, without the name of a registry, and their ids."""
    done = ctx.docker("images")
    expect_run(done)
    heading, *lines = lines_of(done.stdout) or [""]
    expect(heading.split()[:4] == ["REPOSITORY", "TAG", "IMAGE", "ID"], "REPOSITORY, TAG and IMAGE ID", heading)
    rows = [line.split() for line in lines]
    return {f"{row[0].removeprefix('localhost/')}:{row[1]}": row[2] for row in rows if len(row) > 2}


@pytest.mark.case("Removing an image with rmi", fix=_IMAGE)
def test_remove_image(ctx: CaseContext) -> None:
    made, name = Images(ctx), ctx.name("uses-it")
    # Another agent's image, whose name begins with the name of the one to remove.
    other, word = f"{made.derived}-2", secrets.token_hex(8)
    made.derive(other, word)
    command = run(made.derived, "sh", "-c", "trap exit TERM; echo ready; sleep 600 & wait", options=["--name", name])
    # Without -f: nanoclaw leaves an image to an agent that still runs.
    with ctx.docker.interactive(command.with_options(["-i", "--rm"])) as client:
        client.expect("ready\n")
        done = ctx.docker("rmi", made.derived)
        expect(done.returncode not in (0, 124, 137), "a failure while an agent uses it", f"status {done.returncode}")
        made.expect_built(made.derived, made.word)
        expect_run(ctx.docker("stop", name, timeout=30))
        client.read_rest()
    ctx.expect_gone(name)
    # Nor one whose agent is about to start.
    expect_run(ctx.docker(create(made.derived, "echo", "starts", options=["--rm", "--name", name])))
    done = ctx.docker("rmi", made.derived)
    expect(done.returncode not in (0, 124, 137), "a failure while an agent is to use it", f"status {done.returncode}")
    expect_run(ctx.docker(start_attached(name)), stdout="starts\n")
    ctx.expect_gone(name)
    expect_run(ctx.docker("rmi", made.derived))
    done = made.run(made.derived)
    expect(done.returncode == 125, "no container of the image that was removed", f"exit status {done.returncode}")
    made.expect_built(made.base, "none")
    made.expect_built(other, word)


def private_images(ctx: CaseContext) -> Images:
    """Images in a store of the case's own, which the command under test may empty. Skips the case without one.

    Docker Engine has one store, but only throwaway hosts have Docker Engine.
    """
    if ctx.facts.engine != "podman":
        return Images(ctx)
    # With XDG_DATA_HOME, each version of Podman uses another store. The file's driver is not the account's own, which
    # is mostly overlay: two stores with the same driver would share a list of mounted layers.
    data = ctx.make("data")
    store = f"{data}/containers/storage"
    settings = {"storage": {"driver": "vfs", "graphroot": store}}
    environment = {
        "XDG_DATA_HOME": data,
        "CONTAINERS_STORAGE_CONF": ctx.write("storage.conf", tomli_w.dumps(settings)),
    }
    # Before anything is removed: the account's settings may name one store for everything. No command of nanoclaw's.
    asked = ["docker", "info", "--format", "{{.Store.GraphRoot}}"]
    used = ctx.host.run(asked, env=environment, timeout=20 * ctx.slowness / ctx.host.slowness).stdout.strip()
    if used != store:
        pytest.skip("docker uses the account's own images in spite of XDG_DATA_HOME, and the case would delete them")
    archive = f"{ctx.directory}/probe.tar"
    ctx.engine("save", "-o", archive, ctx.probe)
    loading = ctx.engine_command("load", "-i", archive, settings=environment)
    ctx.host.run_checked(loading, doing="copying the probe image")
    return Images(ctx, environment)


@contextlib.contextmanager
def without_traces(ctx: CaseContext) -> Iterator[None]:
    """Remove what Podman keeps of the driver vfs in the account's runtime directory, but what was there before."""
    before = _traces(ctx)
    # The first character in brackets, so that the pattern is not found in the command line of the search itself.
    using = ["pgrep", "-f", "--", f"[{ctx.directory[0]}]{re.escape(ctx.directory[1:])}"]
    try:
        yield
    finally:
        # A process of Podman that still runs would make them again.
        poll(lambda: not ctx.host.run(using).stdout, timeout=_ENDED * ctx.slowness, interval=0.2)
        new = _traces(ctx) - before
        if new:
            ctx.host.run(["rm", "-rf", "--", *sorted(new)])


def _traces(ctx: CaseContext) -> set[str]:
    """The directories of the driver vfs in the account's runtime directory."""
    return set(lines_of(ctx.host.run(shell(_VFS)).stdout))


def expect_kept(made: Images, command: str) -> None:
    """Fail unless both images still run."""
    for tag, word in ((made.base, "none"), (made.derived, made.word)):
        done = made.run(tag)
        if done.returncode != 0 or done.stdout.split()[:1] != [word]:
            raise Mismatch(f"the agents' images after “{command}”", done.stderr or done.stdout, fix=_PRUNED)


@pytest.mark.case("docker builder prune -f keeps the agents' images", fix=_PRUNED)
def test_prune(ctx: CaseContext) -> None:
    with without_traces(ctx):
        made, name = private_images(ctx), ctx.name("created")
        waits = create(made.base, "echo", "starts", options=["--rm", "--name", name])
        expect_run(ctx.docker(waits, env=made.environment))
        expect_run(ctx.docker("builder", "prune", "-f", env=made.environment, timeout=60))
        expect_kept(made, "docker builder prune -f")
        # An agent that was created and not yet started.
        expect_run(ctx.docker(start_attached(name), env=made.environment), stdout="starts\n")
