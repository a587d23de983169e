"""The hook: what it makes of a container's configuration, held against an independent reading of the result."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.hardening.injection.configuration import HOOK, Author, author_of, files, hook_json
from checks.hardening.injection.settings import Settings, of_options, recommended
from tests.patience import PATIENCE

WORDS = [
    "--read-only", "--tmpfs", "/tmp:rw,size=512m,mode=1777", "-e", "CLAUDE_CONFIG_DIR=/home/node/.claude",
    "--cap-drop=ALL", "--security-opt=no-new-privileges", "--cpus=2", "--memory=4g", "--pids-limit=256",
]  # fmt: skip

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def config(**more: Any) -> dict[str, Any]:
    """A container's configuration as Podman makes it, in short: an agent's."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": ["sh", "-c", 'echo "a\\b"'],
            "env": ["PATH=/bin", "TZ=Europe/Berlin"],
            "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]},
        },
        "root": {"path": "/x"},
        "mounts": [
            {"destination": "/proc", "type": "proc"},
            {"destination": "/workspace/group", "type": "bind", "source": "/home/u/g"},
            {"destination": "/tmp/ca.pem", "type": "bind", "source": "/home/u/ca"},
        ],
        "linux": {"resources": {"pids": {"limit": 2048}}, "namespaces": [{"type": "pid"}]},
        **more,
    }


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("hook"), of_options(WORDS))


def written(directory: Path, required: Settings) -> Path:
    for file in files(str(directory), "5", required):
        path = Path(file.path)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.data)
    return directory / HOOK


def run(script: Path, stdin: bytes | str | dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    """Run it as a child of something whose standard error is the terminal's, as Podman's is."""
    data = json.dumps(stdin) if isinstance(stdin, dict) else stdin
    parent = 'sh "$1"; exit $?'
    return subprocess.run(
        ["sh", "-c", parent, "sh", str(script)],
        input=data.encode() if isinstance(data, str) else data, capture_output=True, check=False, timeout=PATIENCE,
    )  # fmt: skip


def hardened(script: Path, before: dict[str, Any]) -> dict[str, Any]:
    done = run(script, before)
    assert done.returncode == 0, done.stderr
    after: dict[str, Any] = json.loads(done.stdout)
    return after


def refused(script: Path, stdin: bytes | str | dict[str, Any]) -> str:
    done = run(script, stdin)
    assert done.returncode == 1
    assert done.stdout == b""
    stderr = done.stderr.decode().splitlines(keepends=True)[-1]
    assert stderr.startswith("nanoclaw hardening: the container was not started: ")
    assert (script.parent / "last-refusal").read_text().startswith(stderr)
    return stderr


def test_an_agents_configuration_gets_everything(script: Path) -> None:
    after = hardened(script, config())
    assert after["process"]["noNewPrivileges"] is True
    sets = after["process"]["capabilities"]
    assert sets == {name: [] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")}
    assert after["root"] == {"path": "/x", "readonly": True}
    assert after["linux"]["resources"] == {
        "pids": {"limit": 256},
        "memory": {"limit": 4 << 30, "swap": 8 << 30},
        "cpu": {"quota": 200000, "period": 100000},
    }
    assert after["process"]["env"] == ["PATH=/bin", "TZ=Europe/Berlin", "CLAUDE_CONFIG_DIR=/home/node/.claude"]


def test_the_tmpfs_comes_before_what_is_mounted_in_it(script: Path) -> None:
    mounts = hardened(script, config())["mounts"]
    assert mounts[0] == {
        "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "rw", "size=512m", "mode=1777"],
    }  # fmt: skip
    assert mounts[1:] == config()["mounts"]


def test_what_it_does_not_set_stays_to_the_letter(script: Path) -> None:
    after = hardened(script, config(annotations={"é": 'q"\\u0041'}, hooks={"prestart": []}))
    assert after["annotations"] == {"é": 'q"\\u0041'}
    assert after["hooks"] == {"prestart": []}
    assert after["process"]["args"] == config()["process"]["args"]
    assert after["linux"]["namespaces"] == [{"type": "pid"}]


@pytest.mark.parametrize(
    "place",
    [
        "/data", "/workspaces/x", "/home/node", "/home/node/.claude.json", "/x/workspace", "/workspace/../data",
        "/workspace/..", "/home/node/.claude/..", "/...", "/workspace.", "",
    ],
)  # fmt: skip
def test_another_container_comes_out_as_it_went_in(script: Path, place: str) -> None:
    other = json.dumps(config(mounts=[{"destination": place}]), indent=3)
    done = run(script, other)
    assert (done.returncode, done.stdout.decode().rstrip("\n")) == (0, other)


@pytest.mark.parametrize(
    "place", ["/workspace", "/workspace/x", "/home/node/.claude", "\\/workspace", "\\u002fworkspace"]
)
def test_an_agent_is_known_by_any_of_its_mounts(script: Path, place: str) -> None:
    text = json.dumps(config(mounts=[{"destination": "@"}])).replace('"@"', f'"{place}"')
    done = run(script, text)
    assert json.loads(done.stdout)["root"]["readonly"] is True


@pytest.mark.parametrize(
    "place",
    [
        "/home/node/.claude/", "//workspace", "/x/../workspace", "/workspace/", "/workspace//", "/./workspace",
        "/workspace/.", "/x/./..//workspace/y/..", "workspace", "/../workspace", "/home//node/./.claude",
        "/%77orkspace/../workspace",
    ],
)  # fmt: skip
def test_an_agents_mount_that_is_spelled_in_another_way_is_refused(script: Path, place: str) -> None:
    assert "in its shortest form" in refused(script, config(mounts=[{"destination": place}]))
    beside = [{"destination": "/workspace"}, {"destination": place.replace("workspace", "data")}]
    assert "in its shortest form" in refused(script, config(mounts=beside))


@pytest.mark.parametrize("source", ["/dev/kvm", "//dev/../dev/sda", "/dev", "/dev/", "/dev/dri/card0"])
def test_a_device_of_the_host_is_refused(script: Path, source: str) -> None:
    bind = {"destination": "/x", "type": "bind", "source": source}
    assert "a device of the host" in refused(script, config(mounts=[{"destination": "/workspace"}, bind]))
    assert "a device of the host" in refused(script, config(linux={"devices": [{"path": source, "type": "c"}]}))


@pytest.mark.parametrize("target", ["/dev/kvm", "/dev", "/", "/dev/../dev/null/../sda"])
def test_a_device_behind_a_link_or_in_a_directory_is_refused(script: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    bind = {"destination": "/x", "type": "bind", "source": str(tmp_path / "link")}
    assert "a device of the host" in refused(script, config(mounts=[{"destination": "/workspace"}, bind]))


def test_what_nanoclaw_and_podman_mount_of_dev_is_no_device(script: Path) -> None:
    mounts = [
        {"destination": "/workspace/group/.env", "type": "bind", "source": "/dev/null"},
        {"destination": "/dev/shm", "type": "bind", "source": "/home/u/.local/share/containers/x/shm"},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
        {"destination": "/dev/mqueue", "type": "bind", "source": "/dev/mqueue"},
    ]
    assert hardened(script, config(mounts=mounts))["mounts"][1:] == mounts


def test_a_tighter_limit_is_left(script: Path) -> None:
    tight = {
        "pids": {"limit": 64},
        "memory": {"limit": 1 << 30, "swap": 1 << 30},
        "cpu": {"quota": 50000, "period": 100000},
        "unified": {"pids.max": "32", "memory.max": "1048576", "memory.swap.max": "1", "cpu.max": "1000 100000"},
    }
    assert hardened(script, config(linux={"resources": tight}))["linux"]["resources"] == tight


@pytest.mark.parametrize("swap", [-1, 0, None, 1 << 60, "absent"])
def test_a_memory_limit_without_one_of_swap_gets_it(script: Path, swap: object) -> None:
    memory = {"limit": 1 << 30} if swap == "absent" else {"limit": 1 << 30, "swap": swap}
    after = hardened(script, config(linux={"resources": {"memory": memory}}))["linux"]["resources"]
    assert after["memory"] == {"limit": 1 << 30, "swap": 2 << 30}


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("pids.max", "max"), ("pids.max", "257"), ("pids.max", 5), ("pids.max", " 5"), ("pids.max", "-1"),
        ("pids.max", "0x1"), ("memory.max", "max"), ("memory.max", "5g"), ("memory.max", "4294967297"),
        ("memory.swap.max", "max"), ("cpu.max", "max 100000"), ("cpu.max", "50000"), ("cpu.max", "500000 100000"),
        ("cpu.max", "1 0"), ("cpu.max", None), ("memory.max", ["1"]),
    ],
)  # fmt: skip
def test_a_unified_value_does_not_override_a_limit(script: Path, file: str, value: object) -> None:
    tight = {"pids": {"limit": 64}, "memory": {"limit": 1 << 30, "swap": 1 << 30}, "cpu": {"quota": 1, "period": 10}}
    unified = {"io.weight": "default 5", file: value, "cpu.weight": "7"}
    after = hardened(script, config(linux={"resources": {**tight, "unified": unified}}))["linux"]["resources"]
    assert after == {**tight, "unified": {"io.weight": "default 5", "cpu.weight": "7"}}


def test_a_unified_key_that_is_a_path_is_refused(script: Path) -> None:
    for name in ("./pids.max", "pids.max\0", "PIDS.MAX", "pids.max ", "x/../pids.max", "", ".."):
        refusal = refused(script, config(linux={"resources": {"unified": {name: "max"}}}))
        assert "is not a file's name" in refusal
    assert "of another kind" in refused(script, config(linux={"resources": {"unified": []}}))
    assert hardened(script, config(linux={"resources": {"unified": None}}))


def test_podman_calls_it_for_every_container() -> None:
    """Also for one whose mounts come from another container, from the image or from a volume."""
    assert json.loads(hook_json("/x"))["when"] == {"always": True}


@pytest.mark.parametrize("none", [0, -1, None, 9e18])
def test_a_limit_that_limits_nothing_is_replaced(script: Path, none: float | None) -> None:
    loose = {"pids": {"limit": none}, "memory": {"limit": none}, "cpu": {"quota": none, "period": 100000}}
    after = hardened(script, config(linux={"resources": loose}))["linux"]["resources"]
    assert (after["pids"]["limit"], after["memory"]["limit"], after["cpu"]["quota"]) == (256, 4 << 30, 200000)


def test_a_tmpfs_of_the_users_is_replaced_and_anything_else_refused(script: Path) -> None:
    mounts = config()["mounts"]
    mine = {"destination": "/tmp", "type": "tmpfs", "options": ["size=9g"]}
    assert [each["destination"] for each in hardened(script, config(mounts=[*mounts, mine]))["mounts"]].count(
        "/tmp"
    ) == 1
    for place in ("/tmp", "/"):
        stderr = refused(script, config(mounts=[*mounts, {"destination": place, "type": "bind", "source": "/"}]))
        assert "would hide the tmpfs" in stderr


def test_a_variable_that_is_set_is_replaced(script: Path) -> None:
    before = config()
    before["process"]["env"] = ["CLAUDE_CONFIG_DIR=/elsewhere", "A=b"]
    assert hardened(script, before)["process"]["env"] == ["A=b", "CLAUDE_CONFIG_DIR=/home/node/.claude"]


def test_without_a_controller_its_limit_is_left(tmp_path: Path) -> None:
    script = written(tmp_path, of_options(WORDS).within(["pids"]))
    assert hardened(script, config())["linux"]["resources"] == {"pids": {"limit": 256}}


@pytest.mark.parametrize(
    "broken",
    [
        "", " ", "null", "[]", '"text"', "{", '{"a":1', '{"a":1}}', '{"a" 1}', '{"a":1,}', "{'a':1}", '{"a":01}',
        '{"a":tru}', '{"a":"\x01"}', '{"a":"\\x"}', '{"a":"\\u12g4"}', '{"a":"b}', '{"a":"b\\"}', '{"a":1}{',
        '{"a":1,"a":2}', '{"mounts":1} x', '{"a":' + "[" * 99999 + "]" * 99999 + "}", '{"a":1.}', '{"a":.5}',
        "{]", "\x00",
    ],
)  # fmt: skip
def test_what_it_does_not_understand_is_refused(script: Path, broken: str) -> None:
    refused(script, broken)


@pytest.mark.parametrize(
    ("part", "value"),
    [("process", []), ("process", "x"), ("root", 1), ("linux", True), ("linux", {"resources": [1]}),
     ("linux", {"resources": {"memory": 5}}), ("process", {"capabilities": ["CAP_X"]}), ("process", {"env": {}})],
)  # fmt: skip
def test_a_part_of_another_kind_is_refused(script: Path, part: str, value: object) -> None:
    assert "of another kind than expected" in refused(script, config(**{part: value}))


@pytest.mark.parametrize("part", ["process", "root", "linux"])
def test_a_part_that_is_missing_or_null_is_made(script: Path, part: str) -> None:
    without = config()
    del without[part]
    assert hardened(script, without) == hardened(script, config(**{part: None}))


@pytest.mark.parametrize("name", ["harden.py", "settings"])
@pytest.mark.parametrize("how", ["missing", "empty", "broken"])
def test_a_part_of_the_hook_that_is_missing_or_broken_starts_no_container(tmp_path: Path, name: str, how: str) -> None:
    script = written(tmp_path, of_options(WORDS))
    (script.parent / name).unlink()
    if how != "missing":
        (script.parent / name).write_text("{" if how == "broken" else "")
    done = run(script, config())
    assert done.stdout == b""  # which is no configuration: Podman takes it for an error
    assert done.returncode != 0 or (name, how) == ("harden.py", "empty")


def test_without_python_every_container_is_refused_with_the_reason(tmp_path: Path) -> None:
    script = written(tmp_path, of_options(WORDS))
    script.write_text(script.read_text().replace("/usr/bin/python3", str(tmp_path / "none")))
    assert "/none or " in refused(script, config())


@pytest.mark.parametrize("name", ["json.py", "os.py", "sitecustomize.py", "usercustomize.py", "harden.pth"])
def test_no_module_of_the_hooks_directory_or_the_environment_is_run(
    script: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    for directory in (tmp_path, script.parent):
        (directory / name).write_text("import sys; sys.exit(0)\n")
    try:
        assert hardened(script, config())["root"]["readonly"] is True
    finally:
        (script.parent / name).unlink()


SECRET = st.sampled_from(["sk-secret", "SECRET=sk-secret", "/sk-secret", "sk-secret\n", "CAP_sk-secret"])
HOSTILE = st.recursive(SECRET | LEAVES, lambda inner: st.lists(inner) | st.dictionaries(SECRET, inner), max_leaves=6)


@settings(max_examples=80, deadline=None)
@given(
    part=st.sampled_from(
        ["process", "root", "linux", "mounts", "process.env", "process.capabilities", "linux.resources",
         "linux.resources.unified", "linux.resources.memory", "linux.resources.pids"]
    ),
    value=HOSTILE,
    cut=st.integers(0, 900),
    twice=st.booleans(),
)  # fmt: skip
def test_a_refusal_quotes_nothing_of_the_configuration(
    script: Path, part: str, value: object, cut: int, twice: bool
) -> None:
    whole = config()
    *above, last = part.split(".")
    place = whole
    for name in above:
        place = place.setdefault(name, {})
    place[last] = value
    whole["mounts"] = whole["mounts"] if part != "mounts" else [{"destination": "/workspace", "x": value}, value]
    text = json.dumps(whole)
    text = text.replace('{"ociVersion"', '{"sk-secret":1,"sk-secret":2,"ociVersion"') if twice else text
    done = run(script, text[:cut] if cut < 700 else text)
    assert b"secret" not in done.stderr
    refusal_file = script.parent / "last-refusal"
    assert not refusal_file.exists() or "secret" not in refusal_file.read_text()


def test_the_last_refusal_is_the_users_alone(tmp_path: Path) -> None:
    script = written(tmp_path, of_options(WORDS))
    refusal_file = script.parent / "last-refusal"
    refusal_file.write_text("of an older hook")
    refusal_file.chmod(0o644)
    refused(script, "{")
    assert refusal_file.stat().st_mode & 0o777 == 0o600


@settings(max_examples=60, deadline=None)
@given(extra=JSON, key=st.text(), ascii_only=st.booleans(), indent=st.sampled_from([None, 1, "\t"]))
def test_any_json_survives(script: Path, extra: object, key: str, ascii_only: bool, indent: int | str | None) -> None:
    before = config()
    before["process"]["args"] = [key]
    before.setdefault(key, extra)
    text = json.dumps(before, ensure_ascii=ascii_only, indent=indent)
    done = run(script, text.encode("utf-8", "surrogatepass"))
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout.decode("utf-8", "surrogatepass"))
    assert after["process"]["args"] == [key]
    assert key in config() or json.dumps(after[key]) == json.dumps(extra)


def test_the_recommended_set_is_one_that_the_hook_can_set() -> None:
    required = recommended()
    assert required.capabilities == ()
    for file in files("/x", "5", required):
        assert author_of(file.data) is Author.OURS


def test_no_capability_is_given_to_a_container_that_did_not_have_it(tmp_path: Path) -> None:
    capabilities = written(tmp_path, of_options([*WORDS, "--cap-add=SYS_CHROOT"]))
    for had in ([], ["CAP_CHOWN"], None, ["CAP_SYS_CHROOT", "CAP_CHOWN"]):
        before = config()
        before["process"]["capabilities"] = {} if had is None else {"bounding": had, "permitted": had}
        after = hardened(capabilities, before)["process"]["capabilities"]
        assert after["bounding"] == [each for each in had or [] if each == "CAP_SYS_CHROOT"]
        assert not any(after[name] for name in after if name != "bounding")
