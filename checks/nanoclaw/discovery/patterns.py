"""``invoke patterns``: what a nanoclaw checkout runs of a container runtime, and the cases that cover it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tabulate import tabulate

from checks.core.bounded import parsed
from checks.core.errors import Exit, WrongUsage
from checks.core.outcome import headline
from checks.core.terminal import one_line, say, say_text
from checks.nanoclaw.agent import find
from checks.nanoclaw.checkout import read
from checks.nanoclaw.discovery import recording
from checks.nanoclaw.discovery.catalogue import catalogue, judge
from checks.nanoclaw.discovery.child import discover_in_child
from checks.nanoclaw.discovery.discover import Found
from checks.nanoclaw.discovery.facts import compare


def patterns(
    nanoclaw: Annotated[str, "a nanoclaw checkout (default: $NANOCLAW_DIR, ~/nanoclaw)"] = "",
    recall: Annotated[bool, "compare the result with fixtures/discovery/facts.txt"] = False,
    recorded: Annotated[
        str, "check that each command in this directory (from fixtures/discovery/docker) is found"
    ] = "",
) -> Exit:
    """Find every place in a nanoclaw checkout that starts a container runtime, and the case that covers it.

    Exit status: 0 all commands are covered, and all calls followed; 1 at least one is not; 2 wrong usage.
    """
    try:
        checkout = _checkout(nanoclaw)
        version, found = _version(checkout), discover_in_child(checkout)
        if recorded:
            return _recorded(found, Path(recorded))
        return _recall(found, checkout, version) if recall else _report(found, version)
    except WrongUsage as problem:
        say(headline(problem), error=True)
        return problem.exit


def _checkout(option: str) -> Path:
    checkout = find(option)
    if checkout is None:
        raise WrongUsage("No nanoclaw checkout was named.", "Name one with --nanoclaw DIR, or: invoke nanoclaw fetch")
    return checkout


def _report(found: Sequence[Found], version: str) -> Exit:
    known = catalogue()
    verdicts = [(each, judge(each, known)) for each in found]
    problems = 0
    for title, hot in (("Run by nanoclaw itself (src/)", True), ("Run by its set-up, scripts and skills", False)):
        rows = [(_where(each), _shown(each.text), verdict) for each, verdict in verdicts if each.hot == hot]
        open_ = sum(bool(verdict.problem) for *_, verdict in rows)
        problems += open_
        say_text(f"\n{title}: {len(rows)} places, {open_} not covered or not followed\n")
        if rows:
            cells = [(where, text, _shown(verdict.text)) for where, text, verdict in rows]
            say_text(tabulate(cells, headers=("Where", "Command", "Covered by"), maxcolwidths=[None, 60, 40]))
    nothing = not any(each.form and each.hot for each in found)
    if nothing:
        say("\nNo place in src/ starts a container runtime: this is not nanoclaw's source, or it was not understood.")
    say(f"\nnanoclaw {version}: {len(found)} places, {problems} not covered or not followed.")
    return Exit.CASE_FAILED if problems or nothing else Exit.OK


def _where(found: Found) -> str:
    return one_line(f"{found.file}:{found.line}")


def _shown(text: str) -> str:
    """A text of the checkout in one line, at most 600 characters of it."""
    return one_line(text if len(text) <= 600 else f"{text[:600]}…")


def _recall(found: Sequence[Found], checkout: Path, version: str) -> Exit:
    whole = compare(found, checkout, f"v{version}")
    hot = compare(found, checkout, f"v{version}", hot=True)
    if whole is None or hot is None:
        raise WrongUsage(f"fixtures/discovery/facts.txt has no list for nanoclaw {version} as it is here.")
    for title, places in (("Missed", whole.missed), ("Not in the list", whole.wrong)):
        for each in places:
            say(f"{title}: {_where(each)}: {_shown(each.text)}")
    say(f"nanoclaw {version}: {whole.text}; in src/: {hot.text}")
    return Exit.CASE_FAILED if whole.missed or hot.wrong else Exit.OK


def _recorded(found: Sequence[Found], directory: Path) -> Exit:
    forms = recording.recorded(directory)
    strange = recording.unexplained(forms, found, catalogue())
    for each in strange:
        say(f"Recorded, and not found in the sources: {_shown(each.text)}")
    say(f"{len(forms)} forms of commands were recorded, {len(strange)} of them not found in the sources.")
    return Exit.CASE_FAILED if strange or not forms else Exit.OK


def _version(checkout: Path) -> str:
    """The version in package.json, cleaned for the terminal; “?” if it has none."""
    try:
        version = str(parsed(read(checkout / "package.json", checkout, 1 << 20)).get("version", "?"))
    except (OSError, ValueError, AttributeError):
        return "?"
    return re.sub(r"[^\w.+-]", "?", version)[:40]
