"""Conversations are bounded, whatever the other side prints."""

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


def talker(tmp_path: Path, script: str) -> tuple[Docker, Record]:
    record = Record()
    return Docker(FakeHost(tmp_path, {"docker": script}), "", record), record


@pytest.mark.parametrize("tty", [True, False], ids=["a terminal", "pipes"])
def test_a_flood_ends_the_wait(tmp_path: Path, tty: bool) -> None:
    desk, record = talker(tmp_path, f"exec {sys.executable} -c \"while True: print('x' * 1000)\"")
    with (
        desk.talking(docker.run("image"), tty=tty) as talk,
        pytest.raises(Mismatch, match="within 4 MB of output; got more output"),
    ):
        talk.expect("never")
    assert len(record.commands[0].stdout_bytes) <= 5 * 2**20


@pytest.mark.parametrize("tty", [True, False], ids=["a terminal", "pipes"])
def test_what_nobody_hears_is_not_kept_without_bound(tmp_path: Path, tty: bool) -> None:
    desk, _ = talker(tmp_path, f"exec {sys.executable} -c \"while True: print('x' * 1000)\"")
    with desk.talking(docker.run("image"), tty=tty) as talk:
        time.sleep(1)
        queue = getattr(talk.child, "_read_queue", None)
        assert queue is None or queue.qsize() * 65536 < 2**27
        with pytest.raises(Mismatch, match="the end of the output within 4 MB"):
            talk.read_rest()


@pytest.mark.parametrize("tty", [True, False], ids=["a terminal", "pipes"])
def test_a_secret_is_not_heard(tmp_path: Path, tty: bool) -> None:
    script = f'printf %s "{KEY[:20]}"; sleep 0.2; printf "%s\\n" "{KEY[20:]}"; read -r answer; echo "$answer: {KEY}"'
    desk, record = talker(tmp_path, script)
    with desk.talking(docker.run("image", KEY), tty=tty) as talk:
        assert talk.expect(r"\*+") == "*" * len(KEY)
        talk.send_line("heard")
        assert talk.read_rest().split() == ["heard:", "*" * len(KEY)]
    done = record.commands[0]
    assert KEY not in done.stdout
    assert KEY not in done.command
