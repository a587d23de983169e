"""A checkout is somebody else's: nothing outside of it is read, copied, built into an image or mounted."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.core.errors import WrongUsage
from checks.core.progress import Progress
from checks.core.run_directories import Run
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.nanoclaw import agent, checkout
from checks.nanoclaw.checkout import entries, lay_out, read, walk
from checks.nanoclaw.discovery.discover import discover
from checks.nanoclaw.images.disks import ImageSource, ready
from checks.nanoclaw.workspace import Tree
from tests.fakes import FakeHost


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A checkout beside a secret of its user's."""
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "id").write_text("a private key")
    directory = tmp_path / "home" / "nanoclaw"
    source = directory / "container" / "agent-runner" / "src"
    source.mkdir(parents=True)
    (source / "index.ts").write_text("")
    (directory / "container" / "Dockerfile").write_text("FROM node:22-slim\n")
    (directory / "src").mkdir()
    (directory / "src" / "container-runner.ts").write_text("'---NANOCLAW_OUTPUT_START---'")
    (directory / "package.json").write_text('{"version": "1.2.0"}')
    return directory


def link(path: Path, target: str) -> None:
    """Put a link at a path, whatever is there."""
    if path.is_dir():
        path.rename(path.with_name("moved"))
    path.unlink(missing_ok=True)
    path.symlink_to(target)


LEAVING = {
    "a file's link": {"container/key": "../../.ssh/id"},
    "an absolute one": {"container/key": "/etc/passwd"},
    "an absolute one that stays inside, here": {"container/key": "{checkout}/package.json"},
    "a link to a directory": {"container/keys": "../../.ssh"},
    "a link to another link that leaves": {"out": "..", "container/key": "../out/.ssh/id"},
    "a link whose way is deeper than it looks": {
        "container/agent-runner/up": "../..",
        "container/key": "agent-runner/up/../.ssh/id",
    },
    "a link in the agent's source": {"container/agent-runner/src/k.ts": "../../../../.ssh/id"},
    "the Dockerfile": {"container/Dockerfile": "../../.ssh/id"},
    "the context itself": {"container": "../elsewhere/container"},
    "the source itself": {"container/agent-runner/src": "../../../.ssh"},
    "package.json": {"package.json": "../.ssh/id"},
    "container-runner.ts": {"src/container-runner.ts": "../../.ssh/id"},
}


@pytest.mark.parametrize("links", LEAVING.values(), ids=LEAVING)
def test_a_link_that_leaves_the_checkout_is_refused(directory: Path, links: dict[str, str]) -> None:
    elsewhere = directory.parent / "elsewhere" / "container" / "agent-runner" / "src"
    elsewhere.mkdir(parents=True)
    (elsewhere.parents[1] / "Dockerfile").write_text("FROM node:22-slim\n")
    for name, target in links.items():
        link(directory / name, target.format(checkout=directory))
    with pytest.raises(WrongUsage, match="outside of the checkout"):
        agent.of_checkout(directory)


def test_a_link_that_is_planted_later_is_refused_when_the_checkout_is_copied(directory: Path, tmp_path: Path) -> None:
    (directory / "container" / "key").symlink_to("../../.ssh/id")
    with pytest.raises(WrongUsage, match="outside of the checkout"):
        Tree().copy(directory / "container", "container", directory)
    with pytest.raises(WrongUsage, match="outside of the checkout"):
        ready(
            ImageSource("x", "x", "x", directory / "container", directory), {}, Run("x", tmp_path, tmp_path), Progress()
        )


@pytest.mark.parametrize("look", ["stat", "list", "read"])
def test_a_directory_that_becomes_a_link_while_it_is_read_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    source, secret = directory / "container" / "keys", directory.parent / ".ssh"
    source.mkdir()
    (source / "id").write_text("harmless")
    real, state = os.open, {"open": True}

    def raced(path: str | Path, flags: int, *more: int) -> int:
        kind = "stat" if flags & os.O_PATH else "list" if flags & os.O_DIRECTORY else "read"
        at = source if look == "list" else source / "id"
        if kind == look and Path(path) == at and state.pop("open", False):
            source.rename(directory / "moved")
            source.symlink_to(secret)
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", raced)
    with pytest.raises(WrongUsage, match=r"keys(/id)? was replaced while the checkout was read"):
        list(entries(directory / "container", directory))
    assert not state


def test_a_link_within_the_checkout_is_copied_as_a_link(directory: Path, tmp_path: Path) -> None:
    (directory / "container" / "same").symlink_to("Dockerfile")
    (directory / "container" / "up").symlink_to("../package.json")
    (directory / "container" / "empty").mkdir()
    ctx = CaseContext(FakeHost(tmp_path).pretend(), RunScope("run", "run"), "case", Record())
    ctx._directory = str(tmp_path / "case")
    (tmp_path / "case").mkdir()
    tree = Tree()
    tree.copy(agent.of_checkout(directory).context, "container", directory)
    tree.lay_out(ctx)
    copy = tmp_path / "case" / "container"
    assert (copy / "same").readlink() == Path("Dockerfile")
    assert (copy / "up").readlink() == Path("../package.json")
    assert (copy / "empty").is_dir()
    assert (copy / "agent-runner" / "src" / "index.ts").is_file()


def test_entries_are_laid_out_as_they_were_whatever_the_umask(directory: Path, tmp_path: Path) -> None:
    source = directory / "container"
    (source / "same").symlink_to("Dockerfile")
    (source / "closed").mkdir()
    (source / "closed" / "program").touch(mode=0o755)
    (source / "closed").chmod(0o555)
    before = os.umask(0o077)
    try:
        lay_out(entries(source, directory), tmp_path / "copy")
    finally:
        os.umask(before)
    assert list(entries(tmp_path / "copy", tmp_path)) == list(entries(source, directory))
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o755


def test_a_checkout_that_is_itself_named_by_a_link_is_one(directory: Path) -> None:
    (directory.parent / "link").symlink_to("nanoclaw")
    assert agent.of_checkout(directory.parent / "link").name.startswith("nanoclaw 1.2.0")


def test_a_checkout_is_walked_by_any_of_its_names(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory.parent / "link").symlink_to("nanoclaw")
    monkeypatch.chdir(directory.parent)
    wanted = [path.relative_to(directory) for path in walk(directory)]
    for name in (directory.parent / "link", Path("link"), Path("nanoclaw")):
        assert [path.relative_to(name) for path in walk(name)] == wanted


def test_a_pipe_or_a_socket_is_refused_and_not_waited_for(directory: Path) -> None:
    os.mkfifo(directory / "container" / "pipe")
    with pytest.raises(WrongUsage, match="neither a file nor a directory"):
        agent.of_checkout(directory)
    (directory / "container" / "pipe").unlink()
    (directory / "package.json").unlink()
    os.mkfifo(directory / "package.json")
    with pytest.raises(WrongUsage, match="not a regular file"):
        agent.of_checkout(directory)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "container" / "s"))
    with pytest.raises(WrongUsage, match="neither a file nor a directory"):
        list(entries(directory / "container", directory))


def test_a_file_is_read_up_to_a_size(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (directory / "package.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(WrongUsage, match="larger than 4194304 bytes"):
        read(directory / "package.json", directory)
    with (directory / "container" / "large").open("wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(checkout, "LARGEST", 1000)
    with pytest.raises(WrongUsage, match="larger than"):
        list(entries(directory / "container", directory))


def test_a_checkout_of_any_depth_is_walked(directory: Path) -> None:
    before = Path.cwd()
    os.chdir(directory)
    try:
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        assert sum(path.name == "d" for path in walk(directory)) == 1500
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-rf", str(directory / "d")], check=True)  # too deep for pytest to remove


def test_a_directory_of_too_many_files_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "MAX", 3)
    (directory / "container" / "one").touch()
    with pytest.raises(WrongUsage, match="more than 3 files"):
        list(entries(directory / "container", directory))


def test_a_large_directory_is_not_read_to_its_end(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, taken = os.scandir, []

    @contextlib.contextmanager
    def endless(descriptor: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scan(directory / "container") as found:
            first = next(found)
        yield (taken.append(first) or first for _ in itertools.count())  # type: ignore[func-returns-value]

    monkeypatch.setattr(checkout, "MAX", 50)
    monkeypatch.setattr(os, "scandir", endless)
    with pytest.raises(WrongUsage, match="more than 50 files"):
        list(walk(directory))
    assert len(taken) == 51


@pytest.mark.parametrize("kind", ["file", "target of a link"])
def test_a_name_that_is_not_utf_8_is_refused(directory: Path, kind: str) -> None:
    odd = os.fsdecode(b"a\xff.ts")
    source = directory / "container" / "agent-runner" / "src"
    if kind == "file":
        (source / odd).touch()
        with pytest.raises(WrongUsage, match="not UTF-8"):
            list(discover(directory))
    else:
        (source / "link").symlink_to(odd)
    with pytest.raises(WrongUsage, match="not UTF-8"):
        agent.of_checkout(directory)


def test_links_are_not_followed_in_search_of_docker_commands(directory: Path) -> None:
    (directory.parent / ".ssh" / "deploy.sh").write_text("docker run secret-image\n")
    (directory / "scripts").mkdir()
    (directory / "scripts" / "deploy.sh").symlink_to("../../.ssh/deploy.sh")
    (directory / "outside").symlink_to("../.ssh")
    assert [(each.file, each.form) for each in discover(directory)] == [("outside", None), ("scripts/deploy.sh", None)]


def test_what_is_skipped_is_not_even_looked_at(tmp_path: Path) -> None:
    (tmp_path / "src" / "node_modules").mkdir(parents=True)
    (tmp_path / "src" / "node_modules" / "out").symlink_to("/etc")
    (tmp_path / "src" / "index.ts").write_text("")
    os.mkfifo(tmp_path / "data")
    skipped = {Path("src/node_modules"), Path("data")}
    assert [each.name for each in entries(tmp_path, tmp_path, skip=skipped.__contains__)] == ["src", "src/index.ts"]
