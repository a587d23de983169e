"""Workers, by way of an ssh that stays on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from checks.core.errors import HostProblem
from checks.core.run_directories import Run
from checks.engine.case_context import RunScope
from checks.engine.prepared_host import PreparedHost
from checks.hosts.base import SHARED, directories_of
from checks.hosts.ssh import SshHost
from checks.mutation import catalogue
from checks.mutation.catalogue import NO_FAULT
from checks.mutation.pool import own_workers, workers
from checks.mutation.worker import FAILED, PASSED, Task, TaskOutcome
from checks.mutation.wrapped import upload
from checks.runner.plugin import CaseInfo
from tests.fakes import FACTS, PODMAN

PROGRAMS = {
    "ssh": 'for last; do :; done\ncase "$*" in *" -O check "* | *" -O exit "*) exit 0 ;; esac\nexec sh -c "$last"',
    "docker": (
        'case "$1" in\n'
        "    --version) echo podman version 5.4.2 ;;\n"
        "    image) echo no such image >&2; exit 125 ;;\n"
        "    *) exit 125 ;;\n"
        "esac"
    ),
    "podman": PODMAN,
}


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedHost:
    """A stage on this machine, with programs of the test's own."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    run = Run(f"test{os.getpid()}", tmp_path / "run", tmp_path)
    host = SshHost("nobody@127.0.0.1", sockets=tmp_path, port=1, name="debian-13")
    host.remember(FACTS)
    return PreparedHost(host, "recommended", RunScope(run.id, "prepared"), run)


def test_a_case_is_run_under_each_docker_and_its_words_come_back(prepared: PreparedHost, cases: list[CaseInfo]) -> None:
    by_id = {case.id: case for case in cases}
    known = {each.name: each for each in catalogue.load()}
    wrong = [known["version-of-another"], known["inspect-always-succeeds"]]
    tasks = [
        Task(0, NO_FAULT.name, by_id["version"].node, 1.0),
        Task(1, "version-of-another", by_id["version"].node, 1.0),
        Task(2, NO_FAULT.name, by_id["image-inspect-missing"].node, 1.0),
        Task(3, "inspect-always-succeeds", by_id["image-inspect-missing"].node, 1.0),
    ]
    ends: dict[int, TaskOutcome] = {}
    try:
        wrappers = {FACTS.uid: upload(prepared.host, prepared.run.id, [NO_FAULT, *wrong])}
        with workers(prepared, wrappers, nanoclaw="", slow=False, provider=None) as pool:
            pool.run(tasks, lambda task, uid: uid == FACTS.uid, lambda task, got: ends.update({task.number: got}))
    finally:
        assert prepared.host.remove_private_directories(directories_of(prepared.run.id))
        assert not list(Path(SHARED).glob(f"{directories_of(prepared.run.id)}*"))
    assert [ends[number].outcome for number in range(4)] == [PASSED, FAILED, PASSED, FAILED]
    assert "28.2.2" in ends[1].got
    failure = known["inspect-always-succeeds"].failure
    assert failure
    assert failure.search(ends[3].message)


def test_a_worker_that_can_not_prepare_its_host_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 125\n")
    docker.chmod(0o755)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "id", "env", "cat", "timeout"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", f"{tmp_path}:{programs}")
    with pytest.raises(HostProblem, match=r"^local .*podman is not installed"), own_workers("local", 1500, 2):
        pass


def test_a_worker_that_dies_is_a_problem_of_the_host(prepared: PreparedHost, cases: list[CaseInfo]) -> None:
    task = Task(0, NO_FAULT.name, "checks/cases/no_such_file.py::test_none", 1.0)
    with workers(prepared, {FACTS.uid: "/nowhere"}, nanoclaw="", slow=False, provider=None) as pool:
        pool.end()
        with pytest.raises(HostProblem, match="The worker of the account 1500 ended"):
            pool.run([task], lambda task, uid: True, lambda task, got: None)
