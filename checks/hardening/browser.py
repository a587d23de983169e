"""Chromium in the agent's container: whether it renders a page, and whether its sandbox is on."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks.core.answers import Unreadable, understood
from checks.core.bounded import parsed
from checks.core.lines import lines_of
from checks.core.process import Completed, TimedOut
from checks.engine.case_context import CaseContext
from checks.engine.docker import run
from checks.engine.expect import shown
from checks.engine.flags import Flag, Hardening, Subject
from checks.evidence.hardening_model import BrowserRow, BrowserStart
from checks.nanoclaw import contract

NO_SANDBOX = "--no-sandbox"
_PROGRAM = Path(__file__).with_suffix(".mjs")
_TIMEOUT = 100.0  # seconds on ordinary hardware, where a start takes two or three


def works(start: BrowserStart) -> bool:
    """Whether Chromium rendered, with its sandbox on unless its arguments turn it off."""
    return start.rendered and (start.sandbox == "on") is (NO_SANDBOX not in start.arguments)


def browse(
    ctx: CaseContext, image: str, options: Sequence[str], starts: Sequence[Sequence[str]] = ((),)
) -> list[BrowserStart]:
    """Start Chromium in a container of the agent's image, run as nanoclaw runs it, with these options of docker run.

    Once for each of ``starts``, which are Chromium's own options.
    """
    token = secrets.token_hex(8)
    bound = _TIMEOUT * ctx.slowness
    who = contract.user_options(ctx.uid, ctx.facts.gid)
    command = run(
        image, "--input-type=module", "-", token, *(" ".join(start) for start in starts),
        options=["-i", "--rm", *who, "-e", f"VERIFY_TIMEOUT={bound:.0f}", *options, "--entrypoint", "node"],
    )  # fmt: skip
    try:
        done = ctx.docker(command, stdin=_PROGRAM.read_bytes(), timeout=_TIMEOUT * len(starts) + 20)
    except TimedOut as error:
        done = error.partial
    lines = [line for line in lines_of(done.stdout) if line.startswith("{")]
    lines += [""] * (len(starts) - len(lines))
    return [parse(done, line, token, options, start) for line, start in zip(lines, starts, strict=False)]


def parse(done: Completed, line: str, token: str, options: Sequence[str], arguments: Sequence[str]) -> BrowserStart:
    """Read the line that the program in the container printed of one start; it is empty if there is none."""
    try:
        return understood(lambda answer: _result(answer, token, options, arguments), line)
    except Unreadable as odd:
        ended = f"the container ended with status {done.returncode}: {shown(done.stderr.strip())}"
        failure = f"the container printed an invalid report: {odd}" if line else ended
        return BrowserStart(
            options=list(options), arguments=list(arguments), rendered=False, failure=failure,
            seconds=round(done.seconds, 1),
        )  # fmt: skip


def _result(line: str, token: str, options: Sequence[str], arguments: Sequence[str]) -> BrowserStart:
    """For ``understood``."""
    report: Mapping[str, Any] = parsed(line)
    seconds = float(report["seconds"])
    if not math.isfinite(seconds):
        raise ValueError("the time is not a number")

    def made(*, rendered: bool = False, sandbox: str = "", layers: str = "", failure: str = "") -> BrowserStart:
        return BrowserStart(
            options=list(options), arguments=list(arguments), rendered=rendered, sandbox=sandbox, layers=layers,
            failure=failure, seconds=round(seconds, 1),
        )  # fmt: skip

    error = _error_line(str(report.get("stderr", "")))
    if report["timed_out"]:
        return made(failure=f"no page within {seconds:.0f} s: {error}")
    if report["status"] != 0:
        return made(failure=f"Chromium ended with status {report['status']}: {error}")
    if report["text"] != token:
        return made(failure=f"expected the page's text, got {shown(report['text'])}")
    sandbox, layers = sandbox_state(report["processes"])
    return made(rendered=True, sandbox=sandbox, layers=layers)


def sandbox_state(processes: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Whether the sandbox is on, by what the kernel reports of the browser's processes; and that in words.

    The sandbox has two layers: a renderer has PID namespaces of its own within the browser's, and a filter of system
    calls on top of the container's.
    """
    main = next((each for each in processes if each["kind"] == "browser"), None)
    renderers = [each for each in processes if each["kind"] == "renderer"]
    if main is None or not renderers:
        return "unknown", f"{len(renderers)} renderers, {'a' if main else 'no'} browser process"
    nested = all(each["namespaces"] > main["namespaces"] for each in renderers)
    # A renderer that is about to be used has not set its filter yet.
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


_ERRORS = (
    "check failed", "fatal", "failed to create", "no usable sandbox", "operation not permitted", "read-only",
    "is required",
)  # fmt: skip


def _error_line(stderr: str) -> str:
    """The line with the reason why a browser ended; the last lines if none has a known one."""
    lines = [line.strip() for line in lines_of(stderr) if line.strip()]
    found = [line for line in lines if any(word in line.casefold() for word in _ERRORS)]
    return shown(found[0] if found else "\n".join(lines[-3:]) or "nothing on stderr")


# Which sets of flags it is started under.

BARE = "no flags"
SET = "the recommended set"
SET_WITHOUT = "the set without SYS_CHROOT"
SET_UNFILTERED = "the set without SYS_CHROOT and without a seccomp filter"


@dataclass(frozen=True)
class BrowserSetup:
    """A set of flags to start Chromium under."""

    name: str
    options: tuple[str, ...]
    required: bool
    """Whether Chromium must work under it, with its sandbox on, for the flags to be recommended."""


@dataclass(frozen=True)
class BrowserResults:
    """Chromium under some flags: first as it is, then without its sandbox if that was tried."""

    setup: BrowserSetup
    starts: tuple[BrowserStart, ...]

    @property
    def ok(self) -> bool:
        """Whether it works if it must."""
        return not self.setup.required or works(self.starts[0])

    @property
    def row(self) -> BrowserRow:
        """The form that evidence stores."""
        setup = self.setup
        return BrowserRow(
            name=setup.name, options=list(setup.options), required=setup.required, ok=self.ok, starts=list(self.starts)
        )


def browser_setups(hardening: Hardening, flags: Sequence[Flag]) -> list[BrowserSetup]:
    """No flags, each alone, each with its work-arounds, and the recommended set.

    Then the set without what it has for Chromium alone, and that without the filter of system calls. These two show
    what breaks Chromium.
    """
    found = [BrowserSetup(BARE, (), True)]
    for flag in flags:
        alone = tuple(hardening.options(flag))
        repaired = tuple(hardening.hardened([*(hardening.flag(each) for each in flag.needs), flag]))
        found.append(BrowserSetup(flag.text, alone, alone == repaired and flag.recommended))
        if repaired != alone:
            found.append(BrowserSetup(f"{flag.text}, with its work-arounds", repaired, True))
    bare = tuple(_without_browser_workarounds(hardening))
    weaker = [word for flag in hardening.flags if not flag.recommended for word in flag.options]
    return [
        *found,
        BrowserSetup(SET, tuple(hardening.recommended()), True),
        BrowserSetup(SET_WITHOUT, bare, False),
        BrowserSetup(SET_UNFILTERED, (*bare, *weaker), False),
    ]


def _without_browser_workarounds(hardening: Hardening) -> list[str]:
    extra = [each.options for flag in hardening.enabled for each in flag.workarounds_for(Subject.BROWSER)[:1]]
    return [word for word in hardening.recommended() if not any(word in words for words in extra)]


def in_words(start: BrowserStart) -> str:
    """One start of Chromium, in a line."""
    how = "Chromium with --no-sandbox" if NO_SANDBOX in start.arguments else "Chromium"
    return f"{how} renders, sandbox {start.sandbox}" if start.rendered else f"{how} fails: {start.failure}"
