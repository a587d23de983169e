"""What Podman reads and where it writes while it makes images in a namespace of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import tomli_w

from checks.core.run_directories import MARK

SHORT_NAMES = {"node": "docker.io/library/node"}
"""What the short names in the agents' Dockerfiles mean, whatever this machine's own configuration makes of them."""

_KEPT = (
    MARK, "PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
    *(name for each in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (each, each.upper())),
)  # fmt: skip
"""Of our own environment. All else stays out: CONTAINER_HOST, STORAGE_OPTS and many more redirect Podman."""

_CONFIGURATION = ("registries.conf", "registries.conf.d", "registries.d", "certs.d", "policy.json", "auth.json")
"""Of the account's own ~/.config/containers: how it reaches registries, and which of them it trusts."""

_UNKNOWN = 65534
"""The uid that Podman is given as root's: it must not be 0."""


class Surroundings:
    """The environment of Podman in our namespace, and a directory that holds everything it writes apart from images.

    In the namespace Podman has the uid 0 and would take itself for root. It would then lock files in /var/cache and
    read credentials in /run, which a plain user can't, and leave files there when we are root. So it is told what
    ``podman unshare`` tells it: that it runs for a rootless account. That account's directories are ours.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def environment(self) -> dict[str, str]:
        """The whole environment; what it names is made when it is missing."""
        self._write()
        return {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "_CONTAINERS_USERNS_CONFIGURED": "done",
            "_CONTAINERS_ROOTLESS_UID": str(os.getuid() or _UNKNOWN),
            "_CONTAINERS_ROOTLESS_GID": str(os.getgid() or _UNKNOWN),
            "HOME": str(self._home),
            "XDG_CONFIG_HOME": str(self._home / ".config"),
            "XDG_CACHE_HOME": str(self._home / ".cache"),
            "XDG_DATA_HOME": str(self._home / ".local/share"),
            "XDG_RUNTIME_DIR": str(self._runtime),
            "TMPDIR": str(self._temporary),
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
        }

    @property
    def _home(self) -> Path:
        return self.directory / "home"

    @property
    def _runtime(self) -> Path:
        return self.directory / "run"

    @property
    def _temporary(self) -> Path:
        return self.directory / "tmp"

    def _write(self) -> None:
        if self.directory.exists():
            return
        configuration = self._home / ".config" / "containers"
        aliases = self._home / ".cache" / "containers" / "short-name-aliases.conf"
        for each in (configuration, aliases.parent, self._runtime / "containers", self._temporary):
            each.mkdir(parents=True)
        for link, target in (
            *((configuration / name, _configuration() / name) for name in _CONFIGURATION),
            (self._home / ".docker", Path.home() / ".docker"),
            (self._runtime / "containers" / "auth.json", _credentials()),
        ):
            if os.access(target, os.R_OK):
                link.symlink_to(target)
        aliases.write_text(tomli_w.dumps({"aliases": SHORT_NAMES}))
        storage = {"driver": "overlay", "graphroot": str(self._home), "runroot": str(self._runtime)}
        (self.directory / "storage.conf").write_text(tomli_w.dumps({"storage": storage}))
        (self.directory / "containers.conf").write_text(tomli_w.dumps(self._settings()))

    def _settings(self) -> Mapping[str, Mapping[str, str]]:
        return {
            "engine": {
                "cgroup_manager": "cgroupfs",
                "events_logger": "none",
                "image_copy_tmp_dir": str(self._temporary),
                "lock_type": "file",
                "tmp_dir": str(self._runtime / "libpod"),
            },
            "network": {"network_config_dir": str(self._runtime / "network")},
        }


def _configuration() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "containers"


def _credentials() -> Path:
    """Where ``podman login`` keeps what this account has told it."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    usual = "/run/containers/0" if os.getuid() == 0 else f"{runtime}/containers"
    return Path(os.environ.get("REGISTRY_AUTH_FILE") or f"{usual}/auth.json").absolute()
