from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checks.core import strict_toml
from checks.core.errors import WrongUsage
from checks.hosts import recipe

GOOD: dict[str, Any] = {
    "description": "a host", "suite": "trixie", "distribution": "Debian",
    "podman": "5.4.2", "packages": ["podman"], "accounts": {"user": 1000},
}  # fmt: skip


def test_every_committed_recipe_can_be_read() -> None:
    assert "debian-13" in recipe.known()
    for name in recipe.known():
        assert recipe.load(name).name == name


def test_debian_13_has_both_kinds_of_account() -> None:
    uids = [account.uid for account in recipe.load("debian-13").accounts.values()]
    assert uids[0] not in (0, 1000)
    assert 1000 in uids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suite": None}, "“suite” is missing"),
        ({"suite": 13}, "“suite” must be a text, not a whole number"),
        ({"suite": "trixie; rm"}, "must be names of suites"),
        ({"packages": "podman"}, "“packages” must be a list, not a text"),
        ({"packages": ["--x"]}, "must list names of packages"),
        ({"accounts": {}}, "must map names to uids"),
        ({"accounts": {"root": 0}}, "must map names to uids"),
        ({"accounts": {"Bad Name": 1000}}, "must map names to uids"),
        ({"accounts": {"a": 1000, "b": 1000}}, "have the same uid"),
        ({"accounts": {"nanoclaw": 1500}}, "one with uid 1000"),
        ({"accounts": {"user": 1000}}, "and another one"),
        ({"memory": 12}, "“memory” must be >= 1024"),
        ({"podman": None}, "one of “podman” and “docker”"),
        ({"docker": "26.1.5"}, "one of “podman” and “docker”"),
        ({"archive": "fedora"}, "“archive” is “fedora”; it must be one of debian, ubuntu"),
        ({"shim": "script"}, "“shim” is “script”"),
        ({"init": "openrc"}, "“init” is “openrc”"),
        ({"cgroups": "v1"}, "which needs “init” to be plain"),
        ({"newer": {"sid": "podman"}}, "must be a list, not a text"),
        ({"newer": {"a b": ["podman"]}}, "must be names of suites"),
        ({"moving": "yes"}, "“moving” must be true or false, not a text"),
        ({"colour": "red"}, "“colour” is not a key here"),
    ],
)
def test_a_malformed_recipe_is_refused_with_file_key_and_reason(change: dict[str, Any], message: str) -> None:
    table = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(WrongUsage, match=r"host\.toml[:,]") as refused:
        strict_toml.convert(table, recipe.RecipeFile, "host.toml")
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["nonsense", "../debian-13", ""])
def test_an_unknown_host_is_wrong_usage_that_names_the_known(name: str) -> None:
    with pytest.raises(WrongUsage, match="debian-13"):
        recipe.load(name)


def test_a_recipe_that_is_no_toml_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    (tmp_path / "broken.toml").write_text("suite = ")
    with pytest.raises(WrongUsage, match=r"broken.toml can't be read"):
        recipe.load("broken")


def test_a_changed_recipe_is_another_host(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = recipe.RECIPES / "debian-13.toml"
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    (tmp_path / "debian-13.toml").write_bytes(original.read_bytes())
    before = recipe.load("debian-13").digest
    assert recipe.load("debian-13").digest == before
    (tmp_path / "debian-13.toml").write_bytes(original.read_bytes() + b"# changed\n")
    assert recipe.load("debian-13").digest != before


@pytest.mark.parametrize("name", ["Debian_12", "debian 12", "-debian", "d" * 32])
def test_a_file_whose_name_can_t_be_a_hosts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content = (recipe.RECIPES / "debian-13.toml").read_bytes()
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    (tmp_path / f"{name}.toml").write_bytes(content)
    with pytest.raises(WrongUsage, match=r"\.toml: .* can't be a host's name"):
        recipe.load(name)
