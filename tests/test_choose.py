from __future__ import annotations

import io
from pathlib import Path

import pytest

from checks.core.errors import HostProblem
from checks.core.paths import DEFAULT_GUEST
from checks.core.progress import Progress, plain_console
from checks.engine import prepared_host
from checks.engine.prepared_host import Resolved, resolve
from checks.guide.advice import advised
from checks.hosts.preflight import require_usable, unusable
from tests.fakes import INFO, FakeHost

PLAIN_USER = 'if [ "$1" = -u ]; then echo 1500; else exec /usr/bin/id "$@"; fi'
SHIM = f'case "$1" in --version) echo "podman version 5.4.2" ;; info) echo \'{INFO}\' ;; esac'


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
        ({"podman": f"echo '{INFO.replace('true', 'false')}'"}, "Podman is not rootless"),
        ({"podman": f"echo '{INFO.replace('5.4.2', '')}'"}, "has no version in it"),
        ({"podman": f"echo '{INFO}' | head -c 40"}, "has no version in it, or can't be read"),
        ({"podman": "head -c 300000 /dev/zero | tr '\\0' '['"}, "can't be read"),
        ({"podman": "exit 0"}, "can't be read"),
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


def test_a_podman_of_an_early_version_is_known_as_rootless(tmp_path: Path) -> None:
    info = '{"host": {"rootless": true}, "version": {"Version": "2.0.6"}}'
    assert unusable(host(tmp_path, podman=f"echo '{info}'")) == ""


def test_a_docker_that_hangs_is_told_as_such(tmp_path: Path) -> None:
    fake = host(tmp_path, docker="sleep 60")
    fake.slowness = 0.05
    assert "“docker --version” timed out" in unusable(fake)


def resolved(monkeypatch: pytest.MonkeyPatch, here: FakeHost) -> Resolved:
    monkeypatch.setattr(prepared_host, "LocalHost", lambda: here)
    return resolve("auto", Progress(plain_console(file=io.StringIO())))


def test_auto_is_this_machine_where_podman_and_the_shim_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved(monkeypatch, host(tmp_path)) == Resolved("local")


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({"id": "echo 0"}, "you are root; rootless Podman needs a normal user"),
        (
            {"docker": "echo Docker version 28.2.2, build e6534b4"},
            "`docker` on PATH is Docker's client, not the podman-docker shim",
        ),
    ],
)
def test_auto_is_a_throwaway_host_where_they_are_not_and_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: dict[str, str], reason: str
) -> None:
    assert resolved(monkeypatch, host(tmp_path, **programs)) == Resolved(DEFAULT_GUEST, reason)


@pytest.mark.parametrize("shim", [SHIM, "echo broken >&2; exit 125"])
def test_a_broken_podman_is_never_replaced_by_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shim: str
) -> None:
    broken = host(tmp_path, podman="echo 'cannot clone: Permission denied' >&2; exit 125", docker=shim)
    with pytest.raises(HostProblem, match="fake can't be tested: “podman info” fails: cannot clone"):
        resolved(monkeypatch, broken)


def test_an_error_of_the_host_names_the_entry_with_its_fix() -> None:
    with pytest.raises(HostProblem) as caught, advised(local=False):
        raise HostProblem('“podman info” fails: exec: "newuidmap": executable file not found in $PATH')
    assert any("uidmap" in note and "docs/TROUBLESHOOTING.md#" in note for note in caught.value.__notes__)


def test_an_error_without_an_entry_is_left_as_it_is() -> None:
    with pytest.raises(HostProblem) as caught, advised(local=False):
        raise HostProblem("nothing that the guide knows")
    assert not getattr(caught.value, "__notes__", [])
