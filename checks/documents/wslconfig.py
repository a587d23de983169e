"""``examples/wslconfig.example``, from the formula of ``invoke wslconfig``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from checks.capacity.wslconfig import render
from checks.capacity.wslconfig.command import EXAMPLE


def files() -> Mapping[Path, str]:
    """The example file."""
    return {EXAMPLE: render.example()}
