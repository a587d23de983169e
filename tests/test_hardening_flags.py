from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from checks.core.errors import WrongUsage
from checks.core.paths import FIXTURES
from checks.core.selection import selected
from checks.documents import security
from checks.engine import flags
from checks.engine.docker import Docker, Record, build, run
from checks.engine.probe_image import LABEL
from checks.hardening.experiments import SELECTION
from checks.runner.plugin import CaseInfo
from tests.fakes import FakeHost

TEMPLATE = FIXTURES / "hardening" / "flag-template.toml"
KNOWN = flags.load()  # a wrong file of a flag is reported once


def test_the_plans_flags_are_there() -> None:
    recommended = [flag.text for flag in flags.load().enabled]
    plan = [
        "--read-only", "--tmpfs /tmp:rw,size=512m,mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        "--cpus=2", "--memory=4g", "--pids-limit=256",
    ]  # fmt: skip
    assert [text for text in recommended if text in plan] == plan
    assert not flags.load().flag("seccomp-unconfined").recommended


def test_the_scripts_of_the_flags_and_of_the_entries_are_valid_shell() -> None:
    scripts = [
        (path.name, each if isinstance(each, str) else "\n".join(each))
        for path in [*(FIXTURES / "hardening" / "flags").glob("*.toml"), *(FIXTURES / "troubleshooting").glob("*.toml")]
        for table in tables(tomllib.loads(path.read_text()))
        for key, each in table.items()
        if key in ("script", "run") and table.get("user") != "windows"
    ]
    assert len(scripts) > 100
    wrong = [
        f"{name}: {done.stderr}"
        for name, text in scripts
        if (done := subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)).stderr
    ]
    assert not wrong, "\n".join(wrong)


def tables(value: Any) -> Iterator[dict[str, Any]]:
    """A table and all tables in it."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from tables(each)


def test_a_flag_brings_what_it_needs() -> None:
    known = KNOWN
    assert known.options(known.flag("tmpfs")) == ["--read-only", "--tmpfs", "/tmp:rw,size=512m,mode=1777"]


def test_the_recommended_set_has_every_enabled_flag_and_the_first_work_around_for_each_subject() -> None:
    words = " ".join(flags.load().recommended())
    assert all(flag.text in words for flag in flags.load().enabled)
    assert "--tmpfs /home/node:rw" in words
    assert "--cap-drop=ALL --cap-add=SYS_CHROOT" in words
    assert not [word for word in ("CLAUDE_CONFIG_DIR", "no-sandbox", "unconfined") if word in words]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the directory of flags."""
    return Path(shutil.copytree(flags.DIRECTORY, tmp_path / "flags"))


def test_a_flag_is_one_file(directory: Path) -> None:
    text = TEMPLATE.read_text().replace("recommended = false ", "recommended = true ")
    (directory / "75-file-size.toml").write_text(text)
    known = flags.load(directory)
    assert "file-size" in [flag.id for flag in known.flags]
    assert "--ulimit=fsize=1073741824" in known.recommended()
    assert known.attacks["large-file"].tries == "write a file of 2 MiB"
    assert "grep '^Max file size' /proc/1/limits" in known.scripts
    text = security.text([], known)
    assert re.search(r"podman-run\.1\.html#ulimit-option\) \| +\| not measured yet \|$", text, re.MULTILINE)
    assert "`: no file grows larger than 1 GiB.\n" in text
    with pytest.raises(WrongUsage, match="file-size"):
        known.flag("nonsense")


REQUIRED = {
    "": ("id", "options", "purpose", "manual", "recommended", "hook", "enforced", "attack"),
    "enforced": ("expected", "script", "matches", "example", "counterexample"),
    "attack": ("id", "tries", "script", "refused", "example", "counterexample"),
    "workaround": ("id", "for", "options", "because"),
}


@pytest.mark.parametrize(("table", "key"), [(table, key) for table, keys in REQUIRED.items() for key in keys])
def test_an_incomplete_flag_is_refused_by_file_and_key(directory: Path, table: str, key: str) -> None:
    file = directory / "75-file-size.toml"
    values = {**tomllib.loads(TEMPLATE.read_text()), "recommended": True}
    values["workaround"] = [{"id": "a", "for": "agent", "options": ["-a"], "because": "b"}]
    file.write_text(tomli_w.dumps(values))
    flags.load(directory)
    del (values[table][0] if table else values)[key]
    file.write_text(tomli_w.dumps(values))
    with pytest.raises(WrongUsage) as refusal:
        flags.load(directory)
    assert str(file) in str(refusal.value)
    assert f"“{key}” is missing" in str(refusal.value)
    assert not table or f"{table} 1" in str(refusal.value)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ('options = ["--', 'options = ["', "“options” must be options of docker run"),
        ("needs = []", 'needs = ["b"]', "“needs” names b, which is not a flag of an earlier file"),
        ("hook = false", "hook = false\nmore = 1", "“more” is not a key here"),
        ('id = "file-size"', 'id = "cpus"', "“id” is “cpus”, the id of 50-cpus.toml too"),
        ('id = "file-size"', 'id = "size-of-files"', "the name of the file must be a number and the id"),
        ('id = "large-file"', 'id = "chown"', "“id” is “chown”, an attack of 30-cap-drop.toml too"),
        ("hook = false", 'hook = "no"', "“hook” must be true or false, not a text"),
        ("matches = '^Max", "matches = '^(Max", "which is not a regular expression"),
        ("matches = '^Max", "matches = '^Min", "“matches” does not match “example”"),
        ("matches = '^Max file size +1073741824 '", "matches = '^Max'", "“matches” matches “counterexample”"),
        ('refused = "File', 'refused = "device|File', "“refused” matches “counterexample”"),
        ("# unless = ", "unless = ", "is not the id of a work-around of this flag"),
        ('manual = "https', 'manual = "gopher', "manual"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(directory: Path, before: str, after: str, why: str) -> None:
    file = directory / "75-file-size.toml"
    assert before in TEMPLATE.read_text()
    file.write_text(TEMPLATE.read_text().replace(before, after, 1))
    with pytest.raises(WrongUsage) as refusal:
        flags.load(directory)
    assert str(file) in str(refusal.value)
    assert why in str(refusal.value)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="flag-template"):
        flags.load(tmp_path)


def test_flags_are_set_on_every_run_before_its_own_options_and_on_nothing_else(tmp_path: Path) -> None:
    docker = Docker(FakeHost(tmp_path), "run-id", Record(), flags=["--read-only", "--memory=4g"])
    label = f"{LABEL}=run-id"
    assert docker.argv(run("image", options=["--memory=64m"])) == [
        "docker", "run", "--read-only", "--memory=4g", "--memory=64m", "--label", label, "image",
    ]  # fmt: skip
    assert docker.argv(build(".")) == ["docker", "build", "--label", label, "."]
    assert docker.argv("ps") == ["docker", "ps"]


def test_a_case_that_the_flags_do_not_reach_says_why(cases: list[CaseInfo]) -> None:
    assert {about.id: about.against for about in cases if about.against} == {
        "driver-hardening": "it expects the container to have nanoclaw's own flags and no others",
        "driver-limits": "the recommended flags set limits that nanoclaw leaves out",
        "own-code": "nanoclaw's own code calls docker here, without the flags",
    }


def test_the_cases_that_run_with_the_flags_exist(cases: list[CaseInfo]) -> None:
    chosen = selected(SELECTION, [about.names for about in cases])
    assert {about.group for about, runs in zip(cases, chosen, strict=True) if runs} == {
        "Container lifecycle", "Bind mounts", "Environment and user", "Resource limits", "Nanoclaw integration",
        "Edge cases",
    }  # fmt: skip
