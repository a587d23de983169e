from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.process import Completed, TimedOut
from checks.engine.case_context import (
    CaseContext,
    RunScope,
    accounts_for,
    remove_containers,
    remove_objects,
)
from checks.engine.docker import Docker, Record, build, plain, run
from checks.engine.expect import Mismatch, expect_run
from checks.hosts.base import directories_of
from checks.hosts.local import LocalHost
from checks.nanoclaw.contract import Mount, run_databases, run_streams
from tests.fakes import FACTS, FakeHost

# A podman whose containers and images are files, "NAME LABEL" a line.
PODMAN = """
state=$(dirname "$0")/..
case "$1 $2" in
    "ps -aq") grep -F -- "${4#label=}" "$state/containers" | cut -d' ' -f1 ;;
    "images -aq" | "images -q") grep -F -- "${4#label=}" "$state/images" | cut -d' ' -f1 ;;
    "rm -f") shift 2; for name; do sed -i "/^$name /d" "$state/containers"; done ;;
    "rmi -f") shift 2; for name; do sed -i "/^$name /d" "$state/images"; done ;;
    "unshare rm") shift; exec "$@" ;;
esac
"""


def test_cleaning_up_removes_what_the_run_made_and_only_that(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, {"podman": PODMAN}).pretend()
    (tmp_path / "containers").write_text("mine nanoclaw-verify=run1\ntheirs nanoclaw-verify=run2\nforeign other=1\n")
    (tmp_path / "images").write_text("image1 nanoclaw-verify=run1\nimage2 -\n")
    directory = Path(host.make_private_directory(directories_of("run1")))
    (directory / "case").mkdir()
    assert remove_objects(host, "run1")
    assert (tmp_path / "containers").read_text() == "theirs nanoclaw-verify=run2\nforeign other=1\n"
    assert (tmp_path / "images").read_text() == "image2 -\n"
    assert not directory.exists()


@pytest.mark.parametrize("podman", ["exit 125", "[ $1 = images ] && exit 125; exit 0", ""])
def test_an_engine_that_does_not_answer_has_removed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, podman: str
) -> None:
    if not podman:
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # no podman at all
        for name in ("sh", "env", "id", "rm", "grep", "sort", "xargs", "mktemp", "ls", "find", "stat"):
            (tmp_path / name).symlink_to(str(shutil.which(name, path="/usr/bin:/bin")))
        monkeypatch.setenv("PATH", str(tmp_path))
    host = FakeHost(tmp_path, {"podman": podman} if podman else {}).pretend()
    assert not remove_objects(host, "run1")


@pytest.mark.parametrize("file", ["containers.json", "volatile-containers.json"])
@pytest.mark.parametrize(("known", "asked"), [('[{"id":"0123"}]', True), ("[]", False), ("", False)])
def test_after_a_failed_case_podman_is_asked_for_containers_only_where_its_store_has_any(
    tmp_path: Path, known: str, asked: bool, file: str
) -> None:
    store = tmp_path / "store" / "vfs-containers"
    store.mkdir(parents=True)
    if known:
        (store / file).write_text(known)
    facts = replace(FACTS, store=str(tmp_path / "store"))
    remove_containers(FakeHost(tmp_path, {"podman": f"touch {tmp_path}/asked"}).pretend(facts), "run1")
    assert (tmp_path / "asked").exists() == asked


def test_what_runs_in_a_container_is_killed_before_the_container_is_removed(tmp_path: Path) -> None:
    podman = """
        echo "$*" >>"${0%/*}/../asked"
        case "$1 $2" in
            "ps -aq") echo one; echo two ;;
            "container inspect") echo 4711; echo 0 ;;
        esac
        """
    host = FakeHost(tmp_path, {"podman": podman}).pretend(replace(FACTS, store=str(tmp_path / "store")))
    (tmp_path / "store" / "overlay-containers").mkdir(parents=True)
    (tmp_path / "store" / "overlay-containers" / "containers.json").write_text('[{"id": "one"}]')
    remove_containers(host, "run1")
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-2:] == ["unshare kill -KILL 4711", "rm -f one two"]


def test_cleaning_up_says_when_something_stays(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, {"podman": PODMAN.replace('"rm -f")', '"rm -never")')}).pretend()
    (tmp_path / "containers").write_text("mine nanoclaw-verify=run1\n")
    (tmp_path / "images").write_text("")
    assert not remove_objects(host, "run1")


def ctx(tmp_path: Path, docker: str) -> CaseContext:
    host = FakeHost(tmp_path, {"docker": docker}).pretend()
    return CaseContext(host, RunScope("run1", "run1"), "a case", Record(), factor=1.0)


def test_every_container_and_image_is_labelled_with_the_run(tmp_path: Path) -> None:
    docker = ctx(tmp_path, "").docker
    label = ["--label", "nanoclaw-verify=run1"]
    assert docker.argv(run("x", "-v", options=["-i", "-v", "/a:/b"])) == [
        "docker", "run", "-i", "-v", "/a:/b", *label, "x", "-v",
    ]  # fmt: skip
    assert docker.argv(build(".", options=["-t", "a", "--pull"])) == [
        "docker",
        "build",
        "-t",
        "a",
        "--pull",
        *label,
        ".",
    ]
    assert docker.argv("ps", "-a") == ["docker", "ps", "-a"]
    assert plain(tuple(docker.argv(run("x", options=["-i"])))) == ["docker", "run", "-i", "x"]


def test_nanoclaws_own_words_come_first_and_the_label_stands_before_the_image(tmp_path: Path) -> None:
    docker, mounts = ctx(tmp_path, "").docker, [Mount("/a", "/b")]
    label = ["--label", "nanoclaw-verify=run1"]
    for command in (
        run_streams(name="n", zone="UTC", uid=1500, gid=1500, mounts=mounts, image="image"),
        run_databases(
            name="n", install="i", zone="UTC", gateway=["--env-file", "/f"], uid=1500, gid=1500, mounts=mounts,
            image="image",
        ),
    ):  # fmt: skip
        words = command.words
        at = words.index("image")
        assert docker.argv(command) == ["docker", *words[:at], *label, *words[at:]]


@given(st.lists(st.text()), st.text(), st.lists(st.text()))
def test_no_option_is_read_to_find_the_labels_place(options: list[str], image: str, command: list[str]) -> None:
    docker = Docker(LocalHost(), "run1", Record(), flags=["--read-only"])
    label = ["--label", "nanoclaw-verify=run1"]
    wanted = ["docker", "run", "--read-only", *options, *label, image, *command]
    assert docker.argv(run(image, *command, options=options)) == wanted


@pytest.mark.parametrize("option", ["--cidfile", "--ulimit", "--hostname", "--an-option-of-a-later-docker"])
def test_an_option_keeps_its_value_whatever_its_name(option: str) -> None:
    docker = Docker(LocalHost(), "run1", Record())
    asked = docker.argv(run("image", options=["-i", option, "value"]))
    assert asked == ["docker", "run", "-i", option, "value", "--label", "nanoclaw-verify=run1", "image"]


@pytest.mark.parametrize("subcommand", ["run", "create", "build"])
def test_a_flat_list_of_words_makes_nothing(subcommand: str) -> None:
    with pytest.raises(AssertionError, match="written as a Command"):
        Docker(LocalHost(), "run1", Record()).argv(subcommand, "-i", "image")


def test_a_docker_that_hangs_is_killed_and_recorded(tmp_path: Path) -> None:
    desk = ctx(tmp_path, "echo begun; exec sleep 60")
    with pytest.raises(TimedOut):
        desk.docker("ps", timeout=3)
    assert desk.record.commands[0].stdout == "begun\n"


def test_an_interactive_session_sends_lines_and_reads_output(tmp_path: Path) -> None:
    desk = ctx(tmp_path, "echo ready; read -r line; echo got $line; cat; echo over; exit 5")
    with desk.docker.interactive(run("image")) as session:
        assert session.expect("ready\n") == "ready\n"
        session.send_line("a word")
        session.expect("got a word\n")
        session.close_stdin()
        assert session.read_rest() == "over\n"
        assert session.status() == 5
    assert desk.record.commands[0].returncode == 5
    assert desk.record.commands[0].stdout == "ready\ngot a word\nover\n"


def test_an_interactive_session_fails_at_an_early_end_of_output(tmp_path: Path) -> None:
    with (
        pytest.raises(EOFError, match="ended before"),
        ctx(tmp_path, "echo other").docker.interactive(run("image")) as session,
    ):
        session.expect("ready")


def test_the_clients_process_id_is_left_where_asked(tmp_path: Path) -> None:
    with ctx(tmp_path, 'echo "$$"').docker.interactive(run("image"), pidfile=str(tmp_path / "pid")) as session:
        assert session.read_rest().strip() == (tmp_path / "pid").read_text().strip()


@pytest.mark.parametrize(
    ("done", "message"),
    [
        (Completed((), 1, b"x\n", b"", 0), "exit status 0"),
        (Completed((), 0, b"banner\nx\n", b"", 0), "stdout"),
        (Completed((), 0, b"x", b"", 0), "stdout"),
    ],
    ids=["status", "a banner on stdout", "the last newline lost"],
)
def test_an_expectation_is_exact(done: Completed, message: str) -> None:
    with pytest.raises(Mismatch, match=message):
        expect_run(done, stdout="x\n")


def test_accounts_are_told_apart_by_what_nanoclaw_passes(tmp_path: Path) -> None:
    hosts = []
    for uid in (0, 1000, 1500):
        (tmp_path / str(uid)).mkdir()
        hosts.append(FakeHost(tmp_path / str(uid)).pretend(replace(FACTS, uid=uid)))
    assert accounts_for(hosts, image_uid=True) is hosts[1]
    assert accounts_for(hosts, image_uid=False) is hosts[2]
    assert accounts_for(hosts[:1], image_uid=True) is None
    assert accounts_for(hosts[:2], image_uid=False) is None


@pytest.mark.parametrize("broken", ["podman", "pgrep"])
def test_what_can_not_be_looked_at_is_not_gone(tmp_path: Path, broken: str) -> None:
    programs = {"podman": "exit 0", "pgrep": "exit 1", "sleep": "exit 0", broken: "exit 127"}
    host = FakeHost(tmp_path, programs).pretend()
    with pytest.raises(Mismatch, match="nothing left of container"):
        CaseContext(host, RunScope("run1", "run1"), "a case", Record()).expect_gone("nanoclaw-x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_a_process_of_another_account_that_bears_the_name_is_no_trace(tmp_path: Path) -> None:
    planted = subprocess.Popen(["sh", "-c", "sleep 60; : nanoclaw-planted"], user=65534, start_new_session=True)
    try:
        host = FakeHost(tmp_path, {"podman": "exit 0"}).pretend()
        CaseContext(host, RunScope("run1", "run1"), "a case", Record()).expect_gone("nanoclaw-planted")
    finally:
        os.killpg(planted.pid, signal.SIGKILL)
        planted.wait()


def test_a_container_without_a_trace_is_gone(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, {"podman": "exit 0", "pgrep": "exit 1"}).pretend()
    CaseContext(host, RunScope("run1", "run1"), "a case", Record()).expect_gone("nanoclaw-x")
