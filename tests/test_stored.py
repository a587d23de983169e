from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from checks.core.errors import WrongUsage
from checks.core.selection import selected
from checks.documents.schema import DOCUMENT as SCHEMA
from checks.evidence import store
from checks.evidence.hardening_model import HardeningRun
from checks.evidence.model import AgentVerification, Reproduction, Run, Verification
from checks.matrix.run import CASES, selection
from checks.runner.plugin import CaseInfo
from tests.evidence import DEBIAN_12, DEBIAN_13, DOCKER, case, write


def test_evidence_is_found_by_its_hosts_name_or_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, "debian-13", case("a"))
    assert store.find("debian-13", tmp_path).name == "debian-13"
    assert store.find("debian-13-recommended", tmp_path).case("a")
    assert store.find(str(path)).profile == "recommended"


def test_a_host_with_one_profile_is_found_by_that(tmp_path: Path) -> None:
    write(tmp_path, "docker-engine", case("a"), profile="stock", facts=DOCKER)
    assert store.find("docker-engine", tmp_path).profile == "stock"


def test_evidence_that_is_not_there_is_wrong_usage_that_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="invoke matrix writes it"):
        store.find("debian-13", tmp_path)


@pytest.mark.parametrize(
    ("name", "profile", "facts", "why"),
    [
        ("debian-12", "recommended", DEBIAN_13, "expected Debian GNU/Linux 12"),
        ("debian-12", "recommended", replace(DEBIAN_12, version="5.4.2"), "its recipe expects 4.3.1"),
        ("docker-engine", "stock", DEBIAN_13, "expected engine docker, found podman"),
        ("debian-13", "recommended", DOCKER, "expected engine podman, found docker"),
        ("debian-13", "recommended", replace(DEBIAN_13, uid=1234), "no account with uid 1234"),
        ("debian-13", "recommended", replace(DEBIAN_13, rootless=False), "expected rootless True"),
        ("cgroup-v1", "recommended", replace(DEBIAN_12, init="catatonit"), "expected cgroups v1, found v2"),
        ("wsl2-like", "recommended", DEBIAN_12, "expected a plain init, found systemd"),
        ("docker-engine", "recommended", DOCKER, "has no profile recommended"),
    ],
)
def test_evidence_of_one_host_is_not_taken_for_anothers(
    tmp_path: Path, name: str, profile: str, facts: object, why: str
) -> None:
    path = write(tmp_path, name, case("a"), profile=profile, facts=facts)
    with pytest.raises(WrongUsage, match=f"is not evidence of {name}: .*{why}"):
        store.load(path, Verification)


def test_a_moving_host_may_have_another_version(tmp_path: Path) -> None:
    newer = replace(DEBIAN_13, distribution="Debian GNU/Linux forky/sid", version="9.9.9")
    assert store.load(write(tmp_path, "debian-forky", case("a"), facts=newer), Verification).host.version == "9.9.9"


def test_a_file_that_is_no_evidence_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "debian-13", case("a"))
    data = json.loads(path.read_text())
    del data["cases"][0]["outcome"]
    path.write_text(json.dumps(data))
    with pytest.raises(
        WrongUsage, match=r"not evidence of invoke verify: \$.cases\[0\]: .*missing required field `outcome`"
    ):
        store.load(path, Verification)
    path.write_text("{")
    with pytest.raises(WrongUsage, match="is not evidence of invoke verify"):
        store.load(path, Verification)


def test_the_committed_evidence_is_of_the_current_cases(cases: list[CaseInfo]) -> None:
    """A new case, which has not run yet, is in none of it."""
    for each in store.committed(Verification):
        chosen = selected(selection(each.name, each.profile), [about.names for about in cases])
        wanted = {about.id: about.label for about, runs in zip(cases, chosen, strict=True) if runs}
        ran = {case.id: case.label for case in each.cases}
        assert list(ran.items()) == [item for item in wanted.items() if item[0] in ran], (
            f"{each.filename}: run it again"
        )


@pytest.mark.parametrize("kind", [kind for kind in store.KINDS if not issubclass(kind, HardeningRun)] + [HardeningRun])
def test_all_committed_evidence_can_be_loaded(kind: type[Run | Reproduction]) -> None:
    assert store.committed(kind) or kind is AgentVerification  # which takes a nanoclaw checkout


def test_committed_evidence_is_of_a_known_host_and_named_after_it(tmp_path: Path) -> None:
    path = write(tmp_path, "elsewhere", case("a"))
    with pytest.raises(WrongUsage, match="there is no host “elsewhere”"):
        store.committed(Verification, tmp_path)
    path.rename(tmp_path / "debian-13-recommended.json")
    with pytest.raises(WrongUsage, match=r"must be named elsewhere-recommended\.json"):
        store.committed(Verification, tmp_path)


def test_the_schema_is_the_model_s() -> None:
    assert json.loads(SCHEMA.read_text()) == store.schema(), "invoke render schema"


def test_every_pattern_of_a_matrix_matches_cases(cases: list[CaseInfo]) -> None:
    names = [about.names for about in cases]
    for patterns in CASES.values():
        for pattern in patterns:
            assert any(selected([pattern], names))
