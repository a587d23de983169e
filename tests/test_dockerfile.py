"""Mounts of a checkout's Dockerfile: those of nanoclaw are accepted, those that could leave a build are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from checks.core.errors import WrongUsage
from checks.nanoclaw import dockerfile


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with a file and a link that leads out of it."""
    context = tmp_path / "container"
    context.mkdir()
    (context / "package.json").write_text("{}")
    (context / "up").symlink_to("..")
    return context


@pytest.mark.parametrize(
    "text",
    [
        "FROM node:22-slim\nRUN npm install\n",
        "FROM docker.io/library/node:22-slim@sha256:"
        + 64 * "0"
        + " AS base\n\tRUN true\nfrom --platform=x Base\nFROM scratch",
        "RUN --mount=type=cache,target=/root/.bun/install/cache --mount=type=cache,target=/root/.cache/pnpm true",
        "RUN --mount=type=cache,target=/a true\nRUN --mount=type=cache,dst=/a true\r\n",
        "RUN --mount=type=cache,target=/a --mount=type=cache,id=a,target=/b true",
        "RUN --mount=type=cache,target=/apt,sharing=locked \\\n  --mount=type=cache,target=/lib \\\n apt-get update",
        "RUN --mount=type=cache,target=/root/.cache/pnpm,id=pnpm pnpm install",
        "RUN --mount=type=bind,source=package.json,target=/package.json,ro npm ci",
        "RUN --mount=type=bind,target=/context ls\n# RUN --mount=type=bind,from=base,source=/x,target=/y",
        "RUN --mount=type=tmpfs,target=/tmp --mount=type=secret,id=token true",
    ],
)
def test_mounts_that_stay_within_the_build_are_accepted(context: Path, text: str) -> None:
    assert list(dockerfile.escapes(text, context)) == []


@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        ("--mount=type=bind,from=base,source=/foo,target=/mnt,rw", "“from” of a mount of the type bind"),
        ("--mount=from=base,target=/mnt", "“from” of a mount of the type bind"),
        ("--mount=type=cache,from=base,target=/mnt", "“from” of a mount of the type cache"),
        ("--mount=type=cache,id=../../home/me/.ssh,target=/mnt", "an id that is not a name"),
        ("--mount=type=cache,id=..,target=/mnt", "an id that is not a name"),
        ("--mount=type=cache,source=x,target=/mnt", "“source” of a mount of the type cache"),
        ("--mount=type=bind,source=up,target=/mnt", "a source that goes through a link"),
        ("--mount=type=bind,source=up/secret,target=/mnt", "a source that goes through a link"),
        ("--mount=type=bind,source=/up,target=/mnt", "a source that goes through a link"),
        ("--mount=type=bind,source=../x,target=/mnt", "a source that goes through a link, or is not in the context"),
        ("--mount=type=bind,source=missing,target=/mnt", "is not in the context"),
        ("--mount=type=bind,target=/mnt,rw", "“rw” of a mount of the type bind"),
        ("--mount=type=bind,bind-propagation=shared,target=/mnt", "“bind-propagation”"),
        ("--mount=type=cache,type=bind,target=/mnt", "an option twice"),
        ("--mount=TYPE=bind,FROM=base,target=/mnt", "“from”"),
        ("--mount=type=other,target=/mnt", "“type” of a mount of the type other"),
        ("--mount=type=cache,target=$WHERE", "not written plainly"),
        ('--mount=type=cache,"id=x ,from=base",target=/mnt', "not written plainly"),
        ("--mo\\unt=type=bind,from=base,target=/mnt", "not written plainly"),
        ('--"mount"=type=bind,from=base,target=/mnt', "not written plainly"),
        ("--mo\\\nunt=type=bind,from=base", "“from”"),
        ("--mo\\\r\nunt=type=bind,from=base", "“from”"),
        ("--mo`\n \n# a comment\nunt=type=bind,from=base", "“from”"),
        ("--mount=type=cache,target=/a --mount=type=cache,target=/a/x", "cache mounts one inside another, at /a"),
        ("--mount=type=cache,id=a,target=/b --mount=type=cache,dst=/a//x/", "cache mounts one inside another, at /a"),
        ("--mount=type=cache,target=/a/../b", "a target that is not a path from the root"),
        ("--mount=type=cache,target=a", "a target that is not a path from the root"),
        ("--mount=type=cache,target=/a,dst=/b", "an option twice"),
        ("--mount=type=bind,target=/mnt\\\n\f\n,from=base,source=/foo", "the character '\\x0c'"),
        ("--mount=type=bind,target=/mnt\\\n\u00a0\n,from=base", "the character '\\xa0'"),
        ("--mount=type=bind,target=/mnt\\\r,from=base", "the character '\\r'"),
        ("--mount type=bind,from=base", "not written plainly"),
        ("--MOUNT=type=bind,from=base", "not written plainly"),
    ],
)
def test_mounts_that_could_leave_the_build_are_refused(context: Path, mount: str, reason: str) -> None:
    found = list(dockerfile.escapes(f"FROM node\nRUN --network=none {mount} true\n", context))
    assert any(reason in each for each in found), found


def test_a_continued_line_and_a_comment_within_it_hide_nothing(context: Path) -> None:
    text = "RUN --network=none \\\n# a comment\n  --mount=type=cache,id=../x,target=/mnt \\\n  true\n"
    assert list(dockerfile.escapes(text, context)) == [
        "--mount=type=cache,id=../x,target=/mnt: an id that is not a name"
    ]


@pytest.mark.parametrize(
    ("option", "refused"),
    [
        ("--from=first", False), ("--from=FIRST", False), ("--from=0", False), ("--from=node:22", False),
        ("--from=1", True), ("--from=later", True), ("--from=oci-archive:/home/me/backup.tar", True),
        ("--from=oci:/home/me/x", True), ("--from=localhost/private", True), ("--from=private", True),
        ('"--from=localhost/x"', True), ("--fr\\om=localhost/x", True), ("--FROM=localhost/x", True),
        ("--from=$X", True), ("--from localhost/x", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("instruction", ["COPY", "ADD", "ONBUILD COPY"])
def test_files_are_copied_from_stages_and_official_images_only(option: str, refused: bool, instruction: str) -> None:
    text = f"FROM node AS first\n{instruction} {option} /a /b\nFROM node AS later\n"
    assert bool(list(dockerfile.escapes(text, Path("/nonexistent")))) == refused


@given(
    st.lists(
        st.sampled_from(["RUN true", "LABEL x=y", "\\", "`", "# escape=`", "# escape=\\", " ", "\n", "\n", "# c"])
    ),
    st.sampled_from(["FROM evil/image", "RUN --mount=type=bind,from=x,target=/m true"]),
)
@example(["LABEL x=y", "`", "\n"], "FROM evil/image")
@example(["# escape=`", "\n", "RUN true", "\\", "\n"], "FROM evil/image")
@example(["RUN true", "\\", "`", "\n"], "FROM evil/image")
def test_no_end_of_a_line_hides_the_next_one(before: list[str], hidden: str) -> None:
    text = "FROM node\n" + "".join(before) + f"\n{hidden}\nRUN true\n"
    assert list(dockerfile.escapes(text, Path("/nonexistent"))), text


@pytest.mark.parametrize("name", dockerfile.NAMES)
def test_the_file_that_podman_would_take_is_read(context: Path, name: str) -> None:
    (context / "Dockerfile").write_text("FROM node\n")
    dockerfile.require_contained(context, context.parent)
    (context / name).write_text("FROM node\nRUN --mount=type=bind,from=x,target=/mnt true\n")
    with pytest.raises(WrongUsage, match=rf"{name}: --mount=type=bind,from=x,target=/mnt: “from” of a mount"):
        dockerfile.require_contained(context, context.parent)


@pytest.mark.parametrize(
    "line",
    [
        "FROM localhost/evil",
        "FROM ghcr.io/a/b:1",
        "FROM a/b",
        "FROM $BASE",
        "from later",
        "FROM node AS a b",
        "FROM --x node",
    ],
)
def test_an_image_that_could_have_instructions_of_its_own_is_refused(context: Path, line: str) -> None:
    found = list(dockerfile.escapes(f"FROM node AS earlier\n{line}\nRUN true\nFROM node AS later\n", context))
    assert line == "from later" or any("no official image" in each for each in found)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("FROM node:22-slim\nRUN <<EOF\nFROM node:22 AS evil\nEOF\nFROM evil\n", True),
        ("FROM node:22-slim\nRUN <<-'EOF'\n\tFROM node:22 AS evil\n\tEOF\nCOPY --from=evil /a /b\n", True),
        ("FROM node:22-slim\nCOPY <<A <<B /x/\nA\nFROM node AS evil\nB\nFROM evil\n", True),
        ("FROM node:22-slim AS base\nRUN <<EOF\nnpm install\nEOF\nFROM base\n", False),
    ],
)
def test_a_stage_in_a_here_document_is_none_for_newer_readers(text: str, refused: bool) -> None:
    assert bool(list(dockerfile.escapes(text, Path("/nonexistent")))) == refused
