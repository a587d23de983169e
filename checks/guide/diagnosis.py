"""Which entries of the guide apply to a host, by what was seen of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from checks.guide.catalogue import Entry
from checks.guide.explain import found
from checks.guide.snapshot import HostSnapshot

_LEAST_FREE = 1_000_000  # KiB: an agent's image is built in three times as much, and none starts with less
_MOST_APART = 120  # seconds between two clocks
_SECTIONS = {
    "userns": "containers",
    "default_capabilities": "containers",
    "pids_limit": "containers",
    "read_only": "containers",
    "cgroup_conf": "containers",
    "http_proxy": "containers",
    "log_driver": "containers",
    "hooks_dir": "engine",
    "network_cmd_options": "engine",
    "default_rootless_network_cmd": "network",
}
"""Where containers.conf has the keys that this project's documents name."""


@dataclass(frozen=True)
class Finding:
    """An entry that applies, and what was seen that says so."""

    entry: Entry
    seen: str


def findings(look: HostSnapshot, entries: Mapping[str, Entry]) -> Sequence[Finding]:
    """The entries that apply, worst first: what keeps Podman from working, then what agents fail by, then the rest.

    Where Podman says what ails it and no look has found it, the entry of that message stands in for it.
    """
    seen = [Finding(entries[id_], said) for id_, looks_for in LOOKS.items() if (said := looks_for(look))]
    if not look.root and look.one("info") + look.text("info_error"):
        seen += _told_by_podman(look, entries, seen)
    order = list(LOOKS)
    return sorted(seen, key=lambda each: order.index(each.entry.id) if each.entry.id in LOOKS else _after(look))


def _told_by_podman(look: HostSnapshot, entries: Mapping[str, Entry], seen: Sequence[Finding]) -> Sequence[Finding]:
    known = {each.entry.id for each in seen} | {"docker-info-fails"}
    told = [each for each in found(look.text("info_error"), entries) if each.id not in known]
    return [Finding(each, f"podman info: {_last(look.text('info_error'))}") for each in told]


def _after(look: HostSnapshot) -> float:
    # What Podman itself complains of comes before what is merely set wrongly; worst of all where it does not work.
    return list(LOOKS).index("docker-info-fails") - 0.5 if not look.one("info_ok") else len(LOOKS)


def _last(text: str) -> str:
    return (text.strip() or "nothing").splitlines()[-1]


def _no_docker(look: HostSnapshot) -> str:
    return "" if look.one("docker") else "there is no docker on PATH"


def _other_docker(look: HostSnapshot) -> str:
    told = look.text("docker_version")
    broken_alike = not look.podman and "Docker version" not in told
    if not look.one("docker") or "podman version" in told or broken_alike:
        return ""
    return f"{look.one('docker')} is not the shim: docker --version printed “{_last(told)}”"


def _as_root(look: HostSnapshot) -> str:
    return "it was root who looked; rootless Podman is a plain account's" if look.root else ""


def _no_newuidmap(look: HostSnapshot) -> str:
    missing = [name for name in ("newuidmap", "newgidmap") if not look.one(name)]
    return f"there is no {' and no '.join(missing)}" if missing and not look.root else ""


def _no_ids(look: HostSnapshot) -> str:
    missing = [f"/etc/{name}" for name in ("subuid", "subgid") if not look.one(name)]
    return f"{look.one('user')} has no range in {' and '.join(missing)}" if missing and not look.root else ""


def _v1_on_6(look: HostSnapshot) -> str:
    return f"the control groups are {look.one('cgroups')}" if look.version >= (6, 0) and not _v2(look) else ""


def _hybrid(look: HostSnapshot) -> str:
    return "both cgroup hierarchies are mounted" if look.one("cgroups") == "hybrid" and look.version < (6, 0) else ""


def _no_helper(look: HostSnapshot) -> str:
    if look.version == (0, 0):
        return ""
    wanted = "pasta" if look.version >= (5, 0) else "slirp4netns"
    chosen = look.setting("network", "default_rootless_network_cmd")
    helper = chosen if chosen in ("pasta", "slirp4netns") and look.version < (6, 0) else wanted
    return "" if look.one(helper) else f"there is no {helper}, which this Podman makes networks with"


def _slirp_on_6(look: HostSnapshot) -> str:
    if look.version < (6, 0):
        return ""
    return "containers.conf names slirp4netns" if _chooses_slirp(look) else ""


def _chooses_slirp(look: HostSnapshot) -> bool:
    return bool(look.setting("network", "default_rootless_network_cmd") == "slirp4netns")


def _info_fails(look: HostSnapshot) -> str:
    asked = "info" in look.seen
    return f"podman info: {_last(look.text('info_error'))}" if asked and not look.one("info_ok") else ""


def _full(look: HostSnapshot) -> str:
    least = min(look.numbers("free"), default=_LEAST_FREE)
    where = " and ".join(line.partition(" ")[2] for line in look.all("free") if line.startswith(f"{least} "))
    return f"{least // 1000} MB are free at {where}" if least < _LEAST_FREE else ""


def _clock(look: HostSnapshot) -> str:
    now = next(iter(look.numbers("now")), 0)
    apart = now - look.asked_at
    if abs(apart) > _MOST_APART:
        return f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
    newest = max(look.numbers("changed"), default=0)
    return f"files were changed {newest - now} s in the future" if newest - now > _MOST_APART else ""


def _not_mapped(look: HostSnapshot) -> str:
    if look.root or look.version == (0, 0):
        return ""
    mapped = look.environment.get("PODMAN_USERNS") or look.setting("containers", "userns")
    return "" if str(mapped).startswith("keep-id") else "no setting maps the user: userns is not keep-id"


def _wrong_section(look: HostSnapshot) -> str:
    for path, table in look.settings:
        for name, value in table.items():
            for key in value if isinstance(value, dict) else [name]:
                wanted = _SECTIONS.get(key)
                if wanted and not (isinstance(value, dict) and name == wanted):
                    where = f"[{name}]" if isinstance(value, dict) else "no section"
                    return f"{path} has “{key}” in {where}; it belongs in [{wanted}]"
    return _unread(look)


def _unread(look: HostSnapshot) -> str:
    if (0, 0) < look.version < (4, 4):
        for key in ("read_only", "cgroup_conf"):
            if look.setting("containers", key) is not None:
                return f"Podman {look.version[0]}.{look.version[1]} does not know “{key}”"
    drop_ins = [path for path in look.all("conf") if "/containers.conf.d/" in path]
    return f"Podman 3 does not read {drop_ins[0]}" if drop_ins and (0, 0) < look.version < (4, 0) else ""


def _conf_replaced(look: HostSnapshot) -> str:
    file = look.environment.get("CONTAINERS_CONF")
    return f"CONTAINERS_CONF={file} replaces the distribution's settings" if file else ""


def _opts(look: HostSnapshot) -> str:
    names = [name for name in ("DOCKER_OPTS", "DOCKER_DEFAULT_OPTS") if look.environment.get(name)]
    return f"{' and '.join(names)} is set, and nothing reads it" if names else ""


def _no_hook(look: HostSnapshot) -> str:
    missing = look.all("hooks_missing")
    return f"hooks_dir names {missing[0]}, which is not there" if missing else ""


def _vfs(look: HostSnapshot) -> str:
    return "the storage driver is vfs" if look.driver == "vfs" else ""


def _no_linger(look: HostSnapshot) -> str:
    return f"{look.one('user')} does not linger" if _systemd(look) and not look.root and not look.one("linger") else ""


def _no_session(look: HostSnapshot) -> str:
    if look.root or look.one("bus"):
        return ""
    why = "systemd has no session for the account" if _systemd(look) else "there is no systemd"
    return f"{why}: no /run/user/{look.one('uid')}/bus"


def _no_cpu(look: HostSnapshot) -> str:
    if not look.one("controllers"):
        return ""
    missing = {"cpu", "memory", "pids"} - set(look.one("controllers").split())
    return f"systemd does not delegate {', '.join(sorted(missing))} to the account" if missing else ""


def _no_limits(look: HostSnapshot) -> str:
    return "" if _v2(look) or look.version >= (6, 0) else f"the control groups are {look.one('cgroups')}"


def _private(look: HostSnapshot) -> str:
    return "/ is mounted private" if look.one("root_mount") == "private" else ""


def _no_gateway(look: HostSnapshot) -> str:
    return _older(look, (4, 7), "host-gateway")


def _gateway_empty(look: HostSnapshot) -> str:
    if not (5, 0) <= look.version < (5, 3) or _chooses_slirp(look):
        return ""
    return f"Podman {look.version[0]}.{look.version[1]} with pasta finds no address for host-gateway on some networks"


def _no_label(look: HostSnapshot) -> str:
    return _older(look, (5, 0), "{{.Label}}")


def _older(look: HostSnapshot, wanted: tuple[int, int], what: str) -> str:
    if not (0, 0) < look.version < wanted:
        return ""
    return f"Podman {look.version[0]}.{look.version[1]} is older than {wanted[0]}.{wanted[1]} and does not know {what}"


def _unwatched(look: HostSnapshot) -> str:
    names = look.all("unwatched")
    return f"no client watches {', '.join(names)}" if names else ""


def _proxy(look: HostSnapshot) -> str:
    names = look.all("proxy")
    passed_on = look.setting("containers", "http_proxy") is not False
    return f"{', '.join(names)} names this machine's loopback" if names and passed_on else ""


def _old_node(look: HostSnapshot) -> str:
    found = re.match(r"v(\d+)\.", look.one("node_version"))
    return f"Node.js is {look.one('node_version')}" if found and int(found[1]) < 20 else ""


def _systemd(look: HostSnapshot) -> bool:
    return look.one("init") == "systemd"


def _v2(look: HostSnapshot) -> bool:
    return look.one("cgroups") == "v2"


LOOKS: Mapping[str, Callable[[HostSnapshot], str]] = {
    # Nothing runs.
    "podman-info-says-rootless-false": _as_root,
    "docker-command-not-found": _no_docker,
    "docker-is-not-the-shim": _other_docker,
    "newuidmap-is-missing": _no_newuidmap,
    "there-are-not-enough-ids-for-an-image": _no_ids,
    "podman-6-refuses-cgroup-v1": _v1_on_6,
    "cgroups-in-hybrid-mode-are-not-supported": _hybrid,
    "a-network-helper-is-missing": _no_helper,
    "slirp4netns-support-has-been-removed": _slirp_on_6,
    "no-space-left-on-device": _full,
    "the-clock-is-wrong-after-a-resume": _clock,
    "docker-info-fails": _info_fails,
    # Agents fail, or go on without what was meant for them.
    "containers_conf-widens-the-capabilities": _conf_replaced,
    "a-line-of-containersconf-has-no-effect": _wrong_section,
    "permission-denied-in-the-workspace": _not_mapped,
    "there-is-no-systemd-user-session": _no_session,
    "agents-stop-when-the-user-logs-out": _no_linger,
    "limits-are-accepted-and-ignored": _no_limits,
    "the-cgroup-controller-cpu-is-not-available": _no_cpu,
    "a-hook-that-is-missing-hardens-nothing": _no_hook,
    "docker_opts-and-docker_default_opts-do-nothing": _opts,
    "host-gateway-is-an-invalid-ip-address": _no_gateway,
    "host-gateway-has-no-address": _gateway_empty,
    "docker-ps---format-does-not-know-label": _no_label,
    "a-bind-mount-is-empty-inside-the-container": _private,
    "a-proxy-on-the-hosts-loopback-is-not-reached": _proxy,
    # It is slow, or untidy.
    "containers-start-slowly-and-the-disk-fills-up": _vfs,
    "a-killed-client-leaves-its-container": _unwatched,
    "npm-ci-fails": _old_node,
}
"""What a look can tell, worst first: a sentence on what was seen, or nothing."""
