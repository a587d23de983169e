"""Whether a machine can be tested, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from checks.core.bounded import parsed
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.core.process import TimedOut
from checks.hosts import recipe
from checks.hosts.base import Host
from checks.hosts.facts import pairs
from checks.hosts.ssh import SshHost

_SCRIPT = """
printf 'uid=%s\\n' "$(id -u)"
printf 'docker=%s\\n' "$(command -v docker)"
printf 'podman=%s\\n' "$(command -v podman)"
case ${TMPDIR-} in
"") ;;
/*) [ -d "$TMPDIR" ] && [ -w "$TMPDIR" ] || printf 'tmpdir=%s\\n' "$TMPDIR" ;;
*) printf 'tmpdir=%s\\n' "$TMPDIR" ;;
esac
case ${XDG_RUNTIME_DIR-} in "" | /*) ;; *) printf 'runtime=%s\\n' "$XDG_RUNTIME_DIR" ;; esac
"""


def require_known(spec: str) -> None:
    """Raise WrongUsage unless ``--host`` names a host, reachable or not."""
    if spec.startswith("ssh://"):
        SshHost.parse(spec, sockets=Path())
    elif spec not in ("auto", "local"):
        recipe.load(spec)


class Reason(NamedTuple):
    """Why an account can't be tested."""

    text: str
    broken: bool = False
    """Podman is installed for a normal user, and does not work."""


def unusable(host: Host) -> str:
    """Why rootless Podman behind the shim can't be tested on this account; empty if it can.

    Raises HostProblem only if the host can't be reached.
    """
    return "; ".join(reason.text for reason in _reasons(host))


def why_not_here(host: Host) -> str:
    """Why this account is not one of rootless Podman behind the shim; empty if it is.

    Raises HostProblem if it is, and Podman does not work.
    """
    found = list(_reasons(host))
    if any(reason.broken for reason in found):
        raise _untestable(host, "; ".join(reason.text for reason in found))
    return "; ".join(reason.text for reason in found)


def _reasons(host: Host) -> Iterator[Reason]:
    found = host.ask(["sh", "-c", _SCRIPT], pairs, doing="looking for docker")
    if missing := {"uid", "docker", "podman"} - found.keys():
        raise HostProblem(f"{host.name} did not print {', '.join(sorted(missing))}.")
    if "runtime" in found:  # Podman would make it in the current directory
        text = f"XDG_RUNTIME_DIR is “{found['runtime'][:200]}”, which is not an absolute path"
        yield Reason(text, broken=bool(found["podman"]) and found["uid"] != "0")
        return
    if found["uid"] == "0":
        yield Reason("you are root; rootless Podman needs a normal user")
    if not found["podman"]:
        yield Reason("podman is not installed")
    wrong = _wrong_info(host) if found["podman"] and found["uid"] != "0" else None
    if not found["docker"]:
        yield Reason("docker is not installed (the shim is in the package podman-docker)")
    elif reason := _not_the_shim(host, podman_fails=wrong is not None and wrong.broken):
        yield Reason(reason)
    if wrong:
        yield wrong
    if "tmpdir" in found:
        text = f"TMPDIR is “{found['tmpdir'][:200]}”, which is no directory that this account can write to"
        yield Reason(text, broken=bool(found["podman"]) and found["uid"] != "0")


def _not_the_shim(host: Host, *, podman_fails: bool) -> str:
    """Why ``docker`` is not a working shim. One that fails like Podman itself is not reported."""
    path = "`docker` on PATH"
    try:
        done = host.run(["docker", "--version"], timeout=10)
    except TimedOut:
        return f"{path} hangs: “docker --version” timed out"
    if "podman version" in done.stdout:
        return ""
    if "Docker version" in done.stdout:
        return f"{path} is Docker's client, not the podman-docker shim"
    if done.returncode != 0:
        return "" if podman_fails else f"“docker --version” fails: {_last_line(done.stderr)}"
    printed = done.stdout.strip() or done.stderr.strip()
    return f"{path} is not the podman-docker shim: “docker --version” printed {printed[:200]!r}"


class _Security(msgspec.Struct):
    rootless: bool = False


class _Host(msgspec.Struct):
    security: _Security = msgspec.field(default_factory=_Security)
    rootless: bool = False  # its place before Podman 3


class _Version(msgspec.Struct):
    text: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="Version")


class _Info(msgspec.Struct):
    host: _Host
    version: _Version


def _wrong_info(host: Host) -> Reason | None:
    """Why what “podman info” says is not of a rootless Podman that works; None if it is."""
    try:
        done = host.run(["podman", "info", "--format", "json"], timeout=30)
        if done.returncode != 0:
            return Reason(f"“podman info” fails: {_last_line(done.stderr)}", broken=True)
        info = msgspec.convert(parsed(done.stdout), _Info)
    except TimedOut:
        return Reason("“podman info” hangs", broken=True)
    except (ValueError, msgspec.ValidationError):
        return Reason("what “podman info --format json” prints has no version in it, or can't be read", broken=True)
    if info.host.security.rootless or info.host.rootless:
        return None
    return Reason("Podman is not rootless, says “podman info”; CONTAINER_HOST or a connection can be the cause")


def _last_line(text: str) -> str:
    return lines_of(text.strip() or "no output")[-1]


def require_usable(host: Host) -> None:
    """Raise HostProblem if ``unusable`` finds a reason."""
    if why := unusable(host):
        raise _untestable(host, why)


def _untestable(host: Host, why: str) -> HostProblem:
    return HostProblem(
        f"{host.name} can't be tested: {why}.",
        "Find the cause with “invoke doctor”, or use a throwaway host (invoke hosts).",
    )
