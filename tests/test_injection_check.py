"""What the proof says of a container that is not as it is to be, and of one that is not there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from checks.core.process import Completed
from checks.core.progress import Progress
from checks.engine.expect import Mismatch
from checks.evidence.hardening_model import BrowserStart
from checks.hardening import browser
from checks.hardening.injection import check
from checks.hardening.injection.settings import Setting
from checks.nanoclaw import running
from tests.test_injection import WANTED

PLAIN = """\
==status
Seccomp:\t0
CapBnd:\t00000000800405fb
NoNewPrivs:\t0
==mounts
1 0 0:1 / / rw,relatime - overlay overlay rw
==uid_map
0 1500 1
1 100000 65536
==ids
1500
1500
==tmp
1777
==pids.max
2048
==memory.max
max
==memory.swap.max
max
==cpu.max
max 100000
==network
==end
"""

HARDENED = """\
==status
Seccomp:\t2
CapBnd:\t0000000000000000
NoNewPrivs:\t1
==mounts
1 0 0:1 / / ro,relatime - overlay overlay rw
2 1 0:2 / /tmp rw - tmpfs tmpfs rw,size=524288k
==uid_map
0 1 1500
1500 0 1
==ids
1500
1500
==tmp
1777
==pids.max
256
==memory.max
4294967296
==memory.swap.max
4294967296
==cpu.max
200000 100000
==network
sh: write error: Operation not permitted
==end
"""


def ctx(out: str, *, gone: bool = False) -> Any:
    """A bench on whose host every command prints ``out``; ``gone``: no container ever runs."""

    def await_running(name: str) -> None:
        if gone:
            raise Mismatch(f"a running container named {name}", "none")

    host = SimpleNamespace(run=lambda argv, timeout: Completed(tuple(argv), 0, out.encode(), b"", 1))
    return SimpleNamespace(
        host=host, facts=SimpleNamespace(engine="podman", gid=1500), uid=1500, probe="probe",
        await_running=await_running, make=lambda name: f"/x/{name}",
    )  # fmt: skip


def agent(argv: list[str], ctx: Any, stderr: str = "") -> Any:
    done = Completed(tuple(argv), -1, b"", stderr.encode(), 1)
    place = SimpleNamespace(mounts=[])
    return SimpleNamespace(name="nanoclaw-a-1", ctx=ctx, workspace=place, client=SimpleNamespace(so_far=lambda: done))


def inside(out: str, *, gone: bool = False, stderr: str = "") -> dict[str, bool]:
    stand = ctx(out, gone=gone)
    return {each.name: each.passed for each in check._inside(stand, agent([], stand, stderr), WANTED)}


def test_a_hardened_container_passes_in_every_respect() -> None:
    found = inside(HARDENED)
    assert list(found) == [setting.capitalize() for setting in Setting]
    assert all(found.values())


def test_a_plain_container_fails_in_every_respect() -> None:
    assert not any(inside(PLAIN).values())


@pytest.mark.parametrize("out", ["", "nonsense", PLAIN.replace("==end\n", "")])
def test_a_container_that_can_not_be_read_fails_in_every_respect(out: str) -> None:
    found = inside(out)
    assert len(found) == len(Setting) + 1
    assert not any(found.values())


def test_a_container_that_does_not_start_says_why() -> None:
    stand = ctx(HARDENED, gone=True)
    stderr = "nanoclaw hardening: the container was not started: x."
    findings = list(check._inside(stand, agent([], stand, stderr), WANTED))
    assert not any(each.passed for each in findings)
    assert findings[-1].observed == stderr


def test_another_container_that_is_hardened_too_is_told() -> None:
    assert check._of_others(ctx(PLAIN), WANTED).passed
    touched = check._of_others(ctx(HARDENED), WANTED)
    assert not touched.passed
    assert "read-only root" in touched.observed
    assert not check._of_others(ctx(""), WANTED).passed


def test_an_option_more_is_not_nanoclaws_own_invocation() -> None:
    class Streams(running.StreamsAgent):
        def __init__(self, argv: list[str]) -> None:
            self.__dict__.update(vars(agent(argv, ctx(""))))

    own = ["docker", "run", "-i", "--rm", "--name", "nanoclaw-a-1", "-e", "TZ=America/New_York", "--user", "1500:1500",
           "-e", "HOME=/home/node", "image"]  # fmt: skip
    assert check._unmodified(Streams(own), "image", "").passed
    for wrong in ([*own[:2], "--label", "x=y", *own[2:]], [*own[:2], "--read-only", *own[2:]], ["podman", *own[1:]]):
        assert not check._unmodified(Streams(wrong), "image", "").passed


@pytest.mark.parametrize(
    ("found", "sandbox", "passed"),
    [("/usr/bin/chromium\n", "on", [True]), ("/usr/bin/chromium\n", "off", [False]), ("none\n", "", [])],
)
def test_chromium_is_tried_where_the_image_has_it_and_must_have_its_sandbox(
    monkeypatch: pytest.MonkeyPatch, found: str, sandbox: str, passed: list[bool]
) -> None:
    said = Completed((), 0, found.encode(), b"", 1)
    context = SimpleNamespace(docker=lambda command, timeout: said, make=lambda name: f"/x/{name}")
    mounted: list[str] = []

    def browse(ctx: Any, image: str, options: list[str]) -> list[BrowserStart]:
        mounted.extend(options)
        return [BrowserStart(options=options, arguments=[], rendered=True, sandbox=sandbox, seconds=1)]

    monkeypatch.setattr(check, "CaseContext", lambda *_: context)
    monkeypatch.setattr(browser, "browse", browse)
    prepared: Any = SimpleNamespace(host=None, owner=None)
    handle: Any = SimpleNamespace(image=lambda ctx: "image")
    assert [each.passed for each in check._browsed(prepared, handle, Progress())] == passed
    assert mounted == (["-v", "/x/group:/workspace/group"] if passed else [])
