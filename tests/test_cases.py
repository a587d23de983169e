from __future__ import annotations

import ast
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from checks.cases import resource_limits
from checks.cases.image_operations import version_line
from checks.core.bounded import parsed
from checks.engine import isolation
from checks.engine.expect import Mismatch, expect_readable
from checks.nanoclaw import provider, running, service_url
from checks.runner import collection
from checks.runner.plugin import CaseInfo
from tests.fakes import FACTS

ROOT = Path(__file__).parents[1]

# The plan's sample report, letter for letter.
PLAN = {
    "Image operations": ["docker build", "docker image inspect"],
    "Container lifecycle": ["docker run -i --rm", "docker run with stdin piping", "docker stop", "docker ps --filter"],
    "Bind mounts": ["Read-write bind mount", "Read-only bind mount"],
    "Environment and user": ["Environment variable passing", "Timezone environment variable", "--user flag"],
    "Resource limits": ["--cpus", "--memory", "--pids-limit"],
    "Nanoclaw integration": ["Full agent container invocation"],
}
EDGE_CASES = [
    "Mount path with spaces", "Container name with timestamp", "Multiple simultaneous containers",
    "Container output larger than 10MB", "Container timeout",
]  # fmt: skip


def test_every_line_of_the_plans_report_is_a_case_in_its_group(cases: list[CaseInfo]) -> None:
    for group, labels in {**PLAN, "Edge cases": EDGE_CASES}.items():
        assert [label for label in labels if label not in {case.label for case in cases if case.group == group}] == []


def test_groups_come_in_the_plans_order(cases: list[CaseInfo]) -> None:
    groups = [*PLAN, "Edge cases"]
    assert list(dict.fromkeys(case.group for case in cases))[: len(groups)] == groups


def test_a_copy_of_the_template_is_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "cases"
    shutil.copytree(collection.CASES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(collection.CASES.parent / "pytest.ini", tmp_path)
    shutil.copy(copy / "_template.py", copy / "workdir.py")
    monkeypatch.setattr(collection, "CASES", copy)
    added = collection.all_cases()[-1]
    assert (added.id, added.group, added.label) == ("workdir", "Edge cases", "docker run --workdir")


def test_ids_and_labels_are_unique(cases: list[CaseInfo]) -> None:
    for names in ([case.id for case in cases], [case.label for case in cases]):
        assert [name for name, count in Counter(names).items() if count > 1] == [], "two cases have this name"
    functions = [
        f"{path.name}: {node.name}"
        for path in collection.CASES.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    ]
    twice = [each for each, count in Counter(functions).items() if count > 1]
    assert not twice, "The later function replaces the other one of its name. " + ", ".join(twice)


_PARSERS = {"parsed", "loads", "float", "fromtimestamp", "strptime"}


def _names(tree: ast.AST) -> set[str]:
    """The names of the functions that are called or passed on in a piece of code."""
    nodes = list(ast.walk(tree))
    return {each.id for each in nodes if isinstance(each, ast.Name)} | {
        each.attr for each in nodes if isinstance(each, ast.Attribute)
    }


@pytest.mark.parametrize("path", [*collection.CASES.glob("*.py"), isolation.__file__], ids=lambda path: Path(path).stem)
def test_no_output_of_docker_can_end_a_case_with_an_error_of_a_parser(path: Path) -> None:
    tree = ast.parse(Path(path).read_text())
    readers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "expect_readable"
    ]
    passed = {name for node in readers for name in _names(node.args[0])}
    for node in [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name not in passed]:
        called = {name for each in ast.walk(node) if isinstance(each, ast.Call) for name in _names(each.func)}
        parsers = called & _PARSERS
        allowed = {name for each in ast.walk(node) if each in readers for name in _names(each)}
        assert parsers <= allowed, f"{node.name}: give {parsers - allowed} to expect_readable"


@pytest.mark.parametrize("text", ["", "<no value>", "[]", "{}", "1.2.3", "SigBlk:", "9" * 5000])
def test_an_output_that_can_t_be_read_fails_the_case(text: str) -> None:
    for parse in (lambda answer: parsed(answer)[0]["Config"], float, resource_limits._share):
        with pytest.raises(Mismatch, match="expected words; got"):
            expect_readable(parse, f"{text}x", "words")


def test_every_failure_links_to_an_entry_that_exists(cases: list[CaseInfo]) -> None:
    headings = re.findall(r"^### (.*)$", (ROOT / "docs/TROUBLESHOOTING.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = {**{case.node: case.fix for case in cases}, **running.ENTRIES}
    linked |= {"the service's URL": service_url.ENTRY, "the agent's image": provider.ENTRY}
    missing = [f"{what}: fix is “{entry}”, no file in fixtures/troubleshooting" for what, entry in linked.items()
               if entry and entry not in anchors]  # fmt: skip
    assert not missing, "\n".join(missing)


def test_the_guides_own_links_resolve() -> None:
    text = (ROOT / "docs/TROUBLESHOOTING.md").read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_the_version_is_said_by_the_engine_that_is_installed() -> None:
    podman, docker = replace(FACTS, version="5.4.2"), replace(FACTS, engine="docker", version="26.1.5")
    assert re.fullmatch(version_line(podman), "podman version 5.4.2\n")
    assert not re.fullmatch(version_line(podman), "docker version 5.4.2\n")
    assert not re.fullmatch(version_line(podman), "podman version 5x4.2\n")
    assert re.fullmatch(version_line(replace(FACTS, version="3.0.1")), "docker version 3.0.1\n")
    assert re.fullmatch(version_line(docker), "Docker version 26.1.5+dfsg1, build a72d7cd\n")
    assert not re.fullmatch(version_line(docker), "podman version 26.1.5\n")
