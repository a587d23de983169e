"""The command of an installed package: a wheel's layout, built by hand, outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from checks.core.paths import ROOT

WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel puts into site-packages."""
    directory = tmp_path_factory.mktemp("site")
    for package in WHEEL["packages"]:
        shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
    for source, target in WHEEL["force-include"].items():
        (directory / target).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, directory / target)
    return directory


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--version"], "nanoclaw-podman-verify "),
        (["--list"], "doctor"),
        (["verify", "--list"], "docker build"),
        (["hosts"], "debian-13"),
        (["--print-completion-script", "bash"], "nanoclaw-podman"),
    ],
)
def test_the_installed_command_has_the_tasks_and_their_data(words: list[str], printed: str, site: Path) -> None:
    program = [sys.executable, "-c", "from checks.cli.installed import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(site), "HOME": str(site.parent), "XDG_CACHE_HOME": str(site.parent)}
    done = subprocess.run(program, cwd=site.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout
