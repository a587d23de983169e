"""Whether a machine as it is can be tested at all, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from checks.core.errors import HostProblem
from checks.hosts import recipe
from checks.hosts.base import Host, pairs
from checks.hosts.process import TimedOut
from checks.hosts.ssh import SshHost

_LOOK = """
printf 'uid=%s\\n' "$(id -u)"
printf 'docker=%s\\n' "$(command -v docker)"
printf 'podman=%s\\n' "$(command -v podman)"
"""


def require_known(spec: str) -> None:
    """Raise WrongUsage unless ``--host`` names a host, whether it can be reached or not."""
    if spec.startswith("ssh://"):
        SshHost.parse(spec, sockets=Path())
    elif spec not in ("auto", "local"):
        recipe.load(spec)


def unusable(host: Host) -> str:
    """Why rootless Podman behind the shim can't be tested on this account, or an empty string where it can.

    Raises HostProblem only where the host itself can't be reached.
    """
    return "; ".join(_reasons(host))


def _reasons(host: Host) -> Iterator[str]:
    found = pairs(host.run_checked(["sh", "-c", _LOOK], doing="looking for docker").stdout)
    if missing := {"uid", "docker", "podman"} - found.keys():
        raise HostProblem(f"{host.name} did not print what was asked for: {', '.join(sorted(missing))}.")
    if found["uid"] == "0":
        yield "running as root, and rootless Podman belongs to a plain user"
    if not found["podman"]:
        yield "there is no podman"
    if not found["docker"]:
        yield "there is no docker command (the package podman-docker has the shim)"
    elif said := _not_the_shim(host):
        yield said
    if found["podman"] and found["uid"] != "0" and (failed := _info_fails(host)):
        yield failed


def _not_the_shim(host: Host) -> str:
    path = "docker on PATH"
    try:
        told = host.run(["docker", "--version"], timeout=10)
    except TimedOut:
        return f"{path} hangs: “docker --version” did not answer"
    if "podman version" in told.stdout:
        return ""
    if "Docker version" in told.stdout:
        return f"{path} is Docker's own client and not the podman-docker shim"
    printed = told.stdout.strip() or told.stderr.strip()
    return f"{path} is not the podman-docker shim: “docker --version” printed {printed!r}"


def _info_fails(host: Host) -> str:
    try:
        done = host.run(["podman", "info"], timeout=30)
    except TimedOut:
        return "“podman info” hangs"
    return (
        ""
        if done.returncode == 0
        else f"“podman info” fails: {(done.stderr.strip() or 'without a word').splitlines()[-1]}"
    )


def require_usable(host: Host) -> None:
    """Raise HostProblem, with what to do, where ``unusable`` finds a reason."""
    if why := unusable(host):
        raise HostProblem(
            f"{host.name} can't be tested: {why}.",
            "Use --host auto or a throwaway host (invoke hosts), or see docs/TROUBLESHOOTING.md.",
        )
