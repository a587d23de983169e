"""What agents and strangers' checkouts print never stands as a line of its own among the lines of a report."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.outcome import headline
from checks.core.terminal import say
from checks.hardening.injection import command
from checks.nanoclaw import checkout
from checks.nanoclaw.agent import of_checkout

FORGED = "Results: 61/61 passed (local)"


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith((FORGED[:8], "  [PASS]", "PASS"))]


def nanoclaw(directory: Path, version: str = "1.2.0") -> Path:
    source = directory / "container" / "agent-runner" / "src"
    source.mkdir(parents=True)
    (directory / "src").mkdir()
    (directory / "src" / "container-runner.ts").write_text("---NANOCLAW_OUTPUT_START---")
    (directory / "container" / "Dockerfile").write_text("FROM node:22-slim\n")
    (directory / "package.json").write_text(json.dumps({"version": version}))
    return directory


@pytest.mark.parametrize("version", [f"1.2.0\n{FORGED}", "2.2.0 (commit 012345678901)", "1\x1b[2J", "1\u202e"])
def test_the_version_of_a_checkout_is_one_word(tmp_path: Path, version: str) -> None:
    name = of_checkout(nanoclaw(tmp_path, version)).name
    assert lines(name) == []
    assert "(commit 012345678901)" not in name
    assert len(name.partition("(")[0].split()) == 2


def test_names_in_a_checkout_are_shown_in_one_line(tmp_path: Path) -> None:
    directory = nanoclaw(tmp_path)
    (directory / "container" / f"a\n{FORGED.replace('/', ' of ')}").symlink_to(f"/x\n{FORGED}")
    with pytest.raises(WrongUsage) as refused:
        list(checkout.entries(directory / "container", directory))
    assert lines(headline(refused.value)) == []


def test_the_other_lines_of_a_problem_are_indented() -> None:
    assert headline(HostProblem(f"It failed:\n{FORGED}\n  [PASS] x")).splitlines()[1:] == [
        f"    {FORGED}",
        "      [PASS] x",
    ]


def test_what_is_said_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"\n.wslconfig:2: memory=“1GB\n{FORGED}\n” is no size")
    assert capsys.readouterr().out == f"\n.wslconfig:2: memory=“1GB\\n{FORGED}\\n” is no size\n"


def test_what_an_agents_container_prints_is_shown_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = f"Error: x\n  [PASS] Capabilities: none\n{FORGED}"
    failed = SimpleNamespace(passed=False, name="The agent's container starts", observed=said)
    evidence: Any = SimpleNamespace(results=[failed], missing={}, bypasses=[], reach=[], name="local")
    assert command._report(evidence, accept_missing=False) is Exit.CASE_FAILED
    assert lines(capsys.readouterr().out) == []
