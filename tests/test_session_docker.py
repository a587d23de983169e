"""The docker for nanoclaw 2.2: what it asks the real one, and what nanoclaw reads."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from checks.core.errors import Exit, HostProblem
from checks.core.outcome import run_and_report
from checks.core.polling import poll
from checks.hardening.injection import driver
from checks.hosts.local import LocalHost
from checks.nanoclaw import session_driver
from checks.nanoclaw.session_driver import Notice, Phase, SessionKey, notices

KEY = SessionKey("slug", "ag-1", "sess-1")
LABELS = dict(KEY.labels)
# As Podman 4.3.1 and 5.4.2 print it.
DIED = {
    "ContainerExitCode": 3, "ID": "6c47", "Image": "localhost/i", "Name": "ncl-slug-sess-1", "Status": "died",
    "Time": "2026-11-26T08:14:39.992861684Z", "Type": "container", "Attributes": LABELS,
}  # fmt: skip
LISTED = [
    {"Names": ["ncl-slug-sess-1"], "State": "running", "Status": "Up 3 seconds", "Labels": LABELS},
    {"Names": ["older"], "State": "exited", "Status": "Exited (0)", "Labels": None},
]

# A podman-docker that keeps what it is asked, has no state “dead” and no Docker fields, and can be told to wait.
DOCKER = r"""
here=$(dirname "$0")
printf '%s\n' "$*" >>"$here/asked"
case "$*" in
"ps "*status=dead*) echo 'Error: unknown container state: dead: invalid argument' >&2; exit 125 ;;
"version "*.Arch*) echo "Error: can't evaluate field Arch" >&2; exit 125 ;;
"version "*.OsArch*) echo linux/amd64 ;;
--version) echo podman version 5.4.2 ;;
"ps -a --filter status=exited --format {{.Names}}") ;;
"events "*)
    cat "$here/events"
    echo $$ >"$here/pid"
    [ ! -e "$here/wait" ] || exec sleep 60
    ;;
"ps "*json*) cat "$here/listed" ;;
"ps -q --filter network="*) echo 6c47 ;;
"container inspect 6c47") cat "$here/attached" ;;
"ps --filter network=net "*) printf 'one\ntwo\n' ;;
"network inspect net") echo '[{}]' ;;
"network inspect "*) echo "Error: network $3 not found" >&2; exit 125 ;;
*) cat; exit 7 ;;
esac
"""


# The account's systemd: one unit of nanoclaw, with an environment.
SYSTEMCTL = r"""
echo "$*" >>{0}/systemctl
[ ! -e {0}/no-session ] || {{ echo 'Failed to connect to bus' >&2; exit 1; }}
case "$*" in
*list-unit-files*) cat {0}/units ;;
*show*) cat {0}/environment ;;
esac
"""


TRIED = '"ps -a --filter status=exited --format {{.Names}}") ;;'


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A home with our docker installed, and the real one in bin."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program(programs / "docker", DOCKER)
    (programs / "listed").write_text(json.dumps(LISTED))
    (programs / "events").write_text(f"{json.dumps(DIED)}\n")
    for file in driver.files(str(tmp_path)):
        Path(file.path).parent.mkdir(parents=True, exist_ok=True)
        Path(file.path).write_bytes(file.data)
        Path(file.path).chmod(file.mode)
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def path_of(account: Path, *, python: bool = True) -> dict[str, str]:
    rest = os.environ["PATH"] if python else f"{account}/tools"
    return {"PATH": f"{account}/{driver.DIRECTORY}:{account}/bin:{rest}"}


def docker(account: Path, *words: str, status: int = 0, **more: bool) -> str:
    done = subprocess.run(
        [f"{account}/{driver.DIRECTORY}/docker", *words], env=path_of(account, **more), input="told\n",
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout


def asked(account: Path) -> list[str]:
    return (account / "bin" / "asked").read_text().splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ["create", "--rm", "--name", "ncl-slug-sess-1", "i", "-c", "echo {{.State}}  status=dead"],
        ["start", "--attach", "ncl-slug-sess-1"],
        ["ps", "--filter", "label=a=b", "--format", "{{.Names}}"],
        ["events", "--filter", "type=container"],
        ["network", "inspect", "--verbose"],
        [""],
    ],
)
def test_another_command_arrives_as_it_came(account: Path, words: list[str]) -> None:
    if words[:1] in (["events"], ["network"]):
        docker(account, *words, status=0 if words[0] == "events" else 125)
    else:
        assert docker(account, *words, status=7) == "told\n"
    assert asked(account) == [" ".join(words)]


def test_the_end_of_an_agent_is_recognized(account: Path) -> None:
    output = docker(account, *session_driver.events("slug").words)
    assert notices(output, "slug") == [(KEY, Notice.TERMINAL)]
    event = json.loads(output)
    assert event["Actor"]["Attributes"]["exitCode"] == "3"
    assert event["Actor"]["Attributes"]["name"] == "ncl-slug-sess-1"


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({"Status": "remove"}, [Notice.TERMINAL]),
        ({"Status": "start"}, [Notice.PHASE]),
        ({"Status": "kill"}, [Notice.HINT]),
        ({"Status": "init"}, []),
        ({"Attributes": {**LABELS, "nanoclaw-install": "slug-2"}}, []),  # Podman reports what matches one filter
        ({"Attributes": {**LABELS, "nanoclaw-role": "proxy"}}, []),
        ({"Attributes": None}, []),
    ],
)
def test_events_are_those_that_docker_would_report(
    account: Path, changed: dict[str, object], seen: list[Notice]
) -> None:
    (account / "bin" / "events").write_text(f"{json.dumps({**DIED, **changed})}\n")
    output = docker(account, *session_driver.events("slug").words)
    assert [notice for _, notice in notices(output, "slug")] == seen


@pytest.mark.parametrize(
    "odd",
    [
        "not JSON",
        "[]",
        '{"Action":"die"}',
        "",
        "[" * 5000,
        '{"Status":["died"]}',
        '{"Status":"died","Attributes":["nanoclaw-install"]}',
    ],
)
def test_what_is_not_an_event_of_podman_stays(account: Path, odd: str) -> None:
    (account / "bin" / "events").write_text(f"{odd}\n")
    assert docker(account, *session_driver.events("slug").words) == f"{odd}\n"


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_podman_s_events_end_with_ours(account: Path, ending: signal.Signals) -> None:
    base = account / "bin"
    (base / "wait").touch()
    command = [f"{account}/{driver.DIRECTORY}/docker", *session_driver.events("slug").words]
    with subprocess.Popen(command, env=path_of(account), stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert b'"Action":"die"' in process.stdout.readline()  # before the end of the stream
        assert poll(lambda: (base / "pid").exists() and (base / "pid").read_text().strip(), timeout=20, interval=0.05)
        child = (base / "pid").read_text().strip()
        time.sleep(0.1)
        process.send_signal(ending)
    assert poll(lambda: not Path(f"/proc/{child}").exists() or gone(child), timeout=20, interval=0.05)


def gone(child: str) -> bool:
    """Whether a process has ended, but its new parent has not noticed yet."""
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_residue_is_listed_without_the_state_that_podman_lacks(account: Path) -> None:
    words = session_driver.residue("slug")
    docker(account, *words, status=7)
    assert asked(account) == [" ".join(words).replace(" --filter status=dead", "")]


@pytest.mark.parametrize("filters", [["--filter", "status=dead"], ["--filter=status=dead"], ["-f", "status=dead"]])
def test_nothing_is_dead(account: Path, filters: list[str]) -> None:
    assert docker(account, "ps", "-a", *filters, "--format", "{{.Names}}") == ""
    assert not (account / "bin" / "asked").exists()


def test_sessions_are_listed_with_docker_s_states_and_labels(account: Path) -> None:
    first, second = docker(account, *session_driver.sessions("slug")).splitlines()
    assert (first, second) == ("ncl-slug-sess-1|running|ag-1|sess-1", "older|exited||")
    assert Phase.of(first.split("|")[1]) is Phase.RUNNING
    assert docker(account, *session_driver.of_any_version("slug")) == "ncl-slug-sess-1|sess-1\nolder|\n"
    agents = "--filter label=nanoclaw-install=slug --filter label=nanoclaw-role=agent"
    assert asked(account)[0] == f"ps -a {agents} --format json"


def test_a_label_is_not_taken_for_the_exit_status(account: Path) -> None:
    event = {key: value for key, value in DIED.items() if key != "ContainerExitCode"}
    (account / "bin" / "events").write_text(f"{json.dumps({**event, 'Attributes': {**LABELS, 'exitCode': '0'}})}\n")
    printed = json.loads(docker(account, *session_driver.events("slug").words))
    assert "exitCode" not in printed["Actor"]["Attributes"]


@pytest.mark.parametrize("odd", ["[1]", '[{"Names":"a"}]', '[{"Labels":["a"]}]', '[{"State":[1]}]', "[" * 5000, "{}"])
def test_a_list_that_podman_would_not_print_is_left_to_docker(account: Path, odd: str) -> None:
    (account / "bin" / "listed").write_text(odd)
    words = session_driver.sessions("slug")
    docker(account, *words, status=7)
    assert asked(account)[-1] == " ".join(words)


def test_the_containers_of_a_network_are_listed(account: Path) -> None:
    assert docker(account, *session_driver.attached("net")) == "one two \n"
    docker(account, *session_driver.attached("missing"), status=125)


ATTACHED = [
    {"NetworkSettings": {"Networks": {"net": {"Aliases": ["a", "host.docker.internal"], "IPAddress": "10.89.0.2"}}}}
]


@pytest.mark.parametrize(
    ("containers", "words", "added"),
    [
        (ATTACHED, ["--network", "net"], ["--add-host=host.docker.internal:10.89.0.2"]),
        (ATTACHED, ["--network=net"], ["--add-host=host.docker.internal:10.89.0.2"]),
        (ATTACHED, ["--network", "net", "--add-host=host.docker.internal:host-gateway"], []),
        (ATTACHED, ["--network", "net", "--add-host", "host.docker.internal:host-gateway"], []),
        (ATTACHED, ["--network", "another"], []),
        (
            [{"NetworkSettings": {"Networks": {"net": {"Aliases": ["a"], "IPAddress": "10.89.0.2"}}}}],
            ["--network", "net"],
            [],
        ),
        ([{"NetworkSettings": []}, 1], ["--network", "net"], []),
        (1, ["--network", "net"], []),
        (ATTACHED, [], []),
    ],
)
def test_an_agent_without_egress_reaches_the_gateway_by_its_alias(
    account: Path, containers: object, words: list[str], added: list[str]
) -> None:
    (account / "bin" / "attached").write_text(json.dumps(containers))
    command = ["--rm", *words, "image", "curl", "host.docker.internal"]
    docker(account, "create", *command, status=7)
    assert asked(account)[-1] == " ".join(["create", *added, *command])


def test_the_architecture_is_that_of_the_engine(account: Path) -> None:
    assert docker(account, "version", "--format", "{{.Server.Arch}}") == "amd64\n"


def test_without_python_nothing_is_translated(account: Path) -> None:
    tools = account / "tools"
    tools.mkdir()
    for name in ("dirname", "cat", "sh"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    docker(account, *session_driver.residue("slug"), status=125, python=False)
    assert docker(account, "info", status=7, python=False) == "told\n"


def test_a_copy_is_not_the_real_docker(account: Path) -> None:
    copy = account / "copy"
    copy.mkdir()
    for name in ("docker", "translate.py"):
        shutil.copy(f"{account}/{driver.DIRECTORY}/{name}", copy)
    env = path_of(account)
    env["PATH"] = f"{copy}:{env['PATH']}"
    for directory in (copy, f"{account}/{driver.DIRECTORY}"):
        done = subprocess.run(
            [f"{directory}/docker", "version", "--format", "{{.Server.Arch}}"], env=env, capture_output=True, text=True,
            check=False, timeout=20,
        )  # fmt: skip
        assert done.stdout == "amd64\n"


def test_without_a_real_docker_it_says_so(account: Path) -> None:
    (account / "bin" / "docker").unlink()
    env = {"PATH": f"{account}/{driver.DIRECTORY}"}
    done = subprocess.run(
        ["/bin/sh", f"{account}/{driver.DIRECTORY}/docker", "info"], env=env, capture_output=True, text=True,
        check=False, timeout=20,
    )  # fmt: skip
    assert (done.returncode, "no docker on PATH besides this one" in done.stderr) == (127, True)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalHost:
    """This machine, with a home of the test's own and a real docker that answers."""
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "docker", DOCKER)
    program(tmp_path / "bin" / "podman", "echo podman version 5.4.2")
    program(tmp_path / "bin" / "systemctl", SYSTEMCTL.format(tmp_path))
    (tmp_path / "units").write_text("nanoclaw-v2-a.service enabled enabled\n")
    (tmp_path / "environment").write_text(f"LANG=C PATH={tmp_path}/home/{driver.DIRECTORY}:/usr/bin\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(driver, "require_account", lambda found: None)
    monkeypatch.setattr(driver, "_TRY", driver._TRY.replace("PATH=$1:", f"PATH=$1:{tmp_path / 'bin'}:"))
    return LocalHost()


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
    assert installed(tmp_path) == present
    assert driver.uninstall(host, dry_run=False) == Exit.OK
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
    (tmp_path / "environment").write_text(environment.format(ours=f"{tmp_path}/home/{driver.DIRECTORY}"))
    with pytest.raises(HostProblem, match=r"nanoclaw-v2-a\.service .*another docker first|can't be read"):
        driver.install(host, dry_run=False)
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
