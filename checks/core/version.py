"""The project's name and version, from pyproject.toml."""

from __future__ import annotations

import tomllib

from checks.core.paths import ROOT

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME: str = _PROJECT["name"]
VERSION: str = _PROJECT["version"]
