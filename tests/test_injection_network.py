"""Closing the network of agents: what the hook adds and loads, what is installed, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from checks.core.errors import Exit, HostProblem
from checks.hardening.injection import install
from checks.hardening.injection.command import InjectOptions, inject
from checks.hardening.injection.configuration import HOOK, SETTINGS, files
from checks.hardening.injection.network import rules
from checks.hardening.injection.settings import recommended
from checks.hardening.injection.state import read_account
from checks.hosts.local import LocalHost
from tests.injection import here, settings

CONFIG = {
    "process": {"env": []}, "root": {}, "linux": {}, "mounts": [{"destination": "/workspace/group", "type": "bind"}],
}  # fmt: skip


def install_with(text: str) -> Exit:
    return inject(InjectOptions(install=True, egress=text))


def hook(directory: Path, *words: str, stdin: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run the hook as Podman or the runtime would."""
    environment = {"PATH": f"{path}:{os.environ['PATH']}"}
    argv = ["/bin/sh", str(directory / HOOK), *words]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """The hook's files with a closed network, but for port 10255."""
    chosen = recommended().within(())
    directory = tmp_path / "containers"
    for file in files(str(directory), "5.4.2", type(chosen)(**{**vars(chosen), "open_ports": (10255,)})):
        path = Path(file.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
    return directory


@pytest.fixture
def nsenter(tmp_path: Path) -> Path:
    """A directory with an nsenter that notes its arguments, and fails if there is a file “fail” beside it."""
    directory = tmp_path / "programs"
    directory.mkdir()
    program = directory / "nsenter"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{directory}/seen\n[ ! -e {directory}/fail ]\n')
    program.chmod(0o755)
    return directory


@pytest.mark.parametrize("hooks", [None, {}, {"createRuntime": [{"path": "/bin/true"}], "poststop": []}])
def test_the_hook_that_closes_is_added_to_those_of_an_agent(placed: Path, hooks: dict[str, Any] | None) -> None:
    before = {**CONFIG, "hooks": hooks}
    done = hook(placed, stdin=json.dumps(before))
    added = json.loads(done.stdout)["hooks"]
    kept = (hooks or {}).get("createRuntime", [])
    assert added["createRuntime"][: len(kept)] == kept
    assert [each["args"][-1] for each in added["createRuntime"][len(kept) :]] == ["close"]
    assert added.get("poststop") == (hooks or {}).get("poststop")


def test_another_container_keeps_its_network(placed: Path) -> None:
    text = json.dumps({**CONFIG, "mounts": []})
    assert hook(placed, stdin=text).stdout == text


def test_hooks_of_another_kind_are_refused(placed: Path) -> None:
    assert hook(placed, stdin=json.dumps({**CONFIG, "hooks": []})).returncode == 1


def test_the_rules_are_loaded_into_the_containers_namespace_with_the_hosts_own_networks(
    placed: Path, nsenter: Path
) -> None:
    done = hook(placed, "close", stdin='{"pid": 4711}', path=str(nsenter))
    assert (done.returncode, done.stderr) == (0, "")
    namespace, program, loaded = (nsenter / "seen").read_text().split("\n", maxsplit=2)
    assert (namespace, program) == ("--net=/proc/4711/ns/net", "nft")
    assert "127.0.0.1, " in loaded  # an address of this machine, whatever its networks are
    assert "tcp dport { 10255 } accept" in loaded
    assert "@own" not in loaded


@pytest.mark.parametrize("state", ["", "{}", '{"pid": 4711}', "[]"])
def test_no_container_starts_without_the_rules(placed: Path, nsenter: Path, state: str) -> None:
    (nsenter / "fail").touch()
    assert hook(placed, "close", stdin=state, path=str(nsenter)).returncode == 1
    assert "the container was not started" in (placed / "nanoclaw-hardening" / "last-refusal").read_text()


def test_no_port_is_open_unless_one_is_given() -> None:
    assert "dport {" not in rules([]).replace("th dport 53", "")
    assert "tcp dport { 10255, 3001 } accept" in rules([10255, 3001])


def test_it_is_installed_kept_changed_and_removed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def there() -> Any:
        return json.loads((settings(home) / SETTINGS).read_text()).get("network")

    assert install_with("10255") is Exit.OK
    assert "closed network: packets to the host's networks are refused" in capsys.readouterr().out
    assert there()["ports"] == [10255]
    assert install_with("") is Exit.OK  # an update opens nothing
    assert there()["ports"] == [10255]
    assert install_with("closed") is Exit.OK
    assert there()["ports"] == []
    assert install_with("open") is Exit.OK
    assert there() is None
    assert "closed network" not in capsys.readouterr().out.rpartition("Wrote ")[2]


def test_rules_that_are_not_in_force_are_not_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PODMAN", "open-network")
    assert install_with("closed") is Exit.HOST_UNUSABLE
    assert not (settings(home) / SETTINGS).exists()


@pytest.mark.parametrize("program", ["nft", "nsenter"])
def test_without_the_programs_nothing_is_installed(home: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(install, "read_account", lambda host: here(network_programs=program, open_ports=(1,)))
    with pytest.raises(HostProblem, match=f"{program} is missing, which closes the network"):
        install.install(LocalHost(), dry_run=False)


def test_it_is_looked_for_where_the_hook_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checks.hardening.injection.configuration.HOOK_PATH", "/nowhere")
    assert read_account(LocalHost()).network_programs in ("nft", "nsenter")


@pytest.mark.parametrize("text", ["0", "65536", "x", "1,", "1 2", "closed,1", "-1", "10255\n", "٣"])
def test_what_is_no_list_of_ports_is_wrong_usage(home: Path, text: str) -> None:
    assert install_with(text) is Exit.WRONG_USAGE


@pytest.mark.parametrize("more", [{"uninstall": True}, {"check": True}, {"install": True, "driver": True}])
def test_it_goes_with_install_alone(home: Path, more: dict[str, bool]) -> None:
    assert inject(InjectOptions(egress="closed", **more)) is Exit.WRONG_USAGE  # type: ignore[arg-type]
