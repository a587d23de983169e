"""The settings and their proof, the evidence, and what the command refuses."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from checks.core.errors import Exit, WrongUsage
from checks.documents import injection
from checks.engine.container_state import ContainerState, Mounted
from checks.evidence import store
from checks.evidence.hardening_model import InjectionCheck
from checks.evidence.store import Provenance
from checks.hardening.injection.command import InjectOptions, inject
from checks.hardening.injection.settings import Setting, in_force, of_options, seen
from tests.evidence import DEBIAN_13

OPTIONS = [
    "--read-only", "--tmpfs", "/tmp:rw,size=512m,mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges",
    "--cpus=2", "--memory=4g", "--pids-limit=256",
]  # fmt: skip
WANTED = dataclasses.replace(of_options(OPTIONS), open_ports=())

HARDENED = ContainerState(
    capabilities=0, no_new_privileges=True, seccomp=2, root=Mounted("overlay", True, None),
    tmp=Mounted("tmpfs", False, 512 << 20), tmp_mode="1777", pids=256, memory=4 << 30, cpus=2.0, unread=(),
    uid_map=((0, 1, 1500), (1500, 0, 1), (1501, 1501, 64036)), uid=1500, gid=1500,
    closed=True,
)  # fmt: skip


def test_a_hardened_container_has_all_of_it() -> None:
    assert [each for each in Setting if not in_force(each, WANTED, HARDENED, 1500)] == []


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        (Setting.CAPABILITIES, {"capabilities": 0x800405FB}),
        (Setting.CAPABILITIES, {"capabilities": 1 << 18}),
        (Setting.PRIVILEGES, {"no_new_privileges": False}),
        (Setting.ROOT, {"root": Mounted("overlay", False, None)}),
        (Setting.TMPFS, {"tmp": None}),
        (Setting.TMPFS, {"tmp": Mounted("tmpfs", False, None)}),
        (Setting.TMPFS, {"tmp": Mounted("tmpfs", True, 512 << 20)}),
        (Setting.TMPFS, {"tmp": Mounted("ext4", False, 512 << 20)}),
        (Setting.TMPFS, {"tmp_mode": "755"}),
        (Setting.PIDS, {"pids": None}),
        (Setting.PIDS, {"pids": 2048}),
        (Setting.MEMORY, {"memory": None}),
        (Setting.MEMORY, {"memory": 8 << 30}),
        (Setting.CPUS, {"cpus": None}),
        (Setting.CPUS, {"cpus": 4.0}),
        (Setting.NETWORK, {"closed": False}),
        (Setting.USER, {"uid_map": ((0, 1500, 1), (1, 100000, 65536))}),
        (Setting.USER, {"uid_map": ((0, 0, 1), (1, 1, 65536))}),
    ],
)
def test_each_setting_has_a_fault_that_turns_it_red(setting: Setting, fault: dict[str, object]) -> None:
    faulty = dataclasses.replace(HARDENED, **fault)  # type: ignore[arg-type]
    assert [each for each in Setting if not in_force(each, WANTED, faulty, 1500)] == [setting]
    assert seen(setting, faulty) != seen(setting, HARDENED)


def test_a_flag_that_the_hook_can_not_set_does_not_get_lost() -> None:
    with pytest.raises(WrongUsage, match="--device"):
        of_options([*WANTED.options, "--device=/dev/x"])
    with pytest.raises(WrongUsage, match="drops all"):
        of_options([word for word in WANTED.options if word != "--cap-drop=ALL"])


@pytest.mark.parametrize(
    "options",
    [
        InjectOptions(), InjectOptions(install=True, check=True), InjectOptions(check=True, dry_run=True),
        InjectOptions(install=True, nanoclaw="x"), InjectOptions(install=True, host="debian-13"),
        InjectOptions(uninstall=True, host="nowhere"), InjectOptions(install=True, host="auto"),
        InjectOptions(install=True, host="ssh://-x"), InjectOptions(install=True, json="x.json"),
        InjectOptions(check=True, junit="/no/such/directory/x.xml"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_wrong_usage(options: InjectOptions, capsys: pytest.CaptureFixture[str]) -> None:
    assert inject(options) == Exit.WRONG_USAGE
    assert "Wrong usage" in capsys.readouterr().err


def evidence(directory: Path, **host: object) -> Path:
    values = Provenance("debian-13", "stock", DEBIAN_13).values()
    values["host"] |= host
    result = {"name": "a", "passed": True, "observed": "b"}
    values |= {"agent": "y", "results": [result], "missing": {}}
    return store.save(store.build(InjectionCheck, values), directory)


def test_evidence_is_believed_of_its_own_host_only(tmp_path: Path) -> None:
    assert store.load(evidence(tmp_path), InjectionCheck).agent == "y"
    for wrong in ({"version": "4.3.1"}, {"name": "debian-12"}, {"uid": 7}, {"rootless": False}):
        path = evidence(tmp_path, **wrong)
        with pytest.raises(WrongUsage, match="evidence"):
            store.load(path, InjectionCheck)


def test_the_committed_evidence_is_valid_and_in_the_document() -> None:
    text = injection.section()
    known = injection.committed()
    assert known
    for each in known:
        assert re.search(
            rf"\| {each.name} \(Podman {re.escape(each.host.version)}, [^|]*{re.escape(each.nanoclaw)}[^|]*\) \|", text
        )
