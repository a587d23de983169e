"""The comparison with other sandboxes: the catalogue is strict, and the document follows from it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from checks.core.errors import WrongUsage
from checks.core.paths import ROOT
from checks.documents import peers
from checks.documents.peers import CATALOGUE, DOCUMENT, PROPERTIES, Defaults
from checks.evidence import store
from checks.evidence.model import Verification
from checks.hardening.injection.settings import command_line
from checks.matrix import minimum

KNOWN = peers.load()


def changed(tmp_path: Path, keys: str, value: Any) -> Path:
    """The catalogue with another value in its first peer; without the key for None."""
    catalogue = tomllib.loads(CATALOGUE.read_text())
    *parents, last = keys.split(".")
    table = catalogue["peer"][0]
    for parent in parents:
        table = table[parent]
    if value is None:
        del table[last]
    else:
        table[last] = value
    path = tmp_path / "peers.toml"
    path.write_text(tomli_w.dumps(catalogue))
    return path


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        ("defaults.memory.where", None, "peer 1 (nanoclaw 1.2.0), defaults, memory: “where” is missing."),
        ("defaults.memory.where", "", "peer 1 (nanoclaw 1.2.0), defaults, memory: “where” must match "),
        (
            "defaults.memory.where",
            "src/container-runner.ts",
            "peer 1 (nanoclaw 1.2.0), defaults, memory: “where” must match ",
        ),
        ("defaults.memory.where", "documented:", "peer 1 (nanoclaw 1.2.0), defaults, memory: “where” must match "),
        (
            "defaults.memory.text",
            "",
            "peer 1 (nanoclaw 1.2.0), defaults, memory: “text” must be a text that is not empty.",
        ),
        (
            "defaults.memory.text",
            "one " * 9,
            "peer 1 (nanoclaw 1.2.0), defaults, memory: “text” has more than 8 words.",
        ),
        ("defaults.memory.note", "x", "peer 1 (nanoclaw 1.2.0), defaults, memory: “note” is not a key here."),
        (
            "defaults.swap",
            {"text": "x", "where": "a:1"},
            "peer 1 (nanoclaw 1.2.0), defaults: “swap” is not a key here.",
        ),
        ("defaults.memory", None, "peer 1 (nanoclaw 1.2.0), defaults: “memory” is missing."),
        (
            "defaults.memory.sets",
            "yes",
            "peer 1 (nanoclaw 1.2.0), defaults, memory: “sets” must be true or false, not a text.",
        ),
        ("licence", "x", "peer 1 (nanoclaw 1.2.0): “licence” is not a key here."),
        ("released", "last year", "peer 1 (nanoclaw 1.2.0): “released” must match "),
        ("source", "a mirror", "peer 1 (nanoclaw 1.2.0): “source” is “a mirror”; it must be one of "),
        ("read", "today", "peer 1 (nanoclaw 1.2.0): “read”"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, keys: str, value: Any, message: str) -> None:
    path = changed(tmp_path, keys, value)
    with pytest.raises(WrongUsage) as refused:
        peers.load(path)
    assert message in str(refused.value)


def test_the_table_has_every_property() -> None:
    assert tuple(each.key for each in PROPERTIES) == Defaults.__struct_fields__


def test_every_recommended_option_is_in_this_projects_column_once() -> None:
    options = peers._options(command_line())
    assert " ".join(options).split() == " ".join(command_line()).split()
    shown = [option for each in PROPERTIES for option in peers._ours(each, options).split(", ") if option]
    assert sorted(shown) == sorted(f"`{option}`" for option in options)


def test_this_projects_column_comes_from_the_flags() -> None:
    document = peers.text(KNOWN, ["--memory=3g", "--tmpfs", "/x:rw"])
    rows = {line.split(" | ")[0]: line.split(" | ")[1] for line in document.split("\n") if line.startswith("| ")}
    assert rows["| Memory"] != "not set"
    assert "| Memory | `--memory=3g` |" in document
    assert "| tmpfs | `--tmpfs /x:rw` |" in document
    assert "--pids-limit=256" not in document


def test_the_differences_follow_from_the_table() -> None:
    _, differences = peers.text(KNOWN, command_line()).split("## What this project does differently")
    sets = {peer.name for peer in KNOWN.peers if peer.defaults.memory.sets}
    line = next(each for each in differences.split("\n") if each.startswith("- Memory"))
    assert {peer.name for peer in KNOWN.peers if peer.name in line} == sets
    assert "- Network: isolated-agents-sdk, inspect-podman." in differences


def test_a_cell_of_our_evidence_names_a_case_that_passed() -> None:
    wheres = {getattr(peer.defaults, each.key).where for peer in KNOWN.peers for each in PROPERTIES}
    ours = {where for where in wheres if where.startswith("evidence/")}
    assert ours
    evidence = {f"evidence/{each.name}-{each.host.profile}.json": each for each in store.committed(Verification)}
    for where in ours:
        file, _, name = where.partition(":")
        case = evidence[file].case(name)
        assert name == "host" or (case and case.outcome == "passed"), where


def test_nanoclaws_versions_are_the_pinned_ones() -> None:
    pinned = {(each.name, each.date.isoformat(), f"commit {each.commit}") for each in minimum.pins()}
    assert {(each.version, each.released, each.artefact) for each in KNOWN.peers if each.source == "git"} == pinned


def test_dockers_version_is_that_of_the_evidence() -> None:
    docker = next(each for each in KNOWN.peers if each.name == "Docker Engine")
    assert docker.version == store.find("docker-engine").host.version


def test_the_document_is_up_to_date() -> None:
    assert peers.files() == {DOCUMENT: DOCUMENT.read_text()}
    assert f"](docs/{DOCUMENT.name})" in (ROOT / "README.md").read_text()
