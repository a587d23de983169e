"""Chromium in the agent's container: whether it renders a page, and whether its sandbox is really on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks.core.bounded import parsed
from checks.engine.case_context import CaseContext
from checks.engine.docker import run
from checks.engine.expect import shown
from checks.hosts.process import Completed, TimedOut
from checks.nanoclaw import contract

NO_SANDBOX = "--no-sandbox"
_PROGRAM = Path(__file__).with_suffix(".mjs")
_BOUND = 100.0  # seconds on ordinary hardware, where a start takes two or three


@dataclass(frozen=True)
class BrowserResult:
    """What came of one start of Chromium."""

    options: tuple[str, ...]
    """The flags that the container had."""
    arguments: tuple[str, ...]
    """The browser's own options."""
    rendered: bool
    """Whether the page's text came back as its script had made it."""
    sandbox: str
    """``on``, ``off`` or what there is of it; empty where no page came."""
    layers: str
    """By what that was judged: namespaces and filters of its processes, in words."""
    failure: str
    """Why no page came, in Chromium's own words where it had some."""
    seconds: float

    @property
    def works(self) -> bool:
        """Whether it is of use to an agent, and as safe as it was told to be."""
        return self.rendered and (self.sandbox == "on") is (NO_SANDBOX not in self.arguments)

    def as_json(self) -> dict[str, Any]:
        """It as evidence stores it."""
        optional = {"sandbox": self.sandbox, "layers": self.layers, "failure": self.failure}
        return {
            "options": list(self.options),
            "arguments": list(self.arguments),
            "rendered": self.rendered,
            **{key: value for key, value in optional.items() if value},
            "seconds": round(self.seconds, 1),
        }


def browse(
    ctx: CaseContext, image: str, options: Sequence[str], starts: Sequence[Sequence[str]] = ((),)
) -> list[BrowserResult]:
    """Start Chromium in a container of the agent's image, run as nanoclaw runs it, with these options of docker run:
    once for each of ``starts``, which are the browser's own options."""
    token = secrets.token_hex(8)
    bound = _BOUND * ctx.slowness
    who = contract.user_options(ctx.uid, ctx.facts.gid)
    command = run(
        image, "--input-type=module", "-", token, *(" ".join(start) for start in starts),
        options=["-i", "--rm", *who, "-e", f"VERIFY_BOUND={bound:.0f}", *options, "--entrypoint", "node"],
    )  # fmt: skip
    try:
        done = ctx.docker(command, stdin=_PROGRAM.read_bytes(), timeout=_BOUND * len(starts) + 20)
    except TimedOut as error:
        done = error.partial
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    lines += [""] * (len(starts) - len(lines))
    return [heard(done, line, token, options, start) for line, start in zip(lines, starts, strict=False)]


def heard(done: Completed, line: str, token: str, options: Sequence[str], arguments: Sequence[str]) -> BrowserResult:
    """What the program that ran in there says of one start, in a line; empty where it did not come to that."""
    try:
        told: Mapping[str, Any] = parsed(line)
    except ValueError:
        told = {}

    def sight(*, rendered: bool = False, sandbox: str = "", layers: str = "", failure: str = "") -> BrowserResult:
        seconds = float(told.get("seconds", done.seconds))
        return BrowserResult(tuple(options), tuple(arguments), rendered, sandbox, layers, failure, seconds)

    if not told:
        return sight(failure=f"the container ended with status {done.returncode}: {shown(done.stderr.strip())}")
    said = _telling(str(told.get("said", "")))
    if told["late"]:
        return sight(failure=f"no page came within {told['seconds']:.0f} s: {said}")
    if told["ended"] != 0:
        return sight(failure=f"Chromium ended with status {told['ended']}: {said}")
    if told["text"] != token:
        return sight(failure=f"another text than the page's: {shown(told['text'])}")
    sandbox, layers = judged(told["processes"])
    return sight(rendered=True, sandbox=sandbox, layers=layers)


def judged(processes: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Whether the sandbox is on, by what the kernel says of the browser's processes; and that in words.

    The sandbox has two layers: a renderer lives in namespaces of its own, within the browser's, and has a filter of
    system calls of its own on top of the container's.
    """
    main = next((each for each in processes if each["kind"] == "browser"), None)
    renderers = [each for each in processes if each["kind"] == "renderer"]
    if main is None or not renderers:
        return "unknown", f"{len(renderers)} renderers, {'a' if main else 'no'} browser process"
    nested = all(each["namespaces"] > main["namespaces"] for each in renderers)
    # One that was about to be used has not put its filter on yet.
    filtered = any(each["filters"] > main["filters"] for each in renderers)
    one = max(renderers, key=lambda each: int(each["filters"]))
    words = (
        f"renderers: {one['namespaces']} nested PID namespaces and {one['filters']} seccomp filters; "
        f"the browser: {main['namespaces']} and {main['filters']}"
    )
    if nested and filtered:
        return "on", words
    if nested or filtered:
        return "namespaces alone" if nested else "seccomp filter alone", words
    return "off", words


_TELLING = (
    "check failed",
    "fatal",
    "failed to create",
    "no usable sandbox",
    "operation not permitted",
    "read-only",
    "is required",
)


def _telling(said: str) -> str:
    """The line by which a browser says why it ended; its last ones where none stands out."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    found = [line for line in lines if any(word in line.casefold() for word in _TELLING)]
    return shown(found[0] if found else "\n".join(lines[-3:]) or "without a word")
