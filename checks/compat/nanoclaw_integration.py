"""The real invocation path: nanoclaw's own image, its own flags, JSON in, markers out."""

from __future__ import annotations

import pytest

GROUP = "Nanoclaw integration"


@pytest.mark.case("Full agent container invocation")
def test_full_agent_container_invocation() -> None:
    pytest.skip("needs an agent image, which this version does not make yet")
