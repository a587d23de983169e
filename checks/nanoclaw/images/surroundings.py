"""Environment and directories of Podman for building images in a namespace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import tomli_w

from checks.core.run_processes import MARK

SHORT_NAMES = {"node": "docker.io/library/node"}
"""Short names in the agents' Dockerfiles, independent of this machine's configuration."""

_KEPT = (
    MARK, "PATH", "LANG", "LC_ALL", "TZ",
    *(name for each in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (each, each.upper())),
)  # fmt: skip
"""Variables that are passed on. CONTAINER_HOST, STORAGE_OPTS and many others would redirect Podman."""

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that name certificates."""

_CONFIGURATION = ("registries.conf", "registries.conf.d", "registries.d", "certs.d", "policy.json")
"""Files of ~/.config/containers that are kept: registries and trust."""

_CREDENTIALS = "auth.json"

_UNKNOWN = 65534
"""The uid that Podman gets if root runs it: it must not be 0."""


class Surroundings:
    """Podman's environment in the namespace, and a directory for everything it writes except images.

    With uid 0 in the namespace, Podman would behave as root: lock files in /var/cache and read credentials in /run,
    which fails for a normal user and leaves files for root. So it gets the variables of ``podman unshare``, which make
    it rootless, with directories of this run.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def environment(self) -> dict[str, str]:
        """The complete environment; its directories are made if missing."""
        self._write()
        return {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            **{name: os.path.realpath(os.environ[name]) for name in _CERTIFICATES if os.environ.get(name)},
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
        (self._home / ".docker").mkdir()
        links = {configuration / name: _configuration() / name for name in (*_CONFIGURATION, _CREDENTIALS)}
        links[self._home / ".docker" / "config.json"] = _of_docker()
        links[self._runtime / "containers" / _CREDENTIALS] = _credentials()
        for link, target in links.items():
            if os.access(target, os.R_OK):
                link.symlink_to(target.resolve())
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


def configuration() -> list[Path]:
    """The account's files that tell where registries are, and what is trusted; the environment links to them."""
    certificates = [Path(os.environ[name]) for name in _CERTIFICATES if os.environ.get(name)]
    known = [*(_configuration() / name for name in _CONFIGURATION), *certificates]
    return [each for each in known if os.access(each, os.R_OK)]


def credentials() -> list[Path]:
    """The account's files with credentials for registries."""
    known = (_configuration() / _CREDENTIALS, _of_docker(), _credentials())
    return [each for each in known if os.access(each, os.R_OK)]


def _of_docker() -> Path:
    return Path.home() / ".docker" / "config.json"


def _configuration() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "containers"


def _credentials() -> Path:
    """The credentials file of ``podman login``."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    usual = "/run/containers/0" if os.getuid() == 0 else f"{runtime}/containers"
    return Path(os.environ.get("REGISTRY_AUTH_FILE") or f"{usual}/auth.json").absolute()
