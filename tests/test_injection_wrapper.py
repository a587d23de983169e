"""The wrapper: what it adds, to which command, and which docker it hands over to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from checks.hardening.injection.configuration import wrapper
from checks.nanoclaw import contract, session_driver

ADDED = ["--userns=keep-id", "--tmpfs", "/tmp:rw,size=512m"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with the wrapper's directory first, named in three ways, then one with a docker that prints its words."""
    for name, text in (("first", wrapper(ADDED)), ("se cond", '#!/bin/sh\nprintf "%s\\n" "$@"\ncat\nexit 7\n')):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "docker").write_text(text)
        (directory / "docker").chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "first")
    first = tmp_path / "first"
    return f"{first}:{first}/:{tmp_path / 'link'}:{tmp_path / 'nothing'}:{tmp_path / 'se cond'}:/usr/bin:/bin"


def docker(path: str, *words: str) -> list[str]:
    done = subprocess.run(
        ["docker", *words], env={"PATH": path}, input="sent\n", capture_output=True, text=True, check=False,
        executable=f"{path.partition(':')[0]}/docker",
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines.pop() == "sent"
    return lines


def test_nanoclaws_own_invocation_gets_the_options(path: str) -> None:
    args = contract.run_streams(name="nanoclaw-a-1", zone="Etc/UTC", uid=1500, gid=1500, mounts=[], image="i").words
    assert docker(path, *args) == ["run", *ADDED, *args[1:]]


def test_the_invocation_of_nanoclaw_2_2_gets_the_options(path: str) -> None:
    key = session_driver.SessionKey("slug", "ag-1", "sess-1")
    args = session_driver.create(key, folder="a", started="n", zone="UTC", uid=1500, gid=1500, image="i").words
    assert docker(path, *args) == ["create", *ADDED, *args[1:]]


@pytest.mark.parametrize("name", [["--name", "nanoclaw-v2-a-1"], ["--name=nanoclaw-a-1"]])
def test_the_name_may_be_one_word_or_two(path: str, name: list[str]) -> None:
    assert docker(path, "run", *name, "i") == ["run", *ADDED, *name, "i"]


@pytest.mark.parametrize(
    "words",
    [
        ["run", "-i", "--rm", "i"],
        ["run", "--name", "other", "i"],
        ["run", "--name", "my-nanoclaw-a", "i", "a  b", ""],
        ["run", "--name"],
        ["ps", "--filter", "name=nanoclaw-", "--format", "{{.Names}}"],
        ["stop", "-t", "1", "nanoclaw-a-1"],
        ["build", "--name", "nanoclaw-a"],
        ["info"],
        [],
        ["run", "-v", "/a b:/c*", "--", "i", "$(x)", "*"],
    ],
)
def test_everything_else_is_passed_on_as_it_came(path: str, words: list[str]) -> None:
    assert docker(path, *words) == (words or [""])


def test_a_link_to_the_wrapper_is_not_another_docker(path: str, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "docker").symlink_to(tmp_path / "first" / "docker")
    assert docker(f"{tmp_path / 'first'}:{linked}:{path}", "info") == ["info"]


def test_two_copies_do_not_call_each_other_for_ever(path: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "docker").write_bytes((tmp_path / "first" / "docker").read_bytes())
    (copy / "docker").chmod(0o755)
    assert docker(f"{tmp_path / 'first'}:{copy}:{path}", "info") == ["info"]
    assert docker(f"{copy}:{tmp_path / 'first'}:{path}", "info") == ["info"]


def test_without_another_docker_it_says_so(path: str) -> None:
    alone = f"{path.partition(':')[0]}:/usr/bin:/bin" if not Path("/usr/bin/docker").exists() else ""
    if not alone:
        pytest.skip("this machine has a docker in /usr/bin")
    done = subprocess.run(
        [f"{alone.partition(':')[0]}/docker", "info"], env={"PATH": alone}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 127
    assert "no docker on PATH besides this one" in done.stderr


LIMITS = ["--cpus=2", "--memory=4g", "--pids-limit=256"]


@pytest.fixture
def limited(tmp_path: Path, path: str) -> str:
    (tmp_path / "first" / "docker").write_text(wrapper(LIMITS))
    return path


@pytest.mark.parametrize(
    ("theirs", "counts"),
    [
        (["--pids-limit", "2048"], ["--pids-limit", "256"]), (["--pids-limit=100"], ["--pids-limit=100"]),
        (["--pids-limit=-1"], ["--pids-limit=256"]), (["--pids-limit=0"], ["--pids-limit=256"]),
        (["--memory", "8g"], ["--memory", "4g"]), (["--memory=3500m"], ["--memory=3500m"]),
        (["-m", "1.5G"], ["-m", "1.5G"]), (["-m", "9999999999"], ["-m", "4g"]),
        (["--memory=5000000k"], ["--memory=4g"]),
        (["--cpus", "1.75"], ["--cpus", "1.75"]), (["--cpus=2.001"], ["--cpus=2"]), (["--cpus=0.5"], ["--cpus=0.5"]),
        (["--cpus=.5"], ["--cpus=.5"]), (["--cpus=01"], ["--cpus=01"]), (["--pids-limit=0064"], ["--pids-limit=0064"]),
        (["--memory=512mb"], ["--memory=512mb"]), (["--memory=512MiB"], ["--memory=512MiB"]), (["-m5mb"], ["-m5mb"]),
        (["--memory=5gib"], ["--memory=4g"]), (["-m", "9GB"], ["-m", "4g"]), (["--memory=100b"], ["--memory=100b"]),
        (["--memory=2147483649g"], ["--memory=4g"]), (["-m", "9999999999999m"], ["-m", "4g"]),
        (["--memory=4294967295"], ["--memory=4294967295"]), (["--memory=9999999999999999999"], ["--memory=4g"]),
        (["--cpus=.0004"], ["--cpus=.0004"]), (["--cpus=0.0"], ["--cpus=2"]), (["--memory=00g"], ["--memory=4g"]),
        (["-m=1g"], ["-m1g"]), (["--memory=08g"], ["--memory=4g"]), (["--memory="], ["--memory=4g"]),
        (["--memory=99999999999999g"], ["--memory=4g"]), (["-m9g"], ["-m4g"]), (["-dm", "9g"], ["-dm", "4g"]),
        (["-itm9g"], ["-itm4g"]), (["-d", "--memory", "99g"], ["-d", "--memory", "4g"]),
        (["--no-healthcheck", "--memory", "99g"], ["--no-healthcheck", "--memory", "4g"]),
        (["--detach", "--pids-limit", "-1"], ["--detach", "--pids-limit", "256"]), (["-vx:/m9g"], ["-vx:/m9g"]),
    ],
)  # fmt: skip
def test_the_stricter_of_two_limits_counts(limited: str, theirs: list[str], counts: list[str]) -> None:
    """It is the last of its kind, which is what Podman takes."""
    words = ["--rm", "-e", "--memory=9g", "--name", "nanoclaw-a-1"]
    after = ["image", "--memory=9g", "-c", "--cpus", "9"]
    assert docker(limited, "run", *words, *theirs, *after) == ["run", *LIMITS, *words, *counts, *after]


@pytest.mark.parametrize(
    "theirs",
    [
        ["--cpus=x"], ["--memory", "1t"], ["--memory=5ib"], ["-m", "1 g"], ["-m1e3"], ["--cpus=1,5"], ["--memory=.g"],
        ["--pids-limit=-2"], ["--cpus=0x1"],
    ],
)  # fmt: skip
def test_a_limit_that_can_not_be_compared_is_refused(limited: str, theirs: list[str]) -> None:
    done = subprocess.run(
        ["docker", "run", "--name", "nanoclaw-a-1", *theirs, "i"], env={"PATH": limited}, capture_output=True,
        text=True, check=False, executable=f"{limited.partition(':')[0]}/docker",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (125, "")
    assert "an agent was not started: its limit" in done.stderr


def test_a_limit_without_a_value_is_left_to_docker(limited: str) -> None:
    assert docker(limited, "run", "--name", "nanoclaw-a-1", "--cpus") == [
        "run", *LIMITS, "--name", "nanoclaw-a-1", "--cpus"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--new-option", "--name", "nanoclaw-a-1", "i"], ["run", "--name=ncl-a", "--new-option", "x", "i"],
        ["create", "-Z", "--name", "nanoclaw-a-1", "i"], ["run", "-dZ", "x", "--name", "nanoclaw-a-1", "i"],
        ["--log-level", "error", "run", "--name", "nanoclaw-a-1", "i"], ["-D", "run", "--name=nanoclaw-a-1", "i"],
        ["run", "--", "--name=nanoclaw-a"],
    ],
)  # fmt: skip
def test_an_agents_command_that_is_not_understood_is_refused(limited: str, words: list[str]) -> None:
    done = subprocess.run(
        ["docker", *words], env={"PATH": limited}, capture_output=True, text=True, check=False,
        executable=f"{limited.partition(':')[0]}/docker",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (125, "")
    assert "an agent was not started: the option" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--rm", "i", "--name", "nanoclaw-a-1"], ["run", "-e", "--name=nanoclaw-a", "i"],
        ["run", "--new-option", "i"], ["-D", "ps"], ["--log-level", "error", "run", "i"],
    ],
)  # fmt: skip
def test_what_only_looks_like_an_agents_command_is_passed_on(limited: str, words: list[str]) -> None:
    assert docker(limited, *words) == words


def test_the_long_name_of_run_is_run(limited: str) -> None:
    words = ["--name", "nanoclaw-a-1", "--memory=9g", "i"]
    assert docker(limited, "container", "run", *words) == ["run", *LIMITS, *words[:2], "--memory=4g", "i"]
