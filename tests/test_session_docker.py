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

from checks.core.polling import poll
from checks.hardening.injection import driver
from checks.nanoclaw import session_driver
from checks.nanoclaw.session_driver import Notice, Phase, SessionKey, notices
from tests.patience import DEFAULT_SIGNALS, PATIENCE
from tests.session_docker import DOCKER, program

KEY = SessionKey("slug", "ag-1", "sess-1")
LABELS = dict(KEY.labels)
# As Podman 4.3.1 and 5.4.2 print it.
DIED = {
    "ContainerExitCode": 3, "ID": "6c47", "Image": "localhost/i", "Name": "ncl-slug-sess-1", "Status": "died",
    "Time": "2026-11-26T08:14:39.992861684Z", "Type": "container", "Attributes": LABELS,
}  # fmt: skip
LISTED: list[dict[str, object]] = [
    {"Names": ["ncl-slug-sess-1"], "State": "running", "Status": "Up 3 seconds", "Labels": LABELS},
    {"Names": ["older"], "State": "exited", "Status": "Exited (0)", "Labels": None},
]


# The account's systemd: one unit of nanoclaw, with an environment.


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


def path_of(account: Path, *, python: bool = True) -> dict[str, str]:
    rest = os.environ["PATH"] if python else f"{account}/tools"
    return {"PATH": f"{account}/{driver.DIRECTORY}:{account}/bin:{rest}"}


def docker(account: Path, *words: str, status: int = 0, **more: bool) -> str:
    done = subprocess.run(
        [f"{account}/{driver.DIRECTORY}/docker", *words], env=path_of(account, **more), input="told\n",
        capture_output=True, text=True, check=False, timeout=PATIENCE,
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


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize(
    "words",
    [
        session_driver.sessions("slug"),
        ["ps", "-a", "--filter", "status=dead"],
        session_driver.attached("net"),
        ["create", "--network", "net", "i"],
        ["version", "--format", "{{.Server.Arch}}"],
    ],
    ids=lambda words: words[0],
)
def test_what_is_asked_of_podman_ends_with_ours(account: Path, words: list[str], ending: signal.Signals) -> None:
    started = account / "started"
    program(account / "bin" / "docker", f"echo $$ >{started}.part; mv {started}.part {started}; exec sleep 600")
    command = [*DEFAULT_SIGNALS, f"{account}/{driver.DIRECTORY}/docker", *words]
    with subprocess.Popen(command, env=path_of(account), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert poll(started.exists, timeout=PATIENCE, interval=0.05)
            process.send_signal(ending)
            assert process.stderr
            assert poll(lambda: gone(started.read_text().strip()), timeout=PATIENCE, interval=0.05)
            assert (process.wait(PATIENCE), process.stderr.read()) == (-ending, "")
        finally:
            process.kill()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_podman_s_events_end_with_ours(account: Path, ending: signal.Signals) -> None:
    base = account / "bin"
    (base / "wait").touch()
    command = [f"{account}/{driver.DIRECTORY}/docker", *session_driver.events("slug").words]
    with subprocess.Popen(command, env=path_of(account), stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert b'"Action":"die"' in process.stdout.readline()  # before the end of the stream
        assert poll(
            lambda: (base / "pid").exists() and (base / "pid").read_text().strip(), timeout=PATIENCE, interval=0.05
        )
        child = (base / "pid").read_text().strip()
        time.sleep(0.1)
        process.send_signal(ending)
    assert poll(lambda: not Path(f"/proc/{child}").exists() or gone(child), timeout=PATIENCE, interval=0.05)


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
    assert docker(account, "ps", "-a", *filters, "--format", "{{.Names}}", status=7) == ""
    assert asked(account) == ["ps -a --format {{.Names}}"]  # a docker that fails says so


def test_words_of_the_container_are_no_options(account: Path) -> None:
    words = ["create", "--rm", "--name", "x", "--network", "n", "image", "--network", "evil", "--add-host=a:b"]
    docker(account, *words, status=7)
    assert not [line for line in asked(account) if "network=evil" in line]
    assert [line for line in asked(account) if "network=n" in line]


def test_sessions_are_listed_with_docker_s_states_and_labels(account: Path) -> None:
    first, second = docker(account, *session_driver.sessions("slug")).splitlines()
    assert (first, second) == ("ncl-slug-sess-1|running|ag-1|sess-1", "older|exited||")
    assert Phase.of(first.split("|")[1]) is Phase.RUNNING
    assert docker(account, *session_driver.of_any_version("slug")) == "ncl-slug-sess-1|sess-1\nolder|\n"
    agents = "--filter label=nanoclaw-install=slug --filter label=nanoclaw-role=agent"
    assert asked(account)[0] == f"ps -a {agents} --format json"


@pytest.mark.parametrize(
    ("podman_s", "docker_s", "phase"),
    [
        ("configured", "created", Phase.STARTING),
        ("initialized", "created", Phase.STARTING),
        ("running", "running", Phase.RUNNING),
        ("stopping", "running", Phase.RUNNING),
        ("stopped", "exited", Phase.TERMINAL),
        ("exited", "exited", Phase.TERMINAL),
    ],
)
def test_a_state_has_docker_s_name(account: Path, podman_s: str, docker_s: str, phase: Phase) -> None:
    (account / "bin" / "listed").write_text(json.dumps([{**LISTED[0], "State": podman_s}]))
    listed = docker(account, *session_driver.sessions("slug"))
    assert listed == f"ncl-slug-sess-1|{docker_s}|ag-1|sess-1\n"
    assert Phase.of(listed.split("|")[1]) is phase
    program(account / "bin" / "docker", f"echo '{podman_s}|143'; exit 125")
    assert docker(account, *session_driver.status("a"), status=125) == f"{docker_s}|143\n"


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


@pytest.mark.parametrize("subcommand", ["create", "run"])
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
    account: Path, containers: object, words: list[str], added: list[str], subcommand: str
) -> None:
    (account / "bin" / "attached").write_text(json.dumps(containers))
    command = ["--rm", *words, "image", "curl", "host.docker.internal"]
    docker(account, subcommand, *command, status=7)
    assert asked(account)[-1] == " ".join([subcommand, *added, *command])


def test_the_gateway_is_found_though_another_container_has_gone_meanwhile(account: Path) -> None:
    (account / "bin" / "attached").write_text(json.dumps(ATTACHED))
    real = account / "bin" / "docker"
    asked_for = 'cat "$here/attached" ;;'
    assert asked_for in real.read_text()
    real.write_text(
        real.read_text().replace(asked_for, 'cat "$here/attached"; echo "no such container" >&2; exit 125 ;;')
    )
    docker(account, "create", "--network", "net", "image", status=7)
    assert asked(account)[-1] == "create --add-host=host.docker.internal:10.89.0.2 --network net image"


@pytest.mark.parametrize("words", [["version", "--format", "{{.Server.Arch}}"], session_driver.sessions("slug")])
@pytest.mark.parametrize("output", ["/dev/full", "-"])
def test_an_output_that_can_not_be_written_is_one_line(account: Path, output: str, words: list[str]) -> None:
    (account / "bin" / "listed").write_text(json.dumps(LISTED * 1000))
    script = 'exec "$@" >&-' if output == "-" else f'exec "$@" >{output}'
    command = ["sh", "-c", script, "sh", f"{account}/{driver.DIRECTORY}/docker", *words]
    done = subprocess.run(
        command, env=path_of(account), capture_output=True, text=True, check=False, timeout=PATIENCE
    )  # fmt: skip
    written = output == "-"
    message = "" if written else "docker: [Errno 28] No space left on device\n"
    assert (done.returncode, done.stderr) == (0 if written else 1, message)


def test_a_container_starts_though_its_client_s_output_is_closed(account: Path) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", f"{account}/{driver.DIRECTORY}/docker"]
    words = ["create", "--network", "another", "image"]
    subprocess.run([*command, *words], env=path_of(account), check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert asked(account)[-1] == " ".join(words)


def test_the_architecture_is_that_of_the_engine(account: Path) -> None:
    assert docker(account, "version", "--format", "{{.Server.Arch}}") == "amd64\n"


def test_a_docker_without_its_first_line_runs_as_in_a_shell(account: Path) -> None:
    real = account / "bin" / "docker"
    real.write_text(real.read_text().removeprefix("#!/bin/sh\n"))
    assert docker(account, "version", "--format", "{{.Server.Arch}}") == "amd64\n"
    assert "running" in docker(account, "ps", "--format", "{{.Names}} {{.State}}")


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
            check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.stdout == "amd64\n"


def test_without_a_real_docker_it_says_so(account: Path) -> None:
    (account / "bin" / "docker").unlink()
    env = {"PATH": f"{account}/{driver.DIRECTORY}"}
    done = subprocess.run(
        ["/bin/sh", f"{account}/{driver.DIRECTORY}/docker", "info"], env=env, capture_output=True, text=True,
        check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, "no docker on PATH besides this one" in done.stderr) == (127, True)


@pytest.fixture(scope="session")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a locale with another encoding, made here."""
    if not shutil.which("localedef") or not Path("/usr/share/i18n/charmaps/ISO-8859-1.gz").exists():
        pytest.skip("this machine can't make a locale")
    directory = tmp_path_factory.mktemp("locale")
    made = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", f"{directory}/de_DE.ISO-8859-1"]
    subprocess.run(made, check=False, capture_output=True)
    return {"LOCPATH": str(directory), "LC_ALL": "de_DE.ISO-8859-1"}


@pytest.mark.parametrize("name", ["Größe".encode(), "日本".encode(), b"not UTF-8: \xff"])
def test_names_come_as_they_are_whatever_the_locale_is(account: Path, latin_1: dict[str, str], name: bytes) -> None:
    listed = json.dumps([{"Names": ["NAME"], "State": "running", "Labels": {"ncl.group": "NAME"}}]).encode()
    (account / "bin" / "listed").write_bytes(listed.replace(b"NAME", name))
    event = json.dumps({**DIED, "Name": "NAME", "Attributes": {"a": "b"}}).encode()
    (account / "bin" / "events").write_bytes(event.replace(b"NAME", name) + b"\n" + name + b"\n")
    for words, printed in (
        (["ps", "--format", '{{.Names}} {{.Label "ncl.group"}}'], name + b" " + name + b"\n"),
        (["events", "--filter", "label=a=b", "--format", "{{json .}}"], b'"name":"' + name + b'"'),
        (["events", "--filter", "label=a=b", "--format", "{{json .}}"], b"\n" + name + b"\n"),
    ):
        done = subprocess.run(
            [f"{account}/{driver.DIRECTORY}/docker", *words], env={**path_of(account), **latin_1}, capture_output=True,
            check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert printed in done.stdout
