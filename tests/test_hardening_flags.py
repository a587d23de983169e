from __future__ import annotations

from pathlib import Path

import pytest

from checks.core.errors import WrongUsage
from checks.core.selection import selected
from checks.engine import flags
from checks.engine.docker import Docker, Record, build, run
from checks.engine.probe_image import LABEL
from checks.hardening.combined import SELECTION
from checks.runner.plugin import CaseInfo
from tests.fakes import FakeHost


def test_the_plans_flags_are_there() -> None:
    known = flags.load()
    assert [flag.text for flag in known.enabled] == [
        "--read-only", "--tmpfs /tmp:rw,size=512m,mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        "--cpus=2", "--memory=4g", "--pids-limit=256",
    ]  # fmt: skip
    assert [flag.id for flag in known.flags if flag.documented] == ["seccomp-unconfined"]


def test_a_flag_brings_what_it_needs() -> None:
    known = flags.load()
    assert known.options(known.flag("tmpfs")) == ["--read-only", "--tmpfs", "/tmp:rw,size=512m,mode=1777"]


def test_the_recommended_set_has_every_enabled_flag_and_the_first_work_around_for_each_subject() -> None:
    words = " ".join(flags.load().recommended())
    assert all(flag.text in words for flag in flags.load().enabled)
    assert "--tmpfs /home/node:rw" in words
    assert "--cap-drop=ALL --cap-add=SYS_CHROOT" in words
    assert not [word for word in ("CLAUDE_CONFIG_DIR", "no-sandbox", "unconfined") if word in words]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no flag to try"),
        ('[[flag]]\nid = "a"\noptions = ["-a"]', "“purpose” is missing"),
        ('[[flag]]\nid = "a"\noptions = ["a"]\npurpose = "p"', "must be options of docker run"),
        ('[[flag]]\nid = "a"\noptions = ["-a"]\npurpose = "p"\nneeds = ["b"]', "names b, which is no flag before it"),
        ('[[flag]]\nid = "a"\noptions = ["-a"]\npurpose = "p"\nmore = 1', "is not a key here"),
        ('[[flag]]\nid = "a"\noptions = ["-a"]\npurpose = "p"\n' * 2, "has the id a twice"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "hardening.toml"
    file.write_text(text)
    with pytest.raises(WrongUsage, match=why):
        flags.load(file)


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
        "own-code": "nanoclaw's own code calls docker here, without them"
    }


def test_the_cases_that_run_with_the_flags_exist(cases: list[CaseInfo]) -> None:
    chosen = selected(SELECTION, [about.names for about in cases])
    assert {about.group for about, runs in zip(cases, chosen, strict=True) if runs} == {
        "Container lifecycle", "Bind mounts", "Environment and user", "Resource limits", "Nanoclaw integration",
        "Edge cases",
    }  # fmt: skip
