"""Settings without an effect, misnamed files and the versions that settings need."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.capacity.wslconfig.command import WslconfigOptions, wslconfig
from checks.core.errors import Exit
from tests.test_wslconfig_validate import messages

MIRRORED = "networkingMode=mirrored\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{MIRRORED}localhostForwarding=true",
            (
                "3: “localhostForwarding” has no effect with networkingMode=mirrored in line 2: "
                "WSL ignores it with networkingMode=mirrored. Delete one of the lines."
            ),
        ),
        (
            "networkingMode=NAT\n[experimental]\nignoredPorts=3000",
            (
                "4: “ignoredPorts” has no effect with networkingMode=NAT in line 2: "
                "WSL reads it only with networkingMode=mirrored. Delete one of the lines."
            ),
        ),
        (
            "[experimental]\nhostAddressLoopback=true\n[wsl2]\nnetworkingMode=none",
            "3: “hostAddressLoopback” has no effect",
        ),
        (f"{MIRRORED}dnsProxy=false", "3: “dnsProxy” has no effect with networkingMode=mirrored"),
        (f"{MIRRORED}firewall=false", "3: “firewall” has no effect with networkingMode=mirrored"),
        (
            "dnsTunneling=0\n[experimental]\nbestEffortDnsParsing=true",
            "4: “bestEffortDnsParsing” has no effect with dns",
        ),
        (
            "dnsTunneling=FALSE\n[experimental]\ndnsTunnelingIpAddress=1.2.3.4",
            "4: “dnsTunnelingIpAddress” has no effect",
        ),
        (
            "networkingMode=virtioproxy\n[experimental]\nbestEffortDnsParsing=true",
            (
                "4: “bestEffortDnsParsing” has no effect with networkingMode=virtioproxy in line 2: "
                "WSL reads it only with networkingMode=nat or mirrored."
            ),
        ),
        ("networkingMode=none\ndnsTunneling=true", "3: “dnsTunneling” has no effect with networkingMode=none"),
        ("autoProxy=false\n[experimental]\ninitialAutoProxyTimeout=2000", "4: “initialAutoProxyTimeout” has no effect"),
        ("swap=0GB\nswapFile=C:\\\\swap.vhdx", "3: “swapFile” has no effect with swap=0GB"),
        ("safeMode=1\nkernel=C:\\\\k", "3: “kernel” has no effect with safeMode=1 in line 2"),
        ("safeMode=true\nnetworkingMode=mirrored", "3: “networkingMode” has no effect with safeMode=true"),
        ("[experimental]\nsparseVhd=1", "3: “sparseVhd=1”: WSL 2.9.4 creates no sparse disks"),
        ("kernel=C:\\\\Users\\\\müller\\\\bzImage", "2: “ü” in “kernel”: WSL 2.9.4 reads only ASCII"),
        ("\u00a0memory=8GB", "2: the line has an invisible character: NO-BREAK SPACE (U+00A0)."),
        ("memory=8GB\u200b", "2: the line has an invisible character: ZERO WIDTH SPACE (U+200B)."),
        ("mem\u00adory=8GB", "2: the line has an invisible character: SOFT HYPHEN (U+00AD)."),
        ("memory\u2003= 8GB", "2: the line has an invisible character: EM SPACE (U+2003)."),
        ("\ufeff[experimental]", "2: the line has an invisible character: ZERO WIDTH NO-BREAK SPACE (U+FEFF)."),
        ("kernelCommandLine=a\u202eb", "2: the line has an invisible character: RIGHT-TO-LEFT OVERRIDE (U+202E)."),
    ],
)
def test_a_setting_that_has_no_effect_is_a_problem(text: str, message: str) -> None:
    (found,) = messages(f"[wsl2]\n{text}\n")
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "[experimental]\nignoredPorts=3000,9000,",
            (
                "3: note: “ignoredPorts” has no effect with networkingMode=nat, the default: WSL reads it only with "
                "networkingMode=mirrored. Set networkingMode=mirrored, or delete the line."
            ),
        ),
        (
            "networkingMode=bridged\nvmSwitch=a",
            "2: note: “networkingMode=bridged”: Microsoft deprecated this mode in WSL 2.4.5",
        ),
        ("vmSwitch=a", "2: note: “vmSwitch” has no effect with networkingMode=nat, the default"),
    ],
)
def test_a_setting_that_may_have_an_effect_causes_a_note(text: str, note: str) -> None:
    (found,) = messages(f"[wsl2]\n{text}\n")
    assert found.startswith(note)


@pytest.mark.parametrize(
    "name",
    [".wslconf", ".wslconfig.txt", "wslconfig", "wslconfig.txt", ".wsl", "_wslconfig", "wsl.config", ".wslconfig.ini",
     ".wsl2config", "WSLConfig.TXT", "wsl.conf"],
)  # fmt: skip
def test_a_file_that_wsl_never_reads_is_a_problem(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("[wsl2]\nmemory=8GB\n")
    assert wslconfig(WslconfigOptions(validate=str(tmp_path / name))) == Exit.CASE_FAILED
    assert f"{name}:1: the file is named “{name}”: " in capsys.readouterr().out


@pytest.mark.parametrize("name", [".wslconfig", ".WSLCONFIG", "mine", "wslconfig.example", "old.wslconfig"])
def test_another_name_is_no_problem(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[wsl2]\nmemory=8GB\n")
    assert wslconfig(WslconfigOptions(validate=str(tmp_path / name))) == Exit.OK


def test_for_a_missing_file_the_misnamed_one_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".wslconfig.txt").write_text("[wsl2]\n")
    assert wslconfig(WslconfigOptions(validate=str(tmp_path / ".wslconfig"))) == Exit.WRONG_USAGE
    assert f"Rename {tmp_path / '.wslconfig.txt'} to it." in capsys.readouterr().err


def test_the_versions_that_settings_need_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ".wslconfig"
    path.write_text("[wsl2]\nmemory=8GB\nnetworkingMode=mirrored\n[experimental]\nignoredPorts=80\n")
    assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.OK
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  “networkingMode” needs Windows 11 22H2; WSL 2.0.0.",
        "  “ignoredPorts” needs Windows 11 22H2.",
    ]
