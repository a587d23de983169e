"""The ways to set the flags, A to G, each as something that can be arranged on an account and tried."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from checks.core.paths import FIXTURES
from checks.hardening.injection import configuration
from checks.hardening.injection.configuration import DIRECTORY, File, drop_in_name, settings_directory
from checks.hardening.injection.settings import Setting, Settings
from checks.hardening.injection.state import Found


@dataclass(frozen=True)
class Arrangement:
    """What is arranged for a trial: files that are put there and taken away again, and how the command then reads."""

    files: Sequence[File] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    engine: Sequence[str] = ("docker",)
    """What stands before ``run``."""
    options: Sequence[str] = ()
    """What stands behind it."""
    path: str = ""
    """A directory that stands first on PATH."""


@dataclass(frozen=True)
class Option:
    """One way. ``arrange`` makes it set the given settings, and only those."""

    id: str
    title: str
    unmodified: bool
    """Whether nanoclaw's own invocation stays as it is."""
    arrange: Callable[[Found, Sequence[Setting]], Arrangement]


NOTHING = Option("nothing", "nothing: the distribution's own configuration", True, lambda *_: Arrangement())


def known() -> list[Option]:
    """All of them, in the order of their letters."""
    return [
        Option("A-docker", "DOCKER_DEFAULT_OPTS and DOCKER_OPTS in the environment", True, _docker_variables),
        Option("A-userns", "PODMAN_USERNS in the environment", True, _userns_variable),
        Option("A-override", "CONTAINERS_CONF_OVERRIDE in the environment, naming drop-in and hook", True, _override),
        Option("A-replace", "CONTAINERS_CONF in the environment, naming an empty file", True, _replace),
        Option("B", "a drop-in of containers.conf, by its own keys", True, _drop_in),
        Option("C", "options in a fork's buildContainerArgs()", False, _fork),
        Option("D", "a docker wrapper first on PATH", True, _wrapper),
        Option("E", "a drop-in with userns, and an OCI precreate hook", True, _hook),
        Option("F", "podman --module, with the drop-in of B", False, _module),
        Option("G", "a wrapper of the OCI runtime, and userns in a drop-in", True, _runtime),
    ]


def words_of(setting: Setting, settings: Settings) -> list[str]:
    """The options of ``docker run`` that make one setting."""
    starts = {
        Setting.CAPABILITIES: ("--cap-",), Setting.PRIVILEGES: ("--security-opt",), Setting.ROOT: ("--read-only",),
        Setting.PIDS: ("--pids-limit",), Setting.MEMORY: ("--memory",), Setting.CPUS: ("--cpus",),
    }  # fmt: skip
    if setting is Setting.USER:
        return ["--userns=keep-id"]
    if setting is Setting.TMPFS:
        return [word for each in settings.tmpfs for word in ("--tmpfs", each)]
    return [word for word in settings.options if word.startswith(starts[setting])]


def toml_of(setting: Setting, settings: Settings) -> str:
    """The line of containers.conf, in [containers], that is there or thought to be there for one setting."""
    cpus = settings.cpus or 2
    control = (
        [f"memory.max={settings.memory}"] if setting is Setting.MEMORY else [f"cpu.max={cpus * 100000:.0f} 100000"]
    )
    return {
        Setting.CAPABILITIES: "default_capabilities = []",
        Setting.PRIVILEGES: "no_new_privileges = true",
        Setting.ROOT: "read_only = true",
        Setting.TMPFS: 'mounts = ["type=tmpfs,destination=/tmp,tmpfs-size=512m,tmpfs-mode=1777"]',
        Setting.PIDS: f"pids_limit = {settings.pids}",
        Setting.MEMORY: f"cgroup_conf = {json.dumps(control)}",
        Setting.CPUS: f"cgroup_conf = {json.dumps(control)}",
        Setting.USER: 'userns = "keep-id"',
    }[setting]


def _conf(settings: Settings, chosen: Sequence[Setting], more: str = "") -> bytes:
    lines = [toml_of(each, settings) for each in chosen if each not in (Setting.MEMORY, Setting.CPUS)]
    limits = [toml_of(each, settings).removeprefix("cgroup_conf = [").removesuffix("]")
              for each in chosen if each in (Setting.MEMORY, Setting.CPUS)]  # fmt: skip
    if limits:
        lines.append(f"cgroup_conf = [{', '.join(limits)}]")
    return ("[containers]\n" + "\n".join(lines) + f"\n{more}").encode()


def _words(settings: Settings, chosen: Sequence[Setting]) -> list[str]:
    return [word for each in chosen for word in words_of(each, settings)]


def _docker_variables(found: Found, chosen: Sequence[Setting]) -> Arrangement:
    words = " ".join(_words(found.settings, chosen))
    return Arrangement(env={"DOCKER_DEFAULT_OPTS": words, "DOCKER_OPTS": words})


def _userns_variable(_: Found, __: Sequence[Setting]) -> Arrangement:
    return Arrangement(env={"PODMAN_USERNS": "keep-id"})


def _override(found: Found, _: Sequence[Setting]) -> Arrangement:
    hook, hook_json, drop_in = configuration.files(settings_directory(found.home), found.version, found.settings)
    apart = File(f"{settings_directory(found.home)}/{DIRECTORY}/override.conf", drop_in.data, drop_in.mode)
    return Arrangement(files=[hook, hook_json, apart], env={"CONTAINERS_CONF_OVERRIDE": apart.path})


def _replace(found: Found, _: Sequence[Setting]) -> Arrangement:
    empty = File(f"{settings_directory(found.home)}/{DIRECTORY}/replaces.conf", b"[containers]\n", 0o644)
    return Arrangement(files=[empty], env={"CONTAINERS_CONF": empty.path})


def _drop_in(found: Found, chosen: Sequence[Setting]) -> Arrangement:
    path = f"{settings_directory(found.home)}/{drop_in_name(found.version)}"
    return Arrangement(files=[File(path, _conf(found.settings, chosen), 0o644)])


def _fork(found: Found, chosen: Sequence[Setting]) -> Arrangement:
    return Arrangement(options=_words(found.settings, chosen))


def _wrapper(found: Found, chosen: Sequence[Setting]) -> Arrangement:
    directory = f"{settings_directory(found.home)}/{DIRECTORY}/bin"
    file = File(f"{directory}/docker", configuration.wrapper(_words(found.settings, chosen)).encode(), 0o755)
    return Arrangement(files=[file], path=directory)


def _hook(found: Found, _: Sequence[Setting]) -> Arrangement:
    return Arrangement(files=found.wanted)


def _module(found: Found, chosen: Sequence[Setting]) -> Arrangement:
    path = f"{settings_directory(found.home)}/{DIRECTORY}/module.conf"
    return Arrangement(files=[File(path, _conf(found.settings, chosen), 0o644)], engine=("docker", f"--module={path}"))


def _runtime(found: Found, _: Sequence[Setting]) -> Arrangement:
    directory = settings_directory(found.home)
    hook = found.wanted[0]
    runtime = File(
        f"{directory}/{DIRECTORY}/crun-hardened", (FIXTURES / "injection" / "runtime.sh").read_bytes(), 0o755
    )
    engine = f'[engine]\nruntime = "hardened"\n[engine.runtimes]\nhardened = ["{runtime.path}"]\n'
    conf = File(f"{directory}/{drop_in_name(found.version)}", _conf(found.settings, [Setting.USER], engine), 0o644)
    return Arrangement(files=[hook, runtime, conf])
