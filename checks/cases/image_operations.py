"""Building, tagging and inspecting images, and nanoclaw's startup check with `docker info`."""

from __future__ import annotations

import os
import re
import secrets

import pytest

from checks.core.bounded import parsed
from checks.core.process import Completed
from checks.engine import isolation
from checks.engine.case_context import IN_A_SERVICE, CaseContext, marker
from checks.engine.docker import build, run
from checks.engine.expect import expect, expect_readable, expect_run
from checks.hosts.facts import Facts

GROUP = "Image operations"


def image(ctx: CaseContext, name: str) -> str:
    """A tag of this run, a short name like nanoclaw's."""
    return f"nanoclaw-verify-{ctx.run}-{name}:{name}"


def build_image(ctx: CaseContext, tag: str, *args: str, timeout: float = 60) -> Completed:
    """`docker build -t TAG ARGS .` in the case's directory, like nanoclaw's setup."""
    done = ctx.docker(build(".", options=["-t", tag, *args]), within=["env", "-C", ctx.directory], timeout=timeout)
    expect_run(done)
    return done


def content(ctx: CaseContext, tag: str, path: str) -> str:
    """The content of a file in an image, read inside a container."""
    done = ctx.docker(run(tag, "cat", path, options=["--rm"]))
    expect_run(done)
    return done.stdout


@pytest.mark.case("docker build", fix="an-image-does-not-build")
def test_build(ctx: CaseContext) -> None:
    tag, nonce = image(ctx, "test-image"), secrets.token_hex(8)
    ctx.write("copied.txt", nonce)
    ctx.write(
        "Dockerfile",
        f"FROM {ctx.probe}\nCOPY copied.txt /copied.txt\nRUN {{ echo built with $(cat /copied.txt);"
        # The build needs a network: nanoclaw's steps call apt and npm.
        " awk '$2 == 00000000 { print $3 }' /proc/net/route | grep -q . && echo and a network; true; } > /built\n"
        f"RUN ( {isolation.STEP} ) >/seen\n",
    )
    build_image(ctx, tag)
    # A package's own script runs in such a step: it must not reach the user's files, processes or gateway.
    isolation.expect_step_isolated(ctx, content(ctx, tag, "/seen"))
    got = content(ctx, tag, "/built")
    wanted = f"built with {nonce}\nand a network\n"
    expect(
        got == wanted,
        f"the image to contain what its RUN step wrote, {nonce}, having a network with a default route",
        got,
    )


@pytest.mark.case("docker build again under the same tag", fix="an-image-does-not-build")
def test_build_again(ctx: CaseContext) -> None:
    # The files differ by content and time alone: an update may change one character. BuildKit compares sizes and times.
    tag, nonce = image(ctx, "again"), secrets.token_hex(8)
    ctx.write("Dockerfile", f"FROM {ctx.probe}\nCOPY src /src\n")
    for day, word in (("2001-02-04", secrets.token_hex(8)), ("2001-02-03", nonce)):
        file = ctx.write("src/deep/copied.txt", word)
        ctx.host.run_checked(["touch", "-d", day, file], doing="setting a time")
        build_image(ctx, tag)
    got = content(ctx, tag, "/src/deep/copied.txt")
    expect(got == nonce, f"the tag to be the image just built, with {nonce}", got)


@pytest.mark.case("docker build that fails", fix="an-image-does-not-build")
def test_build_fails(ctx: CaseContext) -> None:
    tag = image(ctx, "broken")
    ctx.engine("tag", ctx.probe, tag)
    ctx.write("Dockerfile", f"FROM {ctx.probe}\nRUN echo half > /tmp/half && exit 3\n")
    done = ctx.docker(build(".", options=["-t", tag]), within=["env", "-C", ctx.directory], timeout=60)
    expect(
        done.returncode not in (0, 124, 137), "a failure of a build whose RUN fails", f"exit status {done.returncode}"
    )
    done = ctx.docker(run(tag, "sh", "-c", "ls /tmp", options=["--rm"]))
    expect_run(done, stdout="")  # the tag stays with the last successful build
    for step, what in (
        ("COPY no-such-file /copied", "COPY has no source"),
        ("RUN sh -c 'kill -KILL $$' || exit $?", "RUN is killed"),
    ):
        ctx.write("Dockerfile", f"FROM {ctx.probe}\n{step}\n")
        done = ctx.docker(build(".", options=["-t", tag]), within=["env", "-C", ctx.directory], timeout=60)
        status = f"exit status {done.returncode}"
        expect(done.returncode not in (0, 124), f"a failure of a build whose {what}", status)


@pytest.mark.case("docker build --build-arg", fix="an-image-does-not-build")
def test_build_argument(ctx: CaseContext) -> None:
    tag = image(ctx, "argument")
    steps = 'ARG FONTS=false\nARG BROWSER=default\nRUN echo "$FONTS $BROWSER" >/made\nLABEL fonts="$FONTS"\n'
    ctx.write("Dockerfile", f"FROM {ctx.probe}\n{steps}")
    for word in (secrets.token_hex(8), secrets.token_hex(8)):  # the second time nothing but the argument has changed
        build_image(ctx, tag, "--build-arg", f"FONTS={word}")
        # It may be a token: it must not be in the environment of every container.
        look = run(tag, "sh", "-c", f"cat /made; env | grep -F {word}; true", options=["--rm"])
        expect_run(ctx.docker(look), stdout=f"{word} default\n")
        expect_run(
            ctx.docker("image", "inspect", tag, "--format", '{{index .Config.Labels "fonts"}}'), stdout=f"{word}\n"
        )


@pytest.mark.case("docker build -f", fix="an-image-does-not-build")
def test_build_file(ctx: CaseContext) -> None:
    tag = image(ctx, "file")
    ctx.write("Dockerfile", f"FROM {ctx.probe}\nCOPY Dockerfile /which\n")
    other = f"FROM {ctx.probe}\nCOPY container/Other.Dockerfile /which\n"
    ctx.write("container/Other.Dockerfile", other)
    build_image(ctx, tag, "-f", f"{ctx.directory}/container/Other.Dockerfile")
    got = content(ctx, tag, "/which")
    expect(got == other, "the image of the file that -f names", got)


@pytest.mark.case("docker build with RUN --mount=type=cache", fix="an-image-does-not-build")
def test_build_cache_mount(ctx: CaseContext) -> None:
    tag, own = image(ctx, "cache"), marker(ctx.run)
    mount = f"RUN --mount=type=cache,id={own},target=/cache,sharing=locked"
    step = f"touch /cache/{own}; echo x >> /cache/runs; wc -l < /cache/runs > /seen"
    # Two different steps: the second is not taken from the layer cache. --no-cache would empty BuildKit's cache.
    for turn in ("first", "second"):
        ctx.write("Dockerfile", f"FROM {ctx.probe}\n{mount} {step}; echo {turn}\n")
        build_image(ctx, tag)
    script = "cat /seen; ls /cache 2>/dev/null"
    done = ctx.docker(run(tag, "sh", "-c", f"{script}; true", options=["--rm"]))
    expect_run(done)
    expect(
        done.stdout.strip() == "2",
        "the second build to find what the first left in the cache, and the image not to contain it",
        done.stdout,
    )


@pytest.mark.case("docker image inspect", fix="an-image-does-not-build")
def test_image_inspect(ctx: CaseContext) -> None:
    # Two images whose sizes differ by a known number of bytes.
    ctx.write("Dockerfile", f"FROM {ctx.probe}\nCOPY payload /payload\n")
    sizes = []
    for name, payload in (("small", 1_000_000), ("large", 4_000_000)):
        tag = image(ctx, name)
        ctx.write("payload", os.urandom(payload))
        build_image(ctx, tag)
        sizes.append(size_of(ctx, tag))
        expect(sizes[-1] >= payload, f"at least the {payload} bytes of its payload", sizes[-1])
    grown = sizes[1] - sizes[0]
    ctx.record.observe("grown_by_bytes", grown)
    expect(2_900_000 <= grown <= 3_300_000, "the second image to be larger by about 3000000 bytes", f"{grown} bytes")
    description = ctx.docker("image", "inspect", image(ctx, "large"))
    expect_run(description)
    described = expect_readable(parsed, description.stdout, "one image described, as JSON")
    one = isinstance(described, list) and len(described) == 1 and isinstance(described[0], dict)
    expect(one, "one image described, as JSON", described)
    expect(described[0].get("Size") == sizes[1], f"that image described, of {sizes[1]} bytes", described[0].get("Size"))


def size_of(ctx: CaseContext, tag: str) -> int:
    """An image's size in bytes, inspected like nanoclaw does."""
    done = ctx.docker("image", "inspect", tag, "--format", "{{.Size}}")
    expect_run(done)
    expect(re.fullmatch(r"\d+\n", done.stdout) is not None, "a number of bytes", done.stdout)
    return expect_readable(int, done.stdout, "a number of bytes")


@pytest.mark.case("docker image inspect of a missing image", fix="an-image-does-not-build")
def test_image_inspect_missing(ctx: CaseContext) -> None:
    # nanoclaw's setup uses this to decide whether to build, and whether to pull the image that it pins by its digest.
    pinned = f"{ctx.probe.rpartition(':')[0]}@sha256:{secrets.token_hex(32)}"
    another_tag = f"{ctx.probe.rpartition(':')[0]}:no-such-tag"
    for name in ("localhost/nanoclaw-verify/no-such-image:latest", pinned, another_tag):
        done = ctx.docker("image", "inspect", name)
        expect(done.returncode not in (0, 124, 137), "a failure", f"exit status {done.returncode} for {name}")
        expect(bool(done.stderr.strip()), "a reason on stderr", "no output")


@pytest.mark.case("docker --version", fix="docker-is-not-the-shim")
def test_version(ctx: CaseContext) -> None:
    done = ctx.docker("--version")
    expect_run(done)
    wanted = version_line(ctx.facts)
    expect(re.fullmatch(wanted, done.stdout) is not None, f"a line of the form {wanted}", done.stdout)


def version_line(facts: Facts) -> str:
    """A regular expression for the output of `docker --version` with the installed engine."""
    version = re.escape(facts.version)
    if facts.engine == "docker":
        return rf"Docker version {version}\S*, build \S+\n"
    # Podman before 4.0 prints the name it was called by.
    return rf"{'docker' if facts.version.startswith('3.') else 'podman'} version {version}\n"


def expect_live_info(ctx: CaseContext, done: Completed, running: int) -> None:
    """Fail unless the output of `docker info` describes this host as it is now."""
    expect_run(done)
    found = re.search(r"^\s*running:\s*(\d+)\s*$", done.stdout, re.IGNORECASE | re.MULTILINE)
    expect(
        found is not None and int(found[1]) == running,
        f"{running} running containers",
        found[0].strip() if found else done.stdout,
    )
    expect(ctx.facts.kernel in done.stdout, f"this host's kernel, {ctx.facts.kernel}", done.stdout)


def running_containers(ctx: CaseContext) -> int:
    """The number of running containers of the account, counted without the shim."""
    return len(ctx.engine("ps", "-q").split())


@pytest.mark.case("docker info", fix="docker-info-fails")
def test_info(ctx: CaseContext) -> None:
    # One container more than before: a constant answer is detected.
    ctx.start_unrelated(ctx.name("bystander"))
    expect_live_info(ctx, ctx.docker("info", timeout=10), running_containers(ctx))


@pytest.mark.case("docker info fails when the engine is broken", fix="docker-info-fails")
def test_info_of_a_broken_engine(ctx: CaseContext) -> None:
    # nanoclaw refuses to start on this exit status alone.
    broken = {
        "podman": {"CONTAINERS_STORAGE_CONF": ctx.write("storage.conf", "this is not TOML\n")},
        "docker": {"DOCKER_HOST": f"unix://{ctx.directory}/nobody-listens-here"},
    }[ctx.facts.engine]
    done = ctx.docker("info", env=broken, timeout=10)
    expect(done.returncode not in (0, 124, 137), f"a failure, with {broken}", f"exit status {done.returncode}")


@pytest.mark.case("systemd-run --user --pipe --wait docker info", fix="docker-info-fails")
def test_info_under_systemd(ctx: CaseContext) -> None:
    # nanoclaw's setup tests in this way whether docker works from its service.
    if not ctx.has_session:
        pytest.skip("this account has no systemd user session, so nanoclaw can't run as a user service")
    ctx.start_unrelated(ctx.name("bystander"))
    done = ctx.docker("info", within=IN_A_SERVICE, timeout=30)
    expect_live_info(ctx, done, running_containers(ctx))
