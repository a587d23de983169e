"""Files and JSON that others wrote: read up to a bound, and refused in words."""

from __future__ import annotations

import ast
import os
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from checks.capacity.wslconfig import file as wslconfig_file
from checks.capacity.wslconfig.command import WslconfigOptions, wslconfig
from checks.capacity.wslconfig.validate import validate
from checks.core import bounded, tools
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.core.paths import ROOT
from checks.core.process import HEAD, TAIL, Completed
from checks.evidence import store
from checks.evidence.capacity_model import Capacity
from checks.evidence.hardening_model import HardeningRun
from checks.evidence.model import MutationRun, Reproduction, Verification
from checks.hosts import namespace
from checks.nanoclaw.contract import END, START, Markers

READERS: dict[str, Callable[[Path], object]] = {
    **{
        kind.__name__: partial(store.load, kind=kind)
        for kind in (Verification, HardeningRun, MutationRun, Reproduction, Capacity)
    },
    ".wslconfig": wslconfig_file.load,
}


@pytest.fixture(params=["a device", "a directory", "a pipe", "a link to a pipe", "a socket"])
def not_a_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "it"
    if request.param == "a socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            yield path
        return
    if request.param == "a device":
        path = Path("/dev/zero")
    elif request.param == "a pipe":
        os.mkfifo(path)
    elif request.param == "a directory":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    yield path


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_is_not_a_regular_file_is_refused_at_once(read: Callable[[Path], object], not_a_file: Path) -> None:
    with pytest.raises(WrongUsage, match=r"not a regular file|No such device|Is a directory"):
        read(not_a_file)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_file_that_is_too_large_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as sparse:
        sparse.truncate(bounded.LARGEST + 1)
    with pytest.raises(WrongUsage, match=r"larger than .* [KM]B"):
        read(file)


@pytest.mark.parametrize("read", list(READERS.values())[:-1], ids=list(READERS)[:-1])
def test_json_that_is_nested_deeply_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    file = tmp_path / "deep.json"
    file.write_text("[" * 200_000)
    with pytest.raises(WrongUsage, match="is not evidence of"):
        read(file)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize(
    "options",
    [
        lambda pipe: WslconfigOptions(validate=pipe),
        lambda pipe: WslconfigOptions(output=pipe, containers="1", update=True, host_memory="64GB", host_cpus="16"),
    ],
    ids=["validate", "update"],
)
def test_a_wslconfig_that_is_a_pipe_is_wrong_usage(
    options: Callable[[str], WslconfigOptions], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert wslconfig(options(str(pipe))) is Exit.WRONG_USAGE
    assert f"{pipe} can't be read: it is not a regular file." in capsys.readouterr().err


@pytest.mark.parametrize("value", ["9" * 5000, "9" * 5000 + "GB", "-" + "9" * 5000, "0x" + "f" * 5000, "9." * 2500])
@pytest.mark.parametrize("key", ["memory", "processors", "kernel", "swap", "vmIdleTimeout"])
def test_a_value_of_any_length_is_judged(key: str, value: str) -> None:
    source = wslconfig_file.decode(f"[wsl2]\n{key}={value}\n".encode())
    assert [each.line for each in validate(source)] == [2]


@pytest.mark.parametrize("memory", ["9" * 5000, "9" * 5000 + "GB", "0." + "0" * 5000 + "1GB", "1" + "0" * 400 + "TB"])
def test_a_memory_of_any_length_is_wrong_usage(memory: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = WslconfigOptions(containers="1", host_memory=memory, host_cpus="8")
    assert wslconfig(options) is Exit.WRONG_USAGE
    assert capsys.readouterr().err.startswith("Wrong usage: ")


def test_an_agent_that_nests_its_answer_too_deeply_has_said_nothing() -> None:
    markers = Markers()
    assert markers.feed(START + b"[" * 200_000 + END) == []
    assert len(markers.malformed) == 1


def test_a_flood_of_markers_is_read_in_one_pass() -> None:
    began = time.process_time()
    assert Markers().feed((START + END) * 100_000) == []
    assert time.process_time() - began < 2


@pytest.mark.parametrize("size", [4, 5])
def test_a_file_of_the_largest_size_is_read(tmp_path: Path, size: int) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x" * size)
    if size == 4:
        assert bounded.read_text(file, 4) == "xxxx"
    else:
        with pytest.raises(bounded.TooLarge, match="larger than 4 bytes"):
            bounded.read(file, 4)


def modules() -> list[Path]:
    return [path for path in (ROOT / "checks").rglob("*.py") if path.name != "bounded.py"]


def test_json_is_parsed_in_one_place() -> None:
    """json.loads raises RecursionError for a text that is nested too deeply, which no caller expects."""
    calls = [
        str(path.relative_to(ROOT))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("json", "loads"), ("json", "load")}
    ]
    assert calls == []


DOTTED = "a." * 60_000


@pytest.mark.parametrize(
    "text",
    [
        f"{DOTTED}a=1",
        f"[{DOTTED}a]",
        f"[[{DOTTED}a]]",
        f'"\u2028#".{DOTTED}a=1',
        f'"\x85#".{DOTTED}a=1',
        "a = " + "[" * 10_000,
    ],
)
def test_toml_that_would_take_long_to_parse_is_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r"dots|nested"):
        bounded.parsed_toml(f"[containers]\n{text}")
    assert time.process_time() - began < 2


def test_a_long_file_with_many_comments_is_parsed() -> None:
    text = "# a.b.c ....\n" * 5000 + '[containers]\nvolumes = ["/a.b/c.d:/e.f"]\n'
    assert bounded.parsed_toml(text) == {"containers": {"volumes": ["/a.b/c.d:/e.f"]}}


def test_toml_of_others_is_parsed_in_one_place() -> None:
    """Only the project's own files are parsed without bounds."""
    own = (
        "checks/core/bounded.py",
        "checks/core/version.py",
        "checks/nanoclaw/discovery/",
    )
    users = {str(path.relative_to(ROOT)) for path in modules() if "import tomllib" in path.read_text()}
    assert [user for user in users if not user.startswith(own)] == []


@pytest.mark.parametrize("run", [tools.run, partial(namespace.run, own=0, rest=1)])
def test_a_program_of_this_machine_is_bounded_in_output_and_time(run: Callable[..., Completed]) -> None:
    done = run(["sh", "-c", "head -c 30000000 /dev/zero; echo last"])
    assert HEAD < len(done.stdout_bytes) < HEAD + 2 * TAIL
    assert done.stdout_bytes.endswith(b"last\n")
    with pytest.raises(HostProblem, match=r"timed out after 0\.5 s"):
        run(["sh", "-c", "sleep 77.5"], timeout=0.5)


def test_text_of_other_programs_may_have_any_encoding() -> None:
    """A text stream of a process is decoded with errors replaced: what a program prints is not ours to choose."""
    strict = [
        f"{path.name}:{node.lineno}"
        for path in sorted((ROOT / "checks").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and {"text", "universal_newlines", "encoding"} & {each.arg for each in node.keywords}
        and ast.unparse(node.func) in {"subprocess.Popen", "subprocess.run", "subprocess.check_output"}
        and "errors" not in {each.arg for each in node.keywords}
    ]
    assert strict == []
