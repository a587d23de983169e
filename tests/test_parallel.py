from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.capacity import command, measure, sampling, table
from checks.capacity.command import ParallelOptions
from checks.capacity.measure import LoadSession, climb
from checks.capacity.sampling import Samples, parse
from checks.capacity.wslconfig.plan import plan
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.process import Completed, TimedOut
from checks.core.progress import Progress
from checks.documents import parallel
from checks.engine import flags
from checks.engine.case_context import CaseContext, RunScope
from checks.engine.docker import Record
from checks.engine.expect import Mismatch
from checks.engine.prepared_host import PreparedHost
from checks.evidence import store
from checks.evidence.capacity_model import Browser, Capacity, CapacityStep, Container, HostLoad, Turn
from checks.evidence.store import Provenance
from checks.nanoclaw import provider
from checks.nanoclaw.provider import AgentHandle
from tests.evidence import DEBIAN_12, DEBIAN_13
from tests.fakes import FakeHost

MIB = 1 << 20
FLAGS = flags.load().recommended()


def container(
    memory: int | None, unreclaimable: int | None, tasks: int | None, *kernel_peaks: Literal["memory", "tasks"]
) -> Container:
    return Container(memory=memory, unreclaimable=unreclaimable, tasks=tasks, kernel_peaks=list(kernel_peaks))


def load(**values: int) -> HostLoad:
    zero = {"samples": 1, "total": 0, "swap": 0, "available": 0, "min_available": 0, "swap_used": 0, "oom_kills": 0}
    return HostLoad(**{**zero, **values})


def sample(available: int, *, kills: int = 0, swap_free: int = 100, **containers: dict[str, int]) -> str:
    """One sample of the script's output; the host's sizes in MiB, the containers' in bytes."""
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
    return "\n".join([*lines, f"/proc/vmstat:oom_kill {kills}", "sample\n"])


def test_the_peaks_of_all_samples_are_kept() -> None:
    first = sample(
        2500, a={"memory_current": 10, "memory_peak": 50, "anon": 7, "shmem": 1, "pids_current": 3, "pids_peak": 9}
    )
    both = {"memory_current": 40, "memory_peak": 60, "anon": 20, "shmem": 2, "pids_current": 2, "pids_peak": 9}
    second = sample(2000, a=both, b=dict(both, memory_current=5))
    third = sample(2200, kills=2, swap_free=70, a=both)
    samples = parse(first + second + third)
    assert samples.containers["a"] == container(60, 22, 9, "memory", "tasks")
    assert samples.host == load(
        samples=3, total=3000 * MIB, swap=100 * MIB, available=2500 * MIB, min_available=2000 * MIB,
        swap_used=30 * MIB, oom_kills=2, containers_memory=45, containers_unreclaimable=44,
    )  # fmt: skip


def test_without_kernel_peaks_the_largest_sample_is_used() -> None:
    samples = parse(
        "".join(sample(2500, a={"memory_current": size, "pids_current": size // 10}) for size in (30, 70, 50))
    )
    assert samples.containers["a"] == container(70, None, 7)


def test_an_incomplete_sample_and_earlier_kills_are_ignored() -> None:
    text = sample(2500, kills=3) + sample(2400, kills=3) + sample(10, kills=9)[:-4]
    host = parse(text).host
    assert (host.samples, host.min_available, host.oom_kills) == (2, 2400 * MIB, 0)


def test_without_cgroups_containers_are_not_counted() -> None:
    samples = parse(sample(2500))
    assert (samples.containers, samples.host.containers_memory) == ({}, None)
    assert table.size(samples.host.containers_memory) == table.UNKNOWN


def context_of(host: FakeHost, tmp_path: Path) -> CaseContext:
    ctx = CaseContext(host.pretend(), RunScope("run", "run"), "parallel", Record())
    ctx._directory = str(tmp_path)
    return ctx


def test_the_sampler_reads_the_cgroup_of_a_container_by_its_id_file(tmp_path: Path) -> None:
    group = tmp_path / "libpod-abc.scope"
    group.mkdir()
    for name, content in {
        "memory.current": "100\n", "memory.peak": "300\n", "pids.current": "4\n", "pids.peak": "40\n",
        "memory.stat": "anon 70\nfile 9\nanon_thp 1000\nshmem 5\n",
    }.items():  # fmt: skip
        (group / name).write_text(content)
    host = FakeHost(tmp_path, {"find": f'case "$*" in *libpod-abc*) echo {group} ;; esac'})
    with sampling.sampling(context_of(host, tmp_path), 60) as sampler:
        [_, cidfile] = sampler.options("one")
        assert sampler.wait_for_sample().containers == {}
        Path(cidfile).write_text("abc")  # as Podman writes it: without a newline
        assert sampler.wait_for_sample().containers == {"one": container(300, 75, 40, "memory", "tasks")}
        Path(cidfile).unlink()  # as Podman does when it removes the container; earlier values are kept
        assert sampler.wait_for_sample().containers["one"].memory == 300


def test_the_sampler_ends_with_its_block(tmp_path: Path) -> None:
    with sampling.sampling(context_of(FakeHost(tmp_path), tmp_path), 60) as sampler:
        process = sampler._process
        assert process.running()
    assert not process.running()
    assert (tmp_path / "ids" / "stop").exists()


def test_a_host_whose_memory_cannot_be_read_is_unusable(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, {"sh": "echo no shell >&2; exit 1"})
    with (
        pytest.raises(HostProblem, match="Memory can't be read on fake: no shell"),
        sampling.sampling(context_of(host, tmp_path), 60),
    ):
        pass


@given(st.integers(1, 60), st.integers(0, 70))
def test_the_largest_number_that_fits_is_found(most: int, limit: int) -> None:
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
    """A host with a fake sampler; the test replaces ``smoke``."""
    host = FakeHost(tmp_path).pretend()

    class FakeSampler:
        def options(self, name: str) -> list[str]:
            return ["--cidfile", name]

        def wait_for_sample(self) -> Samples:
            return Samples(load(), {"0": container(5, 4, 3)})

    monkeypatch.setattr(measure, "sampling", lambda ctx, timeout: contextlib.nullcontext(FakeSampler()))
    prepared = PreparedHost(host, "recommended", RunScope("run", "run"), cast("Any", None))
    return LoadSession(prepared, cast("AgentHandle", None), Progress(), ["--read-only"])


def agents_that(monkeypatch: pytest.MonkeyPatch, behave: Any) -> list[list[str]]:
    started = []

    def smoke(
        prepared: PreparedHost, handle: AgentHandle, flags: list[str], *, case: str, factor: float = 1.0, inspect: Any
    ) -> None:
        started.append(flags)
        behave(int(case.rpartition("-")[2]), lambda: inspect(SimpleNamespace(began=time.monotonic())))

    monkeypatch.setattr(measure, "smoke", smoke)
    return started


def test_agents_run_until_all_have_answered(session: LoadSession, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def behave(at: int, look: Any) -> None:
        time.sleep(0.05 * at)
        events.append("answered")
        look()
        events.append("ended")

    started = agents_that(monkeypatch, behave)
    step = session.agents(3)
    assert events == ["answered"] * 3 + ["ended"] * 3
    assert step.fits
    assert step.turns[0].container == container(5, 4, 3)
    assert sorted(started) == [["--read-only", "--cidfile", str(at)] for at in range(3)]
    assert step.timeout == 1800


def test_a_failed_agent_does_not_block_the_others(session: LoadSession, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_host_that_stops_responding_and_recovers_fails_the_step(
    session: LoadSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behave(at: int, look: Any) -> None:
        if at == 1:
            raise HostProblem("fake stopped answering.")
        look()

    agents_that(monkeypatch, behave)
    step = session.agents(2)
    assert (step.fits, step.host_error, step.answered) == (False, "fake stopped answering.", 1)


def test_a_host_that_does_not_recover_is_unusable(session: LoadSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **options: Any) -> None:
        raise HostProblem("it is gone")

    agents_that(monkeypatch, gone)
    monkeypatch.setattr(FakeHost, "run_checked", lambda self, argv, **options: gone() if argv == ["true"] else None)
    with pytest.raises(HostProblem, match="it is gone"):
        session.agents(1)


def test_a_kill_for_lack_of_memory_fails_the_step(session: LoadSession, monkeypatch: pytest.MonkeyPatch) -> None:
    agents_that(monkeypatch, lambda at, look: look())
    assert session.agents(2).fits
    samples = Samples(load(oom_kills=1))
    sampler = SimpleNamespace(options=lambda name: [], wait_for_sample=lambda: samples)
    monkeypatch.setattr(measure, "sampling", lambda ctx, timeout: contextlib.nullcontext(sampler))
    step = session.agents(2)
    assert not step.fits
    assert table.why_not(step) == "the kernel killed 1 process for lack of memory"


def a_step(number: int, *, answered: int | None = None) -> CapacityStep:
    answered = number if answered is None else answered
    turns = [
        Turn(
            failure="expected an answer, got none" if at < number - answered else "",
            seconds=60.0 + at,
            container=container(200 * MIB, 150 * MIB, 41, "memory"),
        )
        for at in range(number)
    ]
    host = load(
        samples=9, total=2950 * MIB, available=2700 * MIB, min_available=(2700 - 250 * number) * MIB,
        containers_memory=220 * number * MIB, containers_unreclaimable=160 * number * MIB,
    )  # fmt: skip
    return CapacityStep(
        agents=number, answered=answered, fits=answered == number, timeout=1800, seconds=59.0 + number, turns=turns,
        host=host,
    )  # fmt: skip


def browser() -> Browser:
    return Browser(rendered=True, seconds=20.5, container=container(418 * MIB, 300 * MIB, 140, "memory", "tasks"))


def evidence(
    directory: Path, *steps: CapacityStep, facts: Any = DEBIAN_13, slowness: float = 3, flags: Any = FLAGS
) -> Path:
    values = {
        **Provenance("debian-13", "recommended", facts).values(), "seconds": 500, "agent": "the stub agent",
        "slowness": slowness, "flags": flags, "max_agents": 8, "browser": browser(), "steps": list(steps),
    }  # fmt: skip
    return store.save(store.build(Capacity, values), directory)


def committed(directory: Path) -> list[Capacity]:
    return store.committed(Capacity, directory)


def test_evidence_is_written_loaded_and_rendered(tmp_path: Path) -> None:
    evidence(tmp_path, a_step(1), a_step(2), a_step(4, answered=1))
    text = parallel.text(committed(tmp_path), FLAGS)
    assert "| an agent's turn | 60 | 200 MiB | 150 MiB | 41 |" in text
    assert "| Chromium with one page | 20 | 418 MiB | 300 MiB | 140 |" in text
    assert "| 2 | 2 | 61 | 440 MiB | 320 MiB | 2200 MiB | yes |" in text
    assert "| 4 | 1 | 63 | 880 MiB | 640 MiB | 1700 MiB | no: " in text
    assert "**2 at once fit on debian-13, 4 do not.**" in text
    assert "For 2, the formula gives 10 GB" in text
    assert "Its times don't apply to your machine" in text
    assert "does not record a container's peak of tasks" in text
    assert "one container used at most 418 MiB" in text
    assert "**`--pids-limit=256` leaves room**: one container had at most 140 processes and threads" in text


def test_if_all_fit_the_document_claims_no_limit(tmp_path: Path) -> None:
    evidence(tmp_path, a_step(1), a_step(2), slowness=1)
    text = parallel.text(committed(tmp_path), FLAGS)
    assert "More were not tried, so the limit is unknown" in text
    assert "emulated" not in text


def test_without_evidence_the_document_has_no_measurements() -> None:
    text = parallel.text([], FLAGS)
    assert "**Nothing yet**" in text
    assert "MiB" not in text
    assert "leaves room" not in text


def test_the_first_table_follows_the_formula() -> None:
    text = parallel.text([], FLAGS)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ") and "GB" in line]
    assert [int(row[0]) for row in rows] == list(range(1, 9))
    for row in rows:
        assert row[1:4] == [plan(int(row[0])).settings()[key] for key in ("memory", "processors", "swap")]


def test_evidence_with_other_flags_is_refused(tmp_path: Path) -> None:
    evidence(tmp_path, a_step(1), flags=["--read-only"])
    with pytest.raises(WrongUsage, match="other flags than the recommended ones"):
        parallel.text(committed(tmp_path), FLAGS)


def test_evidence_of_another_host_or_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="is not evidence of debian-13"):
        store.load(evidence(tmp_path, a_step(1), facts=DEBIAN_12), Capacity)
    path = evidence(tmp_path, a_step(1))
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": []}))
    with pytest.raises(WrongUsage, match="is not evidence of invoke parallel"):
        store.load(path, Capacity)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ParallelOptions(most="0"), "--most is “0”"),
        (ParallelOptions(most="many"), "--most is “many”"),
        (ParallelOptions(most="101"), "at most 100 agents"),
        (ParallelOptions(evidence="/no/such/directory"), "the directory /no/such does not exist"),
        (ParallelOptions(host="debian-99"), "debian-99"),
        (ParallelOptions(timeout_factor="0"), "--timeout-factor"),
    ],
)
def test_wrong_usage_is_reported_before_anything_starts(
    options: ParallelOptions, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.parallel(options) is Exit.WRONG_USAGE
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "status"), [(9, Exit.OK), (2, Exit.CASE_FAILED), (0, Exit.CASE_FAILED)])
def test_the_exit_status_depends_on_whether_the_number_asked_for_fits(
    limit: int, status: Exit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextlib.contextmanager
    def ready(*args: Any, **options: Any) -> Iterator[PreparedHost]:
        host = FakeHost(tmp_path).pretend(DEBIAN_13)
        host.name = "debian-13"
        yield PreparedHost(host, "recommended", RunScope("run", "run"), cast("Any", None))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(provider, "prepared", ready)
    monkeypatch.setattr(LoadSession, "prepare", lambda self: None)
    monkeypatch.setattr(LoadSession, "browser", lambda self: browser())
    monkeypatch.setattr(
        LoadSession, "agents", lambda self, number: a_step(number, answered=None if number <= limit else 0)
    )
    assert command.parallel(ParallelOptions(most="3", evidence=str(tmp_path / "left"))) is status
    assert f"Largest number that fits: {min(limit, 3)}." in capsys.readouterr().out
    assert table.largest(committed(tmp_path / "left")[0]) == min(limit, 3)
