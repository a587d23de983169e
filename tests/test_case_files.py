"""A container that replaces files and directories in its mounts by links, FIFOs and devices reaches nothing else."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from checks.cases import nanoclaw_integration as cases
from checks.core.errors import HostProblem
from checks.core.paths import ROOT
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.hosts.local import LocalHost
from checks.nanoclaw import running, workspace
from checks.nanoclaw.agent import stub_agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.workspace import Workspace
from tests.fakes import FakeHost
from tests.patience import AT_ONCE
from tests.test_integration import QUESTION

CONTENT = "ERROR hunter2"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A directory of the host user, with a private file of every name that an access asks for."""
    directory = tmp_path / "home"
    directory.mkdir()
    for name in ("file", "_close", ".verify", "outbound.db", "a.txt"):
        (directory / name).write_text(CONTENT)
        (directory / name).chmod(0o600)
    return directory


@pytest.fixture
def ctx(tmp_path: Path) -> CaseContext:
    ctx = CaseContext(FakeHost(tmp_path, {"docker": "sleep 5"}).pretend(), RunScope("run", "run"), "case", Record())
    ctx._directory = str(tmp_path / "case")
    (tmp_path / "case").mkdir()
    return ctx


def unchanged(precious: Path) -> bool:
    files = list(precious.iterdir())
    return len(files) == 5 and all(
        each.read_text() == CONTENT and each.stat().st_mode & 0o777 == 0o600 for each in files
    )


def replaced(path: Path, target: Path | str) -> None:
    """What the container does: a link instead of a file or directory."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("at", ["input/_close.part", "input/_close", "input", "."])
def test_close_does_not_write_through_a_link(ctx: CaseContext, precious: Path, at: str) -> None:
    place = workspace.for_streams(ctx, stub_agent()[AgentProtocol.STREAMS])
    exchange = Path(place.path(place.exchange))
    replaced(exchange / at if at != "." else exchange, precious / at.partition("/")[2])
    with running.streams(ctx, place, "image", QUESTION) as agent:
        if "/" in at:
            ctx.write(f"{place.exchange}/input/_close", "")
            assert [(exchange / "input" / "_close").is_symlink(), (exchange / "input" / "_close").read_text()] == [
                False,
                "",
            ]
        else:
            with pytest.raises(Mismatch, match="is a link"):
                agent.close()
    assert unchanged(precious)


@pytest.mark.parametrize("target", ["file", "directory"])
def test_put_replaces_a_link_and_does_not_follow_it(tmp_path: Path, precious: Path, target: str) -> None:
    (tmp_path / "in").mkdir()
    for name in ("new", "new.part"):
        (tmp_path / "in" / name).symlink_to(precious / "file" if target == "file" else precious)
    LocalHost().put(str(tmp_path / "in" / "new"), b"new", mode=0o640)
    assert not (tmp_path / "in" / "new").is_symlink()
    assert (tmp_path / "in" / "new").read_bytes() == b"new"
    assert (tmp_path / "in" / "new").stat().st_mode & 0o777 == 0o640
    assert unchanged(precious)


def test_a_failed_put_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "in" / "new").mkdir(parents=True)
    with pytest.raises(HostProblem, match="writing"):
        LocalHost().put(str(tmp_path / "in" / "new"), b"new")
    assert [each.name for each in (tmp_path / "in").iterdir()] == ["new"]


def test_files_are_written_and_read_as_they_are(ctx: CaseContext) -> None:
    data = os.urandom(200_000)
    for name in ("file", "-a  b/$HOME/*/file", "-a  b/$HOME/*/file"):
        path = Path(ctx.write(name, data))
        assert path.stat().st_mode & 0o777 == 0o644
        assert ctx.read_bytes(name) == data
        assert [each.name for each in path.parent.iterdir() if each.is_file()] == ["file"]


@pytest.mark.parametrize("at", ["data/file", "data", "data/sub"])
def test_reads_do_not_follow_links(ctx: CaseContext, precious: Path, at: str) -> None:
    ctx.write("data/sub/file", "")
    ctx.write("data/file", "")
    replaced(Path(ctx.directory, at), precious / "file" if at.endswith("file") else precious)
    name = {"data/sub": "data/sub/file"}.get(at, "data/file")
    with pytest.raises(Mismatch, match="is a link"):
        ctx.read_bytes(name)
    assert CONTENT not in ctx.read(name)


def test_a_link_to_a_directory_in_the_mount_is_refused_too(ctx: CaseContext) -> None:
    ctx.write("data/sub/file", "")
    Path(ctx.directory, "data/link").symlink_to("sub")
    assert "is a link" in ctx.read("data/link/file")


@pytest.mark.parametrize(
    ("name", "error"), [("gone", "cannot enter|can't cd|No such file"), ("file/x", "can't cd|Not a directory")]
)
def test_a_missing_directory_is_the_cases_failure(ctx: CaseContext, name: str, error: str) -> None:
    ctx.write("data/file", "")
    with pytest.raises(Mismatch, match=error):
        ctx.read_bytes(f"data/{name}/x")


def test_a_case_directory_that_is_gone_is_the_hosts_problem(ctx: CaseContext) -> None:
    Path(ctx.directory).rmdir()
    with pytest.raises(HostProblem, match="can't be entered"):
        ctx.read_bytes("file")
    with pytest.raises(HostProblem, match="can't be entered"):
        ctx.write("file", "")


def test_a_file_swapped_between_the_check_and_the_open_is_not_read(ctx: CaseContext, precious: Path) -> None:
    # The shell's own checks pass before the swap: `readlink` after the open finds the link's target.
    ctx.write("data/file", "")
    host = ctx.host
    assert isinstance(host, FakeHost)
    swapped = Path(ctx.directory, "data/file")
    swapped.unlink()
    swapped.symlink_to(precious / "file")
    blind = Path(host._bin, "sh")
    blind.write_text(
        """#!/bin/bash -p\nscript=$2; shift 2\nexec /bin/sh -c "$(sed 's/! -L/-n/' <<<"$script")" "$@"\n"""
    )
    blind.chmod(0o755)
    with pytest.raises(Mismatch, match="was replaced while it was opened"):
        ctx.read_bytes("data/file")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def large(path: Path) -> None:
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**40)


REPLACEMENTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link to a file": (lambda path: replaced(path, "/etc/passwd"), "is a link"),
    "a link to a device": (lambda path: replaced(path, "/dev/zero"), "is a link"),
    "a FIFO": (fifo, "is not a regular file"),
    "too large": (large, "at most 8388608 bytes"),
    "missing": (Path.unlink, "No such file"),
    "a directory": (directory, "is not a regular file"),
}


@pytest.mark.parametrize(("replace", "error"), REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_an_outbound_database_that_can_not_be_read_is_the_cases_failure(
    ctx: CaseContext, precious: Path, replace: Callable[[Path], None], error: str
) -> None:
    place = workspace.for_databases(ctx, stub_agent()[AgentProtocol.DATABASES], prompt="?")
    replace(Path(place.path(f"{place.exchange}/outbound.db")))
    began = time.monotonic()
    with running.databases(ctx, place, "image", QUESTION) as agent, pytest.raises(Mismatch, match=error):
        agent.answer()
    assert time.monotonic() - began < AT_ONCE
    assert unchanged(precious)


def test_the_agents_file_is_not_read_through_a_link(ctx: CaseContext, precious: Path) -> None:
    place = workspace.for_streams(ctx, stub_agent()[AgentProtocol.STREAMS])
    for mount in place.mounts:
        if not mount.readonly:
            Path(mount.source, ".verify").symlink_to(precious / ".verify")
    wanted = f"uid 1500 gid 1500 HOME /home/node TZ {running.ZONE}"
    host = ctx.host
    assert isinstance(host, FakeHost)
    (host._bin / "podman").write_text(f"#!/bin/sh\necho {wanted}\n")
    (host._bin / "podman").chmod(0o755)
    with running.streams(ctx, place, "image", QUESTION) as agent, pytest.raises(Mismatch, match="is a link") as failure:
        cases.expect_at_home(ctx, agent, place)
    assert CONTENT not in str(failure.value)


def logged(ctx: CaseContext, place: Workspace) -> str:
    with running.streams(ctx, place, "image", QUESTION) as agent:
        return str(agent.silent())


@pytest.mark.parametrize("at", ["debug/a.txt", "debug"])
def test_the_debug_log_is_not_read_through_a_link(ctx: CaseContext, precious: Path, at: str) -> None:
    place = workspace.for_streams(ctx, stub_agent()[AgentProtocol.STREAMS])
    ctx.write(f"{place.claude}/debug/a.txt", "fine\nERROR: of the agent\n")
    assert "Its debug log: ERROR: of the agent" in logged(ctx, place)
    replaced(Path(place.path(place.claude), at), precious / at.partition("/")[2])
    assert CONTENT not in logged(ctx, place)


@pytest.mark.parametrize("at", ["projects/x.jsonl", "projects"])
def test_a_transcript_behind_a_link_is_none(ctx: CaseContext, precious: Path, at: str) -> None:
    place = workspace.for_streams(ctx, stub_agent()[AgentProtocol.STREAMS])
    ctx.write(f"{place.claude}/projects/x.jsonl", QUESTION.answer)
    cases.expect_transcript(ctx, QUESTION, place)
    (precious / "file").write_text(QUESTION.answer)
    replaced(Path(place.path(place.claude), at), precious / "file" if "/" in at else precious)
    with pytest.raises(Mismatch, match="a transcript with the answer"):
        cases.expect_transcript(ctx, QUESTION, place)


def test_agents_files_are_read_through_case_files_only() -> None:
    direct = re.compile(r"host\.read\(|\[\"(cat|ls)\"|mount\.source\}/")
    paths = [*(ROOT / "checks" / "nanoclaw").glob("*.py"), ROOT / "checks" / "cases" / "nanoclaw_integration.py"]
    found = [
        f"{path.name}: {line.strip()}"
        for path in paths
        for line in path.read_text().splitlines()
        if direct.search(line) and "ctx.relative(mount.source)" not in line
    ]
    assert found == []
