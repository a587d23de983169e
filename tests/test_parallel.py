from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.capacity import command, measure, sampling, table
from checks.capacity.command import ParallelOptions
from checks.capacity.measure import LoadSession, Step, Turn, climb
from checks.capacity.sampling import Samples, Usage, parse
from checks.capacity.wslconfig.plan import plan
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.progress import Progress
from checks.documents import parallel
from checks.engine import flags
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost
from checks.evidence import store
from checks.evidence.model import Capacity
from checks.evidence.store import Provenance
from checks.hosts.process import Completed, TimedOut
from checks.nanoclaw import agent_session
from checks.nanoclaw.provider import AgentHandle
from tests.evidence import DEBIAN_12, DEBIAN_13
from tests.fakes import FakeHost

MIB = 1 << 20
FLAGS = flags.load().recommended()


def a_round(available: int, *, kills: int = 0, swap_free: int = 100, **containers: dict[str, int]) -> str:
    """A round of the sampler's output; sizes in MiB, of containers in bytes."""
    lines = []
    for name, counts in containers.items():
        at = f"/sys/fs/cgroup/user.slice/libpod-{name}.scope"
        lines.append(f"container {name} {at}")
        for count, value in counts.items():
            of_stat = count in ("anon", "shmem")
            lines.append(f"{at}/memory.stat:{count} {value}" if of_stat else f"{at}/{count.replace('_', '.')}:{value}")
    for name, value in (("Total", 3000), ("Available", available)):
        lines.append(f"/proc/meminfo:Mem{name}:        {value * 1024} kB")
    lines += ["/proc/meminfo:SwapTotal:        102400 kB", f"/proc/meminfo:SwapFree:  {swap_free * 1024} kB"]
    return "\n".join([*lines, f"/proc/vmstat:oom_kill {kills}", "round\n"])


def test_the_most_and_the_least_of_all_rounds_are_kept() -> None:
    first = a_round(
        2500, a={"memory_current": 10, "memory_peak": 50, "anon": 7, "shmem": 1, "pids_current": 3, "pids_peak": 9}
    )
    both = {"memory_current": 40, "memory_peak": 60, "anon": 20, "shmem": 2, "pids_current": 2, "pids_peak": 9}
    second = a_round(2000, a=both, b=dict(both, memory_current=5))
    third = a_round(2200, kills=2, swap_free=70, a=both)
    seen = parse(first + second + third)
    assert seen.containers["a"] == Usage(60, 22, 9, ("memory", "tasks"))
    assert (seen.total, seen.available, seen.least_available) == (3000 * MIB, 2500 * MIB, 2000 * MIB)
    assert (seen.together, seen.together_used, seen.swapped, seen.out_of_memory) == (45, 44, 30 * MIB, 2)


def test_a_kernel_without_high_water_marks_gives_the_largest_sample_and_says_so() -> None:
    seen = parse(
        "".join(a_round(2500, a={"memory_current": size, "pids_current": size // 10}) for size in (30, 70, 50))
    )
    assert seen.containers["a"] == Usage(70, None, 7, ())


def test_half_a_round_does_not_count_and_kills_from_before_do_not_either() -> None:
    text = a_round(2500, kills=3) + a_round(2400, kills=3) + a_round(10, kills=9)[:-4]
    seen = parse(text)
    assert (seen.rounds, seen.least_available, seen.out_of_memory) == (2, 2400 * MIB, 0)


def test_a_host_without_control_groups_of_containers_counts_nothing_of_them() -> None:
    seen = parse(a_round(2500))
    assert (seen.containers, seen.together) == ({}, None)
    assert table.size(seen.together) == table.UNKNOWN


def bench_of(host: FakeHost, tmp_path: Path) -> CaseContext:
    ctx = CaseContext(host.pretend(), RunScope("run", "run"), "parallel", Record())
    ctx._directory = str(tmp_path)
    return ctx


def test_the_sampler_reads_the_counts_of_the_container_whose_id_docker_left(tmp_path: Path) -> None:
    group = tmp_path / "libpod-abc.scope"
    group.mkdir()
    for name, content in {
        "memory.current": "100\n", "memory.peak": "300\n", "pids.current": "4\n", "pids.peak": "40\n",
        "memory.stat": "anon 70\nfile 9\nanon_thp 1000\nshmem 5\n",
    }.items():  # fmt: skip
        (group / name).write_text(content)
    host = FakeHost(tmp_path, {"find": f'case "$*" in *libpod-abc*) echo {group} ;; esac'})
    with sampling.sampling(bench_of(host, tmp_path), 60) as sampler:
        [_, cidfile] = sampler.options("one")
        assert sampler.another().containers == {}
        Path(cidfile).write_text("abc")  # as Podman writes it: without a newline
        assert sampler.another().containers == {"one": Usage(300, 75, 40, ("memory", "tasks"))}
        Path(cidfile).unlink()  # as Podman does with the container: what is known stays known
        assert sampler.another().containers["one"].memory == 300


def test_the_sampler_ends_with_its_block(tmp_path: Path) -> None:
    with sampling.sampling(bench_of(FakeHost(tmp_path), tmp_path), 60) as sampler:
        process = sampler._process
        assert process.running()
    assert not process.running()
    assert (tmp_path / "ids" / "stop").exists()


def test_a_host_whose_memory_cannot_be_read_is_unusable(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, {"sh": "echo no shell >&2; exit 1"})
    with (
        pytest.raises(HostProblem, match="no memory could be read: no shell"),
        sampling.sampling(bench_of(host, tmp_path), 60),
    ):
        pass


@given(st.integers(1, 60), st.integers(0, 70))
def test_the_largest_that_fits_is_found_whatever_it_is(most: int, limit: int) -> None:
    tried: list[int] = []
    for number in climb(most, lambda number: number <= limit):
        tried.append(number)
        assert len(tried) <= 2 * most.bit_length() + 1
    fitted = [number for number in tried if number <= limit]
    assert max(fitted, default=0) == min(limit, most)
    assert limit >= most or limit + 1 in tried
    assert len(set(tried)) == len(tried)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadSession:
    """A host on which agents are made by the test's own smoke, and on which a sampler sees nothing of them."""
    host = FakeHost(tmp_path).pretend()

    class Nothing:
        def options(self, name: str) -> list[str]:
            return ["--cidfile", name]

        def another(self) -> Samples:
            return Samples(rounds=3, total=3, available=2, least_available=1, containers={"0": Usage(5, 4, 3)})

    monkeypatch.setattr(measure, "sampling", lambda ctx, bound: contextlib.nullcontext(Nothing()))
    prepared = PreparedHost(host, "recommended", RunScope("run", "run"), cast("Any", None))
    return LoadSession(prepared, cast("AgentHandle", None), Progress(), ["--read-only"])


def agents_that(monkeypatch: pytest.MonkeyPatch, behave: Any) -> list[list[str]]:
    asked = []

    def smoke(
        prepared: PreparedHost, handle: AgentHandle, flags: list[str], *, case: str, factor: float, look: Any
    ) -> None:
        asked.append(flags)
        behave(int(case.rpartition("-")[2]), lambda: look(SimpleNamespace(began=time.monotonic())))

    monkeypatch.setattr(measure, "smoke", smoke)
    return asked


def test_agents_live_until_all_have_answered(session: LoadSession, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def behave(at: int, look: Any) -> None:
        time.sleep(0.05 * at)
        events.append("answered")
        look()
        events.append("ended")

    asked = agents_that(monkeypatch, behave)
    step = session.agents(3)
    assert events == ["answered"] * 3 + ["ended"] * 3
    assert step.fits
    assert step.turns[0].usage == Usage(5, 4, 3)
    assert sorted(asked) == [["--read-only", "--cidfile", str(at)] for at in range(3)]
    assert step.bound == 1800


def test_an_agent_that_fails_keeps_nobody_waiting(session: LoadSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def behave(at: int, look: Any) -> None:
        if at == 1:
            raise Mismatch("an answer from the agent", "none; docker ended with status 137")
        look()

    agents_that(monkeypatch, behave)
    step = session.agents(3)
    assert (step.fits, step.answered) == (False, 2)
    assert "status 137" in step.turns[1].failure


def test_an_agent_that_does_not_end_after_its_answer_does_not_fit(
    session: LoadSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(at: int, look: Any) -> None:
        look()
        raise TimedOut(Completed(("docker", "run"), -1, b"", b"", 9), 9)

    agents_that(monkeypatch, behave)
    assert not session.agents(1).fits


def test_a_host_that_fell_silent_under_the_load_and_is_back_is_a_finding(
    session: LoadSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(at: int, look: Any) -> None:
        if at == 1:
            raise HostProblem("fake stopped answering.")
        look()

    agents_that(monkeypatch, behave)
    step = session.agents(2)
    assert (step.fits, step.trouble, step.answered) == (False, "fake stopped answering.", 1)


def test_a_host_that_does_not_come_back_is_unusable(session: LoadSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **options: Any) -> None:
        raise HostProblem("it is gone")

    agents_that(monkeypatch, gone)
    monkeypatch.setattr(FakeHost, "run_checked", lambda self, argv, **options: gone() if argv == ["true"] else None)
    with pytest.raises(HostProblem, match="it is gone"):
        session.agents(1)


def test_all_answers_with_a_process_killed_for_want_of_memory_do_not_fit() -> None:
    turns = (Turn("", 5.0), Turn("", 6.0))
    assert Step(2, 1800, turns, Samples(rounds=1)).fits
    killed = Step(2, 1800, turns, Samples(rounds=1, out_of_memory=1))
    assert not killed.fits
    assert table.why_not(killed.as_json()) == "the kernel killed 1 process for want of memory"


def a_step(number: int, *, answered: int | None = None) -> dict[str, Any]:
    failures = number - (number if answered is None else answered)
    turns = [
        Turn(
            "expected an answer, got none" if at < failures else "",
            60.0 + at,
            Usage(200 * MIB, 150 * MIB, 41, ("memory",)),
        )
        for at in range(number)
    ]
    samples = Samples(
        rounds=9, total=2950 * MIB, available=2700 * MIB, least_available=(2700 - 250 * number) * MIB,
        together=220 * number * MIB, together_used=160 * number * MIB,
    )  # fmt: skip
    return Step(number, 1800, tuple(turns), samples).as_json()


def evidence(
    directory: Path, *steps: dict[str, Any], facts: Any = DEBIAN_13, slowness: float = 3, flags: Any = FLAGS
) -> Path:
    found = {
        "slowness": slowness,
        "flags": flags,
        "most": 8,
        "browser": {
            "rendered": True,
            "seconds": 20.5,
            "container": measure.told(Usage(418 * MIB, 300 * MIB, 140, ("memory", "tasks"))),
        },
        "steps": list(steps),
    }
    values = {**Provenance("debian-13", "recommended", facts).values(), "seconds": 500, "agent": "the stand-in"}
    return store.save(store.build(Capacity, {**values, **found}), directory)


def committed(directory: Path) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(each) for each in store.committed(Capacity, directory)]


def test_what_was_measured_is_written_read_and_rendered(tmp_path: Path) -> None:
    evidence(tmp_path, a_step(1), a_step(2), a_step(4, answered=1))
    text = parallel.text(committed(tmp_path), FLAGS)
    assert "| an agent's turn | 60 | 200 MiB | 150 MiB | 41 |" in text
    assert "| Chromium with one page | 20 | 418 MiB | 300 MiB | 140 |" in text
    assert "| 2 | 2 | 61 | 440 MiB | 320 MiB | 2200 MiB | yes |" in text
    assert "| 4 | 1 | 63 | 880 MiB | 640 MiB | 1700 MiB | no: " in text
    assert "**2 at once fit on debian-13, 4 do not.**" in text
    assert "For 2 the formula asks for 10 GB" in text
    assert "are no seconds of your machine" in text
    assert "no high-water mark of tasks" in text
    assert "418 MiB was the most that one container took" in text
    assert "**`--pids-limit=256` leaves room**: 140 processes and threads were the most" in text


def test_where_all_fit_the_document_claims_no_limit(tmp_path: Path) -> None:
    evidence(tmp_path, a_step(1), a_step(2), slowness=1)
    text = parallel.text(committed(tmp_path), FLAGS)
    assert "where they stop fitting was not reached" in text
    assert "emulated" not in text


def test_without_evidence_the_document_claims_nothing_measured() -> None:
    text = parallel.text([], FLAGS)
    assert "**Nothing yet**" in text
    assert "MiB" not in text
    assert "leaves room" not in text


def test_the_table_of_the_document_is_the_formulas() -> None:
    text = parallel.text([], FLAGS)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ") and "GB" in line]
    assert [int(row[0]) for row in rows] == list(range(1, 9))
    for row in rows:
        assert row[1:4] == [plan(int(row[0])).settings()[key] for key in ("memory", "processors", "swap")]


def test_evidence_under_other_flags_is_refused(tmp_path: Path) -> None:
    evidence(tmp_path, a_step(1), flags=["--read-only"])
    with pytest.raises(WrongUsage, match="other flags than the recommended ones"):
        parallel.text(committed(tmp_path), FLAGS)


def test_evidence_of_another_host_or_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="is not evidence of debian-13"):
        store.load(evidence(tmp_path, a_step(1), facts=DEBIAN_12), Capacity)
    path = evidence(tmp_path, a_step(1))
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": []}))
    with pytest.raises(WrongUsage, match="is not evidence of invoke parallel"):
        store.load(path, Capacity)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (ParallelOptions(most="0"), "--most is “0”"),
        (ParallelOptions(most="many"), "--most is “many”"),
        (ParallelOptions(most="101"), "100 agents at once are the most"),
        (ParallelOptions(evidence="/no/such/directory"), "the directory /no/such does not exist"),
        (ParallelOptions(host="debian-99"), "debian-99"),
        (ParallelOptions(timeout_factor="0"), "--timeout-factor"),
    ],
)
def test_wrong_usage_is_told_before_anything_starts(
    options: ParallelOptions, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.parallel(options) is Exit.WRONG_USAGE
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "status"), [(9, Exit.OK), (2, Exit.CASE_FAILED), (0, Exit.CASE_FAILED)])
def test_the_exit_status_says_whether_the_number_asked_for_fits(
    limit: int, status: Exit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Told:
        def __init__(self, number: int) -> None:
            self.fits = number <= limit
            self.agents, self.trouble = number, ""

        def as_json(self) -> dict[str, Any]:
            return a_step(self.agents, answered=None if self.fits else 0)

    sight = SimpleNamespace(rendered=True, failure="", seconds=20.0)

    @contextlib.contextmanager
    def ready(*args: Any, **options: Any) -> Iterator[PreparedHost]:
        host = FakeHost(tmp_path).pretend(DEBIAN_13)
        host.name = "debian-13"
        yield PreparedHost(host, "recommended", RunScope("run", "run"), cast("Any", None))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(agent_session, "prepared", ready)
    monkeypatch.setattr(LoadSession, "prepare", lambda self: None)
    monkeypatch.setattr(LoadSession, "browser", lambda self: (sight, Usage()))
    monkeypatch.setattr(LoadSession, "agents", lambda self, number: Told(number))
    assert command.parallel(ParallelOptions(most="3", evidence=str(tmp_path / "left"))) is status
    assert f"The most that fitted: {min(limit, 3)}" in capsys.readouterr().out
    assert table.largest(committed(tmp_path / "left")[0]) == min(limit, 3)
