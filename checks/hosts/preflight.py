"""Whether a machine can be tested, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
    if found["uid"] == "0":
        yield Reason("you are root; rootless Podman needs a normal user")
    if not found["podman"]:
        yield Reason("podman is not installed")
    failed = _info_fails(host) if found["podman"] and found["uid"] != "0" else ""
    if not found["docker"]:
        yield Reason("docker is not installed (the shim is in the package podman-docker)")
    elif reason := _not_the_shim(host, podman_fails=bool(failed)):
        yield Reason(reason)
    if failed:
        yield Reason(failed, broken=True)
    if "tmpdir" in found:
        wrong = f"TMPDIR is “{found['tmpdir'][:200]}”, which is no directory that this account can write to"
        yield Reason(wrong, broken=bool(found["podman"]) and found["uid"] != "0")


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


def _info_fails(host: Host) -> str:
    try:
        done = host.run(["podman", "info"], timeout=30)
    except TimedOut:
        return "“podman info” hangs"
    return "" if done.returncode == 0 else f"“podman info” fails: {_last_line(done.stderr)}"


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
