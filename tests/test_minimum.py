"""Which nanoclaw works on which Podman, as the documents derive it from evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from checks.evidence.model import Outcome, Verification
from checks.matrix import minimum
from tests.evidence import DEBIAN_13, case, stored

NANOCLAW = "1.2.0"
MAIN = [cases[0] for cases in minimum.commands(NANOCLAW).values()]


def podman(version: str, **outcomes: Outcome) -> Verification:
    """Evidence of a Podman on which all main cases passed, except these."""
    cases = [case(each, outcomes.get(each.replace("-", "_"), "passed")) for each in dict.fromkeys(MAIN)]
    return stored("a-host", *cases, facts=replace(DEBIAN_13, version=version))


@pytest.mark.parametrize("pin", [each.name for each in minimum.pins()])
def test_each_command_of_a_pinned_version_has_a_proof(pin: str) -> None:
    proofs = minimum.commands(pin)
    assert len(proofs) >= 4
    assert all(proofs.values())


def test_a_version_works_from_the_lowest_podman_after_the_last_failure() -> None:
    podmans = [podman("3.0.1"), podman("4.3.1", info="failed"), podman("5.4.2"), podman("6.1.1")]
    assert minimum.summary(NANOCLAW, podmans) == "Podman 5.4.2 or later"


def test_a_failure_on_the_latest_podman_is_not_hidden_by_earlier_ones() -> None:
    podmans = [podman("5.4.2"), podman("6.1.1", info="failed")]
    assert minimum.summary(NANOCLAW, podmans) == "fails on Podman 6.1.1"


def test_a_version_that_was_not_tested_is_named() -> None:
    podmans = [podman("4.3.1", info="failed"), podman("5.4.2"), podman("6.1.1", streams_passing_user="skipped")]
    assert minimum.summary(NANOCLAW, podmans) == "works on Podman 5.4.2; not tested as a whole on Podman 6.1.1"


def test_what_was_skipped_is_not_proved() -> None:
    skipped = podman("5.4.2", streams_passing_user="skipped")
    assert minimum.support(NANOCLAW, skipped).cell == "– not tested: `docker run`"
    assert (
        minimum.summary(NANOCLAW, [podman("4.3.1", info="failed"), skipped])
        == "fails on Podman 4.3.1; not tested as a whole on Podman 5.4.2"
    )


def test_a_case_of_an_option_does_not_prove_the_command() -> None:
    """``host-gateway`` proves one option of nanoclaw 2.0's `docker run`, and not that the command works."""
    proofs = minimum.commands("2.0.64")
    run = next(command for command in proofs if command.startswith("docker run "))
    assert "host-gateway" in proofs[run][1:]
    seen = {each for cases in proofs.values() for each in cases} - {proofs[run][0]}
    assert minimum.support("2.0.64", stored("a-host", *map(case, seen))).missing == (run,)


def test_a_failed_case_is_named_in_the_cell() -> None:
    assert minimum.support(NANOCLAW, podman("5.4.2", stop="failed")).cell == "✗ Case stop"
