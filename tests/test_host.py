from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.errors import HostProblem
from checks.core.process import TimedOut
from checks.hosts import base, facts, guest
from checks.hosts.facts import SCRIPT
from checks.hosts.facts import parse as parse_facts
from checks.hosts.local import LocalHost
from tests.fakes import FakeHost
from tests.patience import PATIENCE

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def test_a_command_gets_its_input_and_environment() -> None:
    done = LocalHost().run(["sh", "-c", 'cat; echo "$WORD"'], stdin=b"in ", env={"WORD": "two  words"})
    assert (done.returncode, done.stdout) == (0, "in two  words\n")


def test_what_was_asked_is_recorded_without_what_carried_it() -> None:
    assert LocalHost().run(["true"], env={"A": "b"}).argv == ("true",)


@pytest.mark.parametrize(
    "script", ["sleep 60", "trap '' TERM; while :; do sleep 1; done"], ids=["dies", "ignores TERM"]
)
def test_a_command_past_its_bound_raises_timed_out(script: str) -> None:
    with pytest.raises(TimedOut, match=r"timed out after 0\.3 s"):
        LocalHost().run(["sh", "-c", script], timeout=0.3)


class Lingering(LocalHost):
    """A host whose connection stays open as long as anything holds its pipes; ``answers`` says what else it does."""

    def __init__(self, answers: str) -> None:
        self._answer = answers

    def wrap_command(self, argv: Sequence[str], *, tty: bool = False) -> list[str]:
        return ["sh", "-c", self._answer] if list(argv) == ["true"] else ["sh", "-c", '"$@" | cat', "sh", *argv]


_OUTLIVED = ["sh", "-c", "trap '' TERM; sleep 6 & trap - TERM; wait"]


def test_a_command_outlived_by_what_it_started_is_timed_out_where_the_host_still_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "_GRACE", 1.0)
    with pytest.raises(TimedOut, match=r"timed out after 0\.3 s"):
        Lingering("exit 0").run(_OUTLIVED, timeout=0.3)


@pytest.mark.parametrize("answer", ["exit 255", "sleep 6"], ids=["refuses", "hangs"])
def test_a_command_that_is_not_killed_on_a_host_that_does_not_answer_is_the_hosts_problem(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_GRACE", 1.0)
    with pytest.raises(HostProblem, match="stopped answering"):
        Lingering(answer).run(_OUTLIVED, timeout=0.3)


def test_a_status_of_124_before_the_bound_is_the_commands_own() -> None:
    assert LocalHost().run(["sh", "-c", "exit 124"]).returncode == 124


def test_a_slow_host_gets_longer_bounds() -> None:
    host = LocalHost()
    host.slowness = 20
    assert host.run(["sleep", "1"], timeout=0.2).returncode == 0


def test_a_step_of_our_own_that_fails_is_the_hosts_problem_with_its_words() -> None:
    with pytest.raises(HostProblem, match=r"On local, reading failed with status 1: cat: /no/such"):
        LocalHost().run_checked(["cat", "/no/such"], doing="reading")


@given(name=WORDS.filter(lambda name: name not in ("", ".", "..") and "/" not in name), data=st.binary(max_size=200))
def test_a_file_is_put_as_it_is_whatever_its_name(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes
) -> None:
    if len(name.encode()) > 200:
        return
    path = tmp_path_factory.mktemp("put") / "new directory" / name
    LocalHost().put(str(path), data, mode=0o600)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [name]


def test_a_spawned_command_on_pipes_sees_no_terminal_and_answers_before_eof() -> None:
    child = LocalHost().spawn(["sh", "-c", "[ -t 0 ] || echo pipe; read -r a; echo got $a; cat; echo end"], tty=False)
    child.expect("pipe\n")
    child.sendline("one")
    child.expect("got one\n")
    child.sendeof()
    child.expect("end\n")


def test_a_spawned_command_on_a_terminal_sees_one() -> None:
    child = LocalHost().spawn(["sh", "-c", "[ -t 0 ] && [ -t 1 ] && echo terminal"], tty=True)
    child.expect("terminal")


def test_facts_are_read_from_the_hosts_own_words() -> None:
    info = (
        '{"version":{"Version":"5.4.2"},"host":{"conmon":{"version":"conmon version 2.1"},"ociRuntime":{"version":'
        '"crun version 1.21\\nmore"},"pasta":{"executable":"/usr/bin/pasta","package":"passt_1"},'
        '"security":{"rootless":true}},"store":{"graphDriverName":"overlay"}}'
    )
    facts = parse_facts(
        f"kernel=6.1\nuid=1500\ngid=1501\ncpus=2\ncgroups=v2\nhome=/h\ndocker=/usr/bin/docker\ninfo={info}\n"
    )
    assert (facts.version, facts.runtime, facts.network, facts.storage) == (
        "5.4.2",
        "crun version 1.21",
        "pasta passt_1",
        "overlay",
    )
    assert facts.rootless
    assert "home" not in facts.as_json()


def test_facts_of_a_host_without_podman_are_empty_and_not_an_error() -> None:
    facts = parse_facts("kernel=6.1\nuid=0\ngid=0\ncpus=1\ncgroups=hybrid\nhome=/root\ndocker=\ninfo=\n")
    assert (facts.version, facts.docker, facts.rootless) == ("", "", False)


def test_a_directory_is_made_with_those_above_it(tmp_path: Path) -> None:
    LocalHost().make_directory(f"{tmp_path}/new  directory/in it")
    assert (tmp_path / "new  directory" / "in it").is_dir()


@pytest.mark.parametrize("script", ["echo secret=hunter2; exit 1", "echo secret=hunter2; seq 100000 >&2; exit 1"])
def test_a_failed_step_quotes_no_output_and_the_end_of_its_error(script: str) -> None:
    with pytest.raises(HostProblem, match="failed with status 1") as failed:
        LocalHost().run_checked(["sh", "-c", script])
    assert "hunter2" not in str(failed.value)
    assert len(str(failed.value)) < 1000


def test_an_engine_that_prints_without_end_is_read_to_a_bound(tmp_path: Path) -> None:
    host = FakeHost(tmp_path, {"podman": "head -c 400000000 /dev/zero | tr '\\0' x"})
    script = 'ulimit -v 400000; exec "$@"'  # kilobytes: the shell must not hold it either
    done = host.run(["sh", "-c", script, "sh", "sh", "-c", SCRIPT], timeout=PATIENCE)
    assert done.returncode == 0
    assert len(done.stdout) < 2 << 20


def test_facts_that_lack_some_are_not_those_of_this_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest's saved state has its facts: with other questions it is another state."""
    before = facts.facts_digest()
    monkeypatch.setattr(facts, "SCRIPT", f"{facts.SCRIPT}printf 'more=1'\n")
    assert facts.facts_digest() != before
    assert before in guest._FACTS
