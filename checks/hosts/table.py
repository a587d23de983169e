"""``invoke hosts``: what can be tested on, from here."""

from __future__ import annotations

from tabulate import tabulate

from checks.core.errors import Exit, Problem
from checks.core.terminal import say
from checks.hosts import guest, package_mirrors, recipe
from checks.hosts.base import TITLES
from checks.hosts.local import LocalHost
from checks.hosts.preflight import unusable

_UNPROVEN = "unproven: this machine's apt knows no mirror of its archive"


def provable(host: recipe.Recipe) -> bool:
    """Whether its packages are likely to be reached: Debian's by mmdebstrap's own default, another's by a mirror."""
    return host.archive == "debian" or bool(package_mirrors.mirror(host.archive))


def hosts() -> Exit:
    """List the known hosts: the version of Podman, whether the host is built, and whether it can run here."""
    say(table())
    return Exit.OK


def table() -> str:
    """The known hosts, a row each."""
    rows = [_local()]
    missing = guest.tools_missing()
    runs_here = f"no: not installed: {', '.join(missing)} (scripts/install.sh guest)" if missing else "yes"
    for name in recipe.known():
        try:
            host = recipe.load(name)
            engine, built = f"{TITLES[host.engine]} {host.version}", "yes" if guest.built(host) else "no"
            rows.append((name, host.description, engine, built, runs_here if missing or provable(host) else _UNPROVEN))
        except Problem as problem:
            rows.append((name, "", "", "", f"no: {problem}"))
    rows.append(("ssh://user@host[:port]", "another machine, as it is", "", "", "if its keys need no question"))
    return tabulate(
        rows, headers=("Host", "What it is", "Engine", "Built", "Can run here"), maxcolwidths=[None, 40, None, None, 60]
    )


def _local() -> tuple[str, str, str, str, str]:
    local = LocalHost()
    try:
        why = unusable(local)
        engine = f"Podman {local.facts().version}"
    except Problem as problem:
        why, engine = str(problem), ""
    return ("local", "this machine, as it is", engine or "none", "", f"no: {why}" if why else "yes")
