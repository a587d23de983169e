from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.capacity.wslconfig import values
from checks.capacity.wslconfig.command import WslconfigOptions, wslconfig
from checks.capacity.wslconfig.files import decode
from checks.capacity.wslconfig.keys import CATALOGUE, catalogue
from checks.capacity.wslconfig.validate import validate
from checks.core.errors import Exit

CAPITALS = "a size is a whole number and its unit, in capitals, with nothing between"


def told(text: str | bytes) -> list[str]:
    findings = validate(decode(text if isinstance(text, bytes) else text.encode()))
    return [f"{each.line}: {'note: ' if each.harmless else ''}{each.message}" for each in findings]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[wsl]\nmemory=8GB\n",
            "1: “[wsl]” is no section of .wslconfig: WSL ignores what is under it. Did you mean [wsl2]?",
        ),
        (
            "[docker]\nmemory=8GB\n",
            (
                "1: “[docker]” is no section of .wslconfig: WSL ignores what is under it. "
                "There are: [wsl2], [experimental], [general]."
            ),
        ),
        (
            "[boot]\nsystemd=true\n",
            (
                "1: “[boot]” is a section of /etc/wsl.conf, the file inside a distribution, not of .wslconfig: "
                "WSL ignores what is under it. Move it there."
            ),
        ),
        (
            "[wsl 2]\nmemory=8GB\n",
            (
                "1: “[wsl 2]” is no header of a section: WSL ignores what is under it. A header is a name in brackets, "
                "without spaces, alone on its line. Did you mean [wsl2]?"
            ),
        ),
        ("[wsl2]\nmemroy=8GB\n", "2: “memroy” is no key of [wsl2]: WSL ignores it. Did you mean “memory”?"),
        (
            "[wsl2]\nzzz=1\n",
            "2: “zzz” is no key of [wsl2]: WSL ignores it. Known keys: https://learn.microsoft.com/windows/wsl/wsl-config",
        ),
        (
            "[wsl2]\npageReporting=true\n",
            (
                "2: “pageReporting” is no key of WSL any more: Microsoft's page called it deprecated in September 2025 "
                "and then dropped it. Delete the line."
            ),
        ),
        (
            "[wsl2]\nsparseVhd=true\n",
            "2: “sparseVhd” belongs in [experimental], not in [wsl2]: WSL ignores it here. Move it.",
        ),
        (
            "# mine\nmemory=8GB\n",
            "2: “memory” belongs in [wsl2], and stands before any section: WSL ignores it here. Move it.",
        ),
        (
            "zzz=1\n",
            "1: “zzz” stands before any section: WSL ignores it. Put it under the header of its section.",
        ),
        ("[wsl2]\nmemory=6 GB\n", f"2: “6 GB” is no size: {CAPITALS}. Write memory=6GB."),
        ("[wsl2]\nswap=6gb\n", f"2: “6gb” is no size: {CAPITALS}. Write swap=6GB."),
        ("[wsl2]\nmemory=6.5GB\n", f"2: “6.5GB” is no size: {CAPITALS}. Write memory=6656MB."),
        ("[wsl2]\nmemory=6GiB # six\n", f"2: “6GiB” is no size: {CAPITALS}. Write memory=6GB."),
        (
            "[wsl2]\nmemory=50%\n",
            (
                "2: “50%” is a share; a size must be an amount. Write the amount, e.g. memory=8GB, or leave the line "
                "out for WSL's default."
            ),
        ),
        ("[wsl2]\nmemory=6\n", "2: “6” is 6 bytes: without a unit a size is in bytes. Write memory=6GB."),
        (
            "[wsl2]\nmemory=\n",
            "2: “” is no size. Write a whole number and its unit, e.g. memory=8GB or memory=512MB.",
        ),
        (
            "[wsl2]\nmemory=8GB\nprocessors=4\nMemory=16GB\n",
            "4: “Memory” is set in line 2 already: WSL keeps that one and ignores this. Delete one of the two.",
        ),
        (
            '[wsl2]\nswapFile="C:\\Users\\me\\swap.vhdx"\n',
            (
                '2: “swapFile="C:\\Users\\me\\swap.vhdx"”: “\\U” in it means nothing to WSL, which ignores the line. '
                'Double each backslash: swapFile="C:\\\\Users\\\\me\\\\swap.vhdx"'
            ),
        ),
        (
            '[wsl2]\nkernel="C:\\temp\\new"\n',
            "2: WSL takes “\\t” in “kernel” for a tab. Double each backslash of a path.",
        ),
        (
            "[wsl2]\nkernel=C:\\\\temp\\\nmemory=8GB\n",
            "2: the last backslash of “kernel” joins the next line to it. Double each backslash of a path.",
        ),
        (
            "[wsl2]\nkernel=/home/me/kernel\n",
            "2: “/home/me/kernel” is no absolute Windows path. Write one such as kernel=C:\\\\Users\\\\YOU\\\\file.",
        ),
        ("[wsl2]\nprocessors=4 cores\n", "2: “4 cores” is no whole number. Write digits alone, e.g. processors=4."),
        (
            "[wsl2]\nlocalhostForwarding=yes\n",
            "2: “yes” is neither true nor false. Write localhostForwarding=true or localhostForwarding=false.",
        ),
        (
            "[wsl2]\nnetworkingMode=mirored\n",
            (
                "2: “mirored” is no value of networkingMode; these are: none, nat, bridged, mirrored, virtioproxy, "
                "consomme. Did you mean mirrored?"
            ),
        ),
        (
            "[experimental]\ndnsTunnelingIpAddress=1.2.3\n",
            "2: “1.2.3” is no IPv4 address. Write one such as dnsTunnelingIpAddress=10.255.255.254.",
        ),
        (
            "[experimental]\nignoredPorts=80,65536\n",
            "2: “65536” is no port. Write numbers from 1 to 65535 with commas between: ignoredPorts=3000,9000.",
        ),
        (
            "[wsl2]\nmacAddress=12:34\n",
            "2: “12:34” is no MAC address. Write six pairs of hexadecimal digits: macAddress=00:11:22:33:44:55.",
        ),
        (
            "[wsl2]\nmemory 8GB\n",
            (
                "2: “memory 8GB”: the line has no “=” after its key: WSL ignores it. "
                "Write key=value, or # before a comment."
            ),
        ),
        (
            "[wsl2]\nmy-memory=8GB\n",
            "2: “my-memory=8GB”: the name of a key has letters and digits alone: WSL ignores the line.",
        ),
        (
            '[wsl2]\nkernelCommandLine="a b\n',
            (
                '2: “kernelCommandLine="a b”: a quote is opened and not closed: WSL ignores the line. '
                "Close it, or leave both out."
            ),
        ),
        ("; mine\n", "1: “; mine”: WSL takes only “#” for the beginning of a comment. Write # instead."),
        (
            "[wsl2]\nmemory=8GB\n".encode("utf-16-le"),
            (
                "1: the file has zero bytes, as UTF-16 without a byte order mark has. "
                "WSL opens it as UTF-8: save it as that."
            ),
        ),
        (
            "\ufeff[wsl2]\n".encode("utf-16-be"),
            "1: the file is big-endian UTF-16. WSL opens it as UTF-8: save it as that.",
        ),
        (
            b"[wsl2]\n# f\xfcr mich\n",
            (
                "1: the file is not UTF-8: the first byte that does not fit is in line 2. "
                "WSL opens it as UTF-8: save it as that."
            ),
        ),
    ],
)
def test_a_malformed_file_is_told_with_line_and_remedy(
    text: str | bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".wslconfig"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.CASE_FAILED
    assert capsys.readouterr().out == f"{path}:{message}\n\n1 finding.\n"


@pytest.mark.parametrize(
    "line",
    [
        "memory=8GB", "memory=512MB", "memory = 8G # so much", "MEMORY=8GB", "memory=17179869184", "swap=0", "swap=0GB",
        'memory="8GB"', "processors=0x10", "processors=010", "debugConsole=TRUE", "debugConsole=0",
        "networkingMode=Mirrored", "kernel=C:\\\\Temp\\\\myCustomKernel", 'kernel="C:\\\\a b\\\\c # d"',
        "kernel=\\\\\\\\server\\\\share\\\\kernel", "kernelCommandLine = a=b", "kernelCommandLine=a \\\n b",
        "macAddress=00-11-22-aA-44-55", "gpuSupport=false", "[general]\ninstanceIdleTimeout=-1",
        "[experimental]\nautoMemoryReclaim=dropcache", "[experimental]\nignoredPorts=3000,9000,9090",
        "[EXPERIMENTAL]\nsparseVhd=true",
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_wsl_takes_is_no_finding(line: str, end: str) -> None:
    assert told(f"# mine\n\n [wsl2]  # all of it\n\t{line}\n".replace("\n", end)) == []


def test_all_findings_of_a_file_come_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine"
    path.write_bytes(b"[wsl2]\r\nmemory=6gb\r\n\r\n[experimental]\r\nnetworkingMode=nat\r\nsparseVhd=on\r\n")
    assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.CASE_FAILED
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:2: “6gb” is no size: {CAPITALS}. Write memory=6GB.",
        f"{path}:5: note: “networkingMode” is documented in [wsl2]; WSL still takes it from [experimental].",
        f"{path}:6: “on” is neither true nor false. Write sparseVhd=true or sparseVhd=false.",
        "",
        "2 findings.",
    ]


def test_the_two_homes_of_a_setting_are_one_setting() -> None:
    assert told("[wsl2]\nfirewall=true\n[experimental]\nfirewall=false\n") == [
        "4: “firewall” is set in line 2 already: WSL keeps that one and ignores this. Delete one of the two."
    ]


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (
            b"\xef\xbb\xbf[wsl2]\nmemory=8GB\n",
            "the file begins with a byte order mark. WSL 2.9.4 skips it; in 2020 WSL was seen to stumble over it.",
        ),
        (
            "\ufeff[wsl2]\r\nmemory=8GB\r\n".encode("utf-16-le"),
            "the file is UTF-16, which WSL 2.9.4 reads. UTF-8 is what it expects.",
        ),
    ],
)
def test_a_byte_order_mark_is_noted_and_no_finding(
    data: bytes, note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine"
    path.write_bytes(data)
    assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.OK
    assert capsys.readouterr().out == f"{path}:1: note: {note}\n{path}: 1 setting, nothing wrong.\n"


def test_the_lines_of_a_marked_file_are_looked_at(tmp_path: Path) -> None:
    for data in (b"\xef\xbb\xbf[wsl]\n", "\ufeff[wsl]\n".encode("utf-16-le")):
        assert [message[:10] for message in told(data)] == ["1: note: t", "1: “[wsl]”"]


def test_a_clean_file_and_an_empty_one_are_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine"
    for text, settings in (("[wsl2]\nmemory=8GB\nswap=0", "2 settings"), ("", "0 settings")):
        path.write_text(text)
        assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.OK
        assert capsys.readouterr().out == f"{path}: {settings}, nothing wrong.\n"


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wslconfig(WslconfigOptions(validate=str(tmp_path / "none"))) == Exit.WRONG_USAGE
    assert capsys.readouterr().err == f"Wrong usage: {tmp_path}/none can't be read: No such file or directory.\n"
    assert wslconfig(WslconfigOptions(validate=str(tmp_path))) == Exit.WRONG_USAGE
    assert capsys.readouterr().err == f"Wrong usage: {tmp_path} can't be read: Is a directory.\n"


@given(st.text(alphabet='[]wsl2 memory=6GB#\\"\r\n;t%', max_size=80))
def test_no_text_is_too_odd_to_be_looked_at(text: str) -> None:
    lines = text.count("\n") + 1
    for finding in validate(decode(text.encode())):
        assert 1 <= finding.line <= lines
        assert finding.message.endswith((".", "?", "wsl-config")) or "backslash: " in finding.message


def test_every_key_has_a_source_a_meaning_and_a_type_that_is_checked() -> None:
    known = catalogue()
    assert known.sections == ("wsl2", "experimental", "general")
    assert len({(key.section, key.name.lower()) for key in known.keys}) == len(known.keys)
    for key in known.keys:
        assert key.type in values.TYPES
        assert key.source.startswith("https://")
        assert key.meaning
        assert bool(key.choices) == (key.type == "choice")


def test_every_other_statement_names_a_source_with_an_address() -> None:
    table = tomllib.loads(CATALOGUE.read_text())
    for about in (*table["gone"].values(), table["elsewhere"]):
        assert about["source"] in table["sources"]
    for source in table["sources"].values():
        assert source["what"]
        assert source["url"].startswith("https://")


def test_what_came_with_wsl_2_0_is_where_the_documentation_has_it() -> None:
    known = catalogue()
    for section, name in (
        ("experimental", "autoMemoryReclaim"),
        ("experimental", "sparseVhd"),
        ("wsl2", "networkingMode"),
    ):
        (key,) = known.named(name)
        assert (key.section, key.source) == (section, "https://learn.microsoft.com/windows/wsl/wsl-config")
        assert "WSL 2.0.0" in key.since
