"""A podman of the tests: it reads a user's containers.conf and drop-ins, runs the hooks named there, and shows a
container what it would see. It starts nothing. $FAKE_PODMAN names a fault of it.

no-runtime   its OCI runtime starts no container, whatever the configuration is
no-hardened  its OCI runtime starts no container that a hook has changed
only-copies  it reads no hooks where the account's own directory is read
no-limits    a container sees no limits
"""

from __future__ import annotations

import itertools
import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NoReturn

UID = 1500
"""The user, as the tests have it."""
LONGEST_RUNROOT = 50
"""The most characters that Podman accepts before 5.1."""


def install(directory: Path) -> None:
    """Put it there under its name, with the shim."""
    for name, command in (("podman", f"{sys.executable} {__file__}"), ("docker", f"{directory}/podman")):
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


def main(argv: list[str]) -> None:
    """The command."""
    if argv == ["--version"]:
        configuration()
        print("podman version 5.4.2")
        return
    options = {}
    while argv[0].startswith("--"):
        name = argv.pop(0)
        options[name] = argv.pop(0)
    command, *rest = argv
    if len(options.get("--runroot", "")) > LONGEST_RUNROOT:
        fail("the specified runroot is longer than 50 characters")
    if command == "unshare":
        os.execvp(rest[0], rest)  # noqa: S606
    config = configuration()
    state = Path(options.get("--root") or f"{os.environ['CONTAINERS_STORAGE_CONF']}.storage")
    state.mkdir(exist_ok=True)
    container, configured = state / "container.json", state / "config.json"
    if command in ("create", "run"):
        config |= {key[2:]: value for key, _, value in (word.partition("=") for word in rest) if key == "--userns"}
        if "--hooks-dir" in options:
            config["hooks_dir"] = [options["--hooks-dir"]]
        mounts = [value.split(":")[1] for name, value in itertools.pairwise(rest) if name == "-v"]
        container.write_text(json.dumps(mounts))
    if command in ("start", "run"):
        before = plain(json.loads(container.read_text()), str(config.get("userns", "")))
        if config.get("seccomp_profile") == "unconfined":
            del before["linux"]["seccomp"]
        after = hooked(before, config.get("hooks_dir", []))
        configured.write_text(json.dumps(after))
        if fault() == "no-runtime" or (fault() == "no-hardened" and after != before):
            fail("crun: nothing starts here")
        print(seen(after), end="")
    elif command == "inspect":
        print(configured)


def fault() -> str:
    """The fault that is asked for."""
    return os.environ.get("FAKE_PODMAN", "")


def fail(why: str) -> NoReturn:
    """End as podman does."""
    print(f"Error: {why}", file=sys.stderr)
    sys.exit(125)


def configuration() -> dict[str, Any]:
    """The values that the last file has set, by their keys in lower case."""
    alone = os.environ.get("CONTAINERS_CONF")
    if alone == "/dev/null":
        return {}
    home = Path(os.environ.get("XDG_CONFIG_HOME") or f"{os.environ['HOME']}/.config") / "containers"
    values: dict[str, Any] = {}
    override = [Path(path)] if (path := os.environ.get("CONTAINERS_CONF_OVERRIDE")) else []
    usual = [home / "containers.conf", *sorted((home / "containers.conf.d").glob("*.conf"))]
    for file in [*([Path(alone)] if alone else usual), *override]:
        if file.exists():
            try:
                for table in tomllib.loads(file.read_text()).values():
                    values |= {key.lower(): value for key, value in table.items()}
            except (OSError, ValueError, AttributeError) as error:
                fail(f"reading system config {file}: {error}")
    if fault() == "only-copies" and not os.environ.get("XDG_CONFIG_HOME"):
        values["hooks_dir"] = []
    return {**values, "userns": os.environ.get("PODMAN_USERNS", values.get("userns", ""))}


def plain(mounts: list[str], userns: str) -> dict[str, Any]:
    """A container's config.json before any hook."""
    keep = [(0, 1, UID), (UID, 0, 1)] if userns == "keep-id" else [(0, UID, 1), (1, 100000, 65536)]
    return {
        "process": {
            "user": {"uid": UID, "gid": UID}, "env": [],
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_CHROOT"]},
        },
        "root": {"path": "/x"},
        "mounts": [{"destination": place, "type": "bind"} for place in mounts],
        "linux": {
            "resources": {"pids": {"limit": 2048}},
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
            "uidMappings": [dict(zip(("containerID", "hostID", "size"), each, strict=True)) for each in keep],
        },
    }  # fmt: skip


def hooked(config: dict[str, Any], directories: list[str]) -> dict[str, Any]:
    """What the precreate hooks make of it."""
    for directory in directories:
        for file in sorted(Path(directory).glob("*.json")):
            hook = json.loads(file.read_text())["hook"]
            done = subprocess.run(
                [hook["path"], *hook["args"][1:]], input=json.dumps(config), capture_output=True, text=True, check=False
            )
            if done.returncode:
                fail(f"executing precreate hook: {hook['args']}: exit status {done.returncode}")
            config = json.loads(done.stdout)
    return config


def seen(config: dict[str, Any]) -> str:
    """What checks.engine.container_state reads in such a container."""
    process, resources = config["process"], config["linux"]["resources"]
    limits = {} if fault() == "no-limits" else resources
    cpu = limits.get("cpu")
    tmp = next((each for each in config["mounts"] if each["destination"] == "/tmp"), None)
    options = (tmp or {}).get("options", [])
    size = next((each for each in options if each.startswith("size=")), "")
    closed = "hooks" in config and fault() != "open-network"
    lines = [
        "==status", f"Seccomp:\t{2 * ('seccomp' in config['linux'])}",
        f"CapBnd:\t{len(process['capabilities']['bounding']):016x}",
        f"NoNewPrivs:\t{int(bool(process.get('noNewPrivileges')))}",
        "==mounts", f"1 0 0:1 / / {'ro' if config['root'].get('readonly') else 'rw'} - overlay overlay rw",
        *([f"2 1 0:2 / /tmp rw - tmpfs tmpfs rw,{size}"] if tmp else []),
        "==uid_map", *(" ".join(map(str, each.values())) for each in config["linux"]["uidMappings"]),
        "==ids", str(UID), str(UID), "==tmp", next((each[5:] for each in options if each.startswith("mode=")), "755"),
        "==pids.max", str(limits.get("pids", {}).get("limit", "max")),
        "==memory.max", str(limits.get("memory", {}).get("limit", "max")), "==memory.swap.max", "max",
        "==cpu.max", f"{cpu['quota']} {cpu['period']}" if cpu else "max 100000",
        "==network", "write error: Operation not permitted" if closed else "", "==end",
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
