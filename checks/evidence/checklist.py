"""The results of checks in the forms that other programs read: JSON, JUnit XML, annotations of GitHub Actions."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import msgspec

from checks.core import files, terminal
from checks.core.errors import WrongUsage
from checks.core.output_paths import require_file
from checks.evidence import store
from checks.evidence.model import Part, Project, Text, Time

State = Literal["error", "blocks", "degrades", "note", "fine", "not tested", "accepted"]
"""The result of a check. ``error``: the run did not reach its end. ``blocks``: no agent works. ``degrades``: something
fails or is weaker."""

FAILING: frozenset[State] = frozenset({"blocks", "degrades"})

_COUNTED: dict[State, str] = {
    "error": "errors", "blocks": "blocks", "degrades": "degrades", "note": "notes", "accepted": "accepted",
    "fine": "fine", "not tested": "not tested",
}  # fmt: skip


class Result(Part, kw_only=True):
    """One check."""

    id: Text
    title: Text
    state: State
    observed: str = ""
    """What was found, or why nothing was tested."""
    fix: str = ""
    link: str = ""
    """The troubleshooting entry."""
    accepted: str = ""
    """The reason for which the finding is accepted."""
    seconds: float | None = None


class Checklist(Part, kw_only=True):
    """What a command checked on a host."""

    version: Literal[1]
    command: Text
    """For example ``invoke doctor``."""
    host: Text
    finished: Time
    project: Project | None = None
    summary: dict[str, int]
    results: list[Result]


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many results there are of each state, without the states that none has."""
    count = Counter(each.state for each in results)
    return {name: count[state] for state, name in _COUNTED.items() if count[state]}


def summary(results: Sequence[Result], host: str) -> str:
    """The last line of a report."""
    parts = [f"{name} {number}" for name, number in counts(results).items()]
    return f"Summary: {', '.join(parts) or 'nothing was checked'} ({host})"


@contextlib.contextmanager
def reported(command: str, host: str, *, json: str = "", junit: str = "", private: bool = False) -> Iterator[None]:
    """Let the files of ``--json`` and ``--junit`` say that the run did not reach its end, until ``write`` is called.

    They also say what ended the block with an error. So nobody takes the files of an earlier run for those of one that
    failed. Raises WrongUsage if one can't be written.
    """
    require_file("--json", json)
    require_file("--junit", junit)
    if json and junit and Path(json).resolve() == Path(junit).resolve():
        raise WrongUsage("--json and --junit name the same file.", "Name two files.")

    def unfinished(why: str) -> None:
        observed = f"The run did not reach its end: {why}"
        result = Result(id="run", title="The run reaches its end", state="error", observed=observed)
        files_alone = (path if files.is_replaced(path) else "" for path in (json, junit))
        write_files(command, host, [result], *files_alone, private=private)

    unfinished("it is under way, or was killed")
    try:
        yield
    except BaseException as error:
        unfinished(str(error) or type(error).__name__)
        raise


def write(command: str, host: str, results: Sequence[Result], *, json: str = "", junit: str = "") -> None:
    """Write the files that were asked for, and annotate the run of GitHub Actions that this is part of, if any."""
    write_files(command, host, results, json, junit)
    annotate(results)


def write_files(
    command: str, host: str, results: Sequence[Result], json: str = "", junit: str = "", *, private: bool = False
) -> None:
    """Write the files that were asked for; ``private``: only their owner can read them."""
    if json:
        project = msgspec.convert(store.project(), Project)
        made = Checklist(
            version=1, command=command, host=host, finished=datetime.now(UTC).isoformat(timespec="seconds"),
            project=project, summary=counts(results), results=list(results),
        )  # fmt: skip
        files.replace_json(Path(json), msgspec.to_builtins(made), private=private)
    if junit:
        files.replace(Path(junit), _junit(command, host, results), private=private)


def annotate(results: Sequence[Result]) -> None:
    """Print an annotation for each finding, if this is a step of GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    kinds = {"blocks": "error", "degrades": "warning", "note": "notice"}
    for each in results:
        if each.state in kinds:
            fix = f" Fix: {each.fix}" if each.fix else ""
            terminal.workflow_command(kinds[each.state], each.title, f"{each.observed}{fix}")


def _junit(command: str, host: str, results: Sequence[Result]) -> bytes:
    failing = sum(each.state in FAILING for each in results)
    errors = sum(each.state == "error" for each in results)
    skipped = sum(each.state == "not tested" for each in results)
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        suites, "testsuite", name=command, hostname=terminal.clean(host), tests=str(len(results)),
        failures=str(failing), errors=str(errors), skipped=str(skipped),
    )  # fmt: skip
    for each in results:
        case = ElementTree.SubElement(suite, "testcase", classname=command, name=terminal.clean(each.title))
        if each.seconds is not None:
            case.set("time", f"{each.seconds:.3f}")
        properties = ElementTree.SubElement(case, "properties")
        for name in ("id", "state", "fix", "link", "accepted"):
            if value := getattr(each, name):
                ElementTree.SubElement(properties, "property", name=name, value=terminal.clean(value))
        text = terminal.clean(each.observed)
        if each.state in FAILING:
            ElementTree.SubElement(case, "failure", type=each.state, message=text).text = terminal.clean(each.fix)
        elif each.state == "error":
            ElementTree.SubElement(case, "error", message=text)
        elif each.state == "not tested":
            ElementTree.SubElement(case, "skipped", message=text)
    ElementTree.indent(suites)
    document: str = ElementTree.tostring(suites, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{document}\n".encode()
