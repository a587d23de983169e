from __future__ import annotations

from pathlib import Path

import pytest

from checks.core.errors import HostProblem
from checks.hosts.preflight import require_usable, unusable
from tests.fakes import FakeHost

PLAIN_USER = 'if [ "$1" = -u ]; then echo 1500; else exec /usr/bin/id "$@"; fi'
SHIM = 'case "$1" in --version) echo "podman version 5.4.2" ;; info) echo info ;; esac'


def host(tmp_path: Path, **programs: str) -> FakeHost:
    return FakeHost(tmp_path, {"id": PLAIN_USER, "docker": SHIM, "podman": SHIM, **programs})


def test_a_plain_user_with_podman_behind_the_shim_is_fine(tmp_path: Path) -> None:
    assert unusable(host(tmp_path)) == ""


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({"id": "echo 0"}, "you are root"),
        ({"docker": "echo Docker version 28.2.2, build e6534b4"}, "Docker's client, not the podman-docker shim"),
        ({"docker": "echo hello"}, "not the podman-docker shim: “docker --version” printed 'hello'"),
        ({"docker": "exit 0"}, "not the podman-docker shim"),
        ({"docker": "echo 'cannot do' >&2; exit 1"}, "“docker --version” fails: cannot do"),
        ({"podman": "echo 'cannot do' >&2; exit 125"}, "“podman info” fails: cannot do"),
    ],
)
def test_what_can_not_be_tested_is_told_with_its_reason(tmp_path: Path, programs: dict[str, str], reason: str) -> None:
    fake = host(tmp_path, **programs)
    assert reason in unusable(fake)
    with pytest.raises(HostProblem, match="fake can't be tested: "):
        require_usable(fake)


def test_a_broken_podman_is_not_taken_for_another_docker(tmp_path: Path) -> None:
    broken = "echo 'decode configuration /etc/x.conf: toml' >&2; exit 1"
    assert unusable(host(tmp_path, docker=broken, podman=broken)) == (
        "“podman info” fails: decode configuration /etc/x.conf: toml"
    )


def test_a_docker_that_hangs_is_told_as_such(tmp_path: Path) -> None:
    fake = host(tmp_path, docker="sleep 60")
    fake.slowness = 0.05
    assert "“docker --version” timed out" in unusable(fake)
