"""Files of the host inside a container, and what a container may do to them."""

from __future__ import annotations

import secrets

import pytest

from checks.core.lines import lines_of
from checks.engine.case_context import CaseContext
from checks.engine.docker import run
from checks.engine.expect import expect, expect_run

GROUP = "Bind mounts"

READ_ONLY = "Read-only file system"


@pytest.mark.case("Read-write bind mount", fix="permission-denied-in-the-workspace")
def test_read_write(ctx: CaseContext) -> None:
    before, during = secrets.token_hex(8), secrets.token_hex(8)
    directory = ctx.make("data")
    ctx.write("data/before", before)
    looks = ["stat", "-c", "%a %u %g", directory]
    mode = ctx.host.run(looks).stdout
    # Both sides write while the container runs: this tells a mount from a copy that is written back at the end.
    script = (
        "cat /data/before; echo; until [ -s /data/during ]; do sleep 0.2; done;"
        "cp /data/during /data/answer; cat /data/during >>/file; echo done; cat"
    )
    options = ["-i", "--rm", "-v", f"{directory}:/data", "-v", f"{ctx.write('file', 'kept ')}:/file"]
    with ctx.docker.interactive(run(ctx.probe, "sh", "-c", script, options=options)) as session:
        session.expect(f"{before}\n")
        ctx.write("data/during", during)
        session.expect("done\n")
        got = ctx.read("data/answer")
        expect(got == during, f"the host to see what the container wrote, {during}, while the container runs", got)
        got = ctx.read("file")
        expect(got == f"kept {during}", f"the mounted file to have what the container added, {during}", got)
        owner = ctx.owner_of("data/answer")
        ctx.record.observe("owner", owner)
        wanted = ctx.files_of_root
        expect(owner == wanted, f"the container's file to belong to {wanted}", owner)
        got = ctx.host.run(looks).stdout
        expect(got == mode, f"mode and owner of the directory to be unchanged, {mode}", got)
        session.close_stdin()
        session.read_rest()


@pytest.mark.case("Read-only bind mount", fix="permission-denied-in-the-workspace")
def test_read_only(ctx: CaseContext) -> None:
    kept = secrets.token_hex(8)
    directory = ctx.make("data")
    ctx.write("data/kept", kept)
    script = (
        "cat /data/kept; echo broken > /data/kept; echo new > /data/new; rm -f /data/kept; chmod 777 /data/kept; true"
    )
    done = ctx.docker(run(ctx.probe, "sh", "-c", script, options=["--rm", "-v", f"{directory}:/data:ro"]))
    expect_run(done, stdout=kept, stderr_has=READ_ONLY)
    expect(done.stderr.count(READ_ONLY) == 4, f"all four attempts refused with “{READ_ONLY}”", done.stderr)
    got = ctx.host.run(["sh", "-c", 'cd "$1" && ls && cat kept', "sh", directory]).stdout
    expect(got == f"kept\n{kept}", "the host's directory to be unchanged", got)
    # The mounts are still the host's own directory and file: the container must see what the host writes.
    script = "echo ready; until grep -q new /data/kept && grep -q new /file; do sleep 0.2; done; echo seen; cat"
    mounts = ("-v", f"{directory}:/data:ro", "-v", f"{directory}/kept:/file:ro")
    with ctx.docker.interactive(run(ctx.probe, "sh", "-c", script, options=["-i", "--rm", *mounts])) as session:
        session.expect("ready\n")
        ctx.host.run_checked(
            ["sh", "-c", 'echo new >>"$1"', "sh", f"{directory}/kept"], doing="writing the mounted file"
        )
        session.expect("seen\n")
        session.close_stdin()
        session.read_rest()


@pytest.mark.case("Read-only file over a read-write directory", fix="permission-denied-in-the-workspace")
def test_read_only_file_in_directory(ctx: CaseContext) -> None:
    # nanoclaw 2.x: the agent may write its directory, but not its own settings in it.
    directory = ctx.make("agent")
    settings = ctx.write("agent/container.json", '{"kept": true}')
    fragments = ctx.make("agent/.claude-fragments")
    ctx.write("agent/.claude-fragments/one.md", "kept")
    script = (
        "cd /workspace/agent; echo written > note && cat container.json .claude-fragments/one.md;"
        "echo broken > container.json; echo broken > .claude-fragments/one.md;"
        "rm -f container.json; mv container.json x; cat container.json"
    )
    options = [
        "--rm", "-v", f"{directory}:/workspace/agent", "-v", f"{settings}:/workspace/agent/container.json:ro",
        "-v", f"{fragments}:/workspace/agent/.claude-fragments:ro",
    ]  # fmt: skip
    done = ctx.docker(run(ctx.probe, "sh", "-c", script, options=options))
    expect_run(done, stdout='{"kept": true}kept{"kept": true}', stderr_has=READ_ONLY)
    expect(done.stderr.count(READ_ONLY) == 2, f"both files refused with “{READ_ONLY}”", done.stderr)
    got = "".join(ctx.read(f"agent/{name}") for name in ("note", "container.json", ".claude-fragments/one.md"))
    expect(got == 'written\n{"kept": true}kept', "the note to be written, settings and fragments to be unchanged", got)


@pytest.mark.case("/dev/null over a file", fix="permission-denied-in-the-workspace")
def test_dev_null_over_file(ctx: CaseContext) -> None:
    # nanoclaw 1.x hides the project's secrets from its main agent in this way.
    project = ctx.make("project")
    secret = secrets.token_hex(8)
    ctx.write("project/.env", f"ANTHROPIC_API_KEY={secret}")
    ctx.write("project/README", "visible\n")
    script = 'cat /workspace/project/README; cat /workspace/project/.env && echo "read"'
    options = ["--rm", "-v", f"{project}:/workspace/project:ro", "-v", "/dev/null:/workspace/project/.env:ro"]
    done = ctx.docker(run(ctx.probe, "sh", "-c", script, options=options))
    expect_run(done, stdout="visible\nread\n")
    got = ctx.read("project/.env")
    expect(secret in got, "the host's .env to be unchanged", got)


def last_line(text: str) -> str:
    """The last line of a text. On stderr it usually states the error."""
    return (lines_of(text.strip()) or ["nothing"])[-1]


def run_as_nanoclaw_does(ctx: CaseContext, image: str, *user: str) -> None:
    """Check all flags that nanoclaw 1.x combines, and the workspace as an agent uses it."""
    name = ctx.name("combined")
    group, sessions, project = ctx.make("group"), ctx.make("sessions"), ctx.make("project")
    ctx.write("group/CLAUDE.md", "kept\n")
    ctx.write("project/README", "read\n")
    script = (
        "echo $HOME; id -u; id -g; date +%Z; cat; cat /workspace/project/README;"
        "echo more >> /workspace/group/CLAUDE.md && mkdir /workspace/group/new && echo made > /workspace/group/new/file"
        " && mkdir /home/node/.claude/debug && echo log > /home/node/.claude/debug/log"
        # The image's file system must be writable, too: Claude Code keeps a file there, nanoclaw compiles into /tmp.
        " && echo {} > /home/node/.claude.json && echo > /tmp/dist && echo workspace is writable;"
        # An agent runs the scripts that it writes.
        "cd /workspace/group && printf '#!/bin/sh\\necho a script runs\\n' >run && chmod +x run && ./run;"
        "echo broken 2>/dev/null > /workspace/project/README || echo project is read-only"
    )
    options = [
        "-i", "--rm", "--name", name, "-e", "TZ=America/New_York", *user, "-v", f"{group}:/workspace/group",
        "-v", f"{sessions}:/home/node/.claude", "-v", f"{project}:/workspace/project:ro",
    ]  # fmt: skip
    done = ctx.docker(run(image, "sh", "-c", script, options=options), stdin=b'{"prompt": "hello"}\n')
    uid, gid = ctx.uid, ctx.facts.gid
    ctx.record.observe("workspace_writable", "workspace is writable" in done.stdout)
    expect("workspace is writable" in done.stdout, "the agent's workspace to be writable", last_line(done.stderr))
    zone = done.stdout.split("\n")[3:4]
    expect(zone in (["EST"], ["EDT"]), "the requested time zone", done.stdout)
    lines = [
        "/home/node",
        uid,
        gid,
        zone[0],
        '{"prompt": "hello"}',
        "read",
        "workspace is writable",
        "a script runs",
        "project is read-only",
    ]
    expect_run(done, stdout="".join(f"{line}\n" for line in lines))
    script = (
        'cd "$1" && cat group/CLAUDE.md group/new/file sessions/debug/log project/README &&'
        "stat -c %u:%g group/new/file sessions/debug"
    )
    got = ctx.host.run(["sh", "-c", script, "sh", ctx.directory])
    wanted = f"kept\nmore\nmade\nlog\nread\n{uid}:{gid}\n{uid}:{gid}\n"
    expect(
        got.stdout == wanted, f"the files on the host to be owned by the host user: {wanted!r}", got.stdout + got.stderr
    )
    ctx.expect_gone(name)


@pytest.mark.case("Writable workspace with --user of the host user", fix="permission-denied-in-the-workspace")
def test_workspace_passing_user(ctx_passing_user: CaseContext) -> None:
    ctx = ctx_passing_user
    user = f"{ctx.uid}:{ctx.facts.gid}"
    run_as_nanoclaw_does(ctx, ctx.agent, "--user", user, "-e", "HOME=/home/node")


@pytest.mark.case("Writable workspace for uid 1000 without --user", fix="permission-denied-in-the-workspace")
def test_workspace_of_image_uid(ctx_of_image_uid: CaseContext) -> None:
    run_as_nanoclaw_does(ctx_of_image_uid, ctx_of_image_uid.agent)
