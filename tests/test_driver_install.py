"""Installing the docker for nanoclaw 2.2: tried first, seen in nanoclaw's units, and removed."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from checks.core.errors import Exit, HostProblem
from checks.core.outcome import run_and_report
from checks.core.paths import ROOT
from checks.engine.placement import BACKUP_SUFFIX, PART_SUFFIX
from checks.hardening.injection import configuration, driver
from checks.hosts.local import LocalHost
from tests.patience import PATIENCE
from tests.session_docker import DOCKER, program

TRIED = '"ps -a --filter status=exited --format {{.Names}}") ;;'

SYSTEMCTL = r"""
echo "$*" >>{0}/systemctl
[ ! -e {0}/no-session ] || {{ echo 'Failed to connect to bus' >&2; exit 1; }}
case "$*" in
*list-unit-files*) cat {0}/units ;;
*show*) cat {0}/environment ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalHost:
    """This machine, with a home of the test's own and a real docker that answers."""
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "docker", DOCKER)
    program(tmp_path / "bin" / "podman", "echo podman version 5.4.2")
    program(tmp_path / "bin" / "systemctl", SYSTEMCTL.format(tmp_path))
    (tmp_path / "units").write_text("nanoclaw-v2-a.service enabled enabled\n")
    unit(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(driver, "require_account", lambda found: None)
    monkeypatch.setattr(driver, "require_home", lambda found: None)
    monkeypatch.setattr(driver, "_TRY", driver._TRY.replace("PATH=$1:", f"PATH=$1:{tmp_path / 'bin'}:"))
    return LocalHost()


def unit(tmp_path: Path, environment: str = "LANG=C PATH={ours}:/usr/bin", *more: str) -> None:
    """The properties of nanoclaw's unit, as systemd prints them."""
    node = "ExecStart={ path=/usr/bin/node ; argv[]=/usr/bin/node dist/index.js ; ignore_errors=no ; pid=0 }"
    ours = environment.replace("{ours}", f"{tmp_path}/home/{driver.DIRECTORY}")
    (tmp_path / "environment").write_text("\n".join([*(more or [node]), f"Environment={ours}"]) + "\n")


def installed(tmp_path: Path) -> dict[str, bytes]:
    home = tmp_path / "home"
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_it_is_installed_once_and_removed_without_a_trace(
    host: LocalHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin" / "events").touch()
    program(tmp_path / "bin" / "docker", DOCKER.replace("exit 7", "exit 0"))
    assert driver.install(host, dry_run=True) == Exit.OK
    assert installed(tmp_path) == {}
    assert driver.install(host, dry_run=False) == Exit.OK
    present = installed(tmp_path)
    assert set(present) == {driver.DROP_IN, f"{driver.DIRECTORY}/docker", f"{driver.DIRECTORY}/translate.py"}
    capsys.readouterr()
    assert driver.install(host, dry_run=False) == Exit.OK
    assert "Already installed" in capsys.readouterr().out
    assert "daemon-reload" in (tmp_path / "systemctl").read_text()
    assert driver.uninstall(host, dry_run=True) == Exit.OK
    assert driver.is_there(host)
    assert installed(tmp_path) == present
    assert driver.uninstall(host, dry_run=False) == Exit.OK
    assert not driver.is_there(host)
    assert installed(tmp_path) == {}
    assert not (tmp_path / "home" / driver.DIRECTORY).exists()
    assert driver.uninstall(host, dry_run=False) == Exit.OK


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("docker", "why"),
    [
        ("echo no storage >&2; exit 125", "no storage"),
        ("exit 0", "''"),
        ("echo rubbish", "rubbish"),
        ("echo podman version 5.4.2", "podman version 5.4.2"),
        ("echo Docker version 28.2.2", "it calls .*/docker, which printed 'Docker version 28.2.2'"),
        (DOCKER.replace("linux/amd64", "linux/pdp11"), "pdp11"),
        (DOCKER.replace(TRIED, '"ps "*) echo no storage >&2; exit 125 ;;'), "no storage"),
    ],
)
def test_one_that_does_not_work_is_not_left(
    host: LocalHost, tmp_path: Path, docker: str, why: str, dry_run: bool
) -> None:
    program(tmp_path / "bin" / "docker", docker)
    with pytest.raises(HostProblem, match=rf"does not work on .*{why}.*Nothing was installed"):
        driver.install(host, dry_run=dry_run)
    assert installed(tmp_path) == {}


def test_what_it_is_tried_in_has_the_name_by_which_a_killed_run_is_cleaned_up(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = secrets.token_hex(5)  # of this test alone: the directory is outside of tmp_path
    monkeypatch.setenv("NANOCLAW_VERIFY_RUN", run)
    program(tmp_path / "bin" / "docker", f"ls -d /var/tmp/nanoclaw* >>{tmp_path}/seen\n{DOCKER}")
    assert driver.install(host, dry_run=False) == Exit.OK
    seen = [line for line in (tmp_path / "seen").read_text().splitlines() if run in line]
    assert {line.rpartition("-")[0] for line in seen} == {f"/var/tmp/nanoclaw-verify-{run}-e"}
    assert not list(Path("/var/tmp").glob(f"nanoclaw-verify-{run}-*"))


def test_it_is_removed_after_podman_was_removed(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> None:
        raise HostProblem("no podman")

    assert driver.install(host, dry_run=False) == Exit.OK
    monkeypatch.setattr(driver, "require_account", gone)
    for name in ("podman", "docker"):
        program(tmp_path / "bin" / name, "exit 127")
    assert driver.uninstall(host, dry_run=False) == Exit.OK
    assert installed(tmp_path) == {}


def test_a_docker_that_hangs_is_an_error_of_the_host(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_ASKED", 0.5)
    program(tmp_path / "bin" / "docker", "exec sleep 60")
    assert run_and_report(lambda: driver.install(host, dry_run=False), lambda _: None) == Exit.HOST_UNUSABLE
    assert installed(tmp_path) == {}


def test_without_a_systemd_it_is_not_in_force_and_must_be_accepted(
    host: LocalHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no-session").touch()
    for dry_run in (True, False):
        with pytest.raises(HostProblem, match=r"no systemd of this account.*Failed to connect to bus"):
            driver.install(host, dry_run=dry_run)
    assert installed(tmp_path) == {}
    assert driver.install(host, dry_run=False, accept_missing=True) == Exit.OK
    assert "Not in force by itself" in capsys.readouterr().out


@pytest.mark.parametrize("environment", ["PATH=/usr/bin:/bin", "", "PATH={ours}:/usr/bin PATH=/usr/bin", "A='b"])
def test_a_unit_that_finds_another_docker_first_is_named_and_nothing_is_left(
    host: LocalHost, tmp_path: Path, environment: str
) -> None:
    unit(tmp_path, environment)
    with pytest.raises(HostProblem, match=r"nanoclaw-v2-a\.service .*another docker first|can't be read"):
        driver.install(host, dry_run=False)
    assert installed(tmp_path) == {}


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_unit_that_may_set_its_path_elsewhere_is_named_before_anything_is_written(
    host: LocalHost, tmp_path: Path, dry_run: bool
) -> None:
    unit(tmp_path, "PATH={ours}:/usr/bin", "EnvironmentFiles=/home/me/nanoclaw/.env (ignore_errors=no)")
    with pytest.raises(HostProblem, match=r"its environment also comes from a file"):
        driver.install(host, dry_run=dry_run)
    assert installed(tmp_path) == {}


def test_in_force_names_the_units_that_were_seen_to_have_it(
    host: LocalHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert driver.install(host, dry_run=False) == Exit.OK
    assert "In force from nanoclaw's next start on: systemctl --user restart nanoclaw-v2-a.service" in (
        capsys.readouterr().out
    )
    (tmp_path / "units").write_text("")
    assert driver.install(host, dry_run=False) == Exit.OK
    assert "Not seen in force: there is no unit" in capsys.readouterr().out


@pytest.mark.parametrize("name", [driver.DROP_IN, f"{driver.DIRECTORY}/docker", f"{driver.DIRECTORY}/translate.py"])
def test_a_file_of_the_user_is_never_overwritten_or_removed(host: LocalHost, tmp_path: Path, name: str) -> None:
    file = tmp_path / "home" / name
    file.parent.mkdir(parents=True)
    file.write_text("# mine\n")
    assert driver.install(host, dry_run=False) == Exit.CASE_FAILED
    assert driver.uninstall(host, dry_run=False) == Exit.OK
    assert installed(tmp_path) == {name: b"# mine\n"}


def test_an_edited_file_is_left_and_named(host: LocalHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(tmp_path / "bin" / "docker", DOCKER.replace("exit 7", "exit 0"))
    assert driver.install(host, dry_run=False) == Exit.OK
    file = tmp_path / "home" / driver.DROP_IN
    file.write_text(f"{file.read_text()}# mine\n")
    present = installed(tmp_path)
    assert driver.uninstall(host, dry_run=False) == Exit.CASE_FAILED
    assert f"{file} was edited after it was installed" in capsys.readouterr().out
    assert installed(tmp_path) == present


def test_what_is_not_a_file_is_named(host: LocalHost, tmp_path: Path) -> None:
    (tmp_path / "home" / driver.DROP_IN).mkdir(parents=True)
    with pytest.raises(HostProblem, match=r"60-nanoclaw-docker\.conf is not a file"):
        driver.install(host, dry_run=False)


def test_the_drop_in_is_for_every_unit_of_nanoclaw_and_keeps_its_path() -> None:
    assert driver.DROP_IN.split("/")[-2] == "nanoclaw-v2-.service.d"
    text = driver.files("/home/YOU")[-1].data.decode()
    own = "/usr/local/bin:/usr/bin:/bin:%h/.local/bin"
    assert f"\nEnvironment=PATH=%h/{driver.DIRECTORY}:{own}\n" in text


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ("EnvironmentFiles=/home/me/nanoclaw/.env (ignore_errors=yes)", "comes from a file"),
        ("UnsetEnvironment=PATH", "UnsetEnvironment=PATH"),
        ("UnsetEnvironment=PATH=/usr/bin", "UnsetEnvironment=PATH"),
        (
            "ExecStart={ path=/usr/bin/env ; argv[]=/usr/bin/env PATH=/usr/bin node dist/index.js ; pid=0 }",
            "/usr/bin/env",
        ),
        ("ExecStart={ path=/bin/bash ; argv[]=/bin/bash -lc node ; pid=0 }", "/bin/bash"),
        ("ExecStart=", "no program"),
    ],
)
def test_a_unit_whose_path_may_be_another_is_not_in_force(
    host: LocalHost, tmp_path: Path, properties: str, why: str
) -> None:
    unit(tmp_path, "PATH={ours}:/usr/bin", properties)
    with pytest.raises(HostProblem, match=rf"may find another docker first: .*{why}"):
        driver.install(host, dry_run=False)
    assert installed(tmp_path) == {}


def test_messages_of_the_shim_are_no_part_of_its_answers(host: LocalHost, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "docker", f"echo Emulate Docker CLI using podman. >&2\n{DOCKER}")
    assert driver.install(host, dry_run=False) == Exit.OK


@pytest.mark.parametrize("suffix", [PART_SUFFIX, BACKUP_SUFFIX])
def test_what_a_killed_install_left_is_removed(host: LocalHost, tmp_path: Path, suffix: str) -> None:
    left = tmp_path / "home" / f"{driver.DIRECTORY}/docker{suffix}"
    left.parent.mkdir(parents=True)
    left.write_text("#!/bin/sh\n# half")
    assert driver.uninstall(host, dry_run=False) == Exit.OK
    assert installed(tmp_path) == {}


@pytest.mark.parametrize("first", ["driver", "wrapper"])
def test_two_dockers_of_ours_call_the_real_one_in_the_end(tmp_path: Path, first: str) -> None:
    (tmp_path / "real").mkdir()
    program(tmp_path / "real" / "docker", 'echo "real $*"')
    for file in driver.files(str(tmp_path)):
        path = tmp_path / "driver" / Path(file.path).name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode)
    (tmp_path / "wrapper").mkdir()
    (tmp_path / "wrapper" / "docker").write_text(configuration.wrapper(["--cap-drop=ALL"]))
    (tmp_path / "wrapper" / "docker").chmod(0o755)
    order = ["driver", "wrapper"] if first == "driver" else ["wrapper", "driver"]
    for names in (order, [*order, *order]):
        directories = ":".join(str(tmp_path / name) for name in [*names, "real"])
        done = subprocess.run(
            ["docker", "run", "--name", "nanoclaw-x", "image"], env={"PATH": f"{directories}:/usr/bin:/bin"},
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.stdout.startswith("real run ")
        assert "--cap-drop" in done.stdout


@pytest.mark.parametrize(
    ("others", "printed"),
    [
        (["client", "shim"], "the shim: info"),
        (["shim", "client"], "the shim: info"),
        (["client", "podman"], "info"),  # the link to podman, a program
        (["client"], "client"),  # nothing else: it fails, and the message names it
    ],
)
def test_dockers_own_client_is_passed_over(tmp_path: Path, others: list[str], printed: str) -> None:
    directories = [tmp_path / each for each in others]
    for each in directories:
        each.mkdir()
        match each.name:
            case "shim":
                (each / "docker").write_text('#!/bin/sh\necho "the shim: $*"\n')
                (each / "docker").chmod(0o755)
            case "podman":
                shutil.copy("/bin/echo", each / "podman")
                (each / "docker").symlink_to("podman")
            case "client":
                shutil.copy("/bin/false", each / "docker")
    environment = {"PATH": ":".join([*map(str, directories), "/nonexistent"])}
    for shell in ("/bin/sh", "/bin/bash"):
        argv = [shell, str(ROOT / "examples" / "session-driver" / "docker"), "info"]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert (done.stdout.strip() or "client") == printed, done.stderr
        assert done.returncode == (1 if printed == "client" else 0)
