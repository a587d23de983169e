"""``tests/smoke.sh``: an agent that docker refuses to start because of a flag is not a failed case."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from checks.core.errors import Exit
from checks.core.run_directories import Run
from checks.engine.case_context import RunScope
from checks.engine.prepared_host import AS_IS, PreparedHost
from checks.hosts import base
from checks.nanoclaw import smoke
from checks.nanoclaw.agent import stub_agent
from checks.nanoclaw.contract import AgentProtocol
from checks.nanoclaw.running import Question
from checks.nanoclaw.service import Conversation
from tests.fakes import FakeHost

DOCKER = """
case "$1 $*" in
    run*--nope*) echo "Error: unknown flag: --nope" >&2; echo "See 'podman run --help'" >&2; exit 125 ;;
    run*--cpus*) echo "Error: OCI runtime error: crun: controller cpu is not available" >&2; exit 126 ;;
    run*--read-only*) echo "sh: node: Permission denied" >&2; exit 126 ;;
    run*) exec cat "$(dirname "$0")/answer" ;;
esac
"""
ANSWER = '---NANOCLAW_OUTPUT_START---{"status":"success","result":"yes"}---NANOCLAW_OUTPUT_END---'
REFUSED = 'case "$1" in run) echo "Error: short-name did not resolve" >&2; exit 125 ;; esac'


@pytest.fixture(params=list(AgentProtocol))
def ask(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the smoke test with these flags, where docker is this script."""
    monkeypatch.setattr(base, "SHARED", str(tmp_path))
    agent = stub_agent()[request.param]

    def asked(docker: str, *flags: str) -> Exit:
        host = FakeHost(tmp_path, {"docker": docker, "podman": "exit 0"}).pretend()
        (tmp_path / "bin" / "answer").write_text(ANSWER)
        ready = PreparedHost(host, AS_IS, RunScope("run", "run"), Run("run", tmp_path, tmp_path))
        question = Question("what?", "yes", Conversation("key", "yes"))
        handle: Any = SimpleNamespace(agent=agent, image=lambda ctx: "image", question=lambda ctx: question)

        @contextlib.contextmanager
        def session(*_: object) -> Iterator[tuple[PreparedHost, Any]]:
            yield ready, handle

        monkeypatch.setattr(smoke, "agent_session", session)
        return smoke.main(["--host", "debian-13", *flags])

    return asked


@pytest.mark.parametrize(
    ("docker", "flags", "status", "told"),
    [
        (DOCKER, ["--nope=1 2"], 2, "Wrong usage: docker run refuses '--nope=1 2': Error: unknown flag: --nope See"),
        (DOCKER, ["--cpus=2"], 3, "fake can't start a container with --cpus=2: Error: OCI runtime error: crun:"),
        (DOCKER, ["--read-only"], 1, "docker exited with status 126"),
        (REFUSED, ["--nope"], 1, "docker exited with status 125"),
        (REFUSED, [], 1, "docker exited with status 125"),
    ],
)
def test_a_flag_that_docker_refuses_is_no_failed_case(
    ask: Any, capsys: pytest.CaptureFixture[str], docker: str, flags: list[str], status: int, told: str
) -> None:
    assert ask(docker, *flags) == status
    printed = capsys.readouterr()
    assert told in " ".join(f"{printed.out}{printed.err}".split())
