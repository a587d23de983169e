from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from checks.cli.tasks import collection
from checks.core.errors import Exit
from checks.core.paths import ROOT
from tests.readme import DONE, IN_NOX, NO_HOST, README, USAGE, Copy, Outcome, blocks, commands, complaints, rule, title

TEXT = f"{README.read_text()}\n{USAGE.read_text()}"
WORKFLOW = (ROOT / "examples" / "github-workflow.yml").read_text()
OF_WORKFLOW = [
    found[0].replace(".venv/bin/", "").replace("../reports/", "")
    for found in re.finditer(r"(?:\./scripts/|\.venv/bin/)[^\n\\]+", WORKFLOW)
]
COMMANDS = [*commands(TEXT), *OF_WORKFLOW]


@dataclass(frozen=True)
class Ran:
    """The outcomes of all commands of the README, run in one copy of the project."""

    outcomes: Mapping[str, Outcome]
    changes: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All commands that there is a rule for, run."""
    copy = Copy(tmp_path_factory.mktemp("readme"))
    known = {command: found for command in COMMANDS if (found := rule(command))}
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda command: copy.run(command, known[command].suffix), known))
    return Ran(dict(zip(known, ended, strict=True)), copy.changes())


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 25
    assert {"invoke verify", "nox integration", "tests/smoke.sh"} <= {title(command) for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_does_what_it_should(command: str, ran: Ran) -> None:
    wanted = rule(command)
    assert wanted, f"There is no rule in tests/readme.py for how “{command}” ends without a host: add one."
    outcome = ran.outcomes[command]
    wrong = list(complaints(outcome, wanted))
    assert not wrong, f"{outcome.typed}: {'; '.join(wrong)}\n{outcome.output[-3000:]}"


def test_commands_of_the_readme_leave_the_project_as_it_is(ran: Ran) -> None:
    assert len(OF_WORKFLOW) == 3
    asked_for = {f"?? {word}" for command in COMMANDS for word in shlex.split(command)}  # --html matrix.html
    assert [change for change in ran.changes.splitlines() if change not in asked_for] == []


def test_a_block_of_commands_has_nothing_else_in_it() -> None:
    for block in blocks(TEXT):
        assert [line for line in block if line not in COMMANDS] == []
        assert [line for line in block if rule(line) is None] == []


def test_every_option_in_its_table_is_one_of_verify() -> None:
    table = re.findall(r"^\| `(--[a-z-]+)", TEXT, re.MULTILINE)
    options = {f"--{option.name.replace('_', '-')}" for option in collection()["verify"].get_arguments()}
    assert len(table) > 8
    assert [option for option in table if option not in options] == []


@pytest.mark.parametrize("document", [README, USAGE], ids=lambda document: document.name)
def test_every_file_that_it_links_to_is_there(document: Path) -> None:
    linked = [link for link in re.findall(r"\]\(([^)]+)\)", document.read_text()) if "://" not in link]
    assert linked
    assert [link for link in linked if not (document.parent / link.partition("#")[0]).exists()] == []


def test_the_quick_start_is_five_commands_in_the_first_screen_with_the_setting_that_matters() -> None:
    assert [title(command) for command in blocks(README.read_text())[0]] == [
        "scripts/install.sh", "invoke doctor", "invoke doctor", "invoke verify", "invoke inject",
    ]  # fmt: skip
    first_screen = README.read_text().splitlines()[:30]
    assert any("keep-id" in line for line in first_screen)
    assert any("doctor --undo" in line for line in first_screen)


DOCUMENT = """
Text with `invoke doctor --explain
'TEXT'`, `other code`, `invoke …` and `nox`.

```
./scripts/test.sh --install     # sets up
invoke matrix --host a \\
    --host b # two

# a comment
```

```
[PASS] docker build
```

`invoke hosts` and once more `invoke hosts`.
"""


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    assert commands(DOCUMENT) == [
        "./scripts/test.sh --install",
        "invoke matrix --host a      --host b",
        "invoke doctor --explain 'TEXT'",
        "nox",
        "invoke hosts",
    ]


def test_an_unknown_task_or_program_has_no_rule() -> None:
    assert rule("invoke dance") is None
    assert rule("./scripts/dance.sh --now") is None
    assert rule("nox -s dance") is None
    assert rule("""nox -s "integration(host='x')" """) is IN_NOX
    assert rule("invoke verify --list") is DONE
    assert rule("./scripts/verify-podman-compat.sh --install") is NO_HOST
    assert rule("git clone somewhere") is None


@pytest.mark.parametrize(
    ("outcome", "complaint"),
    [
        (Outcome("c", "c", 2, "Wrong usage"), "ended with status 2"),
        (Outcome("c", "c", 1, "x"), "ended with status 1"),
        (Outcome("c", "c", 0, ""), "ended with status 0"),
        (Outcome("c", "c", 1, "No idea what '--x' is!"), "it is wrong usage: No idea what '--x' is!"),
        (Outcome("c", "c", -1, ""), "does not end"),
        (Outcome("c", "c", 3, "it just fails"), "does not say"),
        (Outcome("c", "c", 3, "podman is not installed\nTraceback (most recent call last):"), "a traceback"),
        (Outcome("c", "c --f FILE", 3, "podman is not installed"), "in the place of FILE"),
        (Outcome("c", "c", 3, "podman is not installed\napt-get was called: install"), "install packages"),
    ],
)
def test_a_command_that_misbehaves_is_complained_of(outcome: Outcome, complaint: str) -> None:
    assert complaint in "; ".join(complaints(outcome, NO_HOST))


@pytest.mark.parametrize(
    ("command", "status", "output"),
    [
        ("invoke verify --no-such-option", 2, "No idea what '--no-such-option' is!"),
        ("invoke verify --profile x --host debian-13", 2, "Wrong usage"),
        ("sh -c 'exec sleep 60'", -1, ""),
        ("command -v podman docker qemu-system-x86_64 mmdebstrap", 127, ""),
    ],
)
def test_the_copy_shows_what_a_command_does(command: str, status: int, output: str, a_copy: Copy) -> None:
    outcome = a_copy.run(command, timeout=1 if "sleep" in command else 120)
    assert (outcome.status, output in outcome.output) == (status, True), outcome.output


def test_a_command_that_changes_the_project_is_seen(a_copy: Copy) -> None:
    assert a_copy.changes() == ""
    a_copy.run("rm LICENSE; echo more >>README.md; touch matrix.html")
    assert a_copy.changes().split() == ["D", "LICENSE", "M", "README.md", "??", "matrix.html"]


@pytest.fixture(scope="module")
def a_copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


def test_what_runs_a_command_is_a_shell_in_a_home_of_its_own(a_copy: Copy) -> None:
    outcome = a_copy.run("ls -A ~; pwd; echo done")
    assert (outcome.status, outcome.output) == (Exit.OK, f"{a_copy.root}\ndone\n")
    assert Path(a_copy.run("cd; pwd").output.strip()).parent.name == "homes"
    assert shlex.split(a_copy.run("ls ~/nanoclaw").output)[:2] == ["container", "package.json"]
