"""Under --live only the agent receives the user's key, whatever the agent does with it."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.core import redaction
from checks.core.errors import HostProblem, WrongUsage
from checks.core.progress import Progress, plain_console
from checks.core.run_directories import Run
from checks.engine.case_context import RunScope
from checks.engine.prepared_host import AS_IS, PreparedHost
from checks.hosts.base import SHARED, directories_of
from checks.runner import collection, verify
from checks.runner.collection import CASES
from checks.runner.verify import VerifyOptions, session
from tests.fakes import FakeHost

KEY = "sk-ant-api03-A1b2C3d4E5_f6G7h8-I9j0KkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz-0123456789AA"
RUN = f"live{os.getpid()}"

CASE = """
import os
import pytest
from checks.engine.expect import Mismatch

GROUP = "Echoes"

@pytest.mark.case("An agent that tells all", fix="of-the-case")
def test_tells_all(ctx):
    key = os.environ["ANTHROPIC_API_KEY"]
    ctx.host.put(f"{ctx.directory}/.env", f"ANTHROPIC_API_KEY={key}\\n".encode(), mode=0o600)
    ctx.host.put(f"{ctx.directory}/deep/state.db", b"SQLite\\0" + key[-20:].encode() + b"\\0")
    ctx.host.put(f"{ctx.directory}/{key[:40]}/empty", b"")
    ctx.host.put(f"{ctx.directory}/harmless", b"nothing")
    done = ctx.docker("exec", key, stdin=key.encode())
    raise Mismatch(f"no key, as in {key}", done.stdout + done.stderr)

@pytest.mark.case("A case that breaks", fix="of-the-case")
def test_breaks(ctx):
    def inner(key):
        raise ValueError(f"unknown: {key}")
    inner(os.environ["ANTHROPIC_API_KEY"])
"""

# Prints its input unchanged, as JSON, in base64 and in two halves, and sets the terminal's title.
DOCKER = """
input=$(cat)
printf 'x-api-key: %s\\n{"key":"%s"}\\n' "$input" "$input"
printf '%s' "$input" | base64
printf '%s' "$input" | cut -c 1-30 | tr -d '\\n'; sleep 0.3; printf '%s\\n' "$input" | cut -c 31-
printf '\\033]0;title\\007\\302\\233\\342\\200\\256 %s\\n' "$2" >&2
exit 1
"""
PODMAN = 'case "$1" in unshare) shift; exec "$@" ;; esac'


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    (tmp_path / "compat").mkdir()
    name = f"echoes_{tmp_path.name}"  # a name of its own, as modules have
    (tmp_path / "compat" / f"{name}.py").write_text(CASE)
    shutil.copy(CASES.parent / "pytest.ini", tmp_path)
    monkeypatch.setattr(collection, "CASES", tmp_path / "compat")
    monkeypatch.setattr(collection, "ORDER", (name,))
    yield
    redaction.forget()
    for left in Path(SHARED).glob(f"{directories_of(RUN)}*"):
        shutil.rmtree(left)


def verified(tmp_path: Path, *, live: bool, keep: bool) -> str:
    """All that the terminal has of a run."""
    shown = io.StringIO()
    screen = plain_console(file=shown)
    host = FakeHost(tmp_path, {"docker": DOCKER, "podman": PODMAN}).pretend()
    host.echo = screen.print
    run = Run(RUN, tmp_path, tmp_path)
    prepared = PreparedHost(host, AS_IS, RunScope(RUN, RUN), run)
    options = VerifyOptions(
        live=live, keep=keep, verbose=True, host="fake", json=str(tmp_path / "a.json"), junit=str(tmp_path / "a.xml")
    )
    evidence = session(options, lambda: contextlib.nullcontext(prepared), screen, Progress(screen))
    assert {case.outcome for case in evidence.cases} == {"failed"}
    return shown.getvalue()


def parts_in(text: str) -> list[str]:
    """The parts of the key that stand in a text, its public beginning aside; also those that base64 hides."""
    secret = KEY[13:]
    found = [secret[at : at + 9] for at in range(len(secret) - 8) if secret[at : at + 9].lower() in text.lower()]
    hidden = [base64.b64encode(KEY.encode()[shift:]).decode()[20:40] for shift in range(3)]
    return found + [each for each in hidden if each in text.replace("\n", "")]


@pytest.mark.parametrize("keep", [False, True], ids=["not kept", "kept"])
def test_an_agent_that_tells_all_has_told_nobody(tmp_path: Path, keep: bool) -> None:
    for name in ("a.json", "a.xml"):
        (tmp_path / name).write_text("from before")
        (tmp_path / name).chmod(0o644)
    shown = verified(tmp_path, live=True, keep=keep)
    assert "x-api-key: ****" in shown
    assert parts_in(shown) == []
    for name in ("a.json", "a.xml"):
        text = (tmp_path / name).read_text()
        assert "****" in text
        assert parts_in(text) == []
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    if keep:
        assert list(Path(SHARED).glob(f"{directories_of(RUN)}*")) == []


def test_documents_of_a_run_are_well_formed_and_carry_no_controls(tmp_path: Path) -> None:
    shown = verified(tmp_path, live=False, keep=False)
    ET.parse(tmp_path / "a.xml")  # noqa: S314 - our own
    json.loads((tmp_path / "a.json").read_text())
    for text in (shown, *((tmp_path / name).read_text() for name in ("a.xml", "a.json"))):
        assert not set("\x1b\x07\x9b\u202e") & set(text)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644


def test_a_key_in_what_can_not_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checks.hosts.base.Host.remove_private_directories", lambda account, name: False)
    with pytest.raises(HostProblem, match="could not be removed; they may contain the key"):
        verified(tmp_path, live=True, keep=True)


@pytest.mark.parametrize("key", ["short", "with a space in the middle", "línea-that-is-not-ascii", "a" * 20 + "\n"])
def test_what_is_no_key_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    with pytest.raises(WrongUsage, match="ANTHROPIC_API_KEY is not a key") as refused:
        verify._live_key(VerifyOptions(live=True))
    assert key not in str(refused.value)


def test_environment_files_are_their_owners_alone(tmp_path: Path) -> None:
    host = FakeHost(tmp_path).pretend()
    before = os.umask(0)
    try:
        host.put(f"{tmp_path}/a.env", b"KEY=x\n", mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.env").stat().st_mode) == 0o600
