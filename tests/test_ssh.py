from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from checks.hosts.process import Completed
from checks.hosts.ssh import SshHost
from checks.problems import HostProblem, WrongUsage

ARGUMENT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@given(st.lists(ARGUMENT, max_size=6))
@example(["two words", "it's", '"', "$HOME", "`id`", "-n", "", "a\nb", "\\", "*", "~", "é🦀", "; rm -rf x", "&& false"])
def test_any_argv_arrives_as_it_was(argv: list[str]) -> None:
    carried = SshHost("user@host", sockets=Path("/run/s")).carry(["printf", "%s\\0", *argv])
    done = subprocess.run(["sh", "-c", carried[-1]], capture_output=True, check=True)  # as sshd gives it to a shell
    assert done.stdout.decode().split("\0")[:-1] == (argv or [""])


@pytest.mark.parametrize(
    ("url", "destination", "port"),
    [
        ("ssh://ada@host", "ada@host", None),
        ("ssh://host", "host", None),
        ("ssh://ada@host.example.org:2222", "ada@host.example.org", 2222),
        ("ssh://ada@[fe80::1]:22/", "ada@fe80::1", 22),
    ],
)
def test_an_ssh_url_is_taken_apart(url: str, destination: str, port: int | None) -> None:
    host = SshHost.parse(url, sockets=Path("/run/s"))
    assert (host.destination, host.port, host.name) == (destination, port, url)


@pytest.mark.parametrize(
    "url", ["ssh://", "ssh://a b", "ssh://-oProxyCommand=x", "ssh://u@-host", "ssh://h:port", "ssh://h/x"]
)
def test_what_is_no_ssh_url_is_refused(url: str) -> None:
    with pytest.raises(WrongUsage, match="is not an ssh host"):
        SshHost.parse(url, sockets=Path("/run/s"))


def test_a_death_by_signal_on_the_far_side_keeps_its_status() -> None:
    carried = SshHost("host", sockets=Path("/run/s")).carry(["sh", "-c", "kill -KILL $$"])
    assert subprocess.run(["sh", "-c", carried[-1]], capture_output=True, check=False).returncode == 137


def test_a_status_of_255_without_a_connection_is_the_hosts_problem(tmp_path: Path) -> None:
    gone = Completed(("true",), 255, b"", b"ssh: connect to host h port 22: Connection refused\n", 0.1)
    with pytest.raises(HostProblem, match="Connection refused"):
        SshHost("h", sockets=tmp_path).check(gone)


def test_other_statuses_are_the_commands_own(tmp_path: Path) -> None:
    done = Completed(("false",), 1, b"", b"", 0.1)
    assert SshHost("h", sockets=tmp_path).check(done) is done
