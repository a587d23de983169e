"""The doctor's checks: each looks in a host's snapshot for the problem of one troubleshooting entry.

To add a check, write a function with ``@check`` in the section of its severity. It returns what it found, or "".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from checks.guide import containers_conf, settings_files
from checks.guide.podman_errors import last_line, podman_failure
from checks.guide.snapshot import HostSnapshot

_MIN_FREE_KB = 1_000_000  # an agent's image needs three times as much to build, and no agent starts with less
_MAX_CLOCK_DIFFERENCE = 120  # seconds
_CONF = "conf:/home/me/.config/containers/containers.conf.d/50-nanoclaw.conf"  # in fixtures/doctor/healthy.txt
_MAIN = "/home/me/.config/containers/containers.conf"
_Check = Callable[[HostSnapshot], str]


@dataclass(frozen=True)
class Check:
    """A check for one entry, with examples that must trigger it.

    An example is a change to fixtures/doctor/healthy.txt: lines of KEY=VALUE that replace the lines of those keys.
    An empty value removes the key.
    """

    entry: str
    find: _Check
    examples: Sequence[str]


CHECKS: dict[str, Check] = {}
"""All checks by the id of their entry, the most severe first."""


def check(entry: str, *examples: str) -> Callable[[_Check], _Check]:
    """Register a function as the check for an entry."""
    if entry in CHECKS or not examples:
        raise ValueError(f"The check for {entry} needs an example." if not examples else f"{entry} has two checks.")

    def register(function: _Check) -> _Check:
        CHECKS[entry] = Check(entry, function, examples)
        return function

    return register


# Nothing runs.


@check("podman-info-says-rootless-false", "uid=0")
def _root(host: HostSnapshot) -> str:
    return "this account is root; run rootless Podman as a regular user" if host.root else ""


@check("docker-command-not-found", "docker=\ndocker_version=\npodman_version=podman version 5.4.2")
def _docker_missing(host: HostSnapshot) -> str:
    return "" if host.first("docker") else "`docker` is not on PATH"


@check(
    "docker-is-not-the-shim",
    "docker_version=Docker version 26.1.5, build a72d7cd",
    "docker_version=\npodman_version=podman version 5.4.2",
)
def _docker_not_shim(host: HostSnapshot) -> str:
    printed = host.text("docker_version")
    podman_fails_too = not host.podman and "Docker version" not in printed
    if not host.first("docker") or "podman version" in printed or podman_fails_too:
        return ""
    return f"{host.first('docker')} is not the shim: `docker --version` printed “{last_line(printed)}”"


@check("newuidmap-is-missing", "newuidmap=", "newgidmap=")
def _newuidmap_missing(host: HostSnapshot) -> str:
    missing = [name for name in ("newuidmap", "newgidmap") if not host.first(name)]
    return f"{' and '.join(missing)} not found" if missing and not host.root else ""


@check("unprivileged-user-namespaces-are-refused", "max_user_namespaces=0", "unprivileged_userns_clone=0")
def _user_namespaces_refused(host: HostSnapshot) -> str:
    limits = ("user.max_user_namespaces", "kernel.unprivileged_userns_clone")
    refusing = [limit for limit in limits if host.first(limit.partition(".")[2]) == "0"]
    return f"{' and '.join(refusing)} is 0" if refusing else ""


@check("there-are-not-enough-ids-for-an-image", "subuid=", "subgid=", "subuid=\nsubgid=")
def _subordinate_ids_missing(host: HostSnapshot) -> str:
    missing = [f"/etc/{name}" for name in ("subuid", "subgid") if not host.first(name)]
    return f"{host.first('user')} has no ID range in {' and '.join(missing)}" if missing and not host.root else ""


@check("podman-6-refuses-cgroup-v1", "docker_version=podman version 6.1.1\ncgroups=v1")
def _cgroup_v1_on_6(host: HostSnapshot) -> str:
    return _cgroup_version(host) if host.version >= (6, 0) and not _cgroup_v2(host) else ""


@check("cgroups-in-hybrid-mode-are-not-supported", "cgroups=hybrid")
def _cgroup_hybrid(host: HostSnapshot) -> str:
    # runc runs there, without limits; crun and others do not.
    hybrid = host.first("cgroups") == "hybrid" and host.version < (6, 0) and host.runtime != "runc"
    return "both cgroup hierarchies are mounted" if hybrid else ""


@check("a-network-helper-is-missing", "pasta=", "docker_version=podman version 4.9.3")
def _network_helper_missing(host: HostSnapshot) -> str:
    if host.version == (0, 0):
        return ""
    default = "pasta" if host.version >= (5, 0) else "slirp4netns"
    configured = host.setting("network", "default_rootless_network_cmd")
    helper = configured if configured in ("pasta", "slirp4netns") and host.version < (6, 0) else default
    return "" if host.first(helper) else f"{helper} not found; this Podman needs it for networks"


@check(
    "slirp4netns-support-has-been-removed",
    f'docker_version=podman version 6.1.1\n{_CONF}=[network]\n{_CONF}=default_rootless_network_cmd = "slirp4netns"',
)
def _slirp4netns_on_6(host: HostSnapshot) -> str:
    return "containers.conf selects slirp4netns" if host.version >= (6, 0) and _selects_slirp4netns(host) else ""


@check("no-space-left-on-device", "free=9000000 /home/me\nfree=900000 /var/tmp")
def _disk_full(host: HostSnapshot) -> str:
    free = min(host.numbers("free"), default=_MIN_FREE_KB)
    where = " and ".join(line.partition(" ")[2] for line in host.lines("free") if line.startswith(f"{free} "))
    return f"{free // 1000} MB free in {where}" if free < _MIN_FREE_KB else ""


@check("the-clock-is-wrong-after-a-resume", "now=1799991000", "now=1800009000", "changed=1800009000")
def _clock_wrong(host: HostSnapshot) -> str:
    now = next(iter(host.numbers("now")), 0)
    difference = now - host.taken_at
    if abs(difference) > _MAX_CLOCK_DIFFERENCE:
        return f"its clock is {abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} this machine's"
    newest = max(host.numbers("changed"), default=0)
    return f"files changed {newest - now} s in the future" if newest - now > _MAX_CLOCK_DIFFERENCE else ""


@check(
    "the-oci-runtime-is-missing",
    f"{_CONF}=[engine]\n{_CONF}=runtime = '/opt/homebrew/bin/crun'\npath=- /opt/homebrew/bin/crun",
)
def _runtime_missing(host: HostSnapshot) -> str:
    configured = host.setting("engine", "runtime")
    missing = isinstance(configured, str) and host.paths.get(configured, "x") != "x"
    return f"the configured runtime {configured} does not exist, or is no program" if missing else ""


@check(
    "docker-info-fails",
    "info_ok=\ninfo_error=Error: it broke",
    "docker_version=Error: it broke\npodman_error=Error: it broke",
    f"{_CONF}=[containers",
    f"conf={_MAIN}\nconf_unreadable={_MAIN} is a directory",
    f"conf={_MAIN}\nconf_unreadable={_MAIN} is a pipe, a socket or a device",
)
def _info_fails(host: HostSnapshot) -> str:
    if host.unreadable_settings:
        return host.unreadable_settings[0]
    if failure := podman_failure(host):
        return failure
    failed = "info" in host.values and not host.first("info_ok")
    return f"podman info: {last_line(host.text('info_error'))}" if failed else ""


# Agents fail, or run without settings that the user made.


@check("containers_conf-widens-the-capabilities", "env=CONTAINERS_CONF=/home/me/mine.conf")
def _conf_replaced(host: HostSnapshot) -> str:
    file = host.environment.get("CONTAINERS_CONF")
    return f"CONTAINERS_CONF={file} replaces the distribution's settings" if file else ""


@check(
    "a-line-of-containersconf-has-no-effect",
    f'{_CONF}=[engine]\n{_CONF}=userns = "keep-id"',
    f'{_CONF}=userns = "keep-id"',
    f'{_CONF}=[containers]\n{_CONF}=userns = "keep-id"\n{_CONF}=[engine]\n{_CONF}=default_capabilities = []',
    "docker_version=podman version 5.4.2\nconf_linked=/home/me/.config/containers/containers.conf.d",
)
def _setting_ignored(host: HostSnapshot) -> str:
    for path, table in host.settings:
        for found in containers_conf.misplaced(host.text(f"conf:{path}"), table):
            return f"{path}:{found}"
    if (0, 0) < host.version < (4, 4):
        for key in ("read_only", "cgroup_conf"):
            if host.setting("containers", key) is not None:
                return f"Podman {host.short_version} ignores “{key}”"
    written = [path for path in host.lines("conf") if not path.startswith("/usr/")]  # there by the distribution
    for path, why in settings_files.ignored(written, host.version, host.lines("conf_linked")):
        return f"Podman {host.short_version} ignores {path}: {why}"
    return ""


@check(
    "permission-denied-in-the-workspace",
    "conf=",
    f'{_CONF}=[containers]\n{_CONF}=userns = "auto"',
    "env=PODMAN_USERNS=host",
    f'{_CONF}=[containers]\n{_CONF}=userns = "keep-id:uid=4321,gid=4321"',
)
def _user_not_mapped(host: HostSnapshot) -> str:
    if host.root or host.version == (0, 0) or host.other_settings:
        return ""
    variable = host.environment.get("PODMAN_USERNS")
    userns = str(variable or host.setting("containers", "userns"))
    if userns.startswith("keep-id"):
        other = re.search(r"\buid=(\d{1,10})", userns)
        wrong = other and other[1] != host.first("uid")
        return f"`userns` is {userns}, but nanoclaw runs its containers as uid {host.first('uid')}" if wrong else ""
    return f"PODMAN_USERNS is {variable}" if variable else "`userns` is not set to keep-id"


@check("there-is-no-systemd-user-session", "bus=")
def _no_user_session(host: HostSnapshot) -> str:
    if host.root or host.first("bus"):
        return ""
    reason = "the account has no systemd session" if host.systemd else "systemd does not run"
    return f"{reason}: /run/user/{host.first('uid')}/bus does not exist"


@check("agents-stop-when-the-user-logs-out", "linger=")
def _linger_off(host: HostSnapshot) -> str:
    off = host.systemd and not host.root and not host.first("linger")
    return f"lingering is off for {host.first('user')}" if off else ""


@check("limits-are-accepted-and-ignored", "cgroups=v1")
def _limits_ignored(host: HostSnapshot) -> str:
    return "" if _cgroup_v2(host) or host.version >= (6, 0) else _cgroup_version(host)


@check("the-cgroup-controller-cpu-is-not-available", "controllers=memory pids")
def _controller_missing(host: HostSnapshot) -> str:
    if not host.first("controllers"):
        return ""
    missing = {"cpu", "memory", "pids"} - set(host.first("controllers").split())
    return f"systemd does not delegate {', '.join(sorted(missing))} to the account" if missing else ""


@check(
    "a-hook-that-is-missing-hardens-nothing",
    # As the hardening's own drop-in has it.
    f'{_CONF}=[containers]\n{_CONF}=userns = "keep-id"\n'
    f'{_CONF}=[engine]\n{_CONF}=hooks_dir = [\n{_CONF}=  "/usr/share/containers/oci/hooks.d",\n'
    f'{_CONF}=  "/home/me/hooks.d",\n{_CONF}=]\npath=d /usr/share/containers/oci/hooks.d\npath=- /home/me/hooks.d',
    f"{_CONF}=containers.userns = 'keep-id'\n{_CONF}=engine.hooks_dir = ['/home/me/hooks.d']\npath=f /home/me/hooks.d",
)
def _hooks_directory_missing(host: HostSnapshot) -> str:
    missing = [each for each in host.hook_directories() if host.paths.get(each, "d") != "d"]
    return f"`hooks_dir` contains {missing[0]}, which is no directory" if missing else ""


@check("docker_opts-and-docker_default_opts-do-nothing", "env=DOCKER_OPTS=--cap-drop=ALL")
def _docker_opts(host: HostSnapshot) -> str:
    names = [name for name in ("DOCKER_OPTS", "DOCKER_DEFAULT_OPTS") if host.environment.get(name)]
    return f"{' and '.join(names)} is set, but no program reads it" if names else ""


@check("host-gateway-is-an-invalid-ip-address", "docker_version=podman version 4.3.1\nslirp4netns=/usr/bin/slirp4netns")
def _host_gateway_unsupported(host: HostSnapshot) -> str:
    return _older(host, (4, 7), "host-gateway")


@check("host-gateway-has-no-address", "docker_version=podman version 5.2.1")
def _host_gateway_empty(host: HostSnapshot) -> str:
    if not (5, 0) <= host.version < (5, 3) or _selects_slirp4netns(host):
        return ""
    return f"Podman {host.short_version} with pasta finds no address for host-gateway on some networks"


@check(
    "docker-ps---format-does-not-know-label", "docker_version=podman version 4.9.3\nslirp4netns=/usr/bin/slirp4netns"
)
def _label_unsupported(host: HostSnapshot) -> str:
    return _older(host, (5, 0), "{{.Label}}")


@check("a-bind-mount-is-empty-inside-the-container", "root_mount=private")
def _root_mount_private(host: HostSnapshot) -> str:
    return "/ is mounted private" if host.first("root_mount") == "private" else ""


@check("a-proxy-on-the-hosts-loopback-is-not-reached", "proxy=http_proxy")
def _proxy_on_loopback(host: HostSnapshot) -> str:
    names = host.lines("proxy")
    inherited = host.setting("containers", "http_proxy") is not False
    return f"{', '.join(names)} is set to a loopback address" if names and inherited else ""


@check(
    "the-credential-gateway-is-not-reached",
    "gateway=127.0.0.1:10255",
    f'gateway=127.0.0.1:10255\n{_CONF}=[containers]\n{_CONF}=userns = "keep-id"\n{_CONF}=[network]\n'
    f'{_CONF}=pasta_options = ["-T", "8080"]',
)
def _gateway_on_loopback(host: HostSnapshot) -> str:
    options = host.setting("network", "pasta_options")
    words = [str(each) for each in options] if isinstance(options, list) else []
    opened = host.uses_pasta and any(word in ("-T", "--tcp-ns") and "10255" in value for word, value in pairwise(words))
    if not host.first("gateway") or opened or "--map-host-loopback" in words or _selects_slirp4netns(host):
        return ""
    return f"the credential gateway listens on {host.first('gateway')} alone, where no container reaches it"


# Agents are slow, or leave something behind.


@check("containers-start-slowly-and-the-disk-fills-up", 'info={"store": {"graphDriverName": "vfs"}}')
def _vfs(host: HostSnapshot) -> str:
    return "the storage driver is vfs" if host.driver == "vfs" else ""


@check("a-killed-client-leaves-its-container", "unwatched=nanoclaw-main-1")
def _container_without_client(host: HostSnapshot) -> str:
    names = host.lines("unwatched")
    return f"no client is attached to {', '.join(names)}" if names else ""


@check("npm-ci-fails", "node_version=v18.19.0")
def _node_too_old(host: HostSnapshot) -> str:
    found = re.match(r"v(\d{1,9})\.", host.first("node_version"))
    return f"Node.js is {host.first('node_version')}" if found and int(found[1]) < 20 else ""


@check(
    "every-docker-command-prints-emulate-docker-cli-using-podman",
    "docker_version=Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.\n"
    "docker_version=podman version 5.4.2",
)
def _shim_prints_notice(host: HostSnapshot) -> str:
    return "the shim prints a notice" if "Emulate Docker CLI" in host.text("docker_version") else ""


# nanoclaw 2.x needs OneCLI, its credential gateway, whose installer runs `docker compose up --wait`.


@check(
    "docker-compose-is-not-available",
    "compose=\ncompose_version=",
    "compose=/usr/bin/podman-compose\ncompose_version=1.3.0",
    "compose=/usr/bin/docker-compose\ncompose_version=1.29.2",
    "api=",
)
def _compose_missing(host: HostSnapshot) -> str:
    provider, version = host.first("compose"), host.first("compose_version")
    if host.root or host.version == (0, 0):
        return ""
    if host.version < (4, 7):
        return f"Podman {host.short_version} has no `compose`, which nanoclaw 2.x needs; 4.7 has"
    if not provider:
        return "no compose provider is installed; nanoclaw 2.x needs docker-compose 2"
    if provider.endswith("/podman-compose") or version.startswith("1."):
        return f"{provider} is the compose provider, which refuses `up --wait`"
    return "" if host.first("api") else "`podman.socket` does not listen"


@check("a-bridge-network-needs-nft", "nft=")
def _nft_missing(host: HostSnapshot) -> str:
    return "" if host.first("nft") or host.version < (5, 4) else "`nft` is not installed"


@check("onecli-finds-no-bind-address", "gateway_port=")
def _no_bind_address(host: HostSnapshot) -> str:
    found = host.first("gateway_port") or host.first("docker0") or host.environment.get("ONECLI_BIND_HOST")
    return "" if found or host.root else "there is no docker0, and ONECLI_BIND_HOST is not set"


@check("services-of-a-compose-file-stay-down-after-a-boot", "restart=")
def _restart_off(host: HostSnapshot) -> str:
    off = host.systemd and not host.root and not host.first("restart")
    return "`podman-restart.service` is not enabled" if off else ""


def _cgroup_v2(host: HostSnapshot) -> bool:
    return host.first("cgroups") == "v2"


def _cgroup_version(host: HostSnapshot) -> str:
    return f"the host uses cgroup {host.first('cgroups')}"


def _selects_slirp4netns(host: HostSnapshot) -> bool:
    return bool(host.setting("network", "default_rootless_network_cmd") == "slirp4netns")


def _older(host: HostSnapshot, minimum: tuple[int, int], feature: str) -> str:
    if not (0, 0) < host.version < minimum:
        return ""
    return f"Podman {host.short_version} does not support {feature}; {minimum[0]}.{minimum[1]} does"
