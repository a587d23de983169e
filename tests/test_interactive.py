"""Interactive sessions limit and redact what a container prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.core import redaction
from checks.engine import docker
from checks.engine.docker import Docker, Record
from checks.engine.expect import Mismatch
from tests.fakes import FakeHost

KEY = "sk-ant-api03-the-users-own-key-0123456789"


@pytest.fixture(autouse=True)
def _protected() -> Iterator[None]:
    redaction.protect(KEY)
    yield
    redaction.forget()


def interactive_docker(tmp_path: Path, script: str) -> tuple[Docker, Record]:
    record = Record()
    return Docker(FakeHost(tmp_path, {"docker": script}), "", record), record


@pytest.mark.parametrize("tty", [True, False], ids=["a terminal", "pipes"])
def test_too_much_output_ends_the_wait(tmp_path: Path, tty: bool) -> None:
    desk, record = interactive_docker(tmp_path, f"exec {sys.executable} -c \"while True: print('x' * 1000)\"")
    with (
        desk.interactive(docker.run("image"), tty=tty) as session,
        pytest.raises(Mismatch, match="within 4 MB of output; got more output"),
    ):
        session.expect("never")
    assert len(record.commands[0].stdout_bytes) <= 5 * 2**20


@pytest.mark.parametrize("tty", [True, False], ids=["a terminal", "pipes"])
def test_unread_output_is_limited(tmp_path: Path, tty: bool) -> None:
    desk, _ = interactive_docker(tmp_path, f"exec {sys.executable} -c \"while True: print('x' * 1000)\"")
    with desk.interactive(docker.run("image"), tty=tty) as session:
        time.sleep(1)
        queue = getattr(session.child, "_read_queue", None)
        if queue is not None:
            with queue.mutex:
                assert sum(len(each) for each in queue.queue if each) < 2**27
        with pytest.raises(Mismatch, match="the end of the output within 4 MB"):
            session.read_rest()


@pytest.mark.parametrize("tty", [True, False], ids=["a terminal", "pipes"])
def test_a_secret_is_masked_in_the_session(tmp_path: Path, tty: bool) -> None:
    script = f'printf %s "{KEY[:20]}"; sleep 0.2; printf "%s\\n" "{KEY[20:]}"; read -r answer; echo "$answer: {KEY}"'
    desk, record = interactive_docker(tmp_path, script)
    with desk.interactive(docker.run("image", KEY), tty=tty) as session:
        assert session.expect(r"\*+") == "*" * len(KEY)
        session.send_line("answered")
        assert session.read_rest().split() == ["answered:", "*" * len(KEY)]
    done = record.commands[0]
    assert KEY not in done.stdout
    assert KEY not in done.command
