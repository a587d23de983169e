"""What a build takes from its context, what its image has from the Dockerfile, and two builds at once."""

from __future__ import annotations

import contextlib
import secrets

import pytest

from checks.cases import image_operations
from checks.cases.image_operations import build_image, image
from checks.engine.case_context import CaseContext
from checks.engine.docker import Command, build, create, run, shell, start_attached
from checks.engine.expect import expect, expect_run

GROUP = image_operations.GROUP

_TIME = 981173106  # 2001-02-03 04:05:06 UTC

_CONTEXT = """
cd -- "$1" || exit
mkdir -p sub/deep && echo kept >sub/kept.log && echo left out >sub/other.log && echo left out >secret.txt
echo program >program && chmod 755 program && echo private >private && chmod 640 private
ln -s program link && ln -s /nowhere broken
TZ=UTC touch -d '2001-02-03 04:05:06' program private
mkdir -p runner/modules/deep runner/dist && echo left out | tee runner/modules/deep/a.txt >runner/dist/b.txt
mkdir .hidden empty && echo hidden | tee .hidden/.file >.npmrc && echo accented >'é ü.txt' && mkdir 'é'
for each in one.json two.json three.md; do echo "$each" >"$each"; done
printf '%s\\n' secret.txt '**/*.log' '!sub/kept.log' runner/modules runner/dist/ >.dockerignore
"""

_REPORT = """
echo "$(id -u) $(pwd) $VALUE $*"
cd /context || exit
stat -c '%n %a %Y' program private
readlink link; readlink broken
find . -name '*.log' -o -name '*.txt' ! -name 'é*'
cat .hidden/.file .npmrc 'é ü.txt' && [ -d empty ] && [ -d 'é' ] && echo empty
stat -c '%n %u %g' /owned
cat /made
ls -d /gone 2>/dev/null
cat /replaced
stat -c '%n %a %s' /kept
cat /files
cat /several/*
"""

_DOCKERFILE = """
FROM {base} AS first
ARG WORD=default
RUN echo "$WORD" >/made && echo unused >/only-in-the-first-stage

FROM {base}
ARG VALUE=argument
ENV VALUE=environment
COPY . /context/
COPY --chown=1000:100 program /owned
COPY *.json three.md /several/
COPY --from=first /made /made
RUN mkdir /gone /replaced && echo old >/gone/file && echo old >/replaced/file && echo old >/kept
RUN rm -r /gone /replaced && echo new >/replaced && echo new >/kept && chmod 4750 /kept
RUN [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 1024 ] && echo many >/files
WORKDIR /context/sub
USER 1000
ENTRYPOINT ["sh", "/context/report", "entry"]
CMD ["from", "cmd"]
"""


@pytest.mark.case("docker build keeps files, links and settings", fix="an-image-does-not-build")
def test_build_files(ctx: CaseContext) -> None:
    tag, word = image(ctx, "files"), secrets.token_hex(8)
    ctx.host.run_checked(shell(_CONTEXT, ctx.directory), doing="making a build context")
    ctx.write("report", _REPORT)
    ctx.write("Dockerfile", _DOCKERFILE.format(base=ctx.probe))
    build_image(ctx, tag, "--build-arg", f"WORD={word}", "--build-arg", "VALUE=given", timeout=120)
    stages = run(tag, "-c", "ls /only-in-the-first-stage", options=["--rm", "--entrypoint", "sh"])
    own, replaced, first = ctx.docker.at_once(run(tag, options=["--rm"]), run(tag, "other", options=["--rm"]), stages)
    wanted = f"""\
1000 /context/sub environment entry from cmd
program 755 {_TIME}
private 640 {_TIME}
program
/nowhere
./sub/kept.log
hidden
hidden
accented
empty
/owned 1000 100
{word}
new
/kept 4750 4
many
one.json
three.md
two.json
"""
    expect_run(own, stdout=wanted)
    expect_run(replaced, stdout=wanted.replace("from cmd", "other"))  # arguments replace CMD, not ENTRYPOINT
    expect(first.returncode != 0, "no file of the first stage that was not copied", first.stdout)


@pytest.mark.case("docker build after a change of base, mode and directory", fix="an-image-does-not-build")
def test_build_changed(ctx: CaseContext) -> None:
    base, tag = image(ctx, "changing-base"), image(ctx, "changing")
    file = ctx.write("src/file", secrets.token_hex(8))
    ctx.write("src/old", "removed later")
    settings = 'WORKDIR /home\nUSER 1234\nENTRYPOINT ["sh", "-c"]\n'

    def build_base(word: str) -> None:
        ctx.write("Base.Dockerfile", f"FROM {ctx.probe}\nRUN echo {word} >/base\n{settings}")
        build_image(ctx, base, "-f", f"{ctx.directory}/Base.Dockerfile")

    def expect_built(word: str, mode: str, files: str) -> None:
        build_image(ctx, tag)
        look = "pwd; id -u; cat /base; stat -c %a /src/file; ls /src"
        done = ctx.docker(run(tag, look, options=["--rm"]))
        expect_run(done, stdout=f"/home\n1234\n{word}\n{mode}\n{files}\n")

    first, second = secrets.token_hex(8), secrets.token_hex(8)
    ctx.host.run_checked(["chmod", "644", file], doing="setting a mode")
    build_base(first)
    ctx.write("Dockerfile", f"FROM {base}\nCOPY src /src\n")
    expect_built(first, "644", "file\nold")
    build_base(second)
    expect_built(second, "644", "file\nold")
    # An update makes a script executable, and removes another one.
    change = shell('chmod 755 "$1/file" && rm "$1/old"', f"{ctx.directory}/src")
    ctx.host.run_checked(change, doing="changing a build context")
    expect_built(second, "755", "file")


_STEP = 10  # seconds that a build takes at least


@pytest.mark.case("Two builds at once, and a container meanwhile", fix="an-image-does-not-build")
def test_builds_at_once(ctx: CaseContext) -> None:
    # An update builds the image while agents run; two installations may do so at the same time.
    words = {name: secrets.token_hex(8) for name in ("first", "second")}
    agent, created = ctx.name("agent"), ctx.name("created")
    ctx.start_unrelated(agent)
    with contextlib.ExitStack() as stack:
        builds = []
        for name, word in words.items():
            ctx.write(f"{name}/copied", word)
            step = f"RUN sleep {_STEP} && cat /copied /copied >/made\n"
            ctx.write(f"{name}/Dockerfile", f"FROM {ctx.probe}\nCOPY copied /copied\n{step}")
            command = build(f"{ctx.directory}/{name}", options=["-t", image(ctx, name)])
            builds.append(stack.enter_context(ctx.docker.started(command, timeout=_STEP + 90)))
        commands = [
            run(ctx.probe, "echo", "meanwhile", options=["--rm"]),
            create(ctx.probe, "echo", "meanwhile", options=["--rm", "--name", created]),
            Command("exec", (), (agent, "echo", "meanwhile")),
            Command("ps", ("--format", "{{.Names}}"), ()),
        ]
        ran, made, executed, listed = ctx.docker.at_once(*commands)
        ended, _ = ctx.docker.at_once(start_attached(created), Command("stop", ("-t", "1"), (agent,)))
        running = [each.running() for each in builds]
        for each in builds:
            if not each.running():
                expect_run(each.end())
        number = f"builds still running: {sum(running)}"
        expect(all(running), "a container to run while both images are built, and to be listed and stopped", number)
        for done in (ran, executed, ended):
            expect_run(done, stdout="meanwhile\n")
        expect_run(made)
        expect(agent in listed.stdout.split(), f"{agent} listed", listed.stdout)
        for each in builds:
            expect_run(each.end())
    made_by_both = ctx.docker.at_once(*(run(image(ctx, name), "cat", "/made", options=["--rm"]) for name in words))
    for done, word in zip(made_by_both, words.values(), strict=True):
        expect_run(done, stdout=word * 2)
