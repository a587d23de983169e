"""The facts of a host: asked by a shell script on it, and parsed from its answer."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any

import msgspec

from checks.core.bounded import parsed
from checks.core.lines import lines_of

SCRIPT = """
printf 'kernel=%s\\n' "$(uname -r)"
printf 'uid=%s\\n' "$(id -u)"
printf 'gid=%s\\n' "$(id -g)"
printf 'home=%s\\n' "$HOME"
printf 'runtime_directory=%s\\n' "$XDG_RUNTIME_DIR"
printf 'machine=%s\\n' "$(head -c 64 /etc/machine-id 2>/dev/null)"
printf 'docker=%s\\n' "$(command -v docker)"
printf 'cpus=%s\\n' "$(nproc)"
. /etc/os-release && printf 'distribution=%s\\n' "$PRETTY_NAME"
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then cgroups=v2
elif [ -d /sys/fs/cgroup/unified ] || grep -q '^0::' /proc/self/cgroup; then cgroups=hybrid
else cgroups=v1; fi
printf 'cgroups=%s\\n' "$cgroups"
printf 'init=%s\\n' "$(cat /proc/1/comm)"
if command -v podman >/dev/null; then engine=podman format=json; else engine=docker format='{{json .}}'; fi
printf 'engine=%s\\n' "$engine"
printf 'info=%s\\n' "$("$engine" info --format "$format" 2>/dev/null | head -c 1048576 | tr -d '\\n')"
"""


_PERSONAL = {"home", "store", "run_root", "runtime_directory", "machine"}
"""Facts that identify the machine or the account."""
TITLES = {"podman": "Podman", "docker": "Docker Engine"}
"""An engine's name in text."""


@dataclass(frozen=True)
class Facts:
    """Facts of a host. An unknown fact is an empty string."""

    kernel: str
    distribution: str
    uid: int
    gid: int
    home: str
    cpus: int
    cgroups: str
    """``v2``, ``v1`` or ``hybrid``."""
    init: str
    """The name of the first process."""
    docker: str
    """The path of ``docker`` on the account's PATH."""
    engine: str
    """The engine behind ``docker``, and its own command: ``podman`` or ``docker``."""
    version: str
    """The engine's version."""
    runtime: str
    conmon: str
    network: str
    """The rootless network helper: ``pasta …`` or ``slirp4netns …``; ``bridge`` for a rootful engine."""
    storage: str
    rootless: bool
    store: str = ""
    """Podman's graph root; empty if it is the default."""
    run_root: str = ""
    """Podman's directory of temporary state."""
    runtime_directory: str = ""
    """The account's XDG_RUNTIME_DIR."""
    machine: str = ""
    """The machine's id, see machine-id(5); empty without one."""

    @property
    def graph_root(self) -> str:
        """Podman's directory of images and containers."""
        return self.store or f"{self.home}/.local/share/containers/storage"

    @property
    def has_runtime_directory(self) -> bool:
        """Whether Podman's state is in XDG_RUNTIME_DIR or /run. Else it is in TMPDIR, which must not change then."""
        known = [f"{self.runtime_directory.rstrip('/')}/"] if self.runtime_directory.startswith("/") else []
        return self.run_root.startswith(("/run/", *known))

    def as_json(self) -> dict[str, str | int | bool]:
        """The facts for evidence, without what identifies the machine and the account."""
        return {key: value for key, value in asdict(self).items() if key not in _PERSONAL}


def parse(text: str) -> Facts:
    """Parse the ``key=value`` lines that the host's shell printed. For ``Host.ask``."""
    found = pairs(text)
    info: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        value = parsed(found.get("info", ""))
        info = value if isinstance(value, dict) else {}
    engine = found.get("engine", "")
    values = {
        "kernel": found.get("kernel", ""),
        "distribution": found.get("distribution", ""),
        "uid": int(found["uid"]),
        "gid": int(found["gid"]),
        "home": found.get("home", ""),
        "runtime_directory": found.get("runtime_directory", ""),
        "machine": found.get("machine", ""),
        "cpus": int(found.get("cpus") or 0),
        "cgroups": found.get("cgroups", ""),
        "init": found.get("init", ""),
        "docker": found.get("docker", ""),
        "engine": engine,
        **(_of_docker(info) if engine == "docker" else _of_podman(info)),
    }
    return msgspec.convert(values, Facts)  # checks the types of what the engine printed


def pairs(text: str) -> dict[str, str]:
    """The ``key=value`` lines of a text; others are skipped."""
    return dict(line.split("=", 1) for line in lines_of(text) if "=" in line)


def _of_podman(info: dict[str, Any]) -> dict[str, Any]:
    host = info.get("host", {})
    helpers = (name for name in ("pasta", "slirp4netns") if host.get(name, {}).get("executable"))
    rootless = bool(host.get("security", {}).get("rootless", host.get("rootless", False)))
    helper = host.get("rootlessNetworkCmd") or next(helpers, "")
    return {
        "version": info.get("version", {}).get("Version", ""),
        "runtime": first_line(host.get("ociRuntime", {}).get("version", "")),
        "conmon": first_line(host.get("conmon", {}).get("version", "")),
        "network": " ".join(filter(None, (helper, first_line(host.get(helper, {}).get("package", ""))))),
        "storage": info.get("store", {}).get("graphDriverName", ""),
        "rootless": rootless,
        "store": info.get("store", {}).get("graphRoot", ""),
        "run_root": info.get("store", {}).get("runRoot", ""),
    }


def _of_docker(info: dict[str, Any]) -> dict[str, Any]:
    runtime = str(info.get("DefaultRuntime", ""))
    return {
        "version": str(info.get("ServerVersion", "")).split("+")[0],
        "runtime": f"{runtime} {info.get('RuncCommit', {}).get('ID', '')}".strip(),
        "conmon": "",
        "network": "bridge",
        "storage": str(info.get("Driver", "")),
        "rootless": any("rootless" in str(option) for option in info.get("SecurityOptions") or ()),
    }


def first_line(text: str) -> str:
    """The first line of a version text."""
    return text.strip().split("\n", 1)[0]


def facts_digest() -> str:
    """What identifies the facts that this version asks for: those that another version has saved lack some."""
    asked = [SCRIPT, *(each.name for each in fields(Facts))]
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()[:16]
