"""The recommended configuration as files: what stands where in a user's home, and what is in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import tomli_w

from checks.core.paths import FIXTURES
from checks.hardening.injection.settings import Settings

MARK = "nanoclaw-podman-verify"

_SEAL = re.compile(rb"nanoclaw-podman-verify sha256:([0-9a-f]{64})")
_NO_SEAL = "0" * 64
"""Stands where the digest will, when the digest is made."""

DIRECTORY = "nanoclaw-hardening"
"""The hook's directory, below the user's own configuration of containers."""

DROP_IN = "containers.conf.d/60-nanoclaw-hardening.conf"
OLD_FILE = "containers.conf"
"""What takes the drop-in's place before Podman 4, which reads no drop-ins of a user."""

HOOK, HOOK_JSON, REFUSAL = f"{DIRECTORY}/harden", f"{DIRECTORY}/harden.json", f"{DIRECTORY}/last-refusal"
_TIMEOUT = 60  # seconds; the hook takes a tenth of one, and two where the processor is emulated

ASIDE, BEFORE = ".nanoclaw-part", ".nanoclaw-before"
"""What is appended to the name of a file that is being written, and of one that is being replaced: always ours."""

_HEAD = f"""\
# Hardens nanoclaw's agents. Made by `invoke inject --install`; `invoke inject --uninstall` takes it away.
# {MARK} sha256:{_NO_SEAL}
#
# userns holds for every container of this user: inside, the user has the number that it has outside. Without it an
# agent can't write its workspace. A single container can have another one: podman run --userns=...
# The hook in hooks_dir changes nanoclaw's agents and leaves every other container alone.

"""


@dataclass(frozen=True)
class File:
    """A file to be installed."""

    path: str
    data: bytes
    mode: int


class Whose(StrEnum):
    """Whose a file is that stands where one of ours belongs."""

    OURS = "ours"
    """As some version of this program wrote it."""
    EDITED = "edited"
    """Written by this program and changed since."""
    THEIRS = "theirs"


def whose(data: bytes) -> Whose:
    """By the digest of itself that each of our files carries."""
    found = _SEAL.search(data)
    if not found:
        return Whose.THEIRS
    unsealed = data[: found.start(1)] + _NO_SEAL.encode() + data[found.end(1) :]
    return Whose.OURS if hashlib.sha256(unsealed).hexdigest() == found[1].decode() else Whose.EDITED


def _sealed(text: str) -> bytes:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text.replace(f"{MARK} sha256:{_NO_SEAL}", f"{MARK} sha256:{digest}", 1).encode()


def settings_directory(home: str) -> str:
    """The directory of the user's own configuration of containers."""
    return f"{home}/.config/containers"


def drop_in_name(version: str) -> str:
    """The file that names the hook's directory, for that version of Podman."""
    return OLD_FILE if version.startswith(("1.", "2.", "3.")) else DROP_IN


def files(directory: str, version: str, settings: Settings) -> list[File]:
    """What makes up the recommended configuration below ``directory``, the user's directory of container settings.

    In the order in which it is to be written: last of all the drop-in, which sets the rest in motion.
    """
    return [
        File(f"{directory}/{HOOK}", hook(settings), 0o755),
        File(f"{directory}/{HOOK_JSON}", hook_json(directory), 0o644),
        File(f"{directory}/{drop_in_name(version)}", drop_in(directory), 0o644),
    ]


def drop_in(directory: str) -> bytes:
    """The drop-in of containers.conf."""
    tables = {"containers": {"userns": "keep-id"}, "engine": {"hooks_dir": [f"{directory}/{DIRECTORY}"]}}
    return _sealed(_HEAD + tomli_w.dumps(tables))


def hook_json(directory: str) -> bytes:
    """What tells Podman of the hook.

    A hook whose program is missing is skipped without a word, so the program is the shell: a shell that does not find
    its script fails, and with it the container. Podman shows the arguments of a hook that fails, and not what it says:
    the last one tells where that is. It is called for every container: which one is an agent's, the hook alone decides,
    by everything that is mounted, from wherever that comes.
    """
    args = ["sh", f"{directory}/{HOOK}", "nanoclaw hardening:", f"why it refuses is said in {directory}/{REFUSAL}"]
    env = ["PATH=/usr/local/bin:/usr/bin:/bin", f"MADE_BY={MARK} sha256:{_NO_SEAL}"]
    what = {
        "version": "1.0.0",
        "hook": {"path": "/bin/sh", "args": args, "env": env, "timeout": _TIMEOUT},
        "when": {"always": True},
        "stages": ["precreate"],
    }
    return _sealed(json.dumps(what, indent=2) + "\n")


def hook(settings: Settings) -> bytes:
    """The hook with these settings at its head."""
    values: Mapping[str, str] = {
        "capabilities": " ".join(settings.kept) or "none",
        "no_new_privileges": "yes",
        "read_only": "yes",
        "tmpfs": " ".join(settings.tmpfs),
        "environment": " ".join(settings.environment),
        "pids": str(settings.pids or ""),
        "memory": str(settings.memory or ""),
        "cpus": "" if settings.cpus is None else f"{settings.cpus:g}",
    }
    lines = "".join(f"{name}='{value}'\n" for name, value in values.items())
    text = (FIXTURES / "injection" / "harden.sh").read_text()
    return _sealed(text.replace("@seal@", f"{MARK} sha256:{_NO_SEAL}").replace("@settings@\n", lines))


def wrapper(options: Sequence[str]) -> str:
    """The ``docker`` that stands first on PATH and adds these options to nanoclaw's own."""
    words = " ".join(f"'{word}'" for word in options)
    return (FIXTURES / "injection" / "docker.sh").read_text().replace("@options@", words)


def patch(options: Sequence[str]) -> str:
    """What a fork of nanoclaw would change, to pass these options."""
    words = list(options)
    lines = "".join(f"+    '{word}',\n" for word in words)
    text = (FIXTURES / "injection" / "container-runner.patch").read_text()
    return text.replace("@options@\n", lines).replace("@count@", str(len(words) + 8))
