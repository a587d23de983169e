"""How nanoclaw 2.2 gets its image, and chooses one for the engine: pull, tag, and what it reads of them."""

from __future__ import annotations

import re
import secrets

import pytest

from checks.cases import driver_2_2
from checks.cases.driver_2_2 import docker_of_service  # noqa: F401 - of each case here
from checks.cases.image_operations import build_image, image
from checks.core.bounded import parsed
from checks.engine.case_context import CaseContext
from checks.engine.docker import run
from checks.engine.expect import expect, expect_readable, expect_run

GROUP = driver_2_2.GROUP

_IMAGE = "an-image-does-not-build"
_PULL_TIMEOUT = 60.0  # seconds; Podman tries three or four times, with pauses


@pytest.mark.case("docker pull without a registry", fix="an-image-does-not-build-for-want-of-the-network")
def test_pull_fails(ctx: CaseContext) -> None:
    # nanoclaw pulls its image by digest, and falls back to what it finds locally if that fails.
    reference = f"127.0.0.1:9/nanoclaw/agent@sha256:{secrets.token_hex(32)}"
    done = ctx.docker("pull", reference, timeout=_PULL_TIMEOUT)
    expect(done.returncode not in (0, 124, 137), "a failure", f"exit status {done.returncode}")
    expect("127.0.0.1:9" in done.stderr, "a message that names the registry", done.stderr)


@pytest.mark.case("docker tag", fix=_IMAGE)
def test_tag(ctx: CaseContext) -> None:
    # nanoclaw gives a pulled image the name of one that it has built itself.
    word = secrets.token_hex(8)
    ctx.write("Dockerfile", f"FROM {ctx.probe}\nENV WORD={word}\n")
    pulled, local = image(ctx, "pulled"), image(ctx, "local")
    build_image(ctx, pulled)
    ctx.engine("tag", ctx.probe, local)  # an older image has the name already
    expect_run(ctx.docker("tag", pulled, local))
    done = ctx.docker(run(local, "sh", "-c", 'echo "$WORD"', options=["--rm"]))
    expect_run(done, stdout=f"{word}\n")
    expect_run(ctx.docker("rmi", local))
    done = ctx.docker(run(pulled, "sh", "-c", 'echo "$WORD"', options=["--rm"]))
    expect_run(done, stdout=f"{word}\n")  # the other name stays


@pytest.mark.case("docker image inspect --format", fix=_IMAGE)
def test_image_formats(ctx: CaseContext) -> None:
    label, value = "dev.nanoclaw.agent-runner-lock-sha256", secrets.token_hex(32)
    ctx.write("Dockerfile", f'FROM {ctx.probe}\nLABEL {label}="{value}"\n')
    labelled = image(ctx, "labelled")
    build_image(ctx, labelled)

    def read(form: str, tag: str = labelled) -> str:
        done = ctx.docker("image", "inspect", "--format", form, tag)
        expect_run(done)
        return done.stdout.strip()

    expect(read(f'{{{{index .Config.Labels "{label}"}}}}') == value, f"the label's value, {value}", "another one")
    got = read(f'{{{{index .Config.Labels "{label}"}}}}', ctx.probe)
    expect(got == "", "nothing for an image without the label", got)
    wanted = architecture(ctx)
    got = read("{{.Architecture}}")
    expect(got == wanted, f"the host's architecture, {wanted}", got)
    for form in ("{{range .RepoDigests}}{{println .}}{{end}}", "{{if .RepoDigests}}{{index .RepoDigests 0}}{{end}}"):
        digests = read(form).split()
        strange = [each for each in digests if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", each)]
        expect(not strange, "names with digests, or nothing", strange)
    identity = read("{{.Id}}")
    expect(identity != read("{{.Id}}", ctx.probe), "different ids of different images", identity)
    text = ctx.docker("image", "inspect", labelled).stdout
    wanted = f"Config.Labels in its JSON to have {value}"
    listed = expect_readable(lambda answer: dict(parsed(answer)[0]["Config"]["Labels"] or {}), text, wanted)
    expect(listed.get(label) == value, wanted, listed)
    # An image that is built on another one of nanoclaw's has a label of its own.
    newer, relabelled = secrets.token_hex(32), image(ctx, "relabelled")
    ctx.write("Dockerfile", f'FROM {labelled}\nLABEL {label}="{newer}"\n')
    build_image(ctx, relabelled)
    got = read(f'{{{{index .Config.Labels "{label}"}}}}', relabelled)
    expect(got == newer, f"the new image's own label, {newer}", got)


def architecture(ctx: CaseContext) -> str:
    """Docker's name of the host's architecture."""
    machine = ctx.host.ask(["uname", "-m"], str.strip, doing="reading the architecture")
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


@pytest.mark.case("docker version --format with .Server.Arch", fix="docker-version-has-no-serverarch")
def test_version_arch(ctx: CaseContext) -> None:
    wanted = architecture(ctx)
    expect_run(ctx.docker("version", "--format", "{{.Server.Arch}}"), stdout=f"{wanted}\n")
