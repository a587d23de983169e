"""The examples of CONTRIBUTING.md, followed literally in a copy of the project."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from checks.core.paths import ROOT
from tests.readme import Copy, Outcome, commands, complaints, rule

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FILES = re.findall(r"^(Append to|Save as) `([^`]+)`:\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = commands(TEXT)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    """Every command, after all examples were added."""
    copy = Copy(tmp_path_factory.mktemp("contributing"))
    for verb, path, content in FILES:
        file = copy.root / path
        assert file.exists() == (verb == "Append to")
        file.write_text((file.read_text() if file.exists() else "") + content)
    return {command: copy.run(command, found.suffix, 300) for command in COMMANDS if (found := rule(command))}


def test_there_is_an_example_of_each_kind() -> None:
    assert [path.rsplit("/", 1)[0] for _, path, _ in FILES] == [
        "checks/cases", "fixtures/sabotage", "fixtures/hardening/flags", "fixtures/hosts", "fixtures/troubleshooting",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_an_example_works(command: str, ran: Mapping[str, Outcome]) -> None:
    wanted = rule(command)
    assert wanted, f"There is no rule in tests/readme.py for how “{command}” ends without a host: add one."
    wrong = list(complaints(ran[command], wanted))
    assert not wrong, f"{ran[command].typed}: {'; '.join(wrong)}\n{ran[command].output[-3000:]}"


def test_every_link_is_valid() -> None:
    linked = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert [link for link in linked if not (ROOT / link).exists()] == []
