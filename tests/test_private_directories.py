"""What another local account can prepare in a directory that all accounts share, and what it gets of it: nothing."""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from checks.core import run_directories
from checks.core.errors import HostProblem
from checks.core.paths import FIXTURES, ROOT
from checks.core.polling import poll
from checks.engine import probe_container, probe_image
from checks.engine.case_context import CaseContext, RunScope, marker, remove_objects
from checks.engine.docker import Record, build
from checks.hosts import base
from checks.hosts.base import directories_of
from checks.hosts.local import LocalHost
from checks.mutation.catalogue import load
from checks.mutation.wrapped import upload
from tests.fakes import FACTS, FakeHost
from tests.patience import PATIENCE

SOMEBODY = 65534
"""The uid of another account."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make directories of another account")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that every account may write, in the place of /var/tmp."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o1777)
    monkeypatch.setattr(base, "SHARED", str(path))
    monkeypatch.setattr(run_directories, "_SHARED", path)
    return path


@pytest.fixture
def account(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path, {"podman": "true"}).pretend(replace(FACTS, uid=os.geteuid()))


def trap(path: Path) -> Path:
    """A directory that another account has made beforehand, open to all."""
    path.mkdir()
    path.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(path, SOMEBODY, SOMEBODY)
    return path


def private(path: Path) -> bool:
    """Whether a path is a directory that this account alone can enter."""
    seen = path.lstat()
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid() and stat.S_IMODE(seen.st_mode) == 0o700


def places(account: FakeHost, run: str) -> Iterator[tuple[str, Path]]:
    """Every directory that a run makes in the shared one, by what it is for."""
    yield "a case's", Path(CaseContext(account, RunScope(run, run), "case", Record()).directory)
    yield "the sabotages'", Path(upload(account, run, load()[:1]))


def test_what_a_run_makes_in_a_shared_directory_is_new_and_its_accounts_alone(shared: Path, account: FakeHost) -> None:
    for guess in ("", "-case", "-docker", f"-work-{os.geteuid()}", f"-docker-{os.geteuid()}", "-case-XXXXXXXXXX"):
        trap(shared / f"{directories_of('run1')}{guess}")
    known = set(shared.iterdir())
    for purpose, path in places(account, "run1"):
        assert path.parent == shared, purpose
        assert path not in known, purpose
        assert private(path), purpose


def test_the_build_context_of_the_probe_image_is_in_a_directory_of_the_run(shared: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    podman = f'echo "$TMPDIR" >>{seen}; for each; do last=$each; done; [ "$1" != build ] || echo "$last" >>{seen}'
    account = FakeHost(tmp_path, {"podman": podman}).pretend(replace(FACTS, uid=os.geteuid()))
    probe_image.make([account], "run1")
    used = {Path(line) for line in seen.read_text().split()}
    assert used
    assert all(str(path).startswith(f"{shared}/{directories_of('run1')}-") for path in used)
    assert list(shared.iterdir()) == []


def test_a_directory_of_a_probe_that_stays_on_another_host_is_an_error(shared: Path, account: FakeHost) -> None:
    account.remove_private_directories = lambda name: False  # type: ignore[method-assign]
    with pytest.raises(HostProblem, match="could not be removed"), probe_container.directory_on(account):
        pass


def test_no_name_is_made_twice(shared: Path) -> None:
    made = {LocalHost().make_private_directory("name") for _ in range(5)}
    assert len(made) == 5
    assert all(re.fullmatch(r"name-[A-Za-z0-9]{10}", Path(path).name) for path in made)


def test_a_shared_directory_in_which_anyone_can_replace_anything_is_refused(shared: Path) -> None:
    shared.chmod(0o777)
    with pytest.raises(HostProblem, match="no sticky bit"):
        LocalHost().make_private_directory("name")
    assert list(shared.iterdir()) == []


def test_no_run_begins_where_anyone_could_replace_its_sockets(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shared.chmod(0o777)
    with pytest.raises(HostProblem, match="no sticky bit"), run_directories.new_run():
        pass
    assert list(shared.iterdir()) == []
    assert list((run_directories.cache() / "runs").iterdir()) == []


def test_a_run_has_a_scratch_directory_that_nobody_could_have_made(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("checks.core.run_directories.secrets.token_hex", lambda _: "0123456789")
    planted = trap(shared / f"{run_directories.PROGRAM}-0123456789")
    with run_directories.new_run() as run:
        assert run.scratch != planted
        assert run.scratch.lstat().st_mode & 0o777 == 0o711
        assert run.scratch.lstat().st_uid == os.geteuid()
        assert private(run.sockets)
    assert not run.scratch.exists()
    assert planted.is_dir()


def test_cleaning_up_removes_the_accounts_own_directories_of_the_run(shared: Path, account: FakeHost) -> None:
    made = [path for _, path in places(account, "run1")]
    (made[0] / "deep" / "er").mkdir(parents=True)
    others = Path(account.make_private_directory(directories_of("run2")))
    assert remove_objects(account, "run1")
    assert not any(path.exists() for path in made)
    assert others.is_dir()


def test_cleaning_up_follows_no_link_that_bears_a_runs_name(shared: Path, account: FakeHost, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (shared / f"{directories_of('run1')}-case-0123456789").symlink_to(kept)
    assert remove_objects(account, "run1")
    assert (kept / "file").exists()


@as_root
def test_cleaning_up_leaves_what_another_account_has_made(shared: Path, account: FakeHost) -> None:
    planted = trap(shared / f"{directories_of('run1')}-case-0123456789")
    assert remove_objects(account, "run1")
    assert planted.is_dir()


@as_root
def test_a_scratch_directory_of_another_account_is_no_dead_run(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    planted = trap(shared / f"{run_directories.PROGRAM}-0123456789.abcdefgh")
    (planted / "run").symlink_to(tmp_path / "gone")
    (shared / f"{run_directories.PROGRAM}-0123456788.abcdefgh").symlink_to(planted)
    assert run_directories.dead_runs() == []


def test_a_build_cache_goes_with_its_run_and_a_link_that_bears_its_name_leads_nowhere(
    shared: Path, tmp_path: Path
) -> None:
    # Anyone may link a name like buildah's to a directory of the account's in which something bears the run's name.
    account = FakeHost(tmp_path, {"podman": 'case "$1 $2" in "unshare rm") shift; exec "$@" ;; esac'}).pretend(FACTS)
    cached, kept = shared / "buildah-cache-1500" / "1", tmp_path / "home" / "kept"
    for place in (cached, kept):
        (place / marker("run1")).mkdir(parents=True)
    (shared / "buildah-cache-evil").symlink_to(tmp_path / "home")
    assert remove_objects(account, "run1")
    assert not cached.exists()
    assert kept.is_dir()


CONMON = """#!/bin/sh
{container} &
echo $! >"$2"
wait $!
sleep 0.5
exec podman --root "$1" container cleanup
"""
CLEANUP = '[ "$1" != --root ] || { sleep 0.5; mkdir -p "$2"; }'


@pytest.mark.parametrize("container", ["exec sleep 60", "sleep 0"])
def test_a_container_that_outlives_its_client_ends_before_its_directory_goes(
    shared: Path, tmp_path: Path, container: str
) -> None:
    account = FakeHost(tmp_path, {"podman": CLEANUP, "conmon": "exit 0"}).pretend(FACTS)
    conmon = tmp_path / "bin" / "conmon"
    conmon.write_text(CONMON.format(container=container))
    directory = account.make_private_directory("nanoclaw-verify-run1-e")
    argv = account.wrap_command([str(conmon), f"{directory}/storage", str(tmp_path / "container")])
    with subprocess.Popen(argv) as left:
        assert poll((tmp_path / "container").exists, timeout=PATIENCE, interval=0.05)
        assert account.remove_private_directories("nanoclaw-verify-run1")
        assert left.poll() is not None
    assert not Path(directory).exists()


FROM_IT = 'mount --bind "$1/hosts" /etc/hosts && touch "$1/mounted" && exec sleep 600'
ON_IT = 'touch "$1/mounted" && mount -t tmpfs none "$1" && exec sleep 600'


@pytest.mark.usefixtures("needs_namespace")
@pytest.mark.parametrize(
    ("run", "mounted", "ends"), [("run1", FROM_IT, True), ("run1", ON_IT, False), ("run10", FROM_IT, False)]
)
def test_what_a_killed_build_still_runs_ends_with_its_run(
    shared: Path, tmp_path: Path, run: str, mounted: str, ends: bool
) -> None:
    account = FakeHost(tmp_path, {"podman": "true"}).pretend(FACTS)
    directory = Path(account.make_private_directory(f"nanoclaw-verify-{run}-case-images")) / "buildah123"
    directory.mkdir()
    (directory / "hosts").touch()
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]
    with subprocess.Popen([*namespace, "sh", "-c", mounted, "sh", str(directory)]) as build:
        try:
            assert poll((directory / "mounted").exists, timeout=PATIENCE, interval=0.05)
            assert remove_objects(account, "run1")
            assert poll(lambda: build.poll() is not None, timeout=PATIENCE if ends else 1, interval=0.05) == ends
        finally:
            build.kill()


def test_a_reader_of_a_directory_is_not_stopped(shared: Path, tmp_path: Path) -> None:
    account = FakeHost(tmp_path).pretend(FACTS)
    file = Path(account.make_private_directory("nanoclaw-verify-run1-e")) / "log"
    file.touch()
    with subprocess.Popen(["tail", "-f", str(file)], stderr=subprocess.DEVNULL) as reader:
        assert account.remove_private_directories("nanoclaw-verify-run1")
        assert reader.poll() is None
        reader.kill()


@pytest.mark.parametrize(("run_root", "runtime"), [("/run/user/1500/containers", ""), ("/home/u/run/x", "/home/u/run")])
def test_a_command_about_images_has_a_directory_of_its_own_for_what_it_writes(
    shared: Path, tmp_path: Path, run_root: str, runtime: str
) -> None:
    # Without it Podman's builds use /var/tmp/buildah-cache, whoever has made that, and leave layers there if killed.
    account = FakeHost(tmp_path, {"docker": 'printf %s "${TMPDIR-}"'})
    account.pretend(replace(FACTS, run_root=run_root, runtime_directory=runtime))
    ctx = CaseContext(account, RunScope("run1", "run1"), "case", Record())
    used = Path(ctx.docker(build("/context")).stdout)
    assert used.parent == shared
    assert private(used)
    assert ctx.docker("load").stdout == str(used)
    assert ctx.docker("info").stdout == os.environ.get("TMPDIR", "")
    assert remove_objects(account, "run1")
    assert not used.exists()


@pytest.mark.parametrize("name", ["buildah-cache", f"buildah-cache-{os.geteuid()}"])
def test_a_build_cache_of_another_account_is_not_used(shared: Path, tmp_path: Path, name: str) -> None:
    account = FakeHost(tmp_path, {"docker": "true"}).pretend(replace(FACTS, run_root="/tmp/podman-run-1500"))
    (shared / name).symlink_to(tmp_path)
    with pytest.raises(HostProblem, match=f"{name} is not this account's own"):
        CaseContext(account, RunScope("run1", "run1"), "case", Record()).docker(build("/context"))


def test_a_build_cache_can_not_be_put_in_place_after_the_look(shared: Path, tmp_path: Path) -> None:
    account = FakeHost(tmp_path, {"docker": "true", "podman": "true"})
    account.pretend(replace(FACTS, run_root="/tmp/podman-run-1500"))
    assert CaseContext(account, RunScope("run1", "run1"), "case", Record()).docker(build("/context")).returncode == 0
    made = sorted(shared.iterdir())
    assert [path.name for path in made] == ["buildah-cache", f"buildah-cache-{os.geteuid()}"]
    assert all(map(private, made))
    assert remove_objects(account, "run1")
    assert not list(shared.iterdir())


def test_the_engines_own_commands_have_the_same_directory(shared: Path, tmp_path: Path) -> None:
    account = FakeHost(tmp_path, {"podman": 'printf %s "${TMPDIR-}"'})
    account.pretend(replace(FACTS, run_root="/run/user/1500/containers"))
    ctx = CaseContext(account, RunScope("run1", "run1"), "case", Record())
    assert Path(ctx.engine("save", "an-image")).parent == shared
    assert ctx.engine("ps") == os.environ.get("TMPDIR", "")


def test_no_step_calls_the_engine_for_images_without_that_directory() -> None:
    large = {"build", "load", "save", "pull", "commit"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "checks").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.List) and len(node.elts) > 1
        if isinstance(node.elts[1], ast.Constant) and node.elts[1].value in large
    ]
    assert not found, "use ctx.docker or ctx.engine_command"


def test_temporary_files_are_made_where_no_other_account_can_write() -> None:
    """TMPDIR may be a directory without the sticky bit. The only exception is made exclusively and not read again."""
    made = [
        (str(path.relative_to(ROOT)), node)
        for path in sorted((ROOT / "checks").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("tempfile.")
    ]
    assert made
    anywhere = [name for name, call in made if "dir" not in {each.arg for each in call.keywords}]
    assert anywhere == ["checks/core/outcome.py"]


SHARED_PATH = re.compile(r"(?<![\w$}])/(?:var/tmp|tmp|dev/shm)\b")
READ_OR_INSIDE = {
    "checks/cases/bind_mounts.py": "inside a container",
    "checks/cases/driver_2_2.py": "inside a container",
    "checks/cases/driver_2_2_networks.py": "inside a container",
    "checks/cases/environment_and_user.py": "read from outside a container",
    "checks/cases/image_operations.py": "inside a container",
    "checks/cases/resource_limits.py": "inside a container",
    "checks/cases/setup_and_skills.py": "inside a container",
    "checks/engine/container_state.py": "inside a container",
    "checks/hardening/injection/effect.py": "inside a container",
    "checks/hardening/injection/settings.py": "inside a container",
    "checks/matrix/differences.py": "read in evidence",
    "checks/nanoclaw/gateway.py": "inside a container",
    "checks/nanoclaw/installation.py": "removes what nanoclaw itself has made",
    "checks/nanoclaw/running.py": "inside a container",
    "checks/engine/isolation.py": "read from outside a container",
    "checks/engine/leaks.py": "read",
    "checks/guide/host_checks.py": "an example of a host in words",
    "checks/hosts/base.py": "make_private_directory",
    "checks/core/run_directories.py": "mkdtemp",
}


def test_nothing_else_of_the_program_names_a_shared_directory() -> None:
    named = {
        str(path.relative_to(ROOT)): [line for line in path.read_text().splitlines() if SHARED_PATH.search(line)]
        for path in sorted((ROOT / "checks").rglob("*.py"))
    }
    assert {file for file, lines in named.items() if lines} <= READ_OR_INSIDE.keys()


def test_scripts_for_hosts_make_directories_by_mktemp_alone() -> None:
    for path in (FIXTURES / "probe" / "make.sh", FIXTURES / "nanoclaw" / "docker"):
        assert "mktemp -d" in path.read_text()
