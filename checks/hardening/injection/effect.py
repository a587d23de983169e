"""What Podman applies of an account's configuration: a container that the hook must change is started and read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec

from checks.core.answers import Unreadable, understood
from checks.core.archive import Member, pack
from checks.core.bounded import parsed
from checks.core.errors import WrongUsage
from checks.core.process import TimedOut
from checks.engine import container_state, probe_container
from checks.engine.container_state import CAPABILITIES, ContainerState, Mounted
from checks.engine.placement import File
from checks.hardening.injection import configuration
from checks.hardening.injection.configuration import settings_directory
from checks.hardening.injection.settings import CONTROLLERS, Setting, Settings, in_force, seen, size
from checks.hardening.injection.state import Account
from checks.hardening.injection.units import UnitEnvironment
from checks.hosts.base import Host

_Files = Callable[[str], Sequence[File]]
"""Our files, for a given directory of container settings."""

LIMITS = frozenset(setting for setting, _ in CONTROLLERS.values())
"""The settings that a host may be unable to set."""

AS_SERVICE = ["systemd-run", "--user", "--quiet", "--wait", "--pipe", "--collect"]
"""Runs a command as a service of the account's systemd."""
_FORM = "NANOCLAW_HARDENING_FORM"
_FORMS = ("run", "create")
"""The subcommands with which nanoclaw 1.x and 2.2 start agents: a docker may add options to one of them."""
_OTHER_CAPABILITY = 63  # no capability has this bit: it stands for those without a number here


@dataclass(frozen=True)
class Effect:
    """One container."""

    inside: ContainerState | None
    """What the container reported of itself; None if it did not run."""
    oci_config: ContainerState | None
    """The configuration that Podman passed to its OCI runtime; None if it did not get that far."""
    error: str
    """What Podman printed if no container ran."""
    other: str | None = None
    """The docker that would have been asked, which is not Podman's: its path, or empty for none. None if it is."""

    @property
    def known(self) -> ContainerState | None:
        """The container's own report, or else its configuration."""
        return self.inside or self.oci_config

    def lacking(self, required: Settings, uid: int) -> list[Setting]:
        """The settings of ``required`` that are not in force. ``uid`` is the host user's."""
        known = self.known
        return [each for each in required.required() if known is None or not in_force(each, required, known, uid)]


@dataclass(frozen=True)
class EffectCheck:
    """Whether the recommended configuration is in effect on an account."""

    effect: Effect
    lacking: tuple[Setting, ...]
    """The settings that should be in force and are not."""
    breaks: bool
    """Whether no container starts, but one does without the recommended configuration."""
    context: str
    """The environment in which Podman was asked; empty for the account's own."""
    unchecked: tuple[str, ...] = ()
    """Units of nanoclaw's that use another docker than Podman's, a clause each."""

    @property
    def in_effect(self) -> bool:
        """Whether everything is in force."""
        return not self.lacking and not self.breaks

    @property
    def only_limits(self) -> bool:
        """Whether only limits are lacking, in a container that runs or could not run anyway."""
        return not self.breaks and self.effect.known is not None and set(self.lacking) <= LIMITS

    @property
    def reported(self) -> str:
        """What Podman reported, as one line."""
        parts = []
        if self.lacking and self.effect.known is not None:
            known = self.effect.known
            parts.append(f"not in force: {', '.join(f'{each} ({seen(each, known)})' for each in self.lacking)}")
        if self.effect.inside is None:
            why = "" if self.breaks else ", with and without the hardening"
            parts.append(f"no container starts{why}: {self.effect.error}")
        return f"{self.context}{'; '.join(parts)}"


def check_installed(host: Host, found: Account, required: Settings) -> EffectCheck:
    """Check what Podman applies of the account's present configuration."""
    return _check(host, found, required, None)


def check_staged(host: Host, found: Account, required: Settings) -> EffectCheck:
    """Check what Podman would apply with our files installed. The account itself stays unchanged."""
    return _check(host, found, required, lambda directory: configuration.files(directory, found.version, required))


def _check(host: Host, found: Account, required: Settings, files: _Files | None) -> EffectCheck:
    """Check in this environment, without its variables of Podman's, through docker, and as the account's services.

    The first that fails. A variable of one shell may do what a file does not, and nanoclaw's service lacks it.
    """
    contexts: list[tuple[str, Sequence[str]]] = [("", ())]
    names = [each.partition("=")[0] for each in found.own]
    without = ["env", *(f"--unset={name}" for name in names)]
    if found.own:
        contexts.append((f"without {', '.join(names)} of this environment: ", without))
    if found.has_shim:
        docker = [*without, "NANOCLAW_HARDENING_ENGINE=docker"]
        contexts.append((f"through {found.docker}: ", docker))
        contexts += [(f"through {found.docker} {form}: ", [*docker, f"{_FORM}={form}"]) for form in _FORMS]
    if found.services_differ:
        contexts.append(("as a service of the user's systemd: ", AS_SERVICE))
    for name, environment in found.units.items():
        contexts.append((f"as {name}: ", as_unit(environment)))
        contexts += [(f"as {name}, docker {form}: ", [*as_unit(environment), f"{_FORM}={form}"]) for form in _FORMS]
    unchecked = []
    for context, carrier in contexts:
        effect = _effect(host, found, files, carrier)
        if effect.other is not None:
            which = f"{effect.other} is not Podman's shim" if effect.other else "there is no docker on its PATH"
            unchecked.append(f"{context}{which}")
            continue
        breaks = False
        if effect.inside is None:
            breaks = _effect(host, found, lambda _: [], carrier).inside is not None
            if not breaks and carrier and carrier[-1].startswith(_FORM):  # the other forms tell
                unchecked.append(f"{context}no container starts: {effect.error}")
                continue
        verdict = EffectCheck(effect, tuple(effect.lacking(required, found.uid)), breaks, context)
        if not verdict.in_effect:
            return verdict
    return replace(verdict, unchecked=tuple(unchecked))


def as_unit(environment: UnitEnvironment) -> Sequence[str]:
    """A command that runs another one as a unit of nanoclaw's would: with its environment, through its docker."""
    files = [f"--property=EnvironmentFile=-{path}" for path in environment.files]
    variables = [f"--setenv={each}" for each in environment.variables]
    return [*AS_SERVICE, *files, *variables, "env", "NANOCLAW_HARDENING_ENGINE=docker"]


def _effect(host: Host, found: Account, files: _Files | None, carrier: Sequence[str]) -> Effect:
    """Start one container. ``files`` go into a copy of the account's settings; None: use the settings themselves."""
    with probe_container.directory_on(host) as directory:
        if files is None:
            argv, stdin = [directory, "", container_state.SCRIPT], b""
        else:
            ours = [file.path.removeprefix(f"{settings_directory(found.home)}/") for file in found.required]
            config = f"{directory}/config/containers"
            argv = [directory, settings_directory(found.home), container_state.SCRIPT, *ours]
            stdin = _archive(files(config), config)
        try:
            values = probe_container.run(host, carrier, argv, stdin=stdin)
        except TimedOut as late:
            return Effect(None, None, f"timed out after {late.timeout:g} s")
    if files is not None and "error" in values:  # the user knows the original of a copy
        copy = f"{directory}/config/containers"
        values["error"] = values["error"].replace(copy, settings_directory(found.home))
    if "other" in values:
        return Effect(None, None, "", values["other"].strip())
    seen_inside, oci_config = None, None
    reason = probe_container.tail(values["error"])
    if "started" in values:
        try:
            seen_inside = container_state.parse(values.get("inside", ""))
        except Unreadable as error:
            reason = str(error)
    if values.get("handed"):
        with contextlib.suppress(Unreadable, WrongUsage):
            oci_config = understood(of_config, values["handed"])
    return Effect(seen_inside, oci_config, reason or "no reason given")


def _archive(files: Sequence[File], below: str) -> bytes:
    return pack(Member(file.path.removeprefix(f"{below}/"), file.data, file.mode) for file in files)


def of_config(text: str) -> ContainerState:
    """A container as its config.json describes it (OCI runtime specification). For ``understood``."""
    config: Mapping[str, Any] = parsed(text)
    process, linux = config["process"], config["linux"]
    resources = linux.get("resources") or {}
    cpu = resources.get("cpu") or {}
    tmp, mode = _tmp_of(config)
    state = ContainerState(
        capabilities=_capabilities_of(process),
        no_new_privileges=process.get("noNewPrivileges") is True,
        seccomp=2 if linux.get("seccomp") else 0,
        root=Mounted("root", config["root"].get("readonly") is True, None),
        tmp=tmp,
        tmp_mode=mode,
        pids=_limit((resources.get("pids") or {}).get("limit")),
        memory=_limit((resources.get("memory") or {}).get("limit")),
        cpus=cpu["quota"] / cpu["period"] if _limit(cpu.get("quota")) and _limit(cpu.get("period")) else None,
        unread=(),
        uid_map=tuple((each["containerID"], each["hostID"], each["size"]) for each in linux.get("uidMappings") or ()),
        uid=process["user"]["uid"],
        gid=process["user"]["gid"],
    )
    return msgspec.convert(asdict(state), ContainerState)  # checks the type of each value


def _capabilities_of(process: Mapping[str, Any]) -> int:
    """The union of all capability sets, as a bit mask."""
    names = {name for group in (process.get("capabilities") or {}).values() for name in group or ()}
    bits = {CAPABILITIES.get(name.removeprefix("CAP_"), _OTHER_CAPABILITY) for name in names}
    return sum(1 << bit for bit in bits)


def _tmp_of(config: Mapping[str, Any]) -> tuple[Mounted | None, str]:
    """The mount on /tmp, None without one, and its mode."""
    mounts = {mount["destination"]: mount for mount in config.get("mounts") or ()}
    tmp = mounts.get("/tmp")  # noqa: S108 - the container's
    if tmp is None:
        return None, ""
    words = dict(word.partition("=")[::2] for word in tmp.get("options") or ())
    return Mounted(tmp["type"], "ro" in words, size(words["size"]) if "size" in words else None), words.get("mode", "")


def _limit(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None
