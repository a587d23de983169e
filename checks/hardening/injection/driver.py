"""A ``docker`` for nanoclaw 2.2 on Podman, first on the PATH of nanoclaw's service: installed, checked, removed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from checks.core.answers import fields
from checks.core.errors import Exit, HostProblem
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.core.terminal import say, say_file
from checks.engine import probe_container
from checks.engine.case_context import DOCKER_OF_SERVICE, DROP_IN_OF_SERVICE
from checks.engine.docker import shell
from checks.engine.placement import BACKUP_SUFFIX, PART_SUFFIX, File, locked, place, read, require_unshared, take_away
from checks.hardening.injection.configuration import Author, author_of, sealed, with_lookup
from checks.hardening.injection.state import Account, read_account, require_account, require_home
from checks.hardening.injection.units import assignments
from checks.hosts.base import Host

DIRECTORY = DOCKER_OF_SERVICE
DROP_IN = DROP_IN_OF_SERVICE

_FIXTURES = FIXTURES / "session-driver"

# What the docker answers: itself, and to one command of each kind that Podman rejects without the translation. With the
# PATH of nanoclaw's unit. The shim and Podman may print messages besides, on standard error.
_TRY = """
PATH=$1:/usr/local/bin:/usr/bin:/bin:$HOME/.local/bin
say() { printf '%s\\t%s\\n' "$1" "$(head -c 2000 | base64 | tr -d '\\n')"; }
(PATH=${PATH#*:} && command -v docker) | say real
try() {
    docker --version | say version
    docker version --format '{{.Server.Arch}}' | say architecture
    { docker ps -a --filter status=exited --filter status=dead --format '{{.Names}}'; echo "status $?"; } | say list
}
{ try 2>&1 >&3 3>&- | tail -c 2000 | say messages; } 3>&1
"""
_ARCHITECTURE = re.compile(r"386|amd64|arm|arm64|loong64|mips\w*|ppc64le|riscv64|s390x")
_LISTED = re.compile(r"(?:[\w.-]+\n)*status 0\n", re.ASCII)
_PROGRAM = re.compile(r"\bpath=(\S+)")
_DIRECT = ("node", "nodejs", "bun")
"""Programs that nanoclaw's unit may start, which leave the environment as it is."""
_ASKED = 60.0  # seconds for these three commands

# Lets the account's systemd read its files anew, then prints nanoclaw's units, each with what sets its environment.
_UNITS = """
systemctl --user daemon-reload || exit
systemctl --user list-unit-files --no-legend --no-pager 'nanoclaw-v2-*.service' | while read -r unit rest; do
    printf '%s\\t%s\\n' "$unit" "$(
        systemctl --user show --property=Environment,EnvironmentFiles,UnsetEnvironment,ExecStart "$unit" |
            head -c 20000 | base64 | tr -d '\\n'
    )"
done
"""


def files(home: str) -> list[File]:
    """The files for that home, in the order of writing: last the one that activates the others."""
    return [
        File(f"{home}/{DIRECTORY}/translate.py", _sealed("translate.py"), 0o644),
        File(f"{home}/{DIRECTORY}/docker", sealed(with_lookup((_FIXTURES / "docker.sh").read_text())), 0o755),
        File(f"{home}/{DROP_IN}", _sealed("nanoclaw.conf"), 0o644),
    ]


def _sealed(name: str) -> bytes:
    return sealed((_FIXTURES / name).read_text())


def install(host: Host, *, dry_run: bool, accept_missing: bool = False) -> Exit:
    """Install it for the account, and see that it works and that nanoclaw's units have it.

    CASE_FAILED, and nothing written, if files of the user conflict. Raises HostProblem, with the previous files
    restored, if it does not work; and without ``accept_missing``, if no systemd of the account gives it to nanoclaw.
    """
    found = read_account(host)
    require_account(found)
    with locked(host):
        wanted = files(found.home)
        present = read(host, [file.path for file in wanted])
        if why := [f"{path} {reason}" for path, reason in _foreign(present).items()]:
            return _refused(found, why, "installed")
        require_unshared(host, [file.path for file in wanted])
        due = [file for file in wanted if present[file.path] != file.data]
        _try_elsewhere(host, wanted)
        if dry_run:
            for file in due:
                say(f"==> {file.path} (mode {file.placed_mode:o})")
                say_file(file.data)
            units = _units(host, accept_missing=accept_missing)
            _require_units(found, units or {}, placed=False)
            say(f"--dry-run: no file was written on {found.host}.")
            return Exit.OK
        written = place(host, due)
        try:
            _require_effect(host, f"{found.home}/{DIRECTORY}")
            units = _units(host, accept_missing=accept_missing)
            _require_units(found, units or {})
        except BaseException:
            written.undo()
            with contextlib.suppress(HostProblem):
                _units(host, accept_missing=True)
            raise
        written.keep()
    for file in due:
        say(f"Wrote {file.path}.")
    if not due:
        say(f"Already installed for {found.user} on {found.host}.")
    say(_in_force(found, units))
    return Exit.OK


def _in_force(found: Account, units: Mapping[str, str] | None) -> str:
    if units is None:
        return f"Not in force by itself, without systemd: start nanoclaw with PATH={found.home}/{DIRECTORY}:$PATH"
    if not units:
        return "Not seen in force: there is no unit nanoclaw-v2-*.service yet. After nanoclaw's set-up, run this again."
    return f"In force from nanoclaw's next start on: systemctl --user restart {' '.join(sorted(units))}"


def uninstall(host: Host, *, dry_run: bool) -> Exit:
    """Remove it; CASE_FAILED, and nothing removed, if a file of it was edited. Raises HostProblem if that fails."""
    found = read_account(host)
    require_home(found)
    with locked(host):
        present = read(host, _places(found.home))
        ours, edited = _ours(present, found.home)
        if edited:
            return _refused(found, edited, "removed")
        if not ours:
            say(f"Nothing is installed for {found.user} on {found.host}.")
            return Exit.OK
        ours.reverse()  # the drop-in first, so that its PATH never names what is gone
        if not dry_run:
            # Also those of systemd, which an account may not have had: only empty ones are removed.
            above = [str(PurePosixPath(found.home, part)) for part in (".config/systemd", ".config/systemd/user")]
            directories = sorted({*above, *(str(PurePosixPath(path).parent) for path in ours)})
            take_away(host, directories, ours)
            if left := [path for path, data in read(host, ours).items() if data is not None]:
                raise HostProblem(f"On {host.name}, {', '.join(left)} could not be removed.")
    for path in ours:
        say(f"{'Would remove' if dry_run else 'Removed'} {path}.")
    if not dry_run:
        units = _units(host, accept_missing=True)
        if units:
            again = f"systemctl --user restart {' '.join(sorted(units))}"
            say(f"Until its next start, nanoclaw looks for the removed docker: {again}")
    return Exit.OK


def is_there(host: Host) -> bool:
    """Whether a file of it is installed, whole or in part."""
    home = read_account(host).home
    ours, _ = _ours(read(host, _places(home)), home)
    return bool(ours)


def _places(home: str) -> list[str]:
    """Where files of ours may be. An interrupted install leaves parts, and the files before: all of them are ours."""
    paths = [file.path for file in files(home)]
    return [*(f"{path}{suffix}" for path in paths for suffix in (PART_SUFFIX, BACKUP_SUFFIX)), *paths]


def _ours(present: Mapping[str, bytes | None], home: str) -> tuple[list[str], list[str]]:
    """The files to remove, and a sentence for each that was edited."""
    paths = {file.path for file in files(home)}
    ours = [
        path
        for path, data in present.items()
        if data is not None and (path not in paths or author_of(data) is not Author.USER)
    ]
    edited = [f"{path} {why}" for path, why in _foreign(present).items() if path in ours and path in paths]
    return ours, edited


def _foreign(present: Mapping[str, bytes | None]) -> Mapping[str, str]:
    """The files that are not as any version of this program wrote them, each with the reason."""
    reasons = {Author.USER: "already exists and is not ours", Author.EDITED: "was edited after it was installed"}
    return {
        path: f"{reasons[author]}; it is left unchanged. Move it away and run this again."
        for path, data in present.items()
        if data is not None and (author := author_of(data)) in reasons
    }


def _refused(found: Account, why: Sequence[str], what: str) -> Exit:
    for each in why:
        say(each)
    say(f"Nothing was {what} for {found.user} on {found.host}.")
    return Exit.CASE_FAILED


def _try_elsewhere(host: Host, wanted: Sequence[File]) -> None:
    """Try it in a directory that is removed again. Raises HostProblem if it does not work."""
    with probe_container.directory_on(host) as directory:
        inside = [file for file in wanted if PurePosixPath(file.path).parent.name == PurePosixPath(DIRECTORY).name]
        place(
            host, [File(f"{directory}/{PurePosixPath(file.path).name}", file.data, file.mode) for file in inside]
        ).keep()
        _require_effect(host, directory)


def _require_effect(host: Host, directory: str) -> None:
    answers = host.ask(shell(_TRY, directory), lambda text: dict(fields(text)), timeout=_ASKED, doing="trying docker")
    said = {key: data.decode(errors="replace") for key, data in answers.items()}
    right = {
        "version": "podman version" in said.get("version", ""),
        "architecture": _ARCHITECTURE.fullmatch(said.get("architecture", "").strip()) is not None,
        "list": _LISTED.fullmatch(said.get("list", "")) is not None,
    }
    for name, fine in right.items():
        if not fine:
            real, printed, messages = (said.get(each, "").strip()[-300:] for each in ("real", name, "messages"))
            remedy = "It needs python3 and a working podman-docker."
            if said.get("version", "").startswith("Docker version"):
                remedy = f"nanoclaw's service has its own PATH, where it is first. As root: mv {real} {real}.not-podman"
            raise HostProblem(
                f"The docker for nanoclaw 2.2 does not work on {host.name}: it calls {real or 'no other docker'}, "
                f"which printed {printed!r} for its {name}, and {messages!r} as messages. Nothing was installed.",
                remedy,
            )


def _units(host: Host, *, accept_missing: bool) -> Mapping[str, str] | None:
    """The properties of each of nanoclaw's units, after systemd has read its files anew; None without systemd.

    Raises HostProblem without systemd, unless that is accepted.
    """
    done = host.run(shell(_UNITS), timeout=_ASKED)
    if done.returncode == 0:
        units = host.understood(done.stdout, fields, "reading nanoclaw's units")
        return {unit: data.decode(errors="replace") for unit, data in units}
    if accept_missing:
        return None
    raise HostProblem(
        f"On {host.name}, no systemd of this account gives the docker to nanoclaw: {done.stderr.strip()[-200:]}. "
        "Nothing was installed.",
        "Log in as the account, or use --accept-missing and set the PATH of nanoclaw yourself.",
    )


def _require_units(found: Account, units: Mapping[str, str], *, placed: bool = True) -> None:
    """Raise HostProblem unless each unit of nanoclaw finds our docker first, or will as soon as it is ``placed``."""
    for unit, properties in units.items():
        if why := other_docker(properties, f"{found.home}/{DIRECTORY}", placed=placed):
            raise HostProblem(
                f"{unit} on {found.host} may find another docker first: {why}. Nothing was installed.",
                f"Look for what sets it: systemctl --user cat {unit}",
            )


def other_docker(properties: str, directory: str, *, placed: bool = True) -> str:
    """Why a unit may find a docker other than that of the directory, by its properties; empty if it will not.

    Before our drop-in is ``placed``, its PATH is left out of account.
    Raises HostProblem for properties that can't be read.
    """
    lines = [line.partition("=") for line in lines_of(properties)]
    values = {key: [value for name, _, value in lines if name == key and value] for key, _, _ in lines}
    path = _path_of(values.get("Environment", []))
    if placed and (path is None or path.split(":")[0] != directory):
        return f"its PATH is {path or 'not set'}"
    if files := values.get("EnvironmentFiles"):
        return f"its environment also comes from a file, which may set PATH: {files[0]}"
    unset = [word.partition("=")[0] for each in values.get("UnsetEnvironment", []) for word in assignments(each)]
    if "PATH" in unset:
        return "it has UnsetEnvironment=PATH"
    programs = [found[1] for each in values.get("ExecStart", []) if (found := _PROGRAM.search(each))]
    if not programs:
        return "it starts no program"
    if other := [each for each in programs if PurePosixPath(each).name not in _DIRECT]:
        return f"it starts {other[0]}, which may set another PATH"
    return ""


def _path_of(environments: Sequence[str]) -> str | None:
    """The PATH that a unit's lines of Environment= set; the last one counts."""
    words = [word for each in environments for word in assignments(each)]
    return next((word.removeprefix("PATH=") for word in reversed(words) if word.startswith("PATH=")), None)
