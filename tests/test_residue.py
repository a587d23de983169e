from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from checks.core.errors import HostProblem
from checks.core.progress import Progress, plain_console
from checks.core.run_directories import Run
from checks.core.run_processes import MARK, processes_of, stop
from checks.engine import leaks
from checks.engine.case_context import RunScope
from checks.engine.leaks import LeakDetector, found
from checks.engine.prepared_host import AS_IS, PreparedHost
from checks.evidence.run import Evidence
from checks.runner.verify import VerifyOptions, session
from tests.fakes import FACTS, FakeHost


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_TIMEOUT", 0.5)


@pytest.fixture
def run() -> str:
    return f"test{secrets.token_hex(5)}"


@pytest.fixture
def account(tmp_path: Path) -> FakeHost:
    store = tmp_path / "store"
    for directory in ("volumes", "networks", "vfs-containers"):
        (store / directory).mkdir(parents=True)
    return FakeHost(tmp_path).pretend(replace(FACTS, store=str(store)))


@pytest.fixture
def litter(run: str) -> Iterator[Path]:
    path = Path("/var/tmp") / f"left-by-{run}"
    yield path
    path.unlink(missing_ok=True)


def test_what_was_there_before_is_not_left(account: FakeHost, run: str, litter: Path) -> None:
    litter.touch()
    watch = LeakDetector(account, run, exclusive=False)
    watch.begin()
    assert watch.new() == []


def test_the_network_s_own_files_are_not_left(account: FakeHost, run: str) -> None:
    watch = LeakDetector(account, run, exclusive=True)
    watch.begin()
    networks = Path(account.facts().store) / "networks"
    for name in ("ipam.db", "netavark.lock", "aardvark.lock", "aardvark-dns", f"{run}.json"):
        (networks / name).touch()
    assert [line for line in watch.new() if line.startswith("network ")] == [f"network {run}.json"]


def test_each_kind_of_thing_that_stays_is_named(account: FakeHost, run: str, litter: Path) -> None:
    watch = LeakDetector(account, run, exclusive=False)
    watch.begin()
    litter.touch()
    store = Path(account.facts().store)
    (store / "volumes" / f"volume-{run}").mkdir()
    (store / "networks" / f"{run}.json").touch()
    containers = [{"id": "0123456789abcdef", "names": [f"nanoclaw-{run}"], "layer": "x"}]
    (store / "vfs-containers" / "volatile-containers.json").write_text(json.dumps(containers))
    with subprocess.Popen(["sh", "-c", 'sleep 30; : "$0"', run]) as process:
        try:
            left = watch.new()
        finally:
            process.kill()
            subprocess.run(["pkill", "-P", str(process.pid)], check=False)
    assert [line.partition(" ")[0] for line in left] == ["container", "file", "network", "process", "volume"]
    assert left[:2] == [f"container 0123456789ab nanoclaw-{run}", f"file {litter}"]


def test_the_name_of_a_file_is_one_line_whatever_it_contains(account: FakeHost, run: str, litter: Path) -> None:
    watch = LeakDetector(account, run, exclusive=False)
    watch.begin()
    odd = litter.with_name(f"{litter.name}\n= mounts\nb")
    odd.touch()
    try:
        assert watch.new() == [f"file {litter}?= mounts?b"]
    finally:
        odd.unlink()


def test_what_goes_in_time_is_not_left(account: FakeHost, run: str) -> None:
    watch = LeakDetector(account, run, exclusive=False)
    watch.begin()
    with subprocess.Popen(["sh", "-c", 'sleep 0.3; : "$0"', run]):
        assert watch.new() == []


def test_what_is_put_there_on_purpose_is_not_left(account: FakeHost, run: str, litter: Path) -> None:
    watch = LeakDetector(account, run, exclusive=False)
    watch.begin()
    with watch.ignoring():
        litter.touch()
    assert watch.new() == []


def test_what_lies_apart_is_not_looked_at(account: FakeHost, run: str, litter: Path) -> None:
    watch = LeakDetector(account, run, exclusive=False, ignored_prefix=str(litter))
    watch.begin()
    litter.touch()
    assert watch.new() == []


def test_on_a_shared_machine_what_others_make_is_theirs(account: FakeHost, run: str, litter: Path) -> None:
    watch = LeakDetector(account, "another run", exclusive=False)
    watch.begin()
    litter.touch()
    assert watch.new() == []


@pytest.mark.parametrize("ours", [True, False], ids=["this run", "another run"])
def test_on_a_shared_machine_a_process_with_the_runs_variable_is_left(account: FakeHost, run: str, ours: bool) -> None:
    watch = LeakDetector(account, run, exclusive=False)
    watch.begin()
    with subprocess.Popen(["sleep", "30"], env={**os.environ, MARK: run if ours else f"{run}0"}) as process:
        try:
            assert watch.new() == ([f"process {process.pid} sleep 30"] if ours else [])
        finally:
            process.kill()


def test_on_a_shared_machine_a_helper_that_serves_all_containers_is_not_left(account: FakeHost, run: str) -> None:
    watch = LeakDetector(account, run, exclusive=False)
    watch.begin()
    helper = ["/usr/lib/podman/aardvark-dns", "30"]
    with subprocess.Popen(helper, executable="/bin/sleep", env={**os.environ, MARK: run}) as process:
        try:
            assert watch.new() == []
        finally:
            process.kill()


@pytest.mark.parametrize("ours", [True, False], ids=["this run", "another run"])
def test_on_a_shared_machine_a_container_with_the_runs_label_is_left(tmp_path: Path, run: str, ours: bool) -> None:
    identity = "0123456789abcdef"
    label = f"label=nanoclaw-verify={run}" if ours else "another label"
    podman = f"""[ "$1 $5" = "ps {label}" ] || exit 0; echo {identity}"""
    store = tmp_path / "store" / "vfs-containers"
    store.mkdir(parents=True)
    account = FakeHost(tmp_path, {"podman": podman}).pretend(replace(FACTS, store=str(store.parent)))
    watch = LeakDetector(account, run, exclusive=False)
    watch.begin()
    (store / "containers.json").write_text(json.dumps([{"id": identity, "names": ["eager_hopper"]}]))
    assert watch.new() == ([f"container {identity[:12]} eager_hopper"] if ours else [])


LOOK = """5
/run/user/1
/s
= processes
5 catatonit -P
7 timeout -k 2 20.0 sh -s nanoclaw-verify-look podman /s
8 sshd: user@notty
9 sleep 60
= mounts
1 2 0:3 / / rw - ext4 /dev/vda rw
1 2 0:3 / /s/overlay rw - ext4 /dev/vda rw
1 2 0:3 / /s/overlay/1/merged rw - overlay overlay rw
= subordinate ids
user:100000:65536
= files
/tmp/one
/var/tmp/buildah-cache-1500
/run/user/1/libpod/tmp/socket/0123
/s/volumes/two
/s/networks/three.json
"""


def test_a_look_finds_neither_itself_nor_podmans_own_pause_process_nor_mounts_of_others() -> None:
    assert list(found(LOOK)) == [
        "process 9 sleep 60", "mount /s/overlay/1/merged", "subordinate ids user:100000:65536", "file /tmp/one",
        "volume two", "network three.json",
    ]  # fmt: skip


def test_a_look_that_sees_no_processes_is_the_hosts_problem(tmp_path: Path, run: str) -> None:
    host = FakeHost(tmp_path, {"pgrep": "exit 127"}).pretend()
    with pytest.raises(HostProblem, match=r"The processes of fake can't be listed. Is pgrep"):
        LeakDetector(host, run, exclusive=False).begin()


@pytest.mark.parametrize("containers", ["", "[]", "[]\n\n[]\n"])
def test_a_store_without_containers_has_none(containers: str) -> None:
    assert list(found(f"self\n/r\n/s\n= containers\n{containers}")) == []


def verified(host: FakeHost, run: str, tmp_path: Path) -> Evidence:
    prepared = PreparedHost(host, AS_IS, RunScope(run, run), Run(run, tmp_path, tmp_path))
    quiet = plain_console(file=io.StringIO())
    options = VerifyOptions(only=("docker --version",), host=run)
    return session(options, lambda: contextlib.nullcontext(prepared), quiet, Progress(quiet))


@pytest.mark.parametrize("leaves", [False, True], ids=["leaves nothing", "leaves a file"])
def test_a_case_whose_docker_leaves_something_fails_and_says_what(
    tmp_path: Path, run: str, litter: Path, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    docker = f"echo podman version 5.4.2; {f'touch {litter}' if leaves else ':'}"
    case = verified(FakeHost(tmp_path, {"docker": docker}).pretend(), run, tmp_path).cases[0]
    assert (case.outcome, case.got) == (("failed", f"file {litter}") if leaves else ("passed", ""))


def test_a_case_whose_docker_leaves_a_process_on_a_shared_machine_fails(
    tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(MARK, run)
    docker = "setsid sleep 777 >/dev/null 2>&1 & echo podman version 5.4.2"
    try:
        case = verified(FakeHost(tmp_path, {"docker": docker}).pretend(), run, tmp_path).cases[0]
        assert processes_of(run)
    finally:
        stop(run)
    assert case.outcome == "failed"
    assert case.got.endswith(" sleep 777")
