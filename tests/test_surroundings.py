"""Podman in our own namespace: its configuration, and that it changes nothing else on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from checks.core import run_directories
from checks.core.errors import HostProblem
from checks.core.paths import ROOT
from checks.core.polling import poll
from checks.hosts import namespace
from checks.nanoclaw.images import base, surroundings
from checks.nanoclaw.images.store import Store
from checks.nanoclaw.images.surroundings import Surroundings
from tests.patience import PATIENCE

ROOTS_PLACES = "/var/cache /var/lib /run"

BUILD = """
import sys
from pathlib import Path
from checks.nanoclaw.images.store import Store

work, scratch = map(Path, sys.argv[1:])
with Store(work / "store", scratch) as store:
    store.build(work / "base", "docker.io/library/node:22-slim")
    store.build(work / "agent", "localhost/agent:latest")
    store.save("localhost/agent:latest", work / "agent.tar")
    store.load(work / "agent.tar")
    store.map_for("localhost/agent:latest", 1500)
    assert not store.pull("localhost/missing:latest")
"""


@pytest.mark.usefixtures("needs_namespace", "podman_of_this_machine")
@pytest.mark.parametrize("name", ["node:22-slim", "docker.io/library/node:22-slim"])
def test_an_image_is_built_for_any_account_and_nothing_is_left_elsewhere(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for context, dockerfile in {"base": "FROM scratch\nCOPY file /file\n", "agent": f"FROM {name}\n"}.items():
        (tmp_path / context).mkdir()
        (tmp_path / context / "Dockerfile").write_text(dockerfile)
        (tmp_path / context / "file").write_text("")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with run_directories.new_run() as run:
        built = [sys.executable, "-c", BUILD, str(tmp_path), str(run.scratch)]
        if os.getuid() == 0:  # a plain user can't write there; root must not
            hide = 'for place in $PLACES; do mount -t tmpfs tmpfs $place; done; "$@" && find $PLACES -mindepth 1'
            built = ["unshare", "--mount", "sh", "-c", hide, "sh", *built]
        # An account that has no session: no XDG_RUNTIME_DIR.
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "PLACES": ROOTS_PLACES}
        done = subprocess.run(built, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(home.iterdir())


@pytest.mark.usefixtures("needs_namespace")
def test_podman_gets_no_variable_that_redirects_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "podman").write_text('#!/bin/sh\nenv -0 >"$HOME/../../seen"\n')
    (tmp_path / "bin" / "podman").chmod(0o755)
    for name in ("CONTAINER_HOST", "CONTAINERS_CONF_OVERRIDE", "STORAGE_OPTS", "STORAGE_DRIVER", "BUILDAH_ISOLATION"):
        monkeypatch.setenv(name, "hostile")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    for each in ("context", "scratch"):
        (tmp_path / each).mkdir()
    with Store(tmp_path / "images", tmp_path / "scratch") as store:
        store.build(tmp_path / "context", "tag")
        written = (tmp_path / "scratch" / "images" / "seen").read_text()
    seen = dict(each.split("=", 1) for each in written.split("\0") if each)
    assert "hostile" not in seen.values()
    assert seen["https_proxy"] == "http://proxy.example:3128"
    assert int(seen["_CONTAINERS_ROOTLESS_UID"]) > 0
    for name in ("HOME", "TMPDIR", *(name for name in seen if name.startswith(("XDG_", "CONTAINERS_")))):
        assert seen[name].startswith(f"{tmp_path}/scratch/images/podman-"), name


def test_podman_reaches_registries_as_the_account_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own" / "containers").mkdir(parents=True)
    (tmp_path / "own" / "containers" / "registries.conf").write_text("a mirror")
    (tmp_path / "login.json").write_text("{}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "login.json"))
    environment = Surroundings(tmp_path / "podman").environment()
    assert "REGISTRY_AUTH_FILE" not in environment
    read = Path(environment["XDG_CONFIG_HOME"]) / "containers"
    assert [each.name for each in read.iterdir()] == ["registries.conf"]
    assert (read / "registries.conf").read_text() == "a mirror"
    assert (Path(environment["XDG_RUNTIME_DIR"]) / "containers" / "auth.json").read_text() == "{}"


def test_a_short_name_means_the_base_image_that_is_provided(tmp_path: Path) -> None:
    environment = Surroundings(tmp_path / "podman").environment()
    aliases = Path(environment["XDG_CACHE_HOME"]) / "containers" / "short-name-aliases.conf"
    assert tomllib.loads(aliases.read_text()) == {"aliases": surroundings.SHORT_NAMES}
    assert base.NAME.rpartition(":")[0] in surroundings.SHORT_NAMES.values()


@pytest.mark.parametrize("script", ["echo unshare: unshare failed: No space left on device >&2; exit 1", "exit 1"])
def test_a_machine_without_namespaces_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (tmp_path / "unshare").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(HostProblem, match="No user namespace could be made: unshare"):
        namespace.run(["true"], own=0, rest=1)


def test_programs_that_a_namespace_needs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1500)
    with pytest.raises(
        HostProblem, match=r"unshare, setpriv, newuidmap, newgidmap, getsubids is not .*install\.sh guest"
    ):
        namespace.require()


WAITS = """
import sys
from checks.hosts import namespace

namespace.run(["sh", "-c", 'echo $$ >"$0"; exec sleep 300', sys.argv[1]], own=0, rest=1)
"""


@pytest.mark.usefixtures("needs_namespace")
def test_a_command_in_a_namespace_ends_where_the_process_that_runs_it_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", WAITS, str(note)], cwd=ROOT) as started:
        written = poll(lambda: note.exists() and note.read_text().strip(), timeout=PATIENCE, interval=0.1)
        started.kill()
    assert written
    process = Path(f"/proc/{written}/cmdline")  # empty for one that nobody has waited for
    assert poll(lambda: not process.exists() or not process.read_bytes(), timeout=PATIENCE, interval=0.1)
