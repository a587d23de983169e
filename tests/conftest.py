"""How the tests run, and what many of them ask for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from checks.runner.plugin import CaseInfo
from checks.runner.verify import all_cases

# Many examples start processes: on a busy machine that takes as long as it takes.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def cases() -> list[CaseInfo]:
    """All cases, as ``invoke verify --list`` knows them."""
    return all_cases()
