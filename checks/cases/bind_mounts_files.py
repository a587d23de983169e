"""Files on bind mounts, as both sides see them; a source that is replaced; and many mounts, one inside another."""

from __future__ import annotations

import secrets

import pytest

from checks.cases import bind_mounts
from checks.core.lines import lines_of
from checks.engine.case_context import CaseContext
from checks.engine.docker import run, shell
from checks.engine.expect import expect, expect_run

GROUP = bind_mounts.GROUP

_MAPPING = "permission-denied-in-the-workspace"

_SIZE = 3 * 2**30  # bytes of a sparse file: more than 32 bits can count
_TIME = 981173106  # 2001-02-03 04:05:06 UTC
_COMPOSED, _DECOMPOSED = "\u00e9", "e\u0301"  # the same letter: two names

# Makes files of every kind in the current directory, their names beginning with a prefix.
_MAKE = f"""
prefix=$1
echo text >"$prefix-default"
echo text >"$prefix-file" && chmod 640 "$prefix-file" && TZ=UTC touch -d '2001-02-03 04:05:06' "$prefix-file"
ln "$prefix-file" "$prefix-hard" && ln -s "$prefix-file" "$prefix-link" && ln -s ../above "$prefix-above"
printf '#!/bin/sh\\necho ran\\n' >"$prefix-program" && chmod 755 "$prefix-program"
mkdir -m 700 "$prefix-directory" && mkfifo -m 600 "$prefix-fifo"
truncate -s {_SIZE} "$prefix-sparse"
echo composed >"$prefix-{_COMPOSED}" && echo decomposed >"$prefix-{_DECOMPOSED}"
echo old >"$prefix-renamed" && echo new >"$prefix-new" && mv -f "$prefix-new" "$prefix-renamed"
"""

# Prints a line for each file: name, type and mode, size, blocks, hard links, inode, time; and the contents and targets.
_SHOW = """
export LC_ALL=C
stat -c '%n %f %s %b %h %i %Y' ./*
for name in ./*-link ./*-above; do readlink "$name"; done
cat ./*-default ./*-renamed
for name in ./*-program; do "$name"; done
"""


@pytest.mark.case("Times, modes, links and names of files on a bind mount", fix=_MAPPING)
def test_file_attributes(ctx: CaseContext) -> None:
    directory = ctx.make("files")
    made = ctx.host.run(shell(f'umask 022; cd -- "$2" || exit\n{_MAKE}', "host", directory))
    expect(made.returncode == 0, "the host to make files", made.stderr)
    script = f"cd /files || exit\n{_MAKE}{_SHOW}"
    done = ctx.docker(run(ctx.probe, *shell(script, "container"), options=["--rm", "-v", f"{directory}:/files"]))
    expect_run(done)
    seen = ctx.host.run(shell(f'cd -- "$1" || exit\n{_SHOW}', directory)).stdout
    expect(done.stdout == seen, "the container and the host to see the same files", _apart(done.stdout, seen))
    lines = {line.split(" ", 1)[0]: line.split()[1:] for line in lines_of(seen) if line.startswith("./")}
    expect(len(lines) == 2 * 12, "12 files by each side", sorted(lines))
    for side in ("host", "container"):
        mode, size, _, links, inode, time = lines[f"./{side}-file"]
        got = (int(mode, 16), int(size), int(links), int(time))
        expect(got == (0o100640, 5, 2, _TIME), f"the {side}'s mode 640, 5 bytes, 2 links and time {_TIME}", got)
        expect(lines[f"./{side}-hard"][4] == inode, f"one inode for the {side}'s two links", lines[f"./{side}-hard"])
        mode, size, blocks, *_ = lines[f"./{side}-sparse"]
        expect(
            int(size) == _SIZE and int(blocks) < 1000,
            f"a sparse file of {_SIZE} bytes by the {side}",
            f"{size} bytes in {blocks} blocks",
        )
        for name, wanted in (("default", 0o100644), ("program", 0o100755), ("directory", 0o40700), ("fifo", 0o10600)):
            mode = lines[f"./{side}-{name}"][0]
            expect(int(mode, 16) == wanted, f"type and mode {wanted:o} of the {side}'s {name}", f"{int(mode, 16):o}")


def _apart(inside: str, outside: str) -> str:
    """The first lines that differ."""
    pairs = zip(lines_of(inside), lines_of(outside), strict=False)
    first = next(((a, b) for a, b in pairs if a != b), ("", ""))
    return f"{first[0]} in the container and {first[1]} on the host" if any(first) else "outputs of different lengths"


@pytest.mark.case("Bind mount of a link whose target is replaced", fix=_MAPPING)
def test_replaced_source(ctx: CaseContext) -> None:
    # An update of nanoclaw may replace a directory while an agent runs: the agent keeps the one it was started with.
    old, new = secrets.token_hex(8), secrets.token_hex(8)
    ctx.write("first/word", old)
    source = f"{ctx.directory}/source"
    ctx.host.run_checked(["ln", "-s", "first", source], doing="making a link")
    script = "cat /data/word; echo; read -r go; cat /data/word; echo; echo written >/data/answer; echo end; cat"
    options = ["-i", "--rm", "-v", f"{source}:/data"]
    with ctx.docker.interactive(run(ctx.probe, *shell(script), options=options)) as session:
        session.expect(f"{old}\n")
        replace = 'cd -- "$1" && mv first away && mkdir first && printf %s "$2" >first/word'
        ctx.host.run_checked(shell(replace, ctx.directory, new), doing="replacing a directory")
        session.send_line("go")
        session.expect(f"{old}\nend\n")
        session.close_stdin()
        session.read_rest()
    got = ctx.read("away/answer")
    expect(got == "written\n", "the container to write into the directory that it was started with", got)
    done = ctx.docker(run(ctx.probe, "cat", "/data/word", options=["--rm", "-v", f"{source}:/data"]))
    expect_run(done, stdout=new)


_FIRST = """
cd /data || exit
cat grows; cat shrinks; echo first >>grows; echo short >shrinks
echo new >part && mv -f part replaced
rm message && rm -r directory && mkdir -m 777 made && echo kept >made/file
"""
_HOST = """
cd -- "$1" || exit
cat grows shrinks replaced made/file; ls
echo host >>grows; : >shrinks; rm made/file; echo "$2" >message
"""
_SECOND = """
cd /data || exit
cat grows shrinks replaced message; ls; ls made
rm message replaced
"""


@pytest.mark.case("One directory mounted by two containers in turn", fix=_MAPPING)
def test_mounted_again(ctx: CaseContext) -> None:
    # Every agent of a group has the same directories. Each takes its messages by deleting them.
    word, directory = secrets.token_hex(8), ctx.make("data")
    long = f"{'long ' * 500}\n"
    for name, text in {"grows": "begun\n", "shrinks": long, "replaced": "old\n", "message": "m\n"}.items():
        ctx.write(f"data/{name}", text)
    ctx.write("data/directory/file", "x")
    options = ["--rm", "-v", f"{directory}:/data"]
    first = ctx.docker(run(ctx.probe, *shell(_FIRST), options=options))
    expect_run(first, stdout=f"begun\n{long}")
    seen = ctx.host.run(shell(_HOST, directory, word)).stdout
    wanted = "begun\nfirst\nshort\nnew\nkept\ngrows\nmade\nreplaced\nshrinks\n"
    expect(seen == wanted, "the host to see what the first container left", seen)
    second = ctx.docker(run(ctx.probe, *shell(_SECOND), options=options))
    expect_run(second, stdout=f"begun\nfirst\nhost\nnew\n{word}\ngrows\nmade\nmessage\nreplaced\nshrinks\n")
    left = sorted(ctx.host.run(["ls", directory]).stdout.split())
    expect(left == ["grows", "made", "shrinks"], "no file on the host that the second container deleted", left)


_NESTED = {
    "/data/inner/deep": True, "/data": True, "/data/inner": False, "/data/inner/deep/last": False,
    **{f"/more-{number}": number % 2 == 0 for number in range(8)},
}  # fmt: skip
"""Mounts in no order, each inside the one above it, and whether the container may write it."""

_WRITE_ALL = """
for mount; do
    read -r word <"$mount/word"
    if (echo "$word" >"$mount/written") 2>/dev/null; then state=written; else state=refused; fi
    echo "$mount $word $state"
done
"""


@pytest.mark.case("A dozen mounts, one inside another", fix=_MAPPING)
def test_nested_mounts(ctx: CaseContext) -> None:
    # nanoclaw mounts files and directories inside an agent's workspace, some of them read-only.
    sources = {target: f"mount{target.replace('/', '-')}" for target in _NESTED}
    words = {target: secrets.token_hex(8) for target in _NESTED}
    for target, source in sources.items():
        ctx.write(f"{source}/word", f"{words[target]}\n")
    for target in _NESTED:  # the engine can't make a directory for it in a read-only mount
        above, _, name = target.rpartition("/")
        if above in sources:
            ctx.make(f"{sources[above]}/{name}")
    options = ["--rm"]
    for target, writable in _NESTED.items():
        options += ["-v", f"{ctx.directory}/{sources[target]}:{target}{'' if writable else ':ro'}"]
    done = ctx.docker(run(ctx.probe, *shell(_WRITE_ALL, *_NESTED), options=options))
    state = {True: "written", False: "refused"}
    expect_run(
        done, stdout="".join(f"{target} {words[target]} {state[writable]}\n" for target, writable in _NESTED.items())
    )
    for target, writable in _NESTED.items():
        got = ctx.host.run(["cat", f"{ctx.directory}/{sources[target]}/written"]).stdout
        wanted = f"{words[target]}\n" if writable else ""
        expect(got == wanted, f"the source of {target} on the host to have {wanted or 'no new file'}", got)
