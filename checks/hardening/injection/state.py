"""What of the recommended configuration stands on an account, and what keeps it from working. Nothing is changed."""

from __future__ import annotations

import base64
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checks.core.errors import HostProblem, WrongUsage
from checks.engine.docker import shell
from checks.hardening.injection import configuration
from checks.hardening.injection.configuration import (
    ASIDE,
    BEFORE,
    DROP_IN,
    OLD_FILE,
    File,
    Whose,
    settings_directory,
    whose,
)
from checks.hardening.injection.settings import Settings, recommended
from checks.hosts.base import Host

LARGEST = 1 << 18
"""Bytes that are read of one file of configuration: fifty times what the longest of Podman's own has."""

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
say version "$(CONTAINERS_CONF=/dev/null podman --version 2>/dev/null | sed 's/.* //')"
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
for file in /usr/share/containers/containers.conf /etc/containers/containers.conf \
    /etc/containers/containers.conf.d/*.conf "$settings/containers.conf" "$settings"/containers.conf.d/*.conf \
    "$settings"/*.nanoclaw-* "$settings"/containers.conf.d/*.nanoclaw-* "$settings"/nanoclaw-hardening/*; do
    if [ -e "$file" ] || [ -L "$file" ]; then
        # Not a pipe, which may have no writer, and no more than one byte beyond what is taken.
        printf 'file %s\t%s\n' "$(printf %s "$file" | encoded)" \
            "$([ ! -f "$file" ] || head -c "$(($1 + 1))" "$file" 2>/dev/null | encoded)"
        if [ -p "$file" ] || [ -S "$file" ]; then say odd "$file"; fi
    fi
done
"""


@dataclass(frozen=True)
class Found:
    """An account, as far as the configuration is concerned."""

    host: str
    uid: int
    user: str
    home: str
    owner: str
    """``UID NAME`` of whom the home belongs to; empty where there is no such directory."""
    elsewhere: str
    """The directory of settings that XDG_CONFIG_HOME makes; empty where it is not set."""
    own: tuple[str, ...]
    """The variables that Podman goes by, in the account's own environment: ``NAME=VALUE`` each."""
    services: tuple[str, ...] | None
    """The same in the environment of the account's services; None where no systemd of its own answers."""
    version: str
    """Podman's."""
    controllers: tuple[str, ...]
    """The controllers of control groups that the account may use."""
    locked: str
    """The first path on the way to our files that is no directory or can't be written; empty where all can."""
    files: Mapping[str, bytes]
    """Every file that Podman reads its configuration from, and those in our own directory."""

    @property
    def settings(self) -> Settings:
        """What can be set here of the recommended set."""
        return recommended().within(self.controllers)

    @property
    def wanted(self) -> list[File]:
        """The files as they would be installed here."""
        return configuration.files(settings_directory(self.home), self.version, self.settings)

    @property
    def replaced(self) -> str:
        """CONTAINERS_CONF, in the account's own environment or in that of its services."""
        values = (*self.own, *(self.services or ()))
        return next((each.partition("=")[2] for each in values if each.startswith("CONTAINERS_CONF=")), "")

    @property
    def services_differ(self) -> bool:
        """Whether Podman may do something else for a service of the account than for the account itself."""
        return self.services is not None and self.services != self.own

    @property
    def leftovers(self) -> list[str]:
        """What an install that was killed left of files that it was writing or replacing.

        Only beside our own files: a user may call a backup of another one so, and before Podman 4 ours has a name that
        is not ours alone.
        """
        ours = {f"{file.path}{suffix}": file.path for file in self.wanted for suffix in (ASIDE, BEFORE)}
        return [
            path
            for path, data in self.files.items()
            if path in ours and (not ours[path].endswith(f"/{OLD_FILE}") or whose(data) is not Whose.THEIRS)
        ]

    @property
    def ours(self) -> list[str]:
        """Every file of ours that is there, of whatever version; those first that set the rest in motion."""
        directory = settings_directory(self.home)
        known = [path for path, data in self.files.items() if path.startswith(f"{directory}/")]
        own = [path for path in known if path in self.leftovers or whose(self.files[path]) is not Whose.THEIRS]
        return sorted(own, key=lambda path: not path.endswith(".conf"))

    @property
    def edited(self) -> list[str]:
        """Files of ours that were changed since they were installed."""
        return [path for path in self.ours if path not in self.leftovers and whose(self.files[path]) is Whose.EDITED]

    @property
    def installed(self) -> bool:
        """Whether anything of ours is there."""
        return bool(self.ours)


def look(host: Host) -> Found:
    """Look at an account. Raises HostProblem where it does not answer."""
    told: dict[str, str] = {}
    files: dict[str, bytes] = {}
    argv = shell(_LOOK, str(LARGEST))
    for line in host.run_checked(argv, doing="looking at its configuration of containers").stdout.splitlines():
        key, _, value = line.partition("\t")
        if key.startswith("file "):
            files[os.fsdecode(base64.b64decode(key.removeprefix("file ")))] = base64.b64decode(value)
        else:
            told[key] = os.fsdecode(base64.b64decode(value))
    if "odd" in told:
        raise HostProblem(f"On {host.name}, {told['odd']} is a pipe or a socket: Podman can't read it.", "Remove it.")
    for path, data in files.items():
        if len(data) > LARGEST:
            raise HostProblem(f"On {host.name}, {path} has more than {LARGEST} bytes.", "Shorten or remove it.")
    last = "." if configuration.drop_in_name(told["version"]) == OLD_FILE else "containers.conf.d"
    locked = told.get("locked nanoclaw-hardening") or told.get(f"locked {last}", "")
    return Found(
        host=host.name, uid=int(told["uid"]), user=told["user"], home=told["home"], owner=told["owner"],
        elsewhere=told["elsewhere"], own=_variables(told["own"]),
        services=_variables(told["services"]) if "services" in told else None, version=told["version"],
        controllers=tuple(told.get("controllers", "").split()), locked=locked, files=files,
    )  # fmt: skip


def _variables(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines())


def require_account(found: Found) -> None:
    """Raise WrongUsage or HostProblem where nothing can be installed for this account, whatever stands there."""
    if found.uid == 0:
        raise WrongUsage(
            "The configuration is for a plain user, and this is root.",
            "Rootless Podman belongs to the user that runs nanoclaw: run this as that user, without sudo.",
        )
    if not found.owner:
        raise HostProblem(f"The home {found.home} of {found.user} is not there.", "Set HOME to the user's own home.")
    if found.owner.split()[0] != str(found.uid):
        raise WrongUsage(
            f"HOME is {found.home}, which belongs to {found.owner.split()[1]} and not to {found.user}.",
            "Run this as the user that runs nanoclaw, with a HOME of its own (su - USER, or machinectl shell).",
        )
    if found.elsewhere and found.elsewhere != settings_directory(found.home):
        raise WrongUsage(
            f"XDG_CONFIG_HOME makes Podman read {found.elsewhere} here, and nanoclaw's service has no such variable.",
            "Unset it, and run this again.",
        )
    if not found.home.isprintable() or not _is_utf8(found.home):
        raise HostProblem(
            f"The home {found.home!r} of {found.user} has characters that a file of Podman's configuration can't name.",
            "Give the user another home (usermod --move-home --home).",
        )
    if not found.version:
        raise HostProblem(f"There is no podman on {found.host}.", "Install the packages podman and podman-docker.")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_writable(found: Found, doing: str) -> None:
    """Raise HostProblem where the account can't write our files: then nothing was ``doing`` (installed, removed)."""
    if found.locked:
        raise HostProblem(
            f"{found.locked} is no directory that {found.user} can write: nothing was {doing}.",
            "Is the home mounted read-only, or does the directory belong to another user?",
        )


def rivals(found: Found) -> list[str]:
    """Everything else that sets what our drop-in sets: files with the keys' names, and variables of the environment."""
    ours = {file.path for file in found.wanted}
    keys = ("userns", "hooks_dir")
    told = []
    for path, data in found.files.items():
        if path in ours or not path.endswith(".conf") or whose(data) is not Whose.THEIRS:
            continue
        lines = data.decode(errors="replace").lower().splitlines()
        if keys_set := [key for key in keys if any(line.lstrip("\ufeff \t\"'").startswith(key) for line in lines)]:
            told.append(f"{path} ({', '.join(keys_set)})")
    named = {each.partition("=")[0] for each in (*found.own, *(found.services or ())) if not each.startswith("XDG_")}
    return [*told, *sorted(named)]


def obstacles(found: Found) -> list[str]:
    """What of the user's own stands in the way: a sentence each. With one of them nothing is installed."""
    return list(_obstacles(found))


def problems(found: Found) -> list[str]:
    """Why the installed configuration does not work, or not as it would be installed now: a sentence each.

    Empty where all is in place; that it is in force only a container shows (``invoke inject --check``).
    """
    return list(_problems(found))


def _obstacles(found: Found) -> Iterator[str]:
    for file in found.wanted:
        data = found.files.get(file.path)
        if data is not None and (kind := whose(data)) is not Whose.OURS:
            why = "was changed since it was installed" if kind is Whose.EDITED else "is there already and is not ours"
            yield f"{file.path} {why}: it is left as it is. Move it away and run this again, or merge the two by hand."
    yield from _conflicts(found)


def _conflicts(found: Found) -> Iterator[str]:
    """Other files of configuration that ours does not go with."""
    ours = {file.path for file in found.wanted}
    for path, data in found.files.items():
        if path in ours or not path.endswith(".conf") or whose(data) is Whose.OURS:
            continue
        try:
            table = tomllib.loads(data.decode())
        except (ValueError, RecursionError):
            continue  # what Podman makes of such a file, Podman alone can tell
        if _get(table, "engine", "hooks_dir"):
            yield (
                f"{path} names hook directories of its own (hooks_dir), and Podman takes one file's list alone. "
                "Move its hooks into one directory with ours, or take the line away."
            )
        userns = _get(table, "containers", "userns")
        if isinstance(userns, str) and userns and not str(userns).startswith("keep-id"):
            yield f"{path} sets userns = “{userns}”, with which agents can't write their workspace. Take the line away."


def _problems(found: Found) -> Iterator[str]:
    if found.replaced:
        yield (
            f"CONTAINERS_CONF is set ({found.replaced}): that file replaces all others, the drop-in too, and with some "
            "Podman widens the capabilities of every container. Unset it."
        )
    for file in found.wanted:
        data = found.files.get(file.path)
        if data is None:
            yield f"{file.path} is missing: {_consequence(file.path)}"
        elif data != file.data:
            yield f"{file.path} {_DIFFERENCES[whose(data)]}."
    yield from _conflicts(found)


_DIFFERENCES = {
    Whose.OURS: "is of another version of this program, or for other controllers: invoke inject --install mends it",
    Whose.EDITED: "was changed by hand. Move it away, and run invoke inject --install",
    Whose.THEIRS: "is not ours. Move it away, and run invoke inject --install",
}


def _consequence(path: str) -> str:
    if path.endswith((DROP_IN, OLD_FILE)):
        return "no hook is called, and agents run unhardened without a word. invoke inject --install writes it."
    if path.endswith(".json"):
        return "Podman skips the hook without a word, and agents run unhardened. invoke inject --install writes it."
    return "no container starts while it is named and not there. invoke inject --install writes it."


def _get(table: Mapping[str, Any], section: str, key: str) -> Any:
    """A value by its key. Podman reads keys of whatever case."""
    within = {name.lower(): value for name, value in table.items()}.get(section)
    return {name.lower(): value for name, value in within.items()}.get(key) if isinstance(within, dict) else None
