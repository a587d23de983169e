from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from checks.core import run_directories
from checks.core.cache_manifest import write
from checks.core.errors import HostProblem
from checks.core.progress import Progress
from checks.engine import probe_image
from checks.hosts import namespace, package_mirrors
from checks.hosts.recipe import Account
from checks.nanoclaw.images import base, disks
from checks.nanoclaw.images.disks import ImageSource
from checks.nanoclaw.images.store import Store

ACCOUNTS = {"a": Account(1500, 100_000), "b": Account(1000, 165_536)}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[run_directories.Run]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with run_directories.new_run() as run:
        yield run


@pytest.fixture
def source(tmp_path: Path) -> ImageSource:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM node:22-slim\n")
    return ImageSource("stub", "an agent", "localhost/agent", context, context)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories that were made, without anything being built."""
    directories: list[Path] = []

    def make(source: object, sources: object, accounts: object, directory: Path, run: object, progress: object) -> None:
        directories.append(directory)
        directory.mkdir()
        (directory / "image.json").write_text('{"base": "built on sand"}')
        write(directory)

    monkeypatch.setattr(disks, "_make", make)
    return directories


def test_an_image_is_made_once(run: run_directories.Run, source: ImageSource, made: list[Path]) -> None:
    first = disks.ready(source, ACCOUNTS, run, Progress())
    assert disks.ready(source, ACCOUNTS, run, Progress()) == first
    assert len(made) == 1
    assert first.base == "built on sand"
    assert {uid: disk.name for uid, disk in first.disks.items()} == {1500: "1500.ext4", 1000: "1000.ext4"}


def test_an_image_that_was_cut_short_is_made_anew(
    run: run_directories.Run, source: ImageSource, made: list[Path]
) -> None:
    disks.ready(source, ACCOUNTS, run, Progress())
    (made[0] / "image.json").write_text("{")
    assert disks.ready(source, ACCOUNTS, run, Progress()).base == "built on sand"
    assert len(made) == 2


def test_a_changed_image_takes_the_place_of_the_older_one(
    run: run_directories.Run, source: ImageSource, made: list[Path]
) -> None:
    other = ImageSource("nanoclaw-1.2.0", "nanoclaw", "localhost/agent", source.context, source.root)
    disks.ready(other, ACCOUNTS, run, Progress())
    disks.ready(source, ACCOUNTS, run, Progress())
    (source.context / "new.txt").write_text("")
    disks.ready(source, ACCOUNTS, run, Progress())
    assert [directory.is_dir() for directory in made] == [True, False, True]


def test_other_accounts_need_other_disks(run: run_directories.Run, source: ImageSource, made: list[Path]) -> None:
    disks.ready(source, ACCOUNTS, run, Progress())
    disks.ready(source, {"a": Account(1500, 165_536), "b": Account(1000, 100_000)}, run, Progress())
    assert len(made) == 2


def test_missing_tools_are_named_before_anything_is_built(
    run: run_directories.Run, source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "tools_missing", lambda: ["podman"])
    with pytest.raises(HostProblem, match=r"not installed: podman\. .*scripts/install\.sh guest"):
        disks.ready(source, ACCOUNTS, run, Progress())


class FakeStore:
    """A store for which images are words."""

    def __init__(self, *, registry: bool = False) -> None:
        self.registry = registry
        self.scratch = Path()
        self.done: list[str] = []

    def __enter__(self) -> FakeStore:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def pull(self, name: str) -> bool:
        self.done.append("pull")
        return self.registry

    def load(self, archive: Path) -> None:
        self.done.append("load")

    def build(self, context: Path, tag: str) -> None:
        self.done.append("build")

    def tag(self, name: str, another: str) -> None:
        assert {name, another} == {base.NAME, base.OWN_NAME}

    def save(self, name: str, archive: Path) -> None:
        archive.write_text("a substitute")


@pytest.mark.parametrize(
    ("registry", "cached", "done", "how"),
    [
        (True, True, ["pull"], base.FROM_REGISTRY),
        (False, True, ["pull", "load"], base.SUBSTITUTE),
        (False, False, ["pull", "build"], base.SUBSTITUTE),
    ],
)
def test_a_substitute_is_used_where_no_registry_is_reachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: bool, cached: bool, done: list[str], how: str
) -> None:
    monkeypatch.setattr(base, "_context", lambda directory, scratch: directory.mkdir())
    archive = tmp_path / "base-1.tar"
    if cached:
        archive.write_text("a substitute")
    store = FakeStore(registry=registry)
    assert base.provide(cast("Store", store), archive, tmp_path, Progress()) == how
    assert store.done == done


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("FROM node:22-slim", "FROM localhost/own:base"),
        ("from  --platform=x docker.io/library/node:22-slim AS a", "from  --platform=x localhost/own:base AS a"),
        ("FROM library/node:22-slim", "FROM localhost/own:base"),
        ("FROM node:22-slim-bookworm", None), ("FROM node:22-slim@sha256:12", None), ("FROM other/node:22-slim", None),
        ("# FROM node:22-slim", None), ("COPY --from=node:22-slim /a /b", None),
    ],
)  # fmt: skip
def test_a_dockerfile_is_derived_from_the_base_image_under_another_name(line: str, named: str | None) -> None:
    changed = base.derived_from(f"ARG X\n{line}\nRUN true\n".encode(), "localhost/own:base")
    assert changed == f"ARG X\n{named or line}\nRUN true\n".encode()


def test_an_older_substitute_is_removed_when_a_new_one_is_made(
    run: run_directories.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_context", lambda directory, scratch: directory.mkdir())
    monkeypatch.setattr(disks, "Store", lambda directory, scratch: FakeStore())
    images = run_directories.cache() / "images"
    images.mkdir()
    for name in ("base-0123456789abcdef.tar", "base-0123456789abcdef.part", "lock"):
        (images / name).write_text("")
    assert disks.base_archive(run, Progress()) == b"a substitute"
    (kept,) = images.glob("base-*")
    assert kept.read_text() == "a substitute"
    assert (images / "lock").exists()


def test_a_command_sees_its_ids_as_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    try:
        seen = namespace.run(["stat", "-c", "%u:%g", str(tmp_path / "file")], own=1500, rest=100_000)
    except HostProblem as problem:
        pytest.skip(f"needs user namespaces and subordinate ids: {problem}")
    assert seen.stdout == "1500:1500\n"
    done = namespace.run(["sh", "-c", "cat /proc/self/uid_map; exit 3"], own=1500, rest=100_000)
    assert done.returncode == 3
    assert [line.split()[::2] for line in done.stdout.splitlines()] == [["1500", "1"], ["100000", "65536"]]


def test_settings_are_this_machines_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in {
        "apt-config": """echo 'Acquire::Retries "3";'; echo 'Acquire::http::Proxy "";'; echo 'APT::Color "1";'""",
        "apt-get": "echo 'Debian|Debian|main|http://mirror.example/debian/'",
        "npm": "echo https://npm.example/",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert package_mirrors.apt_settings() == ['Acquire::Retries "3";']
    assert package_mirrors.mirror() == ["http://mirror.example/debian/"]
    assert package_mirrors.npm_settings() == ["registry=https://npm.example/"]


def test_certificates_are_those_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.pem").write_text("PEM")
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(tmp_path / "own.pem"))
    assert package_mirrors.certificates() == b"PEM"


def test_an_image_is_for_everyone_although_a_umask_of_077_made_its_files(tmp_path: Path) -> None:
    for name, mode in {"program": 0o700, "settings": 0o600}.items():
        (tmp_path / "node").mkdir(mode=0o700, exist_ok=True)
        (tmp_path / "node" / name).touch(mode)
    (tmp_path / "link").symlink_to("node/gone")
    base._let_everyone_read(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("[nps]*")}
    assert modes == {"node": 0o755, "program": 0o755, "settings": 0o644}

    entry = tarfile.TarInfo("probe")
    entry.mode = 0o700
    assert probe_image._anonymous(entry).mode == 0o755
    entry.type, entry.mode = tarfile.DIRTYPE, 0o700
    assert probe_image._anonymous(entry).mode == 0o755
    entry.type, entry.mode = tarfile.REGTYPE, 0o600
    assert probe_image._anonymous(entry).mode == 0o644


SEEN = """#!/bin/sh
echo "$@"
ls -d /proc/[0-9]* | wc -l
(: >>/proc/sys/kernel/hostname) 2>/dev/null && echo "settings of the kernel can be written"
ls /sys/kernel 2>/dev/null
exit 1
"""


@pytest.mark.usefixtures("needs_namespace")
def test_a_build_has_no_way_out_of_its_chroot_to_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    podman = tmp_path / "bin" / "podman"
    for each in (podman.parent, tmp_path / "scratch"):
        each.mkdir()
    podman.write_text(SEEN)
    podman.chmod(0o755)
    monkeypatch.setattr("checks.core.tools.path", lambda: f"{podman.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    with Store(tmp_path / "store", tmp_path / "scratch") as store, pytest.raises(HostProblem) as failed:
        store.build(podman.parent, "tag")
    _, argv, processes, *others = str(failed.value).splitlines()
    assert "--cap-drop=CAP_SYS_CHROOT" in argv
    assert int(processes) < 10, "only its own processes"
    assert others == []


SEEN_FILES = """#!/bin/sh
for each in / /etc /dev /home /root /run /var /media /srv; do
    [ ! -d "$each" ] || echo "$each: $(ls "$each" | tr '\\n' ' ')"
done
for each in /usr /etc/passwd "$CONTEXT"; do
    touch "$each/x" 2>/dev/null || (: >>"$each") 2>/dev/null && echo "$each can be written"
done
cat "$CONTEXT/Dockerfile"
echo "scratch: $(ls "$SCRATCH")"
echo "modes: $(stat -c %a "$SCRATCH"/*)"
exit 1
"""


@pytest.mark.usefixtures("needs_namespace")
def test_a_build_sees_no_files_of_the_host_but_programs_and_its_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, podman = tmp_path / "context", tmp_path / "bin" / "podman"
    for each in (context, podman.parent, tmp_path / "scratch"):
        each.mkdir()
    (context / "Dockerfile").write_text("the context's file\n")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "scratch" / "of the run").write_text("another build's")
    podman.write_text(SEEN_FILES.replace("$CONTEXT", str(context)).replace("$SCRATCH", str(tmp_path / "scratch")))
    podman.chmod(0o755)
    monkeypatch.setattr("checks.core.tools.path", lambda: f"{podman.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    with Store(tmp_path / "store", tmp_path / "scratch") as store, pytest.raises(HostProblem) as failed:
        store.build(context, "tag")
    seen = dict(line.split(": ") for line in str(failed.value).splitlines()[1:] if line.startswith("/"))
    assert set(seen["/dev"].split()) == {"fd", "full", "null", "pts", "random", "shm", "tty", "urandom", "zero"}
    assert not {"shadow", "ssh", "fstab"} & set(seen["/etc"].split())
    assert {*seen["/"].split()} <= {
        *[
            "bin",
            "dev",
            "etc",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "opt",
            "proc",
            "root",
            "run",
            "sbin",
            "sys",
            "tmp",
            "usr",
            "var",
        ]
    }
    assert (seen["/root"], seen["/run"], seen["/var"]) == ("", "", "tmp ")
    assert "can be written" not in str(failed.value)
    assert "the context's file" in str(failed.value)
    assert "scratch: store" in str(failed.value).splitlines(), "its own directory of the run alone"
    assert "modes: 700" in str(failed.value).splitlines(), "which is for no other account"
