"""The packages of checks/ import one way: the contracts of import-linter in pyproject.toml, and no loose module."""

from __future__ import annotations

import ast
import os
import re
import tomllib

from importlinter import cli

from checks.core.paths import ROOT


def test_imports_point_one_way_and_no_package_has_a_cycle() -> None:
    assert cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == os.EX_OK


def test_every_module_is_in_a_package() -> None:
    assert [path.name for path in (ROOT / "checks").glob("*.py")] == ["__init__.py"]


def test_there_are_at_most_14_packages() -> None:
    assert len([path for path in (ROOT / "checks").iterdir() if (path / "__init__.py").is_file()]) <= 14


def test_the_picture_shows_every_package_in_the_order_of_imports() -> None:
    contract, *_ = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    _, picture, _ = (ROOT / "docs" / "ARCHITECTURE.md").read_text().split("```")
    assert re.findall(r"^(\w+) {2}", picture, re.MULTILINE) == contract["layers"]


def test_no_pattern_reads_on_from_every_beginning_without_an_end() -> None:
    """``.*?`` over all lines of a text is quadratic where many beginnings have no end: see core.lines.blocks_of."""
    bounded = {"checks/nanoclaw/discovery/files.py", "checks/documents/picture.py"}  # a child with limits; its own SVG
    used = [
        f"{name}:{node.lineno}"
        for path in (ROOT / "checks").rglob("*.py")
        if (name := str(path.relative_to(ROOT))) not in bounded
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and any(isinstance(each, ast.Attribute) and each.attr in ("S", "DOTALL") for each in ast.walk(node))
        and any(isinstance(each, ast.Constant) and re.search(r"\.[*+]\??", str(each.value)) for each in node.args)
    ]
    assert not used


def test_lines_end_only_where_a_program_ends_them() -> None:
    # str.splitlines also breaks at characters that a name may contain. A pasted log may have any line ends.
    pasted = ROOT / "checks" / "guide" / "log_text.py"
    used = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "checks").rglob("*.py")
        if path != pasted
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "splitlines"
    ]
    assert not used, "use checks.core.lines.lines_of"
