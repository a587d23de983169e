"""A home of the tests' own, into which the hardening is installed."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from checks.hardening.injection import install
from checks.hardening.injection.state import Account, read_account
from checks.hosts.local import LocalHost
from tests import podman


def make_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose user is no root, has Podman 5 and all controllers, whoever runs the tests on whatever machine."""
    directory = tmp_path / 'a "home" of CORP\\user'
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    for name in ("XDG_CONFIG_HOME", "CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE", "PODMAN_USERNS", "FAKE_PODMAN"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    podman.install(programs)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(install, "read_account", lambda host: plain(read_account(host)))
    return directory


def plain(found: Account, **more: object) -> Account:
    ours = {path: data for path, data in found.files.items() if path.startswith(found.home)}
    usual = {
        "uid": 1500,
        "user": "someone",
        "owner": "1500 someone",
        "version": "5.4.2",
        "services": None,
        "network_programs": "",
    }
    values = {**usual, "controllers": ("cpu", "memory", "pids"), "files": ours, **more}
    return dataclasses.replace(found, **values)  # type: ignore[arg-type]


def here(**more: object) -> Account:
    return plain(read_account(LocalHost()), **more)


def tree(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*")}


def settings(home: Path) -> Path:
    return home / ".config" / "containers"


def snapshot(home: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a home: names, modes, contents."""
    return {
        str(path.relative_to(home)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in home.rglob("*")
    }


def write(home: Path, name: str, text: str | bytes) -> Path:
    path = settings(home) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("latin-1") if isinstance(text, str) else text)
    return path
