from __future__ import annotations

from typing import Any

import pytest

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
        ({"suite": None}, "“suite” is missing; it must be a str"),
        ({"suite": 13}, "“suite” is 13; it must be a str"),
        ({"suite": "trixie; rm"}, "must be the name of a suite"),
        ({"packages": "podman"}, "“packages” is 'podman'; it must be a list"),
        ({"packages": ["--x"]}, "must be names of packages"),
        ({"accounts": {}}, "must map names to uids"),
        ({"accounts": {"root": 0}}, "must map names to uids"),
        ({"accounts": {"Bad Name": 1000}}, "must map names to uids"),
        ({"accounts": {"a": 1000, "b": 1000}}, "have the same uid"),
        ({"memory": 12}, "“memory” is 12"),
        ({"podman": None}, "one of “podman” and “docker”"),
        ({"docker": "26.1.5"}, "one of “podman” and “docker”"),
        ({"archive": "fedora"}, "“archive” is 'fedora'; it must be debian or ubuntu"),
        ({"shim": "script"}, "“shim” is 'script'"),
        ({"init": "openrc"}, "“init” is 'openrc'"),
        ({"cgroups": "v1"}, "that needs “init” to be 'plain'"),
        ({"newer": {"sid": "podman"}}, "“newer” must be names of packages"),
        ({"newer": {"a b": ["podman"]}}, "must be the name of a suite"),
        ({"moving": "yes"}, "“moving” is 'yes'; it must be a bool"),
        ({"colour": "red"}, "“colour” is not a key of a recipe"),
    ],
)
def test_a_malformed_recipe_is_refused_with_file_key_and_reason(change: dict[str, Any], message: str) -> None:
    table = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(WrongUsage, match=r"host\.toml: ") as refused:
        recipe.parse("host", table, "host.toml", "digest")
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["nonsense", "../debian-13", ""])
def test_an_unknown_host_is_wrong_usage_that_names_the_known(name: str) -> None:
    with pytest.raises(WrongUsage, match="debian-13"):
        recipe.load(name)


def test_a_recipe_that_is_no_toml_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    (tmp_path / "broken.toml").write_text("suite = ")
    with pytest.raises(WrongUsage, match=r"broken.toml can't be read as a host's recipe"):
        recipe.load("broken")


def test_a_changed_recipe_is_another_host(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = recipe.RECIPES / "debian-13.toml"
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    (tmp_path / "debian-13.toml").write_bytes(original.read_bytes())
    before = recipe.load("debian-13").digest
    assert recipe.load("debian-13").digest == before
    (tmp_path / "debian-13.toml").write_bytes(original.read_bytes() + b"# changed\n")
    assert recipe.load("debian-13").digest != before
