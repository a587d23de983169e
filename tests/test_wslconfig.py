from __future__ import annotations

import configparser
import contextlib
import io
import platform
import re
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoke import Context
from invoke import Exit as TaskExit

from checks.capacity.wslconfig import command, render
from checks.capacity.wslconfig import plan as planning
from checks.capacity.wslconfig.command import WslconfigOptions, wslconfig
from checks.capacity.wslconfig.file import decode
from checks.capacity.wslconfig.plan import GB, Machine, largest, plan
from checks.capacity.wslconfig.validate import validate
from checks.cli.tasks import collection
from checks.core.errors import Exit

MACHINES = st.builds(Machine, memory=st.integers(1, 4096 * GB), processors=st.integers(1, 512))


def parsed(text: str) -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read_string(text)
    assert set(parser.sections()) == {"wsl2", "experimental"}
    return {**parser["experimental"], **parser["wsl2"]}


def ran(options: WslconfigOptions) -> tuple[Exit, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = wslconfig(options)
    return status, out.getvalue(), err.getvalue()


def presets(text: str) -> dict[int, dict[str, str]]:
    """The presets of the example, the commented ones without their marks, by their number of containers."""
    blocks = re.findall(r"^# (\d+) containers?\b.*\n((?:#?[a-z]+=.*\n)+)", text, re.MULTILINE)
    return {int(number): parsed(f"[experimental]\n[wsl2]\n{block.replace('#', '')}") for number, block in blocks}


def test_the_committed_example_is_current() -> None:
    assert ran(WslconfigOptions(check=True)) == (Exit.OK, "examples/wslconfig.example is up to date.\n", "")


def test_the_example_is_valid_ascii() -> None:
    data = command.EXAMPLE.read_bytes()
    assert data.isascii()
    assert parsed(data.decode()) == plan(1).settings()
    assert not validate(decode(data))


def test_every_preset_is_the_formulas_or_is_marked_as_rounded() -> None:
    text = render.example()
    found = presets(text)
    assert list(found) == [1, 2, 4]
    assert found[1] == plan(1).settings() == {"memory": "6GB", "swap": "2GB", "processors": "4"}
    assert found[2] == plan(2).settings() == {"memory": "10GB", "swap": "3GB", "processors": "6"}
    assert plan(4).settings() == {"memory": "18GB", "swap": "4GB", "processors": "10"}
    assert found[4] == {**plan(4).settings(), "memory": "20GB"}
    assert "# 4 containers: the formula's 18 GB rounded up, for headroom\n#memory=20GB\n" in text


@pytest.mark.parametrize("preset", ["networkingMode=mirrored", "autoMemoryReclaim=dropCache"])
def test_the_examples_commented_settings_are_valid(preset: str) -> None:
    text = render.example()
    assert f"\n#{preset}\n" in text
    assert not validate(decode(text.replace(f"#{preset}", preset).encode()))


@pytest.mark.parametrize(
    "text",
    [
        "%UserProfile%/.wslconfig",
        "requires `wsl --shutdown` to take effect",
        "Memory is not returned to Windows until then",
        "The default is 50 % of the host's RAM",
        "https://learn.microsoft.com/windows/wsl/wsl-config\n# (Microsoft's documentation as of 2026-04-15;",
    ],
)
def test_every_file_contains_the_notes(text: str) -> None:
    assert text in render.example()
    assert text in render.computed(plan(3), Machine(64 * GB, 16))


def test_a_stale_example_is_reported_and_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = tmp_path / "wslconfig.example"
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "EXAMPLE", example)
    stale = "wslconfig.example is out of date. Run: invoke wslconfig\n"
    assert ran(WslconfigOptions(check=True)) == (Exit.CASE_FAILED, "", stale)
    assert not example.exists()
    assert ran(WslconfigOptions()) == (Exit.OK, "Wrote wslconfig.example.\n", "")
    assert ran(WslconfigOptions(check=True))[0] == Exit.OK
    example.write_text(render.example().replace("6GB", "7GB"))
    assert ran(WslconfigOptions(check=True)) == (Exit.CASE_FAILED, "", stale)


@given(MACHINES, st.integers(1, 600), st.booleans())
def test_a_computed_file_is_valid_and_fits_or_is_refused(host: Machine, containers: int, browser: bool) -> None:
    options = WslconfigOptions(str(containers), f"{host.memory}MB", str(host.processors), browser=browser)
    status, out, err = ran(options)
    wanted = plan(containers, browser=browser)
    most = largest(host, browser=browser)
    if containers > most:
        assert (status, out) == (Exit.WRONG_USAGE, "")
        assert (f"The largest number that fits: --containers {most}." if most else "Not even one fits.") in err
        return
    assert status == Exit.OK
    assert parsed(out) == wanted.settings()
    assert not validate(decode(out.encode()))
    assert wanted.memory < host.memory
    assert wanted.processors <= host.processors
    assert ("less than a quarter" in err) == (host.memory - wanted.memory < host.memory / 4)


def test_less_than_a_quarter_for_windows_causes_a_warning() -> None:
    assert ran(WslconfigOptions("1", "8GB", "4"))[::2] == (Exit.OK, "")
    assert ran(WslconfigOptions("1", "7.9GB", "4"))[::2] == (
        Exit.OK,
        (
            "Warning: Windows keeps 1.9 GB of 7.9 GB, less than a quarter. "
            "It may get slow when the agents use all their memory.\n"
        ),
    )


@given(st.integers(1, 10_000), st.booleans())
def test_more_containers_never_get_less(containers: int, browser: bool) -> None:
    one, more = plan(containers, browser=browser), plan(containers + 1, browser=browser)
    assert one.memory < more.memory
    assert one.processors < more.processors
    assert 2 * GB <= one.swap <= more.swap <= 4 * GB
    assert plan(containers, browser=False).memory <= plan(containers).memory


@given(MACHINES, st.booleans())
def test_the_largest_number_fits_and_one_more_does_not(host: Machine, browser: bool) -> None:
    most = largest(host, browser=browser)
    assert most == 0 or plan(most, browser=browser).fits(host)
    assert not plan(most + 1, browser=browser).fits(host)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (WslconfigOptions("0"), "--containers is “0”; it must be a whole number of 1 or more."),
        (WslconfigOptions("two"), "--containers is “two”; it must be a whole number of 1 or more."),
        (
            WslconfigOptions("1", "32"),
            "--host-memory is “32”; it must be a number with a unit, such as 32GB.",
        ),
        (
            WslconfigOptions("1", "0GB"),
            "--host-memory is “0GB”; it must be a number with a unit, such as 32GB.",
        ),
        (WslconfigOptions("1", "32GB", "many"), "--host-cpus is “many”; it must be a whole number of 1 or more."),
        (
            WslconfigOptions("9", "32GB", "16"),
            (
                "9 containers need 38 GB of memory, plus 1 GB for Windows, and 20 processors. The machine has 32 GB "
                "and 16. The largest number that fits: --containers 7."
            ),
        ),
        (
            WslconfigOptions("1", "6GB", "4"),
            (
                "1 container needs 6 GB of memory, plus 1 GB for Windows, and 4 processors. The machine has 6 GB "
                "and 4. Not even one fits. Without a browser: --containers 1 --no-browser."
            ),
        ),
        (
            WslconfigOptions(output="x"),
            "--output requires --containers N.",
        ),
        (
            WslconfigOptions(browser=False),
            "--no-browser requires --containers N.",
        ),
        (WslconfigOptions("1", check=True), "--check can't be combined with --containers."),
        (WslconfigOptions("1", validate="x"), "--containers can't be combined with --validate."),
        (WslconfigOptions(output="y", validate="x"), "--output can't be combined with --validate."),
        (WslconfigOptions("1", "32GB", "16", force=True), "--force requires --output FILE."),
        (
            WslconfigOptions("1", "32GB", "16", output="x", force=True, update=True),
            "--update can't be combined with --force.",
        ),
    ],
)
def test_wrong_usage_is_reported(options: WslconfigOptions, message: str) -> None:
    assert ran(options) == (Exit.WRONG_USAGE, "", f"Wrong usage: {message}\n")


def test_missing_values_are_taken_from_this_machine_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       16252928 kB\nMemFree:  1 kB\n")
    monkeypatch.setattr(planning, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(planning, "in_wsl", lambda: False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    status, out, err = ran(WslconfigOptions("1"))
    assert status == Exit.OK
    assert "on a machine with 15.5 GB of memory and 8 processors" in out
    assert err == (
        f"Using this machine's memory, 15.5 GB ({planning.MEMINFO}); change it with --host-memory.\n"
        "Using this machine's processors, 8; change it with --host-cpus.\n"
    )


def test_unknown_memory_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(planning, "in_wsl", lambda: False)
    status, _, err = ran(WslconfigOptions("1"))
    assert status == Exit.WRONG_USAGE
    assert "does not contain this machine's memory. Pass it with --host-memory" in err


def test_inside_wsl_the_memory_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = namedtuple("kernel", "release")
    monkeypatch.setattr(platform, "uname", lambda: kernel("6.6.87.2-Microsoft-standard-WSL2"))
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    status, out, err = ran(WslconfigOptions("1"))
    assert (status, out) == (Exit.WRONG_USAGE, "")
    assert "WSL sees only its own share of the memory, not Windows' memory. Pass it with --host-memory" in err
    status, _, err = ran(WslconfigOptions("1", "16GB"))
    assert status == Exit.OK
    assert "Using this virtual machine's processors (Windows may have more), 8; change it with --host-cpus" in err


def test_the_task_hands_its_options_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "wslconfig"
    with pytest.raises(TaskExit) as ended:
        collection()["wslconfig"](
            Context(), containers="2", host_memory="32GB", host_cpus="16", browser=False, output=str(target), force=True
        )
    assert ended.value.code == Exit.OK
    assert parsed(target.read_text())["memory"] == "6GB"
    target.write_text("[wsl]\n")
    with pytest.raises(TaskExit) as ended:
        collection()["wslconfig"](Context(), validate=str(target))
    assert ended.value.code == Exit.CASE_FAILED
    with pytest.raises(TaskExit) as ended:
        collection()["wslconfig"](Context(), update=True)
    assert ended.value.code == Exit.WRONG_USAGE
    with pytest.raises(TaskExit) as ended:
        collection()["wslconfig"](Context(), check=True)
    assert ended.value.code == Exit.OK
