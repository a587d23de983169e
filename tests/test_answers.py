"""Answers of hosts and containers that can't be parsed: an error of the host, or a failed case, and never of ours."""

from __future__ import annotations

import ast
import base64
import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.capacity import sampling
from checks.core import answers
from checks.core.answers import Unreadable, understood
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.outcome import run_and_report
from checks.core.paths import ROOT
from checks.core.process import Completed
from checks.engine import container_state, probe_container
from checks.engine.flags import Attack
from checks.engine.leaks import LeakDetector
from checks.guide import catalogue, diagnosis, snapshot
from checks.hardening import attacks, browser
from checks.hardening.injection import effect, settings, state
from checks.hardening.injection.settings import Setting
from checks.hosts import base, preflight
from checks.hosts.base import Host
from checks.hosts.local import LocalHost
from checks.nanoclaw import contract, driver, provider
from tests.fakes import FACTS
from tests.test_hardening_inside import HARDENED

ENTRIES = catalogue.load()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


INFO = '{"version":{"Version":"5.4.2"},"host":{"security":{"rootless":true}},"store":{"graphOptions":{}}}'
FACT_LINES = f"kernel=6.1\nuid=1500\ngid=1500\nhome=/h\ncpus=2\nengine=podman\ndocker=/usr/bin/docker\ninfo={INFO}\n"
ACCOUNT = "".join(
    f"{key}\t{encoded(value)}\n"
    for key, value in {
        "uid": "1500", "user": "ada", "home": "/home/ada", "owner": "1500 ada", "elsewhere": "", "own": "",
        "version": "5.4.2", "python": "3.13",
        f"unit {encoded('nanoclaw-v2-a.service')}": "Environment=A=b 'C=d'\nEnvironmentFiles=/x (ignore_errors=no)\n",
        f"file {encoded('/etc/containers/containers.conf')}": "[containers]",
    }.items()
)  # fmt: skip
LISTED = (
    "self\n/run/user/1500\n/store\n= processes\n7 sh -s nanoclaw-verify-look\n= mounts\n1 2 0:1 / /store/a rw\n"
    '= subordinate ids\n= files\n/tmp/x\n= containers\n[{"id":"0123456789abcdef","names":["a"]}]\n'
)
CONFIG = (
    '{"process":{"user":{"uid":1,"gid":1},"capabilities":{"bounding":["CAP_CHOWN"]}},"root":{"readonly":true},'
    '"linux":{"resources":{"cpu":{"quota":1,"period":1},"pids":{"limit":5}},"uidMappings":[{"containerID":0,'
    '"hostID":1,"size":1}]},"mounts":[{"destination":"/tmp","type":"tmpfs","options":["size=5k"]}]}'
)
EFFECT = "".join(
    f"{key}\t{encoded(value)}\n"
    for key, value in {"started": "yes\n", "inside": HARDENED, "handed": CONFIG, "error": "x"}.items()
)
SAMPLES = (
    "container a /sys/a\n/sys/a/memory.current:5\n/sys/a/memory.stat:anon 3\n/proc/meminfo:MemTotal: 9 kB\n"
    "/proc/meminfo:MemAvailable: 9 kB\n/proc/meminfo:SwapTotal: 9 kB\n/proc/meminfo:SwapFree: 9 kB\nsample\n"
)
BROWSED = '{"seconds":1,"timed_out":false,"status":0,"text":"t","stderr":"","processes":[{"kind":"browser","namespaces":1,"filters":1},{"kind":"renderer","namespaces":2,"filters":2}]}'  # noqa: E501
ATTACKED = "==reading 0\nx\n==end\n==attack busy\nout\n==status 1\n"
CALLS = encoded("docker\0ps\0") + " 0 0a 1.5 2.5\n"
RETURNED = '{"outputs":[{"status":"success"}],"end":{"status":"success"}}\n'
ATTACK = Attack(id="busy", tries="x", script="x", refused="x", example="x", counterexample="y")


class Answering(LocalHost):
    """A host on which every command prints this."""

    name = "odd"

    def __init__(self, stdout: str) -> None:
        self._stdout = stdout.encode(errors="replace")

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        return Completed(tuple(argv), 0, self._stdout, b"", 0.1)


def account(text: str) -> state.Account:
    return state.account_in(ACCOUNT, "odd")


def of_leaks(text: str) -> None:
    host = Answering(text)
    host.remember(FACTS)
    LeakDetector(host, "run", exclusive=True).begin()


def of_effect(text: str) -> None:
    host = Answering(text)
    seen = host.understood(text, probe_container.values_in, "asking")
    assert all(isinstance(each, str) for each in seen.values())


def of_account(text: str) -> None:
    found = state.read_account(Answering(text))
    state.conflicts(found), state.problems(found), state.competing_settings(found)
    state.require_account(found)
    state.require_writable(found, "installed")


def of_snapshot(text: str) -> None:
    class Begun(Answering):
        def run(self, argv: Sequence[str], **_: Any) -> Completed:  # the last argument is the word that begins it
            return Completed(tuple(argv), 0, f"profile\n{argv[-1]}\n".encode() + self._stdout, b"", 0.1)

    diagnosis.diagnose(snapshot.take(Begun(text)), ENTRIES)


def of_preflight(text: str) -> None:
    preflight.unusable(Answering(text))


def in_force_of(found: container_state.ContainerState) -> list[str]:
    """What is said of a container's settings."""
    wanted = settings.recommended()
    return [f"{settings.in_force(each, wanted, found, 1000)} {settings.seen(each, found)}" for each in Setting]


@pytest.mark.parametrize("value", ['"65536"', "[]", "{}", "null", "1.5", "true"])
@pytest.mark.parametrize("key", ["hostID", "size", "uid", "gid", "limit", "quota", "period"])
def test_a_configuration_with_a_value_of_another_type_is_unreadable_or_harmless(key: str, value: str) -> None:
    text = re.sub(rf'"{key}":\d+', f'"{key}":{value}', CONFIG)
    assert text != CONFIG
    with contextlib.suppress(Unreadable):
        in_force_of(understood(effect.of_config, text))


OF_HOSTS: dict[str, tuple[Callable[[str], object], str]] = {
    "facts": (lambda text: Answering(text).facts().as_json(), FACT_LINES),
    "account": (of_account, ACCOUNT),
    "leaks": (of_leaks, LISTED),
    "effect": (of_effect, EFFECT),
    "snapshot": (of_snapshot, FACT_LINES),
    "preflight": (of_preflight, "uid=1\ndocker=/d\npodman=/p\n"),
    "private directory": (lambda text: Answering(text).make_private_directory("n"), f"{base.SHARED}/n-a\n"),
    "samples": (lambda text: Answering(text).understood(text, sampling.parse, "reading memory"), SAMPLES),
    "mount program": (lambda text: Answering(text).ask(["x"], provider._mount_program), INFO),
    "calls": (lambda text: Answering(text).ask(["x"], driver.calls_in), CALLS),
}
"""What reads an answer of a host, with a genuine one."""

OF_CONTAINERS: dict[str, tuple[Callable[[str], object], str]] = {
    "state": (container_state.parse, HARDENED),
    "configuration": (lambda text: in_force_of(understood(effect.of_config, text)), CONFIG),
    "attacks": (lambda text: attacks.parse(completed(text), ["x"], [ATTACK], []), ATTACKED),
    "browser": (lambda text: msgspec.to_builtins(browser.parse(completed(text), text, "t", [], [])), BROWSED),
    "what nanoclaw returned": (lambda text: understood(driver.returned, text), RETURNED),
    "outputs": (lambda text: contract.Markers().feed(contract.START + text.encode() + contract.END), RETURNED),
}
"""What reads an answer of a container."""


def completed(text: str) -> Completed:
    return Completed(("docker",), 0, text.encode(errors="replace"), b"", 0.1)


ODD = st.one_of(
    st.sampled_from(
        [
            "",
            "x",
            "{}",
            "[]",
            "0",
            "-1",
            "1" * 5000,
            "null",
            "NaN",
            "\t",
            "\0",
            "=",
            "==",
            "/",
            "=\n=",
            "{",
            '"',
            "[" * 5000,
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@st.composite
def damaged(draw: st.DrawFn, genuine: str) -> str:
    """A genuine answer of which some words were replaced, lost or repeated, or which was cut; or other text."""
    words = re.split(r'(\s|[:,={}"\[\]]+)', genuine)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(words) - 1))
        words[at : at + draw(st.integers(0, 4))] = draw(st.lists(st.one_of(ODD, st.sampled_from(words)), max_size=2))
        words = words or [""]
    text = "".join(words)
    return draw(st.sampled_from([text, text, text, text[: draw(st.integers(0, len(text)))], draw(ODD)]))


@pytest.mark.parametrize("name", OF_HOSTS)
@given(data=st.data())
def test_an_odd_answer_of_a_host_is_an_error_of_the_host(name: str, data: st.DataObject) -> None:
    read, genuine = OF_HOSTS[name]
    with contextlib.suppress(HostProblem):
        read(data.draw(damaged(genuine)))


def test_a_parser_of_our_files_calls_no_answer_a_wrong_use() -> None:
    def parse(text: str) -> None:
        raise WrongUsage(f"{text} is not a size.")

    with pytest.raises(Unreadable, match="x is not a size"):
        understood(parse, "x")


@pytest.mark.parametrize("name", OF_CONTAINERS)
@given(data=st.data())
def test_an_odd_answer_of_a_container_is_unreadable(name: str, data: st.DataObject) -> None:
    read, genuine = OF_CONTAINERS[name]
    with contextlib.suppress(Unreadable):
        read(data.draw(damaged(genuine)))


@pytest.mark.parametrize("name", [*OF_HOSTS, *OF_CONTAINERS])
def test_a_genuine_answer_is_parsed(name: str) -> None:
    read, genuine = {**OF_HOSTS, **OF_CONTAINERS}[name]
    read(genuine)


@pytest.mark.parametrize(
    "answer",
    ["", "hello\n", "uid\t%%%\n", ACCOUNT.replace("uid\t", "gid\t"), ACCOUNT.replace(encoded("1500"), encoded("many")),
     ACCOUNT.replace(encoded("1500 ada"), encoded("1500")), f"{ACCOUNT}Last login: today\n"],
    ids=["nothing", "no tab", "no base64", "no uid", "no number", "no owner's name", "a greeting"],
)  # fmt: skip
def test_an_odd_account_is_status_3_with_one_sentence(answer: str) -> None:
    said: list[str] = []

    def run() -> Exit:
        state.read_account(Answering(answer))
        return Exit.OK

    assert run_and_report(run, said.append) == Exit.HOST_UNUSABLE
    (line,) = said
    assert line.startswith("The host can’t be used: On odd, reading its container configuration printed something ")
    assert "\n" not in line


def test_limits_that_divide_by_zero_are_unreadable() -> None:
    for limit in ("1 0", f"{'1' * 4000} 1"):
        with pytest.raises(Unreadable):
            container_state.parse(HARDENED.replace("200000 100000", limit))


def test_output_of_a_checked_step_reaches_a_caller_only_through_a_parser() -> None:
    """``ask`` and ``understood`` are the only ways, so that no caller can index or convert an answer unguarded."""
    assert Host.run_checked.__annotations__["return"] == "None"


def test_base64_is_decoded_in_one_place() -> None:
    def decodes(path: Path) -> bool:
        names = {"b64decode", "urlsafe_b64decode", "standard_b64decode", "a2b_base64"}
        tree = ast.walk(ast.parse(path.read_text()))
        return any(getattr(node, "attr", getattr(node, "id", "")) in names for node in tree)

    assert [path for path in (ROOT / "checks").rglob("*.py") if decodes(path)] == [Path(answers.__file__)]
