"""The verdicts, on made-up containers; on real ones `invoke harden --remove` shows the same."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from msgspec.structs import replace

from checks.core.process import Completed
from checks.engine import flags
from checks.engine.flags import Flag
from checks.evidence.checklist import FAILING
from checks.evidence.hardening_model import BrowserStart, Smoke
from checks.hardening import experiments, findings
from checks.hardening.attacks import (
    AttackAttempt,
    AttackOutcome,
    AttackResult,
    parse,
    parse_readings,
    reading_script,
    result,
)
from checks.hardening.browser import browser_setups, in_words, sandbox_state, works
from checks.hardening.browser import parse as parse_browser
from checks.hardening.enforcement import AttackComparison, ContainerSpec, Enforcement, Plan, overall
from checks.hardening.experiments import combinations_of, dropped
from checks.hardening.results import CombinedResult, FlagCombination, FlagResult, FlagVerdict, smallest_failing
from tests.fakes import FakeHost

KNOWN = flags.load()
ENABLED = list(KNOWN.enabled)
STOPPED_ANYWAY = {"mount", "mknod", "raw-socket"}
"""What rootless Podman refuses without any flag."""


def outputs(options: Collection[str]) -> dict[str, str]:
    """What the scripts print in a container with these options: each flag's own example, or its counterexample."""
    found: dict[str, str] = {}
    for flag in KNOWN.flags:
        for reading in flag.enforced:
            in_force = set(flag.options) <= set(options)
            found[reading.script] = reading.example if in_force else reading.counterexample
        for each in flag.workarounds:
            if set(each.options) <= set(options):
                found |= {reading.script: reading.example for reading in each.enforced}
    return {script: found.get(script, "") for script in KNOWN.scripts}


def container(spec: ContainerSpec, attacks: Collection[str], losing: str = "") -> AttackResult:
    """What a container with these options would do; ``losing`` is a flag that the engine drops."""
    options = [word for word in spec.options if not (losing and word.startswith(losing))]

    def tried(attack: str) -> AttackAttempt:
        flag = next(flag for flag in KNOWN.flags if attack in {each.id for each in flag.attacks})
        stopped = set(flag.attack_options or flag.options) <= set(options) or attack in STOPPED_ANYWAY
        return AttackAttempt(attack, AttackOutcome.REFUSED if stopped else AttackOutcome.SUCCEEDED, "")

    return AttackResult(tuple(options), outputs(options), {attack: tried(attack) for attack in attacks}, "")


def rows(losing: str = "") -> list[FlagResult]:
    plan = Plan(KNOWN)
    for flag in KNOWN.flags:
        plan.alone(flag)
    containers = {spec: container(spec, attacks, losing) for spec, attacks in plan.containers.items()}
    found = []
    for flag in KNOWN.flags:
        options = KNOWN.options(flag)
        row = FlagResult(flag, tuple(options), smokes=[(None, ANSWER)])
        row.comparisons = plan.comparisons(flag, options, containers)
        row.unenforced_in_probe, row.error = plan.unenforced(flag, options, containers)
        found.append(row)
    return found


ANSWER = Smoke(options=[], passed=True, seconds=1.0)
SILENCE = Smoke(options=[], passed=False, seconds=1.0, failure="expected an answer; got EROFS")


def test_every_flag_is_enforced_if_the_engine_applies_it() -> None:
    assert [row.flag.id for row in rows() if not row.ok] == []


@pytest.mark.parametrize("flag", KNOWN.flags, ids=lambda flag: flag.id)
def test_a_dropped_flag_fails_its_own_row_and_no_other(flag: Flag) -> None:
    assert [row.flag.id for row in rows(dropped(flag)[0]) if not row.ok] == [flag.id]


def test_every_result_has_an_id_that_can_be_accepted() -> None:
    flag = KNOWN.flag("pids-limit")
    alone = rows(dropped(flag)[0])
    together = CombinedResult((), alone, smoke=SILENCE)
    results = [*findings.of_flags(alone), *findings.of_set(together)]
    assert {each.id for each in results} <= set(findings.known_ids(KNOWN.flags))
    assert len({each.id for each in results}) == len(results)
    failing = [each.id for each in results if each.state in FAILING]
    assert failing == ["pids-limit", "set-pids-limit", "set-agent", "set-browser"]
    accepted = findings.accepted(results, dict.fromkeys(failing, "no cgroups here"))
    assert [each.id for each in accepted if each.state == "accepted"] == failing
    assert not [each for each in accepted if each.state in FAILING]


def test_a_protection_that_was_never_there_cannot_be_taken_away() -> None:
    plan = Plan(KNOWN)
    flag = KNOWN.flag("seccomp-unconfined")
    plan.alone(flag)
    options = KNOWN.options(flag)
    unfiltered = AttackResult((), outputs(options), {}, "")
    found = plan.unenforced(flag, options, dict.fromkeys(plan.containers, unfiltered))
    assert found == ("the same without the flag", "")


def test_a_workaround_of_a_read_only_root_is_in_force_with_its_size() -> None:
    flag = KNOWN.flag("read-only")
    home = flag.workarounds[0]
    options = [*flag.options, *home.options]
    for mounted, in_force in {
        "": False,
        "ro - tmpfs tmpfs rw,size=262144k": False,
        "rw - tmpfs tmpfs rw": False,
        "rw - ext4 /dev/vda rw,size=262144k": False,
        "rw - tmpfs tmpfs rw,size=262144k": True,
        "rw,nosuid shared:1 - tmpfs tmpfs rw,nr_inodes=1k,size=262144k,inode64": True,
    }.items():
        got = flag.unenforced({**outputs(options), home.enforced[0].script: mounted}, options)
        expected = "" if in_force else f"expected a writable tmpfs of 256 MiB on /home/node, got {mounted or 'nothing'}"
        assert got == expected


@pytest.mark.parametrize(
    ("flag", "script", "output"),
    [
        ("read-only", "mounted /", "ro,relatime master:1 - overlay overlay rw"),
        ("read-only", "mounted /", "rw,relatime - overlay overlay ro,lowerdir=/a"),
        ("tmpfs", "mounted /tmp", "rw - tmpfs tmpfs rw,size=524288k"),
        ("memory", "cgroup memory.swap.max", "no memory.swap.max: no control group"),
    ],
)
def test_other_forms_are_in_force_too(flag: str, script: str, output: str) -> None:
    known = KNOWN.flag(flag)
    options = KNOWN.options(known)
    assert known.unenforced({**outputs(options), script: output}, options) == ""


@pytest.mark.parametrize(
    ("flag", "script", "output"),
    [
        ("read-only", "mounted /", ""),
        ("tmpfs", "mounted /tmp", "rw - tmpfs tmpfs ro,size=524288k"),
        ("tmpfs", "mounted /tmp", "rw - tmpfs tmpfs rw,size=524288k9"),
        ("tmpfs", "stat -c %a /tmp", "755"),
        ("cap-drop", "status CapBnd", "0000000000040000"),
        ("cpus", "cgroup cpu.max", "no cpu.max: no control group"),
        ("memory", "cgroup memory.max", "no memory.max: no control group"),
        ("memory", "cgroup memory.swap.max", "max"),
        ("pids-limit", "cgroup pids.max", "2560"),
        ("seccomp-unconfined", "status Seccomp", "2"),
    ],
)
def test_what_is_not_in_force_is_reported_as_expected_and_got(flag: str, script: str, output: str) -> None:
    known = KNOWN.flag(flag)
    options = KNOWN.options(known)
    got = known.unenforced({**outputs(options), script: output}, options)
    assert got.startswith("expected ")
    assert got.endswith(f", got {output or 'nothing'}")


def test_a_workaround_may_add_a_capability() -> None:
    flag = KNOWN.flag("cap-drop")
    for left, fine in (("0000000000000000", True), ("0000000000040000", True), ("0000000000040001", False)):
        found = {**outputs([]), "status CapBnd": left}
        assert (not flag.unenforced(found, ["--cap-drop=ALL", "--cap-add=SYS_CHROOT"])) == fine


def test_inconclusive_attacks_are_reported() -> None:
    row = next(row for row in rows() if row.flag.id == "cap-drop")
    assert Enforcement.ENFORCED in {each.enforcement for each in row.comparisons}
    assert "mknod is inconclusive: it also fails without the flag" in row.remarks


def compared(without: AttackOutcome, under: AttackOutcome) -> AttackComparison:
    return AttackComparison(AttackAttempt("chown", without, ""), AttackAttempt("chown", under, ""))


def test_two_results_of_an_attack_show_whether_a_flag_is_enforced() -> None:
    succeeded, refused, broken = AttackOutcome.SUCCEEDED, AttackOutcome.REFUSED, AttackOutcome.BROKEN
    assert compared(succeeded, refused).enforcement is Enforcement.ENFORCED
    assert compared(succeeded, succeeded).enforcement is Enforcement.NOT_ENFORCED
    assert compared(refused, refused).enforcement is Enforcement.INCONCLUSIVE
    assert compared(succeeded, broken).enforcement is Enforcement.UNTRIED
    assert compared(broken, refused).enforcement is Enforcement.UNTRIED
    assert compared(refused, succeeded).enforcement is Enforcement.NOT_ENFORCED


def test_a_flag_without_an_attack_that_only_it_stops_is_not_proven() -> None:
    assert overall([]) is Enforcement.INCONCLUSIVE
    row = rows()[0]
    row.comparisons = [compared(AttackOutcome.REFUSED, AttackOutcome.REFUSED)]
    assert not row.ok
    assert row.enforcement_in_words == "NO: inconclusive"


def test_attack_options_replace_the_flags_own() -> None:
    plan = Plan(KNOWN)
    plan.among(KNOWN.flag("cpus"), KNOWN.recommended())
    attacked = [spec.options for spec, attacks in plan.containers.items() if attacks]
    assert () in attacked
    assert attacked[1][-1] == "--cpus=0.5"
    assert "--cpus=2" not in attacked[1]


@pytest.mark.parametrize(
    ("attack", "status", "output", "outcome"),
    [
        ("write-etc", 0, "", AttackOutcome.SUCCEEDED),
        ("chown", 127, "sh: chown: not found", AttackOutcome.BROKEN),
        ("setuid-su", 1, "su: incorrect password", AttackOutcome.BROKEN),
        ("fork-bomb", 1, "sh: can't fork: Resource temporarily unavailable\nstarted 254 of 306", AttackOutcome.REFUSED),
    ],
)
def test_an_attack_that_failed_for_another_reason_was_not_refused(
    attack: str, status: int, output: str, outcome: AttackOutcome
) -> None:
    assert result(KNOWN.attacks[attack], status, output).outcome is outcome


def test_a_container_that_did_not_start_proves_nothing() -> None:
    done = Completed(("docker",), 126, b"", b"Error: controller `cpu` is not available", 1)
    found = parse(done, KNOWN.scripts, [KNOWN.attacks["busy-loops"]], ["--cpus=0.5"])
    assert found.outputs is None
    assert "controller `cpu` is not available" in found.error
    assert found.attempts["busy-loops"].outcome is AttackOutcome.BROKEN


def test_the_results_of_a_container_that_ended_half_way_count() -> None:
    out = "==reading 0\nyes\n\n==end\n==attack chown\nchown: Operation not permitted\n\n==status 1\n==attack mount\nmou"
    attacks = [KNOWN.attacks["chown"], KNOWN.attacks["mount"]]
    found = parse(Completed(("docker",), 137, out.encode(), b"", 1), ["script"], attacks, [])
    assert found.outputs == {"script": "yes"}
    assert {name: each.outcome for name, each in found.attempts.items()} == {
        "chown": AttackOutcome.REFUSED,
        "mount": AttackOutcome.BROKEN,
    }


def test_an_agents_silence_is_a_failure_with_the_operation_that_broke() -> None:
    row = rows()[0]
    home = row.flag.workarounds[0]
    row.smokes = [(None, SILENCE), (home, ANSWER)]
    assert row.verdict is FlagVerdict.WORKAROUND
    assert row.remarks[:2] == [f"broke: {SILENCE.failure}", f"work-around: {' '.join(home.options)} ({home.because})"]


def test_a_flag_is_dropped_only_where_an_agent_answers_without_it() -> None:
    verdicts = {}
    for baseline in (ANSWER, SILENCE):
        row = rows()[0]
        row.smokes, row.baseline = [(None, SILENCE)], baseline
        assert not row.ok
        verdicts[baseline.passed] = row.verdict
    assert verdicts == {True: FlagVerdict.DROPPED, False: FlagVerdict.UNJUDGED}


def test_a_flag_that_no_container_starts_with_is_not_called_accepted() -> None:
    row = rows()[0]
    row.error = "status 126: controller `cpu` is not available"
    assert row.enforcement is Enforcement.UNTRIED
    assert f"no container starts with it: {row.error}" in row.remarks


def test_a_flag_that_the_agents_own_container_lacks_is_not_in_force() -> None:
    row = rows()[0]
    row.smokes = [(None, replace(ANSWER, unenforced={"read-only": "the root filesystem is mounted read-write"}))]
    assert row.enforcement is Enforcement.NOT_ENFORCED
    assert not row.ok


def process(kind: str, namespaces: int, filters: int) -> dict[str, object]:
    return {"kind": kind, "namespaces": namespaces, "filters": filters}


def test_the_sandbox_is_on_where_both_of_its_layers_are() -> None:
    main = process("browser", 1, 1)
    assert sandbox_state([main, process("renderer", 2, 2)])[0] == "on"
    assert sandbox_state([main, process("renderer", 1, 1)])[0] == "off"
    assert sandbox_state([main, process("renderer", 2, 1)])[0] == "namespaces alone"
    assert sandbox_state([main, process("renderer", 1, 2)])[0] == "seccomp filter alone"
    assert sandbox_state([main])[0] == "unknown"


def test_a_browser_that_renders_without_its_sandbox_does_not_work() -> None:
    template = b'{"seconds": 3, "timed_out": false, "status": 0, "stderr": "", "text": "abc", "processes": [%s]}'
    off = b'{"kind":"browser","namespaces":1,"filters":1},{"kind":"renderer","namespaces":1,"filters":1}'
    done = Completed(("docker",), 0, b"", b"", 1)
    line = (template % off).decode()
    assert not works(parse_browser(done, line, "abc", [], []))
    assert works(parse_browser(done, line, "abc", [], ["--no-sandbox"]))
    assert "expected the page's text" in parse_browser(done, line, "xyz", [], []).failure
    assert in_words(parse_browser(done, line, "abc", [], [])) == "Chromium renders, sandbox off"


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("", "the container ended with status 1: error"),
        (
            '{"seconds": 1, "timed_out": false, "status": 134, "stderr": "x\\nCheck failed: sys_chroot()\\ny"}',
            "status 134: Check failed",
        ),
        ('{"seconds": 60, "timed_out": true, "status": 137, "stderr": ""}', "no page within 60 s: nothing on stderr"),
    ],
)
def test_a_browser_that_fails_says_why(out: str, why: str) -> None:
    assert why in parse_browser(Completed(("docker",), 1, b"", b"error", 1), out, "abc", [], []).failure


def test_chromium_is_started_under_no_flag_each_one_and_all_of_them() -> None:
    setups = {each.name: (list(each.options), each.required) for each in browser_setups(KNOWN, KNOWN.flags)}
    assert setups["no flags"] == ([], True)
    assert setups["the recommended set"] == (KNOWN.recommended(), True)
    assert setups["--cap-drop=ALL"] == (["--cap-drop=ALL"], False)
    assert setups["--cap-drop=ALL, with its work-arounds"] == (["--cap-drop=ALL", "--cap-add=SYS_CHROOT"], True)
    assert setups["--cpus=2"] == (["--cpus=2"], True)
    bare, needed = setups["the set without SYS_CHROOT"]
    assert (set(KNOWN.recommended()) - set(bare), needed) == ({"--cap-add=SYS_CHROOT"}, False)


def test_combinations_have_each_combination_once_and_what_its_flags_need() -> None:
    sets = [tuple(flag.id for flag in some) for some in combinations_of(KNOWN, ENABLED)]
    assert len(sets) == len(set(sets))
    assert ("tmpfs",) not in sets
    assert ("read-only", "tmpfs") in sets
    assert tuple(flag.id for flag in ENABLED) in sets


def test_the_smallest_failing_sets_have_none_within_them() -> None:
    browser = BrowserStart(options=[], arguments=[], rendered=True, seconds=1.0, sandbox="on")

    def point(*ids: str, good: bool) -> FlagCombination:
        return FlagCombination(tuple(KNOWN.flag(each) for each in ids), ANSWER if good else SILENCE, browser)

    points = [
        point("cpus", good=True), point("memory", good=True), point("cpus", "memory", good=False),
        point("cpus", "memory", "cap-drop", good=False), point("cap-drop", good=False),
    ]  # fmt: skip
    found = smallest_failing(points, lambda each: not each.ok)
    assert found == [{"cap-drop"}, {"cpus", "memory"}]


@pytest.mark.parametrize("flag", ENABLED, ids=lambda flag: flag.id)
def test_a_docker_that_loses_a_flag_passes_the_rest_on(tmp_path: Path, flag: Flag) -> None:
    host = FakeHost(tmp_path, {"docker": 'printf "<%s>" "$@"'}).pretend()
    host.put(f"{tmp_path}/first/docker", experiments.DROPPING_DOCKER.read_bytes(), mode=0o755)
    behind = experiments.with_dropping_docker(host, f"{tmp_path}/first", flag)
    words = [
        "run",
        "--rm",
        *(word for each in ENABLED if each is not flag for word in each.options),
        "image",
        "two words",
        "",
    ]
    given = [*words[:2], *flag.options, *words[2:]]
    got = behind.run(["docker", *given]).stdout
    assert got == "".join(f"<{word}>" for word in words)


def test_the_readings_run_in_a_posix_shell() -> None:
    done = subprocess.run(["sh", "-c", reading_script(KNOWN.scripts)], capture_output=True, text=True, check=True)
    found = parse_readings(done.stdout, KNOWN.scripts)
    assert found["stat -c %a /tmp"] == "1777"
    assert len(found["status CapBnd"]) == 16
    assert " - " in found["mounted /"]


@pytest.mark.parametrize("line", ["==reading 1", "==attack x", "==end", "==status 1"])
def test_a_flood_of_beginnings_or_ends_is_read_once(line: str) -> None:
    flood = f"{line}\n" * 300_000
    began = time.process_time()
    parse(Completed(("docker",), 0, flood.encode(), b"", 1.0), ["true"], [], [])
    assert time.process_time() - began < 5
