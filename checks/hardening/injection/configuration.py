"""The recommended configuration as files: their paths in a user's home, and their content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import tomli_w

from checks.core.answers import understood
from checks.core.bounded import parsed
from checks.core.lines import lines_of
from checks.core.paths import FIXTURES
from checks.engine.placement import File
from checks.hardening.injection import network
from checks.hardening.injection.settings import Settings

MARK = "nanoclaw-podman-verify"

_CHECKSUM = re.compile(rb"nanoclaw-podman-verify sha256:([0-9a-f]{64})")
_NO_CHECKSUM = "0" * 64
"""Takes the digest's place while the digest is computed."""

DIRECTORY = "nanoclaw-hardening"
"""The hook's directory, below the user's container configuration."""

DROP_IN = "containers.conf.d/60-nanoclaw-hardening.conf"
OLD_FILE = "containers.conf"
"""Used instead of the drop-in before Podman 4, which reads no drop-ins of a user."""

HOOK, HOOK_JSON, REFUSAL = f"{DIRECTORY}/harden", f"{DIRECTORY}/harden.json", f"{DIRECTORY}/last-refusal"
PROGRAM, SETTINGS = f"{HOOK}.py", f"{DIRECTORY}/settings"  # not .json: Podman takes every such file for a hook
PYTHON = "/usr/bin/python3"
"""What the hook runs with."""
HOOK_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT = 60  # seconds; the hook takes a tenth of one, and two where the processor is emulated

_HEAD = f"""\
# Hardens nanoclaw's agents. Made by `invoke inject --install`; `invoke inject --uninstall` takes it away.
# {MARK} sha256:{_NO_CHECKSUM}
#
# userns holds for every container of this user: inside, the user has the number that it has outside. Without it an
# agent can't write its workspace. A single container can have another one: podman run --userns=...
# The hook in hooks_dir changes nanoclaw's agents and leaves every other container alone.

"""


class Author(StrEnum):
    """Who wrote a file at a path of ours."""

    OURS = "ours"
    """This program, in some version."""
    EDITED = "edited"
    """This program; edited since."""
    USER = "theirs"


def author_of(data: bytes) -> Author:
    """Who wrote a file, by the checksum that each of our files contains of itself."""
    found = _CHECKSUM.search(data)
    if not found:
        return Author.USER
    blank = data[: found.start(1)] + _NO_CHECKSUM.encode() + data[found.end(1) :]
    return Author.OURS if hashlib.sha256(blank).hexdigest() == found[1].decode() else Author.EDITED


def _with_checksum(text: str) -> bytes:
    # A home may have any bytes in its name. Nothing is installed for such a one, but it is compared.
    data = text.encode(errors="surrogateescape")
    digest = hashlib.sha256(data).hexdigest()
    return data.replace(f"{MARK} sha256:{_NO_CHECKSUM}".encode(), f"{MARK} sha256:{digest}".encode(), 1)


def settings_directory(home: str) -> str:
    """The directory of the user's container configuration."""
    return f"{home}/.config/containers"


def settings_file(home: str) -> str:
    """The path of what the hook sets."""
    return f"{settings_directory(home)}/{SETTINGS}"


def drop_in_name(version: str) -> str:
    """The file that names the hook's directory, for that version of Podman."""
    return OLD_FILE if version.startswith(("1.", "2.", "3.")) else DROP_IN


def files(directory: str, version: str, settings: Settings) -> list[File]:
    """The files of the recommended configuration below ``directory``, the user's directory of container settings.

    In the order of writing: last the drop-in, which activates the rest.
    """
    return [
        File(f"{directory}/{SETTINGS}", hook_settings(directory, settings), 0o644),
        File(f"{directory}/{PROGRAM}", sealed((FIXTURES / "injection" / "harden.py").read_text()), 0o644),
        File(f"{directory}/{HOOK}", sealed((FIXTURES / "injection" / "harden").read_text()), 0o755),
        File(f"{directory}/{HOOK_JSON}", hook_json(directory), 0o644),
        File(f"{directory}/{drop_in_name(version)}", drop_in(directory), 0o644),
    ]


def drop_in(directory: str) -> bytes:
    """The drop-in of containers.conf."""
    tables = {"containers": {"userns": "keep-id"}, "engine": {"hooks_dir": [f"{directory}/{DIRECTORY}"]}}
    return _with_checksum(_HEAD + tomli_w.dumps(tables))


def hook_json(directory: str) -> bytes:
    """The JSON file that registers the hook with Podman.

    Podman skips a hook whose program is missing, without a message. So the program is the shell: without its script it
    fails, and with it the container. Podman prints a failed hook's arguments, not its output: the last one names the
    file with the reason. The hook is called for every container, and decides by the mounts which one is an agent's.
    """
    arguments = ["nanoclaw hardening:", f"its reason is in {directory}/{REFUSAL}"]
    hook = _hook(directory, *arguments)
    hook["env"].append(f"MADE_BY={MARK} sha256:{_NO_CHECKSUM}")
    what = {"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": ["precreate"]}
    return _with_checksum(json.dumps(what, indent=2) + "\n")


def _hook(directory: str, *arguments: str) -> dict[str, Any]:
    """A call of our program, as the OCI runtime specification has it."""
    args = ["sh", f"{directory}/{HOOK}", *arguments]
    return {"path": "/bin/sh", "args": args, "env": [f"PATH={HOOK_PATH}"], "timeout": _TIMEOUT}


def hook_settings(directory: str, settings: Settings) -> bytes:
    """What the hook sets, as JSON."""
    values: dict[str, Any] = {
        "made_by": f"{MARK} sha256:{_NO_CHECKSUM}",
        "capabilities": settings.capabilities,
        "tmpfs": dict(each.split(":", 1) for each in settings.tmpfs),
        "environment": dict(each.split("=", 1) for each in settings.environment),
        "pids": settings.pids,
        "memory": settings.memory,
        "cpus": settings.cpus,
    }
    if (ports := settings.open_ports) is not None:
        closing = {"ports": ports, "rules": network.rules(ports), "hook": _hook(directory, "close")}
        values["network"] = closing
    return _with_checksum(json.dumps(values, indent=2) + "\n")


def open_ports(data: bytes) -> tuple[int, ...] | None:
    """The ports that stay open by installed settings of ours; None if these do not close the network."""
    if author_of(data) is not Author.OURS:
        return None
    closing = understood(parsed, data.decode()).get("network")
    return tuple(closing["ports"]) if closing else None


def sealed(text: str) -> bytes:
    """A file of ours, with the line that identifies it in place of @seal@."""
    return _with_checksum(text.replace("@seal@", f"{MARK} sha256:{_NO_CHECKSUM}"))


def wrapper(options: Sequence[str]) -> str:
    """A ``docker`` for the front of PATH that adds these options to nanoclaw's own."""
    words = " ".join(f"'{word}'" for word in options)
    return with_lookup((FIXTURES / "wrap-docker.sh").read_text()).replace("@options@", words)


def with_lookup(script: str) -> str:
    """A wrapper of docker with the shared look-up of the real docker in its place."""
    line = ". fixtures/find-docker.sh\n"
    _, _, lookup = (FIXTURES / "find-docker.sh").read_text().partition("\n")
    assert line in script
    return script.replace(line, lookup)


PATCHES = {
    "container-runner.patch": ("1.x", "  args.push(CONTAINER_IMAGE);\n\n  return args;\n}"),
    "container-runner-2.patch": (
        "2.x", "  args.push(imageTag);\n\n  args.push('-c', 'exec bun run /app/src/index.ts');\n"
    ),
}  # fmt: skip
"""The patch files, with the versions of nanoclaw they are for and four lines of its source."""


def patch(name: str, options: Sequence[str]) -> str:
    """A patch with which a fork of nanoclaw passes these options."""
    words = list(options)
    version, context = PATCHES[name]
    values = {
        "@version@": version,
        "@options@": "\n".join(f"+    '{word}'," for word in words),
        "@context@": "\n".join(f" {line}" for line in context.split("\n")),
    }
    text = (FIXTURES / "container-runner.patch").read_text()
    for mark, value in values.items():
        text = text.replace(mark, value)
    _, _, hunk = text.partition("@count@")
    return text.replace("@count@", str(len(lines_of(hunk)) - 1))
