"""The doctor's findings: each check with its severity, what was fine, what was not tested, and what is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checks.core.paths import GUIDE
from checks.evidence.checklist import Result, State
from checks.guide.catalogue import Entry
from checks.guide.diagnosis import Diagnosis
from checks.guide.host_checks import CHECKS
from checks.guide.snapshot import HostSnapshot


@dataclass(frozen=True)
class _About:
    """A check: the severity of its finding, what is true if it finds nothing, and what it needs to know for that."""

    severity: State
    fine: str
    needs: Sequence[str] = ()
    """Keys of the snapshot; ``version`` is Podman's."""
    with_nanoclaw_2: State | None = None
    """The severity where nanoclaw 2.x is installed, if it is another."""


_CHECKS = {
    "podman-info-says-rootless-false": _About("blocks", "the account is not root"),
    "docker-command-not-found": _About("blocks", "`docker` is on PATH"),
    "docker-is-not-the-shim": _About("blocks", "`docker` is Podman's shim", ["docker"]),
    "newuidmap-is-missing": _About("blocks", "newuidmap and newgidmap are installed"),
    "unprivileged-user-namespaces-are-refused": _About("blocks", "the kernel allows user namespaces"),
    "there-are-not-enough-ids-for-an-image": _About("blocks", "the account has subordinate ids"),
    "podman-6-refuses-cgroup-v1": _About("blocks", "Podman does not refuse this cgroup version", ["version"]),
    "cgroups-in-hybrid-mode-are-not-supported": _About("blocks", "cgroups are not in hybrid mode"),
    "a-network-helper-is-missing": _About("blocks", "the network helper is installed", ["version"]),
    "slirp4netns-support-has-been-removed": _About(
        "blocks", "no removed network helper is selected", ["version", "settings"]
    ),
    "no-space-left-on-device": _About("blocks", "the disks have space", ["free"]),
    "the-clock-is-wrong-after-a-resume": _About("blocks", "the clock is right", ["now"]),
    "docker-info-fails": _About("blocks", "`podman info` works", ["info"]),
    "containers_conf-widens-the-capabilities": _About("degrades", "CONTAINERS_CONF is not set"),
    "a-line-of-containersconf-has-no-effect": _About(
        "degrades", "no setting of containers.conf is in a wrong section", ["version", "settings"]
    ),
    "permission-denied-in-the-workspace": _About("blocks", "`userns` is keep-id", ["version", "settings"]),
    "there-is-no-systemd-user-session": _About("degrades", "the account has a systemd session"),
    "agents-stop-when-the-user-logs-out": _About("degrades", "lingering is on", ["systemd"]),
    "limits-are-accepted-and-ignored": _About("degrades", "cgroup v2 is used"),
    "the-cgroup-controller-cpu-is-not-available": _About(
        "degrades", "cpu, memory and pids are delegated to the account", ["controllers"]
    ),
    "a-hook-that-is-missing-hardens-nothing": _About(
        "degrades", "every directory of hooks exists", ["settings", "hooks"]
    ),
    "docker_opts-and-docker_default_opts-do-nothing": _About("note", "DOCKER_OPTS is not set"),
    "host-gateway-is-an-invalid-ip-address": _About("degrades", "Podman supports host-gateway", ["version"]),
    "host-gateway-has-no-address": _About(
        "degrades", "this Podman has no fault with host-gateway in pasta", ["version"]
    ),
    "docker-ps---format-does-not-know-label": _About("degrades", "Podman supports {{.Label}}", ["version"]),
    "a-bind-mount-is-empty-inside-the-container": _About("degrades", "/ is a shared mount", ["root_mount"]),
    "a-proxy-on-the-hosts-loopback-is-not-reached": _About("degrades", "no proxy is on the loopback address"),
    "the-credential-gateway-is-not-reached": _About("degrades", "containers reach the credential gateway", ["gateway"]),
    "docker-compose-is-not-available": _About(
        "note", "`docker compose` works for OneCLI, which nanoclaw 2.x needs", ["version"], with_nanoclaw_2="degrades"
    ),
    "a-bridge-network-needs-nft": _About(
        "note", "bridge networks, which OneCLI uses, have what they need", ["version"], with_nanoclaw_2="degrades"
    ),
    "onecli-finds-no-bind-address": _About("note", "OneCLI has an address to bind to"),
    "services-of-a-compose-file-stay-down-after-a-boot": _About(
        "note",
        "`podman-restart.service` is enabled, which starts OneCLI after a boot",
        ["systemd"],
        with_nanoclaw_2="degrades",
    ),
    "containers-start-slowly-and-the-disk-fills-up": _About("degrades", "the storage driver is not vfs", ["info"]),
    "a-killed-client-leaves-its-container": _About("note", "every agent has its client", ["processes"]),
    "npm-ci-fails": _About("degrades", "Node.js is recent enough", ["node_version"]),
    "every-docker-command-prints-emulate-docker-cli-using-podman": _About(
        "note", "the shim prints no notice", ["shim"]
    ),
}
"""By the id of the check's entry."""

_OF_SYSTEMD = re.compile(r"\b(systemctl|loginctl|machinectl|systemd-run)\b")
_START_SYSTEMD = (
    "Start systemd first (in WSL: `systemd=true` under `[boot]` in `/etc/wsl.conf`, then `wsl --shutdown` in Windows)"
)

_OTHER = _About("degrades", "")
_LOOKED_UP = _About("blocks", "")
"""An entry that matches an error of Podman's own."""


def results(
    host: HostSnapshot, diagnoses: Sequence[Diagnosis], entries: Mapping[str, Entry], accepted: Mapping[str, str]
) -> list[Result]:
    """All checks, the findings first and in their order."""
    found = [_finding(each, host, accepted.get(each.entry.id, "")) for each in diagnoses]
    known = {each.id for each in found}
    return [*found, *(_unfound(id_, host, entries[id_]) for id_ in CHECKS if id_ not in known)]


def fix_on(entry: Entry, host: HostSnapshot) -> str:
    """The short fix of an entry, as it can be done on a host."""
    if host.lacks_systemd and needs_systemd(entry):
        return f"{_START_SYSTEMD}. Then: {entry.quick_fix}"
    return entry.quick_fix


def needs_systemd(entry: Entry) -> bool:
    """Whether a command of its fix needs systemd."""
    return any(_OF_SYSTEMD.search(text) for text in (entry.quick_fix, *(step.script for step in entry.fix_commands)))


def _finding(diagnosis: Diagnosis, host: HostSnapshot, accepted: str) -> Result:
    entry = diagnosis.entry
    about = _CHECKS.get(entry.id, _OTHER if entry.id in CHECKS else _LOOKED_UP)
    severity = about.with_nanoclaw_2 if host.first("nanoclaw_2") and about.with_nanoclaw_2 else about.severity
    return Result(
        id=entry.id, title=entry.title, state="accepted" if accepted else severity,
        observed=diagnosis.observation, fix=fix_on(entry, host), link=f"{GUIDE}#{entry.id}", accepted=accepted,
    )  # fmt: skip


def _unfound(id_: str, host: HostSnapshot, entry: Entry) -> Result:
    about = _CHECKS.get(id_, _OTHER)
    fine = about.fine or f"not found: {entry.title}"
    missing = next((each for each in about.needs if not _known(each, host)), "")
    if missing:
        return Result(id=id_, title=entry.title, state="not tested", observed=f"whether {fine}: {_UNKNOWN[missing]}")
    return Result(id=id_, title=entry.title, state="fine", observed=fine)


def _known(key: str, host: HostSnapshot) -> bool:
    if key == "version":
        return host.version != (0, 0)
    if key == "systemd":
        return host.systemd
    if key == "shim":
        return "podman version" in host.text("docker_version")
    if key == "settings":
        return not host.other_settings
    if key == "hooks":
        return all(each in host.paths for each in host.hook_directories())
    return bool(host.first(key))


_UNKNOWN = {
    "version": "Podman's version is unknown",
    "systemd": "systemd does not run",
    "shim": "`docker` is not Podman's shim",
    "settings": "CONTAINERS_CONF or CONTAINERS_CONF_OVERRIDE names a file that was not read",
    "hooks": "a directory in `hooks_dir` is not written as an absolute path",
    "docker": "there is no `docker`",
    "free": "the free space is unknown",
    "now": "the time of the host is unknown",
    "info": "`podman info` was not asked",
    "controllers": "the account has no systemd session with cgroup v2",
    "root_mount": "the mount of / is unknown",
    "gateway": "no credential gateway listens on the loopback address alone",
    "node_version": "Node.js is not installed",
    "processes": "the account's processes could not be listed",
}
"""The reason for which a check was not made, by what it needs."""
