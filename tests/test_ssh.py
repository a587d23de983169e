from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from checks.core.answers import Unreadable, understood
from checks.core.errors import HostProblem, WrongUsage
from checks.core.process import Completed
from checks.core.run_processes import MARK
from checks.hosts import base, ssh
from checks.hosts.facts import parse as parse_facts
from checks.hosts.preflight import unusable
from checks.hosts.ssh import SshHost
from tests.patience import PATIENCE

ARGUMENT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
SHELLS = [shell for shell in ("sh", "bash", "zsh", "ksh", "mksh", "fish", "tcsh") if shutil.which(shell)]
"""The login shells that this machine has."""
HOSTILE = [
    "two words", "it's", '"', "$HOME", "`id`", "-n", "", "a\nb", "\\", "\\\\'", "*", "~", "é🦀", "; rm -rf x",
    "&& false",
    "!!", "^a^b", "\r\t\x1b[31m", "%s%b", "\\0101", "#", "{a,b}", "\\c", "x" * 30_000,
]  # fmt: skip


@pytest.fixture
def reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SshHost]:
    """Makes a host whose ssh gives the command to that login shell, as sshd does, after a script of the shell's own."""

    def make(shell: str, before: str = "") -> SshHost:
        ssh = tmp_path / "ssh"
        ssh.write_text(f"""#!/bin/sh
for last; do :; done
{before}
exec {shell} -c "$last"
""")
        ssh.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return SshHost("user@host", sockets=tmp_path)

    return make


@pytest.mark.parametrize("shell", SHELLS)
@given(argv=st.lists(ARGUMENT, max_size=6))
@example(argv=HOSTILE)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_argv_arrives_as_it_was_whatever_the_login_shell_is(
    shell: str, argv: list[str], reached: Callable[..., SshHost]
) -> None:
    done = reached(shell).run(["printf", "%s\\0", *argv], timeout=PATIENCE)
    assert done.stdout_bytes.decode().split("\0")[:-1] == (argv or [""])


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_there_carry_the_runs_variable(
    shell: str, reached: Callable[..., SshHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, "0123456789")
    host = reached(shell, f"unset {MARK}")  # as sshd does
    assert host.run(["printenv", MARK]).stdout == "0123456789\n"
    monkeypatch.delenv(MARK)
    assert host.run(["printenv", MARK]).stdout == ""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "greeting", ["echo Welcome, uid=0", "printf 'no newline'", "seq 3000", "set -e; echo home=/; echo oops >&2"]
)
def test_a_login_shell_that_prints_a_greeting_leaves_output_input_and_facts_as_they_are(
    shell: str, greeting: str, reached: Callable[..., SshHost]
) -> None:
    host = reached(shell, greeting)
    assert host.run(["cat"], stdin=b"in\n").stdout_bytes == b"in\n"
    assert host.facts().uid == os.getuid()
    assert "you are root" in unusable(host) or os.getuid() != 0
    child = host.spawn(["sh", "-c", "echo ready; read -r a; echo got $a"], tty=False)
    child.expect("ready")
    assert b"Welcome" not in (child.before or b"")
    child.sendline("it")
    child.expect("got it")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_death_by_signal_on_the_far_side_keeps_its_status(shell: str, reached: Callable[..., SshHost]) -> None:
    assert reached(shell).run(["sh", "-c", "kill -KILL $$"]).returncode == 137


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("echo This account is currently not available.; exit 1", "status 1: This account is currently not available"),
        ("exec cat", "stopped answering|did not run /bin/sh"),
        ("exec sh", "stopped answering|did not run /bin/sh"),
        ("exit 0", "did not run /bin/sh but exited with status 0: it printed nothing"),
    ],
)
def test_a_login_shell_that_runs_something_else_is_the_hosts_problem_and_never_gets_the_input(
    before: str, message: str, reached: Callable[..., SshHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_GRACE", 1.0)
    for stdin in (b"", f"touch {tmp_path}/ran\n".encode()):
        with pytest.raises(HostProblem, match=message):
            reached("sh", before).run(["true"], stdin=stdin, timeout=1)
    with pytest.raises(HostProblem, match="did not start a command"):
        reached("sh", before).spawn(["true"], tty=False, timeout=1)
    assert not (tmp_path / "ran").exists()


def test_deep_json_of_the_far_side_is_no_fault_of_ours(reached: Callable[..., SshHost]) -> None:
    assert parse_facts(f"uid=1\ngid=1\ninfo={'[' * 100_000}\n").version == ""
    for info in ("[]", '{"host": []}', '{"host": {"security": 1}}'):
        with contextlib.suppress(Unreadable):
            understood(parse_facts, f"uid=1\ngid=1\ninfo={info}\n")
    with pytest.raises(Unreadable, match="many"):
        understood(parse_facts, "uid=many\n")


def test_a_control_socket_of_a_long_name_in_a_long_directory_fits(tmp_path: Path) -> None:
    sockets = Path("/var/tmp/nanoclaw-verify-0123456789/s")
    long = "a-user-with-a-rather-long-name@a-host-with-a-rather-long-name-of.example.org" * 2
    (path,) = [
        word for word in SshHost(long, sockets=sockets).wrap_command(["true"]) if word.startswith("ControlPath=")
    ]
    assert len(path.removeprefix("ControlPath=")) + 17 < 108
    alone = SshHost(long, sockets=sockets / ("x" * 80)).wrap_command(["true"])
    assert "ControlPath=none" in alone
    assert "ControlMaster=no" in alone


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
    with pytest.raises(WrongUsage, match="is not a valid ssh host"):
        SshHost.parse(url, sockets=Path("/run/s"))


@pytest.mark.parametrize("port", ["0", "00", "65536", "99999"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(WrongUsage, match="is not a TCP port"):
        SshHost.parse(f"ssh://ada@host:{port}", sockets=Path("/run/s"))


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(WrongUsage, match="more than 200 characters"):
        SshHost.parse(f"ssh://ada@{'a' * 280}", sockets=Path("/run/s"))


def test_a_status_of_255_without_a_connection_is_the_hosts_problem(tmp_path: Path) -> None:
    gone = Completed(("true",), 255, b"", b"ssh: connect to host h port 22: Connection refused\n", 0.1)
    with pytest.raises(HostProblem, match="Connection refused"):
        SshHost("h", sockets=tmp_path).check(gone)


def test_a_broken_connection_never_quotes_what_the_command_printed(tmp_path: Path) -> None:
    with pytest.raises(HostProblem, match="the connection broke") as problem:
        SshHost("h", sockets=tmp_path).check(Completed(("cat", "x"), 255, b"secret\n", b"", 0.1))
    assert "secret" not in str(problem.value)


def test_other_statuses_are_the_commands_own(tmp_path: Path) -> None:
    done = Completed(("false",), 1, b"", b"", 0.1)
    assert SshHost("h", sockets=tmp_path).check(done) is done


@pytest.mark.parametrize("printed", ["yes floods >&2", "sleep 60"])
def test_a_forwarding_that_is_never_named_ends(printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\nexec 2>&2\n{printed}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(ssh, "_FORWARD_TIMEOUT", 1.0)
    host = SshHost("user@host", sockets=tmp_path)
    try:
        with pytest.raises(HostProblem, match="forwards no port") as failed:
            host.forward_port(80)
        assert len(str(failed.value)) < 1000
    finally:
        host.close()


def test_a_client_that_hangs_when_asked_for_its_connection_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(ssh, "_CONNECT_TIMEOUT", 0.5)
    host = SshHost("user@host", sockets=tmp_path)
    with pytest.raises(HostProblem, match="can't be reached"):
        host.check(Completed(("true",), 255, b"", b"", 1.0))
