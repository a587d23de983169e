from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.errors import WrongUsage
from checks.core.selection import selected, selection

CASES = [
    ("stop", "docker stop", "Container lifecycle"),
    ("stop-in-one-second", "docker stop -t 1", "Container lifecycle"),
    ("read-only", "Read-only bind mount", "Bind mounts"),
]


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        ([], [True, True, True]),
        (["docker stop"], [True, True, False]),
        (["bind MOUNTS"], [False, False, True]),
        (["stop-in", "read"], [False, True, True]),
        (["!read-only"], [True, True, False]),
        (["stop", "not -t 1"], [True, False, False]),
        (["r?ad*mount"], [False, False, True]),
    ],
)
def test_patterns_choose_by_id_label_and_group(patterns: list[str], wanted: list[bool]) -> None:
    assert selected(patterns, CASES) == wanted


@pytest.mark.parametrize("pattern", ["nonsense", "!nonsense"])
def test_a_pattern_that_matches_nothing_is_wrong_usage(pattern: str) -> None:
    with pytest.raises(WrongUsage, match="No case matches “nonsense”"):
        selected([pattern], CASES)


def test_patterns_that_leave_nothing_are_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="exclude every case"):
        selected(["stop", "!stop"], CASES)


@given(st.sampled_from(sorted({name for case in CASES for name in case})))
def test_a_pattern_and_its_negation_divide_the_cases(name: str) -> None:
    chosen = selected([name], CASES)
    assert selected([f"!{name}"], CASES) == [not each for each in chosen]


def test_what_a_pattern_selects_is_one_line_of_bounded_length() -> None:
    assert selection(["a", "b"], 7, kind="entries") == "--only selects 2 of 7 entries: a, b."
    many = [f"entry-{number}" for number in range(40)]
    assert selection(many, 50, kind="entries").endswith(" entry-11 and 28 more.")
