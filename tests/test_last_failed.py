from __future__ import annotations

from pathlib import Path

import pytest

from checks.evidence.run import Evidence
from checks.runner import last_failed
from tests.evidence import DEBIAN_13, case


def test_a_failure_is_remembered_until_its_case_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    host = "ssh://ada@example.org:22"
    runs = (
        ([case("a", "failed"), case("b", "failed"), case("c")], {"a", "b"}),
        ([case("a")], {"b"}),
        ([case("d", "failed"), case("b", "skipped")], {"d"}),
    )
    for cases, remembered in runs:
        last_failed.note(host, Evidence("x", "as-is", DEBIAN_13, cases=cases))
        assert last_failed.read(host) == remembered
    assert last_failed.read("local") == frozenset()
