"""The state of an account: what of the recommended configuration is installed, and what conflicts with it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from checks.core.answers import decoded, fields
from checks.core.bounded import parsed_toml
from checks.core.errors import HostProblem
from checks.core.lines import lines_of
from checks.engine.docker import shell
from checks.engine.placement import BACKUP_SUFFIX, LARGEST, PART_SUFFIX, READABLE, File, require_own_home
from checks.hardening.injection import configuration
from checks.hardening.injection.configuration import (
    DROP_IN,
    OLD_FILE,
    Author,
    author_of,
    settings_directory,
    settings_file,
)
from checks.hardening.injection.settings import Settings, recommended
from checks.hardening.injection.units import UnitEnvironment, environment_of
from checks.hosts.base import Host

_LOOK = r"""
settings=$HOME/.config/containers
encoded() { base64 | tr -d '\n'; }
say() { printf '%s\t%s\n' "$1" "$(printf %s "$2" | encoded)"; }
say uid "$(id -u)"
say user "$(id -un)"
say home "$HOME"
say owner "$(stat -L -c '%u %U' "$HOME" 2>/dev/null)"
say elsewhere "${XDG_CONFIG_HOME:+$XDG_CONFIG_HOME/containers}"
about='^(CONTAINERS_[A-Z_]*|CONTAINER_(HOST|CONNECTION)|PODMAN_[A-Z_]*|XDG_CONFIG_HOME|XDG_DATA_HOME)='
say own "$(env | grep -E "$about" | sort)"
! services=$(systemctl --user show-environment 2>/dev/null) ||
    say services "$(printf '%s\n' "$services" | grep -E "$about" | sort)"
# Some Podman does not even tell its version where a file of its configuration is broken: here it reads none.
version=$(CONTAINERS_CONF=/dev/null podman --version 2>/dev/null | sed 's/.* //')
say version "$version"
if [ -z "$version" ] && command -v podman >/dev/null; then
    say refusal "$(CONTAINERS_CONF=/dev/null podman --version 2>&1 >/dev/null | tail -n 1 | head -c 300)"
fi
say python "$("$2" -I -S -c 'import json, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
for program in nft nsenter; do
    PATH=$3 command -v "$program" >/dev/null || say lacking "$program"
done
# nanoclaw calls docker, whichever is first on PATH.
if docker=$(command -v docker 2>/dev/null); then
    say docker "$docker"
    # It may ignore signals, and leave a process behind that keeps its output open.
    printed=$(CONTAINERS_CONF=/dev/null timeout -k 1 10 docker --version 2>/dev/null </dev/null |
        timeout -k 1 11 cat | head -c 400)
    case $printed in *podman*) say shim yes ;; esac
fi
units=$(systemctl --user --no-legend --plain list-unit-files 'nanoclaw*.service' 2>/dev/null | cut -d' ' -f1)
for unit in $units; do
    printf 'unit %s\t%s\n' "$(printf %s "$unit" | encoded)" \
        "$(systemctl --user show -p Environment -p EnvironmentFiles -- "$unit" | head -c "$1" | encoded)"
done
services=user.slice/user-$(id -u).slice/user@$(id -u).service
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
for group in "$services" "$own"; do
    [ ! -w "/sys/fs/cgroup/$group" ] || say controllers "$(cat "/sys/fs/cgroup/$group/cgroup.controllers")"
done
for name in nanoclaw-hardening containers.conf.d .; do
    directory=$settings/$name
    while [ ! -e "$directory" ]; do directory=$(dirname "$directory"); done
    { [ -d "$directory" ] && [ -w "$directory" ] && [ -x "$directory" ]; } || say "locked $name" "${directory%/.}"
done
for directory in "$settings" "$settings/containers.conf.d" "$settings/nanoclaw-hardening"; do
    [ ! -d "$directory" ] || [ -r "$directory" ] || say unreadable "$directory"
done
for file in /usr/share/containers/containers.conf /usr/share/containers/containers.conf.d/*.conf \
    /etc/containers/containers.conf /etc/containers/containers.conf.d/.*.conf \
    /etc/containers/containers.conf.d/*.conf /etc/containers/containers.rootless.conf \
    /etc/containers/containers.rootless.conf.d/*.conf "$settings/containers.conf" \
    "$settings"/containers.conf.d/.conf "$settings"/containers.conf.d/.*.conf "$settings"/containers.conf.d/*.conf \
    "$settings"/*.nanoclaw-* "$settings"/containers.conf.d/*.nanoclaw-* "$settings"/nanoclaw-hardening/*; do
    if [ -e "$file" ] || [ -L "$file" ]; then
        # Not a pipe, which may have no writer, and no more than one byte beyond what is taken.
        printf 'file %s\t%s\n' "$(printf %s "$file" | encoded)" \
            "$([ ! -f "$file" ] || head -c "$(($1 + 1))" "$file" 2>/dev/null | encoded)"
        # Podman would wait for a pipe, and read many a device without an end; /dev/null is an empty file.
        if [ -p "$file" ] || [ -S "$file" ] || [ -b "$file" ]; then say odd "$file"; fi
        if [ -c "$file" ] && ! [ "$file" -ef /dev/null ]; then say odd "$file"; fi
        [ ! -f "$file" ] || [ -r "$file" ] || say unreadable "$file"
    fi
done
"""


OLDEST_PYTHON = (3, 9)
"""The hook is tested from this version on, which Debian 11 has."""


@dataclass(frozen=True)
class Account:
    """An account and its container configuration."""

    host: str
    uid: int
    user: str
    home: str
    owner: str
    """``UID NAME`` of the home's owner; empty if there is no such directory."""
    xdg_directory: str
    """The settings directory that XDG_CONFIG_HOME leads to; empty if it is not set."""
    own: tuple[str, ...]
    """The variables in the account's own environment that Podman reads: ``NAME=VALUE`` each."""
    services: tuple[str, ...] | None
    """The same in the environment of the account's services; None without a systemd user instance."""
    version: str
    """Podman's."""
    refusal: str
    """Why Podman does not tell its version, in its own words; empty if it does, or is not installed."""
    python: str
    """The version of the Python that the hook runs with; empty if there is none."""
    docker: str
    """The path of the docker command; empty if there is none."""
    has_shim: bool
    """Whether that is Podman under the name of docker."""
    controllers: tuple[str, ...]
    """The cgroup controllers that the account may use."""
    locked: str
    """The first path above our files that is not a writable directory; empty if all are."""
    units: Mapping[str, UnitEnvironment]
    """The environments of nanoclaw's units, by name."""
    files: Mapping[str, bytes]
    """Every configuration file that Podman reads, and those in our own directory."""
    open_ports: tuple[int, ...] | None
    """The TCP ports that stay open where agents' network is closed; None where it is not."""
    network_programs: str
    """Those that can't be found of the programs that close it."""

    @property
    def settings(self) -> Settings:
        """The part of the recommended set that can be set here, and the closed network if there is one."""
        return replace(recommended().within(self.controllers), open_ports=self.open_ports)

    @property
    def required(self) -> list[File]:
        """The files as they would be installed here."""
        return configuration.files(settings_directory(self.home), self.version, self.settings)

    @property
    def containers_conf(self) -> str:
        """CONTAINERS_CONF, in the account's own environment or in that of its services."""
        values = (*self.own, *(self.services or ()))
        return next((each.partition("=")[2] for each in values if each.startswith("CONTAINERS_CONF=")), "")

    @property
    def services_differ(self) -> bool:
        """Whether Podman may act differently for a service of the account than for the account itself."""
        return self.services is not None and self.services != self.own

    @property
    def leftovers(self) -> list[str]:
        """Temporary files and backups of an interrupted install.

        Only those of our own files: a user may name a backup of another one like that, and before Podman 4 our drop-in
        has a name that users use too.
        """
        ours = {f"{file.path}{suffix}": file.path for file in self.required for suffix in (PART_SUFFIX, BACKUP_SUFFIX)}
        return [
            path
            for path, data in self.files.items()
            if path in ours and (not ours[path].endswith(f"/{OLD_FILE}") or author_of(data) is not Author.USER)
        ]

    @property
    def ours(self) -> list[str]:
        """Every installed file of ours, of any version; those first that activate the rest."""
        directory = settings_directory(self.home)
        known = [path for path, data in self.files.items() if path.startswith(f"{directory}/")]
        own = [path for path in known if path in self.leftovers or author_of(self.files[path]) is not Author.USER]
        return sorted(own, key=lambda path: not path.endswith(".conf"))

    @property
    def edited(self) -> list[str]:
        """Files of ours that were edited after they were installed."""
        return [
            path for path in self.ours if path not in self.leftovers and author_of(self.files[path]) is Author.EDITED
        ]

    @property
    def installed(self) -> bool:
        """Whether any file of ours is installed."""
        return bool(self.ours)


def read_account(host: Host) -> Account:
    """Read the state of an account. Raises HostProblem if it does not answer."""
    argv = shell(_LOOK, str(LARGEST), configuration.PYTHON, configuration.HOOK_PATH)
    return host.ask(argv, lambda answer: account_in(answer, host.name), doing="reading its container configuration")


def account_in(answer: str, host: str) -> Account:
    """The account that the output of ``_LOOK`` describes. For ``Host.ask``; raises HostProblem for unusable files."""
    reported: dict[str, str] = {}
    files: dict[str, bytes] = {}
    units: dict[str, UnitEnvironment] = {}
    for key, value in fields(answer):
        if key.startswith("file "):
            files[os.fsdecode(decoded(key.removeprefix("file ")))] = value
        elif key.startswith("unit "):
            units[os.fsdecode(decoded(key.removeprefix("unit ")))] = environment_of(os.fsdecode(value))
        else:
            reported[key] = os.fsdecode(value)
    if "odd" in reported:
        raise HostProblem(
            f"On {host}, {reported['odd']} is a pipe, a socket or a device: Podman can't read it.", "Remove it."
        )
    if "unreadable" in reported:
        raise HostProblem(f"On {host}, {reported['unreadable']} can't be read by this account.", READABLE)
    for path, data in files.items():
        if len(data) > LARGEST:
            raise HostProblem(f"On {host}, {path} has more than {LARGEST} bytes.", "Shorten or remove it.")
    if not re.fullmatch(r"(\d+ \S+)?", reported["owner"], re.ASCII):
        raise ValueError("the owner of the home is not a uid and a name")
    last = "." if configuration.drop_in_name(reported["version"]) == OLD_FILE else "containers.conf.d"
    locked = reported.get("locked nanoclaw-hardening") or reported.get(f"locked {last}", "")
    return Account(
        host=host, uid=int(reported["uid"]), user=reported["user"], home=reported["home"], owner=reported["owner"],
        xdg_directory=reported["elsewhere"], own=_variables(reported["own"]),
        services=_variables(reported["services"]) if "services" in reported else None, version=reported["version"],
        refusal=reported.get("refusal", ""), python=reported["python"],
        docker=reported.get("docker", ""), has_shim=bool(reported.get("shim")),
        controllers=tuple(reported.get("controllers", "").split()), locked=locked, units=units, files=files,
        open_ports=configuration.open_ports(files.get(settings_file(reported["home"]), b"")),
        network_programs=reported.get("lacking", ""),
    )  # fmt: skip


def _variables(text: str) -> tuple[str, ...]:
    return tuple(lines_of(text))


def require_home(found: Account) -> None:
    """Raise WrongUsage or HostProblem if no file of this account may be changed. Podman may be gone by then."""
    require_own_home(
        uid=found.uid, user=found.user, home=found.home, owner=found.owner, xdg_directory=found.xdg_directory
    )


def require_account(found: Account) -> None:
    """Raise WrongUsage or HostProblem if nothing can be installed for this account at all."""
    require_home(found)
    if found.refusal:
        raise HostProblem(f"On {found.host}, “podman --version” fails: {found.refusal}", "See invoke doctor.")
    if not found.version:
        raise HostProblem(f"{found.host} has no podman.", "Install the packages podman and podman-docker.")


def require_python(found: Account) -> None:
    """Raise HostProblem if the hook could not run."""
    numbers = tuple(int(each) for each in re.findall(r"\d+", found.python)[:2])
    if numbers < OLDEST_PYTHON:
        has = f"is Python {found.python}" if found.python else "is missing, or has no module json"
        raise HostProblem(
            f"On {found.host}, {configuration.PYTHON} {has}: the hook needs Python "
            f"{'.'.join(map(str, OLDEST_PYTHON))} or later. Nothing was installed.",
            "Install the package python3.",
        )


def require_network_programs(found: Account) -> None:
    """Raise HostProblem if the network is to be closed, and what closes it is missing."""
    if found.open_ports is not None and found.network_programs:
        package = "nftables" if found.network_programs == "nft" else "util-linux"
        raise HostProblem(
            f"On {found.host}, {found.network_programs} is missing, which closes the network. Nothing was installed.",
            f"Install the package {package}.",
        )


def require_writable(found: Account, doing: str) -> None:
    """Raise HostProblem if the account can't write our files; ``doing`` is “installed” or “removed”."""
    if found.locked:
        raise HostProblem(
            f"{found.locked} is not a directory that {found.user} can write: nothing was {doing}.",
            "Is the home mounted read-only, or does the directory belong to another user?",
        )


_COMPETING = {
    "userns": re.compile(r"userns(?!\W{0,40}keep-id\W{0,40}(#|$))"),
    "hooks_dir": re.compile("hooks_dir"),
    "seccomp_profile": re.compile("seccomp_profile"),
    "env": re.compile(r"[^#]{0,300}\b(podman_userns|containers_conf(_override)?|xdg_config_home)="),
}
"""Lines in lower case of files of containers.conf that set what is required, by the key that is named."""


def competing_settings(found: Account) -> list[str]:
    """Everything else that sets what is required: files with these keys, and environment variables."""
    ours = {file.path for file in found.required}
    competing = []
    for path, data in found.files.items():
        if path in ours or not path.endswith(".conf") or author_of(data) is not Author.USER:
            continue
        lines = [line.lstrip("\ufeff \t\"'") for line in lines_of(data.decode(errors="replace").lower())]
        if keys_set := [key for key, sets in _COMPETING.items() if any(sets.match(line) for line in lines)]:
            competing.append(f"{path} ({', '.join(keys_set)})")
    named = {each.partition("=")[0] for each in (*found.own, *(found.services or ())) if not each.startswith("XDG_")}
    return [*competing, *sorted(named)]


def conflicts(found: Account) -> list[str]:
    """Conflicts with the user's own files, a sentence each. With one of them nothing is installed."""
    return list(_conflicts(found))


def problems(found: Account) -> list[str]:
    """Why the installed configuration does not work, or differs from what would be installed now: a sentence each.

    Empty if all is in place; only a container shows that it is in force (``invoke inject --check``).
    """
    return list(_problems(found))


def _conflicts(found: Account) -> Iterator[str]:
    for file in found.required:
        data = found.files.get(file.path)
        if data is not None and (kind := author_of(data)) is not Author.OURS:
            why = "was edited after it was installed" if kind is Author.EDITED else "already exists and is not ours"
            yield f"{file.path} {why}; it is left unchanged. Move it away and run this again, or merge the two by hand."
    yield from _conflicting_files(found)


def _conflicting_files(found: Account) -> Iterator[str]:
    """Other configuration files with settings that conflict with ours."""
    ours = {file.path for file in found.required}
    for path, data in found.files.items():
        if path in ours or not path.endswith(".conf") or author_of(data) is Author.OURS:
            continue
        try:
            table = parsed_toml(data.decode())
        except ValueError:
            continue  # only Podman knows what it makes of such a file
        if _get(table, "engine", "hooks_dir"):
            yield (
                f"{path} sets hooks_dir, and Podman uses the list of one file only. "
                "Move its hooks into our directory, or remove the line."
            )
        userns = _get(table, "containers", "userns")
        if isinstance(userns, str) and userns and not str(userns).startswith("keep-id"):
            yield f"{path} sets userns = “{userns}”, so agents can't write their workspace. Remove the line."


def _problems(found: Account) -> Iterator[str]:
    if found.containers_conf:
        yield (
            f"CONTAINERS_CONF is set ({found.containers_conf}): that file replaces all others, even the drop-in, and "
            "before Podman 5 widens the capabilities of every container. Unset it."
        )
    for file in found.required:
        data = found.files.get(file.path)
        if data is None:
            yield f"{file.path} is missing: {_consequence(file.path)}"
        elif data != file.data:
            yield f"{file.path} {_DIFFERENCES[author_of(data)]}."
    yield from _conflicting_files(found)


_DIFFERENCES = {
    Author.OURS: "is of another version, or for other cgroup controllers. Run invoke inject --install",
    Author.EDITED: "was edited. Move it away, and run invoke inject --install",
    Author.USER: "is not ours. Move it away, and run invoke inject --install",
}


def _consequence(path: str) -> str:
    if path.endswith((DROP_IN, OLD_FILE)):
        return "no hook is called, and agents run unhardened without a message. Run invoke inject --install."
    if path.endswith(".json"):
        return "Podman skips the hook without a message, and agents run unhardened. Run invoke inject --install."
    return "no container starts while the hook names it. Run invoke inject --install."


def _get(table: Mapping[str, Any], section: str, key: str) -> Any:
    """A value by its key. Podman ignores the case of keys."""
    within = {name.lower(): value for name, value in table.items()}.get(section)
    return {name.lower(): value for name, value in within.items()}.get(key) if isinstance(within, dict) else None
