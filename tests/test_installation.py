"""A whole nanoclaw on a fake host: programs that print what nanoclaw and the engine print."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from checks.engine.expect import Mismatch
from checks.nanoclaw.gateway import Gateway
from checks.nanoclaw.installation import Installation, UnitControl, WrapperControl, unusable
from checks.nanoclaw.service import Service
from checks.nanoclaw.whole import set_up
from tests.fakes import FACTS, FakeHost
from tests.patience import PATIENCE

STEPS = """
report() {
    printf '=== NANOCLAW SETUP: %s ===\\n' "$1"
    shift
    printf '%s\\n' "$@" 'STATUS: success' '=== END ==='
}
case "$*" in
*environment*) report CHECK_ENVIRONMENT 'DOCKER: running' ;;
*container*) report SETUP_CONTAINER 'BUILD_OK: true' 'TEST_OK: true' ;;
*service*)
    echo 'INFO NanoClaw running' >>logs/nanoclaw.log
    report SETUP_SERVICE 'SERVICE_TYPE: systemd-user' "SERVICE_UNIT: $UNIT" 'SERVICE_LOADED: true' ;;
*cli-agent*) report CLI_AGENT ;;
esac
"""
RUNS = {"systemctl": "echo 4242"}
STOPPED = {"systemctl": "echo 0"}


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service("127.0.0.1")
    yield service
    service.close()


@pytest.fixture
def gateway(service: Service) -> Iterator[Gateway]:
    gateway = Gateway(service, "127.0.0.1")
    yield gateway
    gateway.close()


def installed(tmp_path: Path, gateway: Gateway, programs: dict[str, str], *, init: str = "systemd") -> Installation:
    directory = tmp_path / "whole"
    (directory / "bin").mkdir(parents=True)
    (directory / "nanoclaw" / "logs").mkdir(parents=True)
    pnpm = directory / "bin" / "pnpm"
    made = Installation(
        FakeHost(tmp_path, {"podman": "true", **programs}).pretend(replace(FACTS, init=init)),
        str(directory),
        image="localhost/agent",
        gateway=gateway,
        app_port=10254,
        slowness=0.1,
    )
    pnpm.write_text(f"#!/bin/sh\nUNIT={made.unit}\n{programs.get('pnpm', STEPS)}\n")
    pnpm.chmod(0o755)
    return made


def test_the_init_system_decides_how_nanoclaw_is_started(tmp_path: Path, gateway: Gateway) -> None:
    assert isinstance(installed(tmp_path / "a", gateway, {}).control, UnitControl)
    assert isinstance(installed(tmp_path / "b", gateway, {}, init="sh").control, WrapperControl)


def test_the_set_up_passes_where_each_step_has_its_effect(tmp_path: Path, gateway: Gateway) -> None:
    made = installed(tmp_path, gateway, RUNS)
    set_up(made)
    assert made.starts() == 1
    assert len(made.record.commands) > 4


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ("DOCKER: running", "DOCKER: installed_not_running", "DOCKER: running"),
        ("TEST_OK: true", "TEST_OK: false", "its container run"),
        ("SERVICE_LOADED: true", "SERVICE_LOADED: false", "the active user unit"),
        ("SERVICE_TYPE: systemd-user", "SERVICE_TYPE: nohup", "the active user unit"),
        ("INFO NanoClaw running", "INFO NanoClaw starting", "NanoClaw running"),
        ("STATUS: success", "STATUS: failed", "step environment to succeed"),
        ("=== END ===", "", "step environment to succeed"),
    ],
)
def test_a_step_without_its_effect_fails(tmp_path: Path, gateway: Gateway, good: str, bad: str, expected: str) -> None:
    made = installed(tmp_path, gateway, {**RUNS, "pnpm": STEPS.replace(good, bad)})
    with pytest.raises(Mismatch, match=expected):
        set_up(made)


def test_a_host_process_that_is_gone_fails_the_set_up(tmp_path: Path, gateway: Gateway) -> None:
    with pytest.raises(Mismatch, match="a running host process"):
        set_up(installed(tmp_path, gateway, STOPPED))


def test_a_failing_step_is_reported_with_the_end_of_its_output(tmp_path: Path, gateway: Gateway) -> None:
    made = installed(tmp_path, gateway, {"pnpm": "echo first; echo the cause >&2; exit 1"})
    with pytest.raises(Mismatch, match="status 1: first / the cause"):
        made.step("environment")


def test_the_exact_answer_passes(tmp_path: Path, gateway: Gateway, service: Service) -> None:
    made, talk = installed(tmp_path, gateway, {"pnpm": "echo the answer"}), service.conversation()
    talk.hear(b"the question")
    made.ask("the question", talk, "the answer")
    assert gateway.conversation is talk


@pytest.mark.parametrize(("slowness", "passes"), [(1.5, True), (1.0, False)])
def test_a_slow_host_is_asked_again_where_the_client_gave_up(
    tmp_path: Path, gateway: Gateway, service: Service, slowness: float, passes: bool
) -> None:
    asked = tmp_path / "asked"
    program = f"[ -e {asked} ] || {{ touch {asked}; echo 'timeout: no reply in 120000ms' >&2; exit 3; }}"
    answers = f"{program}; printf 'the answer\nthe answer\n'"
    made, talk = installed(tmp_path, gateway, {"pnpm": answers}), service.conversation()
    made.slowness = slowness
    talk.hear(b"the question")
    if passes:
        made.ask("the question", talk, "the answer")
    else:
        with pytest.raises(Mismatch, match="no answer"):
            made.ask("the question", talk, "the answer")


def test_connections_for_an_earlier_message_do_not_count(tmp_path: Path, gateway: Gateway, service: Service) -> None:
    gateway.connected.append("ag-1")
    with pytest.raises(Mismatch, match="No agent reached the gateway's proxy"):
        installed(tmp_path, gateway, {"pnpm": "true"}).ask("the question", service.conversation(), "the answer")


@pytest.mark.parametrize("printed", ["", "echo another answer", "echo the answer; echo the answer"])
def test_any_other_answer_fails(tmp_path: Path, gateway: Gateway, service: Service, printed: str) -> None:
    made, talk = installed(tmp_path, gateway, {"pnpm": printed}), service.conversation()
    talk.hear(b"the question")
    with pytest.raises(Mismatch, match="the service's own words"):
        made.ask("the question", talk, "the answer")


def test_an_answer_without_the_question_fails(tmp_path: Path, gateway: Gateway, service: Service) -> None:
    made = installed(tmp_path, gateway, {"pnpm": "echo the answer"})
    with pytest.raises(Mismatch, match="to be asked"):
        made.ask("the question", service.conversation(), "the answer")


def test_a_missing_answer_is_reported_with_its_cause(tmp_path: Path, gateway: Gateway, service: Service) -> None:
    log = "logs/nanoclaw.error.log"
    script = f"echo '\033[33mWARN\033[39m stderrTail: attempt to write a readonly database' >>{log}; exit 3"
    made = installed(tmp_path, gateway, {"pnpm": script, "podman": "[ $1 = ps ] && echo one || echo fatal agent"})
    (Path(made.project) / log).write_text("Error: of an earlier message\n")
    with pytest.raises(Mismatch) as failure:
        made.ask("the question", service.conversation(), "the answer")
    assert "No agent reached the gateway's proxy." in failure.value.got
    assert "WARN stderrTail: attempt to write a readonly database" in failure.value.got
    assert "agent: fatal agent" in failure.value.got
    assert "earlier message" not in failure.value.got


def test_the_settings_name_the_gateway(tmp_path: Path, gateway: Gateway) -> None:
    made = installed(tmp_path, gateway, {})
    made.write_settings()
    text = Path(made.project, ".env").read_text()
    assert "ONECLI_URL=http://127.0.0.1:10254\n" in text
    assert f"ONECLI_API_KEY={gateway.api_key}\n" in text
    assert Path(made.project, ".env").stat().st_mode & 0o777 == 0o600
    assert Path(made.project, "container/Dockerfile").read_text() == "FROM localhost/agent\n"


def test_the_set_up_s_tools_find_no_directory_that_another_account_made(tmp_path: Path, gateway: Gateway) -> None:
    """tsx runs the code that it finds in ``os.tmpdir()``."""
    made = installed(tmp_path, gateway, {"pnpm": "echo $TMPDIR >used"})
    made.write_settings()
    made.run(["pnpm"], timeout=PATIENCE)
    assert Path(made.project, "used").read_text() == f"{made.directory}/temporary\n"
    assert list(Path(made.directory, "temporary").iterdir()) == []
    made.control = WrapperControl(made)
    Path(made.project, "start-nanoclaw.sh").write_text("#!/bin/sh\necho $TMPDIR >started\n")
    Path(made.project, "start-nanoclaw.sh").chmod(0o755)
    made.control.start()
    assert Path(made.project, "started").read_text() == f"{made.directory}/temporary\n"


def test_removal_touches_no_file_of_another_nanoclaw(tmp_path: Path, gateway: Gateway) -> None:
    """The names are fixed: a test may not make them."""
    made = installed(tmp_path, gateway, {"rm": f"printf '%s\n' \"$@\" >>{tmp_path}/removed"})
    made.remove()
    removed = (tmp_path / "removed").read_text().splitlines()
    assert made.directory in removed
    assert [path for path in removed if path.startswith("/") and not path.startswith(str(tmp_path))] == [
        f"/home/test/.config/systemd/user/{made.unit}.service"
    ]


@pytest.mark.parametrize(
    ("init", "file", "runtime", "reason"),
    [
        ("systemd", "", "/run", "services"),
        ("sh", ".local/bin/ncl", "/run", "ncl is there"),
        ("sh", ".config/systemd/user/nanoclaw-v2-abc.service", "/run", "abc.service is there"),
        ("sh", "", "", "XDG_RUNTIME_DIR"),
        ("sh", "", "/run", ""),
    ],
)
def test_the_set_up_does_not_run_where_it_would_change_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: str, file: str, runtime: str, reason: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    if file:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).symlink_to("nowhere")
    said = unusable(FakeHost(tmp_path, {"id": "echo 1500"}).pretend(replace(FACTS, init=init)))
    assert reason in said
    assert bool(said) == bool(reason)


def test_removal_leaves_nothing_of_the_installation(tmp_path: Path, gateway: Gateway) -> None:
    no_image = 'case "$1 $2" in "image inspect") exit 1 ;; esac'
    made = installed(tmp_path, gateway, {**RUNS, "podman": no_image})
    made.remove()
    assert made.left() == []


def test_whatever_is_left_of_an_installation_is_listed(tmp_path: Path, gateway: Gateway) -> None:
    made = installed(tmp_path, gateway, {**RUNS, "podman": "case $1 in ps) echo container ncl-one ;; esac"})
    made.host.remember(replace(FACTS, home=str(tmp_path / "home")))
    unit = Path(tmp_path, "home", ".config/systemd/user", f"{made.unit}.service")
    unit.parent.mkdir(parents=True)
    unit.write_text("")
    runs = subprocess.Popen(["sh", "-c", "sleep 60; true", f"{made.project}/dist/index.js"])
    try:
        left = made.left()
    finally:
        runs.kill()
        runs.wait()
    process = left.pop()
    assert process.startswith(f"process {runs.pid} ")
    assert left == [
        f"file {made.directory}", f"file {unit}", "container ncl-one", f"image nanoclaw-agent-v2-{made.slug}"
    ]  # fmt: skip
