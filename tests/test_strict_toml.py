from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from checks.core import strict_toml, version
from checks.core.errors import WrongUsage
from checks.core.log_patterns import Pattern
from checks.core.strict_toml import Table, Text


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Account(Table, frozen=True):
    uid: Annotated[int, msgspec.Meta(ge=1)]
    home: re.Pattern[str] | None = None
    colour: Colour = Colour.RED
    matches: tuple[Pattern, ...] = ()

    def __post_init__(self) -> None:
        if self.uid == 7:
            raise ValueError("“uid” can't be 7")


class Example(Table, frozen=True):
    title: Text
    names: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)] = ("a",)
    accounts: dict[str, Account] = msgspec.field(default_factory=dict)
    known: tuple[Account, ...] = ()


GOOD = {"uid": 1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"title": ""}, ": “title” must be a text that is not empty."),
        ({"title": "\n"}, ": “title” must be a text that is not empty."),
        ({"title": 3}, ": “title” must be a text, not a whole number."),
        ({"titel": "a"}, ": “titel” is not a key here (did you mean “title”?); “title” is missing."),
        ({"names": []}, ": “names” must be a list that is not empty."),
        ({"names": ["a", 3]}, ", names 2: must be a text, not a whole number."),
        ({"accounts": {"a": GOOD, "b": {"uid": "x"}}}, ", accounts, b: “uid” must be a whole number, not a text."),
        ({"accounts": {"a": GOOD, "b": {}}}, ", accounts, b: “uid” is missing."),
        ({"known": [GOOD, {"uid": 0}]}, ", known 2: “uid” must be >= 1."),
        ({"known": [GOOD, {"uid": 7}]}, ", known 2: “uid” can't be 7."),
        ({"known": [{**GOOD, "colour": "pink"}]}, ", known 1: “colour” is “pink”; it must be one of red, blue."),
        ({"known": [{**GOOD, "home": "("}]}, ", known 1: “home” has “(”, which is not a regular expression: "),
        ({"known": [{**GOOD, "home": "a*"}]}, ", known 1: “home” has “a*”, which could take for ever: "),
        ({"known": [{**GOOD, "home": "a?"}]}, ", known 1: “home” has “a?”, which matches any text."),
        ({"known": [{**GOOD, "matches": ["abcd", "a.b"]}]}, ", known 1, matches 2: has “a.b”, which can't be used: "),
        ({"known": 3}, ": “known” must be a list, not a whole number."),
        ({"known": [3]}, ", known 1: must be a table, not a whole number."),
    ],
)
def test_a_mistake_is_reported_by_file_and_key(values: dict[str, Any], message: str) -> None:
    required = {} if "titel" in values else {"title": "a"}
    with pytest.raises(WrongUsage, match=re.escape(f"example.toml{message}")):
        strict_toml.convert({**required, **values}, Example, "example.toml")


def test_all_mistakes_of_a_file_are_reported_at_once() -> None:
    account = {"uid": 0, "colour": "pink", "matches": ["a.b", "abcd", "("]}
    values = {"titel": "a", "names": [], "accounts": {"a": {}}, "known": [account, 3, {"uid": 7}]}
    with pytest.raises(WrongUsage) as problem:
        strict_toml.convert(values, Example, "example.toml")
    mistakes = re.sub(r"has [^;]*(which [^:;]*)[^;]*", r"\1", str(problem.value)).split("; ", 1)
    assert mistakes == [
        "example.toml: “titel” is not a key here (did you mean “title”?)",
        (
            "“title” is missing; “names” must be a list that is not empty; accounts, a: “uid” is missing; "
            "known 1: “uid” must be >= 1; known 1: “colour” is “pink”; it must be one of red, blue; "
            "known 1, matches 1: which can't be used; known 1, matches 3: which is not a regular expression; "
            "known 2: must be a table, not a whole number; known 3: “uid” can't be 7."
        ),
    ]


def test_a_missing_key_is_reported() -> None:
    with pytest.raises(WrongUsage, match=re.escape("example.toml: “title” is missing.")):
        strict_toml.convert({}, Example, "example.toml")


def test_a_file_is_read_and_white_space_around_texts_removed(tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text('title = """\n  two\n  lines\n"""\n[[known]]\nuid = 3\nhome = "^/home"\n')
    read = strict_toml.load(path, Example)
    assert read.title == "two\n  lines"
    assert read.known[0].home
    assert read.known[0].home.match("/home/x")


@pytest.mark.parametrize("content", ["title", "a = " + "[" * 20_000, "a." * 100_000 + "b = 1"])
def test_a_file_that_is_not_toml_is_reported(tmp_path: Path, content: str) -> None:
    path = tmp_path / "example.toml"
    path.write_text(content)
    with pytest.raises(WrongUsage, match="can't be read"):
        strict_toml.load(path, Example)


def test_the_version_is_the_project_s_with_its_commit() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\+[0-9a-f]{12})?", version.version())
