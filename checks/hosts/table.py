"""``invoke hosts``: the hosts that this machine can test."""

from __future__ import annotations

from tabulate import tabulate

from checks.core.errors import Exit, Problem
from checks.core.terminal import say_text
from checks.hosts import guest, package_mirrors, recipe
from checks.hosts.facts import TITLES
from checks.hosts.local import LocalHost
from checks.hosts.preflight import unusable

_NOT_TESTED = "not tested: this machine's apt has no mirror of its archive"


def installable(host: recipe.Recipe) -> bool:
    """Whether its packages are likely reachable: Debian's by mmdebstrap's default, others by a configured mirror."""
    return host.archive == "debian" or bool(package_mirrors.mirror(host.archive))


def hosts() -> Exit:
    """List the known hosts: the version of Podman, whether the host is built, and whether it can run here.

    Exit status: 0 the table was printed; 2 the file of a host is not valid.
    """
    say_text(table())
    for name in recipe.known():
        recipe.load(name)
    return Exit.OK


def table() -> str:
    """A table of the known hosts."""
    rows = [_local()]
    missing = guest.tools_missing()
    runs_here = f"no: not installed: {', '.join(missing)} (scripts/install.sh guest)" if missing else "yes"
    for name in recipe.known():
        try:
            host = recipe.load(name)
            engine, built = f"{TITLES[host.engine]} {host.version}", "yes" if guest.built(host) else "no"
            rows.append(
                (name, host.description, engine, built, runs_here if missing or installable(host) else _NOT_TESTED)
            )
        except Problem as problem:
            rows.append((name, "", "", "", f"no: {problem}"))
    rows.append(("ssh://user@host[:port]", "another machine", "", "", "with passwordless key login"))
    return tabulate(
        rows,
        headers=("Host", "Description", "Engine", "Built", "Can run here"),
        maxcolwidths=[None, 40, None, None, 60],
    )


def _local() -> tuple[str, str, str, str, str]:
    local = LocalHost()
    try:
        why = unusable(local)
        engine = f"Podman {local.facts().version}"
    except Problem as problem:
        why, engine = str(problem), ""
    return ("local", "this machine", engine or "none", "", f"no: {why}" if why else "yes")
