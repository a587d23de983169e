"""Several cases at a time: who runs what, in which order it is reported, and what stops the run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from checks.core.children import Children, tied
from checks.core.errors import Exit, HostProblem, Interrupted, OwnFault, Problem, WrongUsage
from checks.core.locks import SharedLock
from checks.core.outcome import reported
from checks.core.polling import poll
from checks.core.progress import Progress
from checks.evidence.run import CaseResult, Evidence
from checks.runner import at_once
from checks.runner.at_once import Shares
from checks.runner.plugin import CaseInfo
from checks.runner.share import Ended, Share
from tests.fakes import PODMAN
from tests.patience import PATIENCE
from tests.test_verify import SHIM, left_behind, result, verify

# A process of the protocol. A case takes as long as its id says: "-3" is three tenths of a second, "+3" is until three
# other cases have ended, which another process must have run.
PROCESS = """
import msgspec, os, sys, time
from pathlib import Path
from checks.core.polling import poll
from checks.engine.docker import Record
from checks.evidence.run import CaseResult
from checks.runner.share import Done, Ended, Ready, Said, Share
from tests.fakes import FACTS
from tests.patience import PATIENCE

def send(message):
    print(msgspec.json.encode(message).decode(), flush=True)

share = msgspec.json.decode(sys.stdin.readline(), type=Share)
send(Said("preparing"))
if share.profile == "fails":
    send(Ended(3, "The host can’t be used: no space.", ""))
    sys.exit()
send(Ready("host", "as-is", FACTS))
for line in sys.stdin:
    for case in msgspec.json.decode(line, type=list[str]):
        if case == "babbles":
            print("no JSON", flush=True)
        if case == "dies":
            os._exit(9)
        ended = Path(ENDED)
        if case[-2] == "-":
            time.sleep(int(case[-1]) / 10)
        elif not poll(lambda: len(list(ended.iterdir())) == int(case[-1]), timeout=PATIENCE, interval=0.02):
            os._exit(8)
        (ended / case).touch()
        send(Done(CaseResult(case, "Group", case, "passed", float(os.getpid()), Record())))
send(Said("Cleaning up …"))
send(Ended(0, "", "agent"))
"""


def share(**different: Any) -> Share:
    values: dict[str, Any] = {
        "host": "local", "profile": "", "factor": 1.0, "hardened": False, "nanoclaw": "", "slow": False,
        "sharing": False, "lock": "",
    } | different  # fmt: skip
    return Share(**values)


def case(name: str, *asks: str) -> CaseInfo:
    return CaseInfo(name, "Group", name, "", asks=frozenset(asks))


@pytest.fixture
def _processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    ended.mkdir()
    started = subprocess.Popen

    def popen(argv: list[str], **how: Any) -> subprocess.Popen[str]:
        assert argv[-3:] == ["-u", "-m", "checks.runner.share"]
        return started([sys.executable, "-c", f"ENDED = {str(ended)!r}\n{PROCESS}"], **how)

    monkeypatch.setattr(subprocess, "Popen", popen)


def run(cases: list[CaseInfo], **different: Any) -> tuple[Evidence, list[CaseResult]]:
    """The evidence, and the results in the order in which they were reported."""
    told: list[CaseResult] = []
    evidence = Shares(share(**different), cases, 2, Progress()).run(lambda _: None, told.append)
    return evidence, told


@pytest.mark.usefixtures("_processes", "alarm")
def test_results_come_in_the_reports_order_whichever_ended_first() -> None:
    names = ["slow+3", "quick-0", "other-0", "last-0"]
    evidence, told = run([case(name) for name in names])
    assert [each.id for each in told] == [each.id for each in evidence.cases] == names
    assert (evidence.host, evidence.agent) == ("host", "agent")
    assert len({each.seconds for each in told[1:]}) == 1, "the free one took what was left"


@pytest.mark.usefixtures("_processes", "alarm")
def test_the_end_of_one_process_is_not_told_before_the_last_result(capsys: pytest.CaptureFixture[str]) -> None:
    def told(result: CaseResult) -> None:
        print(result.id, file=sys.stderr)

    Shares(share(), [case("quick-0"), case("slow-9")], 2, Progress()).run(lambda _: None, told)
    lines = capsys.readouterr().err.split("\n")
    assert lines.count("Cleaning up …") == 1
    assert lines.index("slow-9") < lines.index("Cleaning up …")


@pytest.mark.usefixtures("_processes", "alarm")
def test_cases_with_an_agent_are_in_one_process_where_its_image_is_built() -> None:
    _, told = run([case(f"agent{n}-5", "provider") for n in range(4)], sharing=False)
    assert len({each.seconds for each in told}) == 1


@pytest.mark.usefixtures("_processes", "alarm")
def test_cases_with_an_agent_are_in_all_processes_where_its_image_is_there() -> None:
    _, told = run([case("agent+1", "provider"), case("agent-0", "provider")], sharing=True)
    assert len({each.seconds for each in told}) == 2


@pytest.mark.usefixtures("_processes", "alarm")
def test_the_cases_of_a_whole_nanoclaw_are_in_one_process() -> None:
    _, told = run([case(f"whole{n}-2", "provider", "whole") for n in range(4)], sharing=True)
    assert len({each.seconds for each in told}) == 1


@pytest.mark.usefixtures("_processes", "alarm")
@pytest.mark.parametrize(
    ("cases", "profile", "problem", "text"),
    [
        (["a-1", "b-1"], "fails", HostProblem, "^no space.$"),
        (["a-0", "dies", "b-1"], "", OwnFault, "ended with status 9"),
        (["a-0", "babbles", "b-1"], "", OwnFault, "could not be understood"),
    ],
)
def test_what_stops_one_process_stops_the_run(
    cases: list[str], profile: str, problem: type[Problem], text: str
) -> None:
    with pytest.raises(problem, match=text):
        run([case(name) for name in cases], profile=profile)


def test_closed_children_start_no_other() -> None:
    children = Children()
    children.close()
    with pytest.raises(KeyboardInterrupt):
        children.start("checks.runner.share")


# It starts a process, and is killed then.
KILLED = """
import sys, time
from checks.core.children import Children

child = Children().start("tests.ends_late", sys.argv[1])
print(child.pid, child.stdout.readline(), flush=True)
time.sleep(60)
"""


def test_a_process_cleans_up_where_the_one_that_started_it_was_killed(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(cleaned)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = parent.stdout.readline().split()[0]
        parent.kill()
    assert poll(cleaned.exists, timeout=PATIENCE, interval=0.1)
    process = Path(f"/proc/{pid}/cmdline")  # empty for one that nobody has waited for
    assert poll(lambda: not process.exists() or not process.read_bytes(), timeout=PATIENCE, interval=0.1)


def test_a_process_whose_parent_has_ended_before_it_began_does_nothing(tmp_path: Path) -> None:
    began = tmp_path / "began"
    argv = tied("/bin/touch", str(began))
    subprocess.run([word if word != str(os.getpid()) else "1" for word in argv], check=True)
    assert not began.exists()
    subprocess.run(argv, check=True)
    assert began.exists()


@pytest.mark.parametrize(
    ("cases", "processors", "memory", "number"),
    [(101, 8, 9000, 2), (3, 8, 9000, 1), (101, 1, 9000, 1), (101, 2, 500, 1)],
)
def test_two_at_a_time_is_the_default_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, cases: int, processors: int, memory: int, number: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    monkeypatch.setattr(at_once, "_available_memory", lambda: memory)
    assert at_once.default([case("a")] * cases, "local") == number


def test_this_machine_has_memory() -> None:
    assert at_once._available_memory() > 0


def test_two_processes_report_what_one_does(tmp_path: Path) -> None:
    programs = {
        "docker": SHIM,
        "podman": PODMAN,
        "pgrep": "echo 1 nanoclaw-verify-look",
        "id": 'if [ "$1" = -u ]; then echo 1500; else exec /usr/bin/id "$@"; fi',
    }
    found = []
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        wanted = ["--only", "docker --version", "--only", "docker image inspect"]
        options = ["--host", "local", *wanted, "--at-once", number, "--json", "a.json", "--junit", "a.xml"]
        status, out, err = result(verify(tmp_path / number, *options, programs=programs))
        assert status == Exit.CASE_FAILED, err
        cases = json.loads((tmp_path / number / "a.json").read_text())["cases"]
        found.append(
            (
                re.sub(r"nanoclaw-verify-[0-9a-f]+", "RUN", out),
                [(each["id"], each["outcome"], each.get("got")) for each in cases],
            )
        )
        assert left_behind(tmp_path / number) == []
        assert (tmp_path / number / "a.xml").read_text().count("<testcase") == len(cases)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--at-once", "5"], "--at-once is 5; it must be a number from 1 to 4."),
        (["--at-once", "2", "--verbose"], "--at-once 2 can't be combined with --verbose."),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(tmp_path: Path, more: list[str], line: str) -> None:
    status, _, err = result(verify(tmp_path, *more))
    assert status == WrongUsage.exit
    assert line in err


def test_a_share_that_nobody_reads_ends_after_its_case_and_cleans_up(tmp_path: Path) -> None:
    slow = tmp_path / "asked"
    programs = {
        "docker": f": >'{slow}'; sleep 2; {SHIM}",
        "podman": PODMAN,
        "pgrep": "echo 1 nanoclaw-verify-look",
        "id": 'if [ "$1" = -u ]; then echo 1500; else exec /usr/bin/id "$@"; fi',
    }
    child = verify(
        tmp_path, "--host", "local", "--only", "docker --version", "--at-once", "2", programs=programs, wait=False
    )
    assert poll(slow.exists, timeout=PATIENCE, interval=0.05), "no run has begun"
    child.kill()
    child.communicate(timeout=PATIENCE)
    found = poll(lambda: len(left_behind(tmp_path)) == 1, timeout=PATIENCE, interval=0.2)
    assert found, "only the parent's record is left"


@pytest.mark.parametrize(
    ("status", "exit_status", "text"),
    [(-9, Exit.HOST_UNUSABLE, "killed by the signal SIGKILL"), (1, Exit.OWN_FAULT, "ended with status 1")],
)
def test_a_process_that_was_killed_is_no_bug_of_this_project(status: int, exit_status: Exit, text: str) -> None:
    ended = at_once._without_a_word(status)
    assert ended.status == exit_status
    assert text in ended.line


def test_a_process_that_was_interrupted_interrupts_the_run() -> None:
    assert isinstance(reported(Exit.INTERRUPTED, "Interrupted."), Interrupted)


@pytest.mark.parametrize("left", [True, False])
def test_the_run_knows_whether_a_process_left_something(left: bool) -> None:
    shares = Shares(share(), [], 2, Progress())
    shares._ended += [Ended(Exit.OK), Ended(Exit.INTERRUPTED, "Interrupted.", left=left)]
    assert shares.left == left


@pytest.mark.usefixtures("alarm")
def test_an_image_is_copied_when_no_case_runs_and_none_starts_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "cases").touch()
    done: list[str] = []
    case_began, making = threading.Event(), threading.Event()

    def other() -> None:
        with SharedLock.of(tmp_path / "cases") as lock:
            with lock.shared():
                case_began.set()
                time.sleep(0.3)
                done.append("a case")
            making.wait()
            with lock.shared():
                done.append("the next case")

    with SharedLock.of(tmp_path / "cases") as lock, lock.shared():
        thread = threading.Thread(target=other)
        thread.start()
        case_began.wait()
        with lock.alone():
            making.set()
            time.sleep(0.3)
            done.append("the image")
        thread.join()
    assert done == ["a case", "the image", "the next case"]
