"""Any configuration, through the hook: hardened by an independent reading, refused, or another's and unchanged."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from checks.core.paths import FIXTURES
from checks.hardening.injection.configuration import hook_settings
from checks.hardening.injection.settings import of_options
from tests.test_injection_hook import JSON, WORDS

HOOK_MODULE = FIXTURES / "injection" / "harden.py"
PLACES = st.sampled_from(
    ["/workspace", "/workspace/group", "/home/node/.claude", "/tmp", "/", "/home", "/proc", "/data", "//workspace",
     "/x/../workspace", "/tmp/", "/tmp/x", "/home/node", "/workspaces"]
)  # fmt: skip
MOUNTS = st.lists(
    st.fixed_dictionaries(
        {"destination": PLACES},
        optional={
            "type": st.sampled_from(["bind", "tmpfs", "proc"]),
            "source": st.sampled_from(["tmpfs", "/home/u/x", "/dev/null", "/dev/kvm", "/dev/../dev"]),
            "options": st.just(["ro"]),
        },
    ),
    max_size=4,
)
NUMBERS: st.SearchStrategy[object] = st.sampled_from(
    [None, 0, -1, 1, 64, 256, 257, 50000, 100000, 1 << 30, 1 << 32, 1 << 33, 9e18, True, "5", []]
)
WORDS_OF_UNIFIED: st.SearchStrategy[object] = st.sampled_from(
    ["max", "1", "0", "256", "9999999999", "1 1", "9 1", "1 0", 5, None]
)
RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        "pids": st.fixed_dictionaries({}, optional={"limit": NUMBERS}),
        "memory": st.fixed_dictionaries({}, optional={"limit": NUMBERS, "swap": NUMBERS}),
        "cpu": st.fixed_dictionaries({}, optional={"quota": NUMBERS, "period": NUMBERS, "burst": NUMBERS}),
        "unified": st.dictionaries(
            st.sampled_from(["pids.max", "memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "./pids.max"]),
            WORDS_OF_UNIFIED,
            max_size=3,
        ),
    },
)
CONFIGURATIONS = st.fixed_dictionaries(
    {"mounts": MOUNTS, "linux": st.fixed_dictionaries({}, optional={"resources": RESOURCES | st.none()})},
    optional={
        "process": st.fixed_dictionaries(
            {},
            optional={
                "env": st.lists(st.sampled_from(["A=1", "CLAUDE_CONFIG_DIR=/x", "CLAUDE_CONFIG_DIR", "HOME=/"])),
                "capabilities": st.dictionaries(
                    st.sampled_from(["bounding", "effective", "ambient"]), st.lists(st.sampled_from(["CAP_A", "CAP_B"]))
                ),
                "noNewPrivileges": st.booleans(),
            },
        ),
        "root": st.fixed_dictionaries({}, optional={"readonly": st.booleans()}),
        "x": JSON,
    },
)


def is_agent(mounts: Sequence[dict[str, Any]]) -> bool:
    for mount in mounts:
        kept: list[str] = []
        for part in PurePosixPath("/", mount["destination"]).parts[1:]:
            kept = kept[:-1] if part == ".." else [*kept, part]
        if kept[:1] == ["workspace"] or kept == ["home", "node", ".claude"]:
            return True
    return False


def lacks(after: dict[str, Any]) -> list[str]:
    """What the configuration lacks of WORDS, by the OCI runtime specification."""
    process, resources = after["process"], after["linux"]["resources"]
    memory, cpu, unified = resources["memory"], resources["cpu"], resources.get("unified") or {}
    mounts, places = after["mounts"], [each["destination"] for each in after["mounts"]]
    at = places.index("/tmp")
    cpus = [cpu["quota"] / (cpu["period"] or 100000)]
    if "cpu.max" in unified:
        quota, period = map(int, unified["cpu.max"].split())
        cpus.append(quota / period)
    highest = {"pids.max": 256, "memory.max": 4 << 30, "memory.swap.max": 4 << 30}
    has = {
        "no new privileges": process["noNewPrivileges"] is True,
        "no capability": not any(process["capabilities"].values()),
        "a read-only root": after["root"]["readonly"] is True,
        "its variable": [each for each in process["env"] if each.startswith("CLAUDE_CONFIG_DIR=")]
        == ["CLAUDE_CONFIG_DIR=/home/node/.claude"],
        "its tmpfs": mounts[at]["type"] == "tmpfs" and {"size=512m", "mode=1777"} <= set(mounts[at]["options"]),
        "one tmpfs": places.count("/tmp") == 1,
        "a tmpfs that nothing hides": "/" not in places,
        "a tmpfs that hides nothing": not any(place.startswith("/tmp/") for place in places[:at]),
        "no device": not any("/dev/kvm" in str(each) for each in mounts),
        "a limit of processes": 0 < resources["pids"]["limit"] <= 256,
        "a limit of memory": 0 < memory["limit"] <= 4 << 30,
        "a limit of swap": memory["limit"] <= memory["swap"] <= 2 * memory["limit"],
        "a limit of processors": all(0 <= each <= 2 for each in cpus) and cpu["quota"] > 0 and "burst" not in cpu,
        "limits in unified": all(0 <= int(unified.get(name, 0)) <= most for name, most in highest.items()),
        "no path in unified": "./pids.max" not in unified,
    }
    return [what for what, there in has.items() if not there]


@settings(max_examples=1500, deadline=None)
@given(before=CONFIGURATIONS)
def test_any_configuration_is_hardened_or_refused_or_not_an_agents_and_unchanged(before: dict[str, Any]) -> None:
    spec = importlib.util.spec_from_file_location("harden", HOOK_MODULE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = json.dumps(before).encode()
    try:
        after = module.hardened(data, json.loads(hook_settings("/home/me", of_options(WORDS))))
    except Exception:
        return
    if is_agent(before["mounts"]):
        assert not lacks(json.loads(after))
    else:
        assert after == data
