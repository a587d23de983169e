"""The cases: their modules in the report's order, and pytest's arguments for them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from checks.core.paths import PACKAGES
from checks.core.progress import Progress
from checks.runner.plugin import CaseInfo, VerificationPlugin, require_end, run_pytest
from checks.runner.report import Report

CASES = PACKAGES / "checks" / "cases"
ORDER = (
    "image_operations", "image_operations_files", "container_lifecycle", "bind_mounts", "bind_mounts_files",
    "environment_and_user", "resource_limits", "nanoclaw_integration", "nanoclaw_integration_databases", "edge_cases",
    "edge_cases_clients", "driver_2_2", "driver_2_2_agents", "driver_2_2_events", "driver_2_2_networks",
    "driver_2_2_images", "setup_and_skills", "setup_and_skills_images",
)  # fmt: skip
"""The modules of the report's groups, in order. Other modules in checks/cases/ follow, sorted by name."""

PYTEST = (
    "-c", str(CASES.parent / "pytest.ini"), "--rootdir", str(CASES.parent.parent), "-p", "no:cacheprovider",
    "-p", "no:unraisableexception",  # see signals.raising
)  # fmt: skip
"""The options of pytest for a verification."""


def arguments(*, list_only: bool = False) -> Sequence[str]:
    """The arguments of pytest for all cases."""
    return [*map(str, _modules()), *PYTEST, *(["--collect-only"] if list_only else [])]


def all_cases() -> list[CaseInfo]:
    """All cases, in the report's order. Needs no host."""
    plugin = VerificationPlugin(contextlib.nullcontext, Report(), Progress())  # type: ignore[arg-type]
    require_end(plugin, run_pytest(arguments(list_only=True), plugins=[plugin]))
    return plugin.listed


def _modules() -> list[Path]:
    others = sorted(path.stem for path in CASES.glob("[!_]*.py") if path.stem not in ORDER)
    return [CASES / f"{name}.py" for name in (*ORDER, *others)]
