"""The verdicts, on made-up containers; on real ones `invoke harden --lose` shows the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from checks.engine import container_state, flags
from checks.engine.flags import Flag
from checks.hardening import enforcement, removed_flags
from checks.hardening.attacks import ATTACKS, AttackAttempt, AttackOutcome, AttackResult, heard, judged
from checks.hardening.browser import BrowserResult
from checks.hardening.browser import heard as browser_heard
from checks.hardening.browser import judged as sandbox
from checks.hardening.browsing import in_words, ways_of
from checks.hardening.combinations import FlagCombination, combinations_of, smallest_failing
from checks.hardening.flag_results import FlagResult, FlagVerdict, bite_in_words, remarks
from checks.hardening.proofs import ContainerSpec, Enforcement, Plan, verdict
from checks.hardening.proofs import judged as bite_of
from checks.hardening.removed_flags import lost
from checks.hardening.session import Smoke
from checks.hosts.process import Completed
from tests.fakes import FakeHost
from tests.test_hardening_inside import HARDENED

KNOWN = flags.load()
ENABLED = list(KNOWN.enabled)
BARE = container_state.parse(
    HARDENED.replace("0000000000040000", "00000000800405fb").replace("NoNewPrivs:\t1", "NoNewPrivs:\t0")
    .replace("/ / ro,relatime", "/ / rw,relatime").replace("/ /tmp rw", "/ /other rw")
    .replace("\n256\n", "\nmax\n").replace("4294967296", "max").replace("200000 ", "max ")
)  # fmt: skip
STOPS = {
    "write-etc": "--read-only", "replace-program": "--read-only", "fill-tmp": "--tmpfs", "chown": "--cap-drop=ALL",
    "become": "--cap-drop=ALL", "setuid-su": "--security-opt=no-new-privileges", "busy-loops": "--cpus=0.5",
    "allocate": "--memory=64m", "fork-bomb": "--pids-limit=256",
}  # fmt: skip


def container(cell: ContainerSpec, attacks: Mapping[str, str], losing: str = "") -> AttackResult:
    """What a container with these options would do; ``losing`` is a flag that the engine forgets."""
    options = [word for word in cell.options if not (losing and word.startswith(losing))]
    seen = replace(
        BARE,
        root=container_state.Mounted("overlay", "--read-only" in options, None),
        tmp=container_state.Mounted("tmpfs", False, 512 << 20) if "--tmpfs" in options else None,
        capabilities=0 if "--cap-drop=ALL" in options else BARE.capabilities,
        no_new_privileges="--security-opt=no-new-privileges" in options,
        cpus=2.0 if "--cpus=2" in options else None,
        memory=4 << 30 if "--memory=4g" in options else None,
        endless_swap="--memory=4g" not in options,
        seccomp=0 if "--security-opt=seccomp=unconfined" in options else 2,
        pids=256 if "--pids-limit=256" in options else None,
    )

    def tried(attack: str) -> AttackAttempt:
        stopped = STOPS.get(attack, "") in options or attack not in STOPS
        return AttackAttempt(attack, AttackOutcome.REFUSED if stopped else AttackOutcome.SUCCEEDED, "")

    return AttackResult(tuple(options), seen, {attack: tried(attack) for attack in attacks}, "")


def rows(losing: str = "") -> list[FlagResult]:
    plan = Plan(KNOWN)
    for flag in KNOWN.flags:
        plan.alone(flag)
    trials = {cell: container(cell, attacks, losing) for cell, attacks in plan.cells.items()}
    found = []
    for flag in KNOWN.flags:
        options = KNOWN.options(flag)
        row = FlagResult(flag, tuple(options), smokes=[(None, ANSWER)])
        row.bitten = plan.bites(flag, options, trials)
        row.missing, row.trouble = plan.in_force(flag, options, trials)
        found.append(row)
    return found


ANSWER = Smoke((), True, "", {}, 1.0)
SILENCE = Smoke((), False, "expected an answer; got EROFS", {}, 1.0)


def test_every_flag_bites_where_the_engine_does_what_it_is_told() -> None:
    assert [row.flag.id for row in rows() if not row.ok] == []


@pytest.mark.parametrize("flag", KNOWN.flags, ids=lambda flag: flag.id)
def test_a_flag_that_is_lost_turns_its_own_row_red_and_no_other(flag: Flag) -> None:
    assert [row.flag.id for row in rows(lost(flag)[0]) if not row.ok] == [flag.id]


def test_a_protection_that_was_never_there_cannot_be_taken_away() -> None:
    plan = Plan(KNOWN)
    flag = KNOWN.flag("seccomp-unconfined")
    plan.alone(flag)
    unfiltered = AttackResult((), replace(BARE, seccomp=0), {}, "")
    options = KNOWN.options(flag)
    assert plan.in_force(flag, options, dict.fromkeys(plan.cells, unfiltered)) == ("it is so without the flag, too", "")


def test_what_makes_up_for_a_read_only_root_is_in_force_with_its_size() -> None:
    flag = KNOWN.flag("read-only")
    options = [*flag.options, "--tmpfs", "/home/node:rw,size=256m,mode=1777", "--tmpfs", "/tmp:rw,size=512m"]
    for mounted, said in (
        (None, "there is no tmpfs on /home/node"),
        (container_state.Mounted("tmpfs", True, 256 << 20), "the tmpfs on /home/node is mounted read-only"),
        (
            container_state.Mounted("tmpfs", False, None),
            "the tmpfs on /home/node has not the size of /home/node:rw,size=256m",
        ),
        (container_state.Mounted("tmpfs", False, 256 << 20), ""),
    ):
        seen = replace(
            BARE, root=container_state.Mounted("overlay", True, None), tmpfs={"/home/node": mounted} if mounted else {}
        )
        got = enforcement.missing(flag, seen, options)
        assert got.startswith(said)
        assert bool(got) == bool(said)


def test_memory_with_swap_without_end_is_not_limited() -> None:
    seen = replace(BARE, memory=4 << 30, endless_swap=True)
    assert enforcement.missing(KNOWN.flag("memory"), seen, []) == "swap is without end: memory.swap.max is max"


def test_vacuous_attacks_are_told() -> None:
    row = next(row for row in rows() if row.flag.id == "cap-drop")
    assert "bites" in {each.bite for each in row.bitten}
    assert [each for each in remarks(row) if "mknod is vacuous here" in each]


def test_what_two_ends_of_an_attack_say() -> None:
    got, stopped, broken = (
        AttackAttempt("chown", outcome, "")
        for outcome in (AttackOutcome.SUCCEEDED, AttackOutcome.REFUSED, AttackOutcome.BROKEN)
    )
    assert bite_of(got, stopped) is Enforcement.BITES
    assert bite_of(got, got) is Enforcement.NOT_ENFORCED
    assert bite_of(stopped, stopped) is Enforcement.VACUOUS
    assert bite_of(got, broken) is Enforcement.UNTRIED
    assert bite_of(broken, stopped) is Enforcement.UNTRIED
    assert bite_of(stopped, got) is Enforcement.NOT_ENFORCED


def test_a_flag_without_an_attack_that_it_stops_does_not_bite() -> None:
    assert verdict([]) is Enforcement.VACUOUS
    row = rows()[0]
    row.bitten = [replace(each, bite=Enforcement.VACUOUS) for each in row.bitten]
    assert not row.ok
    assert bite_in_words(row) == "NO: vacuous"


@pytest.mark.parametrize(
    ("attack", "effect", "said", "outcome"),
    [
        ("write-etc", 1, "sh: can't create /etc/attack: Read-only file system", AttackOutcome.REFUSED),
        ("write-etc", 1, "sh: can't create /etc/attack: No space left on device", AttackOutcome.BROKEN),
        ("write-etc", 0, "", AttackOutcome.SUCCEEDED),
        ("fill-tmp", 1, "dd: No space left on device\nwrote 512 MiB of 528\nnearly", AttackOutcome.REFUSED),
        ("fill-tmp", 1, "dd: No space left on device\nwrote 3 MiB of 528", AttackOutcome.BROKEN),
        ("chown", 127, "sh: chown: not found", AttackOutcome.BROKEN),
        ("busy-loops", 1, "34 hundredths of a processor, held back 21 times", AttackOutcome.REFUSED),
        ("busy-loops", 1, "12 hundredths of a processor, held back 0 times", AttackOutcome.BROKEN),
        ("allocate", 1, "24 MiB fit\nKilled\n256 MiB: status 137", AttackOutcome.REFUSED),
        ("allocate", 1, "Killed\n256 MiB: status 137", AttackOutcome.BROKEN),
        ("setuid-su", 1, "su: must be suid to work properly", AttackOutcome.REFUSED),
        ("setuid-su", 1, "su: incorrect password", AttackOutcome.BROKEN),
        ("fork-bomb", 1, "sh: can't fork: Resource temporarily unavailable\nstarted 254 of 306", AttackOutcome.REFUSED),
    ],
)
def test_an_attack_that_failed_for_another_reason_was_not_refused(
    attack: str, effect: int, said: str, outcome: AttackOutcome
) -> None:
    assert judged(ATTACKS[attack], effect, said).outcome is outcome


def test_a_container_that_did_not_start_proves_nothing() -> None:
    done = Completed(("docker",), 126, b"", b"Error: controller `cpu` is not available", 1)
    trial = heard(done, ["busy-loops"], ["--cpus=0.5"])
    assert trial.inside is None
    assert "controller `cpu` is not available" in trial.trouble
    assert trial.tried["busy-loops"].outcome is AttackOutcome.BROKEN


def test_what_was_heard_of_a_container_that_ended_half_way_counts() -> None:
    out = f"{HARDENED}==attack chown\nchown: Operation not permitted\n\n==effect 1\n==attack mount\nmou"
    trial = heard(Completed(("docker",), 137, out.encode(), b"", 1), ["chown", "mount"], [])
    assert trial.inside
    assert {name: each.outcome for name, each in trial.tried.items()} == {
        "chown": AttackOutcome.REFUSED,
        "mount": AttackOutcome.BROKEN,
    }


def test_a_limit_that_was_accepted_and_is_not_there_is_said_so() -> None:
    flag = KNOWN.flag("memory")
    assert enforcement.missing(flag, BARE, []) == "accepted, not enforced: memory.max is max"
    nowhere = replace(BARE, unread=("memory.max",))
    assert "there is no control group" in enforcement.missing(flag, nowhere, [])
    assert not enforcement.missing(flag, replace(BARE, memory=4 << 30, endless_swap=False), [])


def test_a_capability_that_was_given_back_is_not_missed() -> None:
    seen = replace(BARE, capabilities=1 << 18)
    assert not enforcement.missing(KNOWN.flag("cap-drop"), seen, ["--cap-drop=ALL", "--cap-add=SYS_CHROOT"])
    assert "0000000000040000" in enforcement.missing(KNOWN.flag("cap-drop"), seen, ["--cap-drop=ALL"])


def test_an_agents_silence_is_a_failure_with_the_operation_that_broke() -> None:
    row = rows()[0]
    home = row.flag.workarounds[0]
    row.smokes = [(None, SILENCE), (home, ANSWER)]
    assert row.verdict is FlagVerdict.WORKAROUND
    assert remarks(row)[:2] == [f"broke: {SILENCE.failure}", f"work-around: {' '.join(home.options)} ({home.because})"]


def test_a_flag_is_dropped_only_where_an_agent_answers_without_it() -> None:
    verdicts = {}
    for without in (ANSWER, SILENCE):
        row = rows()[0]
        row.smokes, row.without = [(None, SILENCE)], without
        assert not row.ok
        verdicts[without.passed] = row.verdict
    assert verdicts == {True: FlagVerdict.DROPPED, False: FlagVerdict.UNJUDGED}


def test_a_flag_that_no_container_starts_with_is_not_called_accepted() -> None:
    row = rows()[0]
    row.trouble = "status 126: controller `cpu` is not available"
    assert row.bite is Enforcement.UNTRIED
    assert f"no container starts with it: {row.trouble}" in remarks(row)


def test_a_flag_that_the_agents_own_container_lacks_is_not_in_force() -> None:
    row = rows()[0]
    row.smokes = [(None, replace(ANSWER, missing={"read-only": "the root filesystem is mounted read-write"}))]
    assert row.bite is Enforcement.NOT_ENFORCED
    assert not row.ok


def process(kind: str, namespaces: int, filters: int) -> dict[str, object]:
    return {"kind": kind, "namespaces": namespaces, "filters": filters}


def test_the_sandbox_is_on_where_both_of_its_layers_are() -> None:
    main = process("browser", 1, 1)
    assert sandbox([main, process("renderer", 2, 2)])[0] == "on"
    assert sandbox([main, process("renderer", 1, 1)])[0] == "off"
    assert sandbox([main, process("renderer", 2, 1)])[0] == "namespaces alone"
    assert sandbox([main, process("renderer", 1, 2)])[0] == "seccomp filter alone"
    assert sandbox([main])[0] == "unknown"


def test_a_browser_that_renders_without_its_sandbox_does_not_work() -> None:
    told = b'{"seconds": 3, "late": false, "ended": 0, "said": "", "text": "abc", "processes": [%s]}'
    off = b'{"kind":"browser","namespaces":1,"filters":1},{"kind":"renderer","namespaces":1,"filters":1}'
    done = Completed(("docker",), 0, b"", b"", 1)
    line = (told % off).decode()
    assert not browser_heard(done, line, "abc", [], []).works
    assert browser_heard(done, line, "abc", [], ["--no-sandbox"]).works
    assert "another text" in browser_heard(done, line, "xyz", [], []).failure
    assert in_words(browser_heard(done, line, "abc", [], [])) == "Chromium renders, sandbox off"


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("", "the container ended with status 1: error"),
        (
            '{"seconds": 1, "late": false, "ended": 134, "said": "x\\nCheck failed: sys_chroot()\\ny"}',
            "status 134: Check failed",
        ),
        ('{"seconds": 60, "late": true, "ended": 137, "said": ""}', "no page came within 60 s: without a word"),
    ],
)
def test_a_browser_that_fails_says_why(out: str, why: str) -> None:
    assert why in browser_heard(Completed(("docker",), 1, b"", b"error", 1), out, "abc", [], []).failure


def test_chromium_is_started_under_no_flag_each_one_and_all_of_them() -> None:
    ways = {what: (options, needed) for what, options, needed in ways_of(KNOWN, KNOWN.flags)}
    assert ways["no flags"] == ([], True)
    assert ways["the recommended set"] == (KNOWN.recommended(), True)
    assert ways["--cap-drop=ALL"] == (["--cap-drop=ALL"], False)
    assert ways["--cap-drop=ALL, with its work-arounds"] == (["--cap-drop=ALL", "--cap-add=SYS_CHROOT"], True)
    assert ways["--cpus=2"] == (["--cpus=2"], True)
    bare, needed = ways["the set without SYS_CHROOT"]
    assert (set(KNOWN.recommended()) - set(bare), needed) == ({"--cap-add=SYS_CHROOT"}, False)


def test_a_lattice_has_each_combination_once_and_what_its_flags_need() -> None:
    sets = [tuple(flag.id for flag in some) for some in combinations_of(KNOWN, ENABLED)]
    assert len(sets) == len(set(sets))
    assert ("tmpfs",) not in sets
    assert ("read-only", "tmpfs") in sets
    assert tuple(flag.id for flag in ENABLED) in sets


def test_the_smallest_failing_sets_have_none_within_them() -> None:
    sight = BrowserResult((), (), True, "on", "", "", 1.0)

    def point(*ids: str, good: bool) -> FlagCombination:
        return FlagCombination(tuple(KNOWN.flag(each) for each in ids), ANSWER if good else SILENCE, sight)

    points = [
        point("cpus", good=True), point("memory", good=True), point("cpus", "memory", good=False),
        point("cpus", "memory", "cap-drop", good=False), point("cap-drop", good=False),
    ]  # fmt: skip
    found = smallest_failing(points, lambda each: not each.ok)
    assert found == [{"cap-drop"}, {"cpus", "memory"}]


@pytest.mark.parametrize("flag", ENABLED, ids=lambda flag: flag.id)
def test_a_docker_that_loses_a_flag_passes_the_rest_on(tmp_path: Path, flag: Flag) -> None:
    host = FakeHost(tmp_path, {"docker": 'printf "<%s>" "$@"'}).pretend()
    host.put(f"{tmp_path}/first/docker", removed_flags.DOCKER.read_bytes(), mode=0o755)
    behind = removed_flags.behind(host, f"{tmp_path}/first", flag)
    words = ["run", "--rm", *KNOWN.together([each for each in ENABLED if each is not flag]), "image", "two words", ""]
    given = [*words[:2], *flag.options, *words[2:]]
    got = behind.run(["docker", *given]).stdout
    assert got == "".join(f"<{word}>" for word in words)
