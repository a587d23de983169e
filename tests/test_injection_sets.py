"""One recommended set: fixtures/hardening/flags. Whatever shows a set as options of docker run shows that one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from checks.core.paths import ROOT
from checks.documents.examples import DIRECTORY
from checks.engine import flags
from checks.hardening.injection.settings import recommended

SET = flags.load().recommended()
FULL = ["--userns=keep-id", *SET]


def test_the_wrapper_adds_the_recommended_set() -> None:
    line = re.search(r'exec "\$real" run (.*) "\$@"', (DIRECTORY / "docker").read_text())
    assert line
    assert shlex.split(line[1]) == FULL


def test_the_patch_adds_the_recommended_set() -> None:
    text = (DIRECTORY / "container-runner.patch").read_text()
    assert re.findall(r"^\+    '(.*)',$", text, re.MULTILINE) == FULL


def test_the_document_shows_the_recommended_set_alone() -> None:
    text = (ROOT / "docs" / "SECURITY.md").read_text()
    block = re.search(r"^docker run \\\n(.*?)^  …$", text, re.MULTILINE | re.DOTALL)
    assert block
    assert shlex.split(block[1].replace("\\\n", " ")) == SET
    assert f"\n{' '.join(FULL)}\n" in text


def test_the_hook_sets_the_recommended_set_without_what_only_a_browser_needs() -> None:
    known = flags.load()
    left_out = [
        word
        for flag in known.enabled
        for each in flag.workarounds_for(flags.Subject.BROWSER)[:1]
        for word in each.options
    ]
    left_out += [word for flag in known.enabled if not flag.hook for word in flag.options]
    assert list(recommended().options) == [word for word in SET if word not in left_out]


def test_no_other_example_has_a_set_of_its_own() -> None:
    assert "--cap-drop" not in (ROOT / "examples" / "run-nanoclaw.sh").read_text()


@pytest.fixture
def starter(tmp_path: Path) -> dict[str, str]:
    """The environment of a fresh account whose podman prints a warning with everything."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "podman": 'echo "WARN: \\"/\\" is not a shared mount" >&2; echo true',
        "docker": "echo podman version 5.4.2",
        "node": "exit 0",
        "id": "echo 1500",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    home = tmp_path / "a home"
    home.mkdir()
    return {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home)}


def test_a_warning_of_podman_is_no_part_of_its_answer(starter: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", str(ROOT / "examples" / "run-nanoclaw.sh")], env=starter, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "rootless Podman" not in done.stderr


def test_the_copy_hint_works_on_a_fresh_account(starter: dict[str, str]) -> None:
    script = ["sh", str(ROOT / "examples" / "run-nanoclaw.sh")]
    done = subprocess.run(script, env=starter, capture_output=True, text=True, check=False)
    hint = next(line.strip() for line in done.stderr.splitlines() if "cp " in line)
    subprocess.run(["sh", "-c", hint], env=starter, check=True, cwd="/")
    again = subprocess.run(script, env=starter, capture_output=True, text=True, check=False)
    assert "userns" not in again.stderr
