from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.capacity.wslconfig.catalogue import CATALOGUE, Catalogue, catalogue
from checks.capacity.wslconfig.command import WslconfigOptions, wslconfig
from checks.capacity.wslconfig.file import decode
from checks.capacity.wslconfig.validate import validate
from checks.core import strict_toml
from checks.core.errors import Exit, WrongUsage

CAPITALS = "a size is a whole number and a unit in capitals, without a space"


def messages(text: str | bytes) -> list[str]:
    diagnostics = validate(decode(text if isinstance(text, bytes) else text.encode()))
    return [f"{each.line}: {'note: ' if each.harmless else ''}{each.message}" for each in diagnostics]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[wsl]\nmemory=8GB\n",
            "1: “[wsl]” is not a section of .wslconfig: WSL ignores its lines. Did you mean [wsl2]?",
        ),
        (
            "[docker]\nmemory=8GB\n",
            (
                "1: “[docker]” is not a section of .wslconfig: WSL ignores its lines. "
                "Valid sections: [wsl2], [experimental], [general]."
            ),
        ),
        (
            "[boot]\nsystemd=true\n",
            (
                "1: “[boot]” belongs in /etc/wsl.conf inside a distribution, not in .wslconfig: "
                "WSL ignores its lines. Move it there."
            ),
        ),
        (
            "[wsl 2]\nmemory=8GB\n",
            (
                "1: “[wsl 2]” is not a valid section header: WSL ignores the lines below it. A header is a name "
                "in brackets, without spaces, on its own line. Did you mean [wsl2]?"
            ),
        ),
        ("[wsl2]\nmemroy=8GB\n", "2: “memroy” is not a key of [wsl2]: WSL ignores it. Did you mean “memory”?"),
        (
            "[wsl2]\nzzz=1\n",
            "2: “zzz” is not a key of [wsl2]: WSL ignores it. Known keys: https://learn.microsoft.com/windows/wsl/wsl-config",
        ),
        (
            "[wsl2]\npageReporting=true\n",
            (
                "2: WSL no longer supports “pageReporting”: Microsoft's page deprecated it in September 2025 "
                "and removed it later. Delete the line."
            ),
        ),
        (
            "[wsl2]\nautoMemoryReclaim=gradual\n",
            "2: “autoMemoryReclaim” belongs in [experimental], not in [wsl2]: WSL ignores it here. Move it.",
        ),
        (
            "# mine\nmemory=8GB\n",
            "2: “memory” belongs in [wsl2], not before the first section: WSL ignores it here. Move it.",
        ),
        (
            "zzz=1\n",
            "1: “zzz” is before the first section: WSL ignores it. Move it below its section header.",
        ),
        ("[wsl2]\nmemory=6 GB\n", f"2: “6 GB” is not a valid size: {CAPITALS}. Write memory=6GB."),
        ("[wsl2]\nswap=6gb\n", f"2: “6gb” is not a valid size: {CAPITALS}. Write swap=6GB."),
        ("[wsl2]\nmemory=6.5GB\n", f"2: “6.5GB” is not a valid size: {CAPITALS}. Write memory=6656MB."),
        ("[wsl2]\nmemory=6GiB # six\n", f"2: “6GiB” is not a valid size: {CAPITALS}. Write memory=6GB."),
        (
            "[wsl2]\nmemory=50%\n",
            (
                "2: “50%” is a percentage, but WSL needs an amount. Write the amount, e.g. memory=8GB, or delete "
                "the line to use WSL's default."
            ),
        ),
        ("[wsl2]\nmemory=6\n", "2: “6” means 6 bytes, because it has no unit. Write memory=6GB."),
        (
            "[wsl2]\nmemory=\n",
            "2: “” is not a valid size. Write a whole number and a unit, e.g. memory=8GB or memory=512MB.",
        ),
        (
            "[wsl2]\nmemory=8GB\nprocessors=4\nMemory=16GB\n",
            "4: “Memory” is already set in line 2: WSL uses the first value. Delete one of the lines.",
        ),
        (
            '[wsl2]\nswapFile="C:\\Users\\me\\swap.vhdx"\n',
            (
                '2: “swapFile="C:\\Users\\me\\swap.vhdx"”: WSL does not support the escape “\\U”, and ignores the '
                'line. Double each backslash: swapFile="C:\\\\Users\\\\me\\\\swap.vhdx"'
            ),
        ),
        (
            '[wsl2]\nkernel="C:\\temp\\new"\n',
            "2: WSL reads “\\t” in “kernel” as a tab. Double each backslash of a path.",
        ),
        (
            "[wsl2]\nkernel=C:\\\\temp\\\nmemory=8GB\n",
            "2: the last backslash of “kernel” joins the next line. Double each backslash of a path.",
        ),
        (
            "[wsl2]\nkernel=/home/me/kernel\n",
            (
                "2: “/home/me/kernel” is not an absolute Windows path. "
                "Write one such as kernel=C:\\\\Users\\\\YOU\\\\file."
            ),
        ),
        (
            "[wsl2]\nkernel=C:\\\\Users\\\\$USER\\\\kernel\n",
            "2: “$USER” is not replaced: WSL reads kernel as it stands. Write the path without variables.",
        ),
        ("[wsl2]\nprocessors=4 cores\n", "2: “4 cores” is not a whole number. Write only digits, e.g. processors=4."),
        (
            "[wsl2]\nlocalhostForwarding=yes\n",
            "2: “yes” is not true or false. Write localhostForwarding=true or localhostForwarding=false.",
        ),
        (
            "[wsl2]\nnetworkingMode=mirored\n",
            (
                "2: “mirored” is not a valid networkingMode. Valid values: none, nat, bridged, mirrored, virtioproxy, "
                "consomme. Did you mean mirrored?"
            ),
        ),
        (
            "[experimental]\ndnsTunnelingIpAddress=1.2.3\n",
            "2: “1.2.3” is not an IPv4 address. Write one such as dnsTunnelingIpAddress=10.255.255.254.",
        ),
        (
            "[experimental]\nignoredPorts=80,,65536,\n",
            "2: “65536” is not a port. Write numbers from 1 to 65535, separated by commas: ignoredPorts=3000,9000.",
        ),
        (
            "[wsl2]\nmacAddress=12:34\n",
            "2: “12:34” is not a MAC address. Write six pairs of hexadecimal digits: macAddress=00:11:22:33:44:55.",
        ),
        (
            "[wsl2]\nmemory 8GB\n",
            (
                "2: “memory 8GB”: the line has no “=” after its key: WSL ignores it. "
                "Write key=value, or begin a comment with #."
            ),
        ),
        (
            "[wsl2]\nmy-memory=8GB\n",
            "2: “my-memory=8GB”: a key may contain only letters and digits: WSL ignores the line.",
        ),
        (
            '[wsl2]\nkernelCommandLine="a b\n',
            (
                '2: “kernelCommandLine="a b”: the closing quote is missing: WSL ignores the line. '
                "Add it, or remove the other one."
            ),
        ),
        ("; mine\n", "1: “; mine”: In WSL, only “#” begins a comment. Write # instead."),
        (
            "[wsl2]\nmemory=8GB\n".encode("utf-16-le"),
            (
                "1: the file contains zero bytes, like UTF-16 without a byte order mark. "
                "WSL reads the file as UTF-8: save it as UTF-8."
            ),
        ),
        (
            "\ufeff[wsl2]\n".encode("utf-16-be"),
            "1: the file is big-endian UTF-16. WSL reads the file as UTF-8: save it as UTF-8.",
        ),
        (
            b"[wsl2]\n# f\xfcr mich\n",
            (
                "1: the file is not valid UTF-8: line 2 has the first invalid byte. "
                "WSL reads the file as UTF-8: save it as UTF-8."
            ),
        ),
    ],
)
def test_a_problem_is_reported_with_line_and_remedy(
    text: str | bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".wslconfig"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.CASE_FAILED
    assert capsys.readouterr().out == f"{path}:{message}\n\n1 problem.\n"


@pytest.mark.parametrize(
    "line",
    [
        "memory=8GB", "memory=512MB", "memory = 8G # so much", "MEMORY=8GB", "memory=17179869184", "swap=0", "swap=0GB",
        'memory="8GB"', "processors=0x10", "debugConsole=TRUE", "debugConsole=0",
        "networkingMode=Mirrored", "kernel=C:\\\\Temp\\\\myCustomKernel", 'kernel="C:\\\\a b\\\\c # d"',
        "kernel=\\\\\\\\server\\\\share\\\\kernel", "kernelCommandLine = a=b", "kernelCommandLine=a \\\n b",
        "macAddress=00-11-22-aA-44-55", "gpuSupport=false", "[general]\ninstanceIdleTimeout=-1",
        "[experimental]\nautoMemoryReclaim=dropcache",
        "networkingMode=mirrored\n[experimental]\nignoredPorts=3000,9000,9090",
        "networkingMode=mirrored\n[experimental]\nignoredPorts=3000,9000,",
        "[EXPERIMENTAL]\nsparseVhd=false", "localhostForwarding=true", "autoProxy=1\nsafeMode=0",
        "networkingMode=mirrored\nfirewall=true",
        "networkingMode=mirrored\n[experimental]\nhostAddressLoopback=1\nbestEffortDnsParsing=1",
        "safeMode=true\nguiApplications=false",
        "kernelCommandLine=a  # für mich\u00a0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_value_that_wsl_accepts_is_not_reported(line: str, end: str) -> None:
    assert messages(f"# mine\n\n [wsl2]  # all of it\n\t{line}\n".replace("\n", end)) == []


def test_all_problems_of_a_file_are_sorted_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine"
    path.write_bytes(b"[wsl2]\r\nmemory=6gb\r\n\r\n[experimental]\r\nnetworkingMode=nat\r\nsparseVhd=on\r\n")
    assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.CASE_FAILED
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:2: “6gb” is not a valid size: {CAPITALS}. Write memory=6GB.",
        f"{path}:5: note: “networkingMode” is documented in [wsl2]; WSL also accepts it in [experimental].",
        f"{path}:6: “on” is not true or false. Write sparseVhd=true or sparseVhd=false.",
        "",
        "2 problems.",
    ]


def test_a_key_of_two_sections_is_one_key() -> None:
    assert messages("[wsl2]\nfirewall=true\n[experimental]\nfirewall=false\n") == [
        "4: “firewall” is already set in line 2: WSL uses the first value. Delete one of the lines."
    ]


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (
            b"\xef\xbb\xbf[wsl2]\nmemory=8GB\n",
            "the file begins with a byte order mark. WSL 2.9.4 skips it, but a WSL of 2020 did not.",
        ),
        (
            "\ufeff[wsl2]\r\nmemory=8GB\r\n".encode("utf-16-le"),
            "the file is UTF-16. WSL 2.9.4 reads it, but expects UTF-8.",
        ),
    ],
)
def test_a_byte_order_mark_causes_a_note(
    data: bytes, note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine"
    path.write_bytes(data)
    assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.OK
    assert capsys.readouterr().out == f"{path}:1: note: {note}\n{path}: 1 setting, no problems.\n"


def test_the_lines_of_a_file_with_a_mark_are_checked(tmp_path: Path) -> None:
    for data in (b"\xef\xbb\xbf[wsl]\n", "\ufeff[wsl]\n".encode("utf-16-le")):
        assert [message[:10] for message in messages(data)] == ["1: note: t", "1: “[wsl]”"]


def test_a_valid_file_and_an_empty_one_have_no_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine"
    for text, settings in (("[wsl2]\nmemory=8GB\nswap=0", "2 settings"), ("", "0 settings")):
        path.write_text(text)
        assert wslconfig(WslconfigOptions(validate=str(path))) == Exit.OK
        assert capsys.readouterr().out == f"{path}: {settings}, no problems.\n"


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wslconfig(WslconfigOptions(validate=str(tmp_path / "none"))) == Exit.WRONG_USAGE
    assert capsys.readouterr().err == f"Wrong usage: {tmp_path}/none can't be read: No such file or directory.\n"
    assert wslconfig(WslconfigOptions(validate=str(tmp_path))) == Exit.WRONG_USAGE
    assert capsys.readouterr().err == f"Wrong usage: {tmp_path} can't be read: Is a directory.\n"


@given(st.text(alphabet='[]wsl2 memory=6GB#\\"\r\n;t%', max_size=80))
def test_any_text_can_be_validated(text: str) -> None:
    lines = text.count("\n") + 1
    for each in validate(decode(text.encode())):
        assert 1 <= each.line <= lines
        assert each.message.endswith((".", "?", "wsl-config")) or "backslash: " in each.message


def test_the_catalogue_is_complete() -> None:
    known = catalogue()
    assert known.sections == ("wsl2", "experimental", "general")
    assert len({(key.section, key.name.lower()) for key in known.all_keys}) == len(known.all_keys)
    assert all(bool(key.choices) == (key.type == "choice") for key in known.all_keys)
    assert all(source.url.startswith("https://") for source in known.sources.values())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('memory = { type = "size"', 'memory = { type = "weight"', "keys, wsl2, memory: “type” is “weight”"),
        ('source = "page"', 'source = "hearsay"', "“source” is “hearsay”, which is not in .sources."),
        ('memory = { type = "size"', 'memory = { name = "x", type = "size"', "“section” and “name” are not keys"),
    ],
)
def test_a_mistake_in_the_catalogue_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "wslconfig.toml"
    path.write_text(CATALOGUE.read_text().replace(old, new, 1))
    with pytest.raises(WrongUsage, match=reason):
        strict_toml.load(path, Catalogue)


@pytest.mark.parametrize(
    ("section", "name"),
    [("experimental", "autoMemoryReclaim"), ("experimental", "sparseVhd"), ("wsl2", "networkingMode")],
)
def test_a_key_of_wsl_2_0_is_in_its_documented_section(section: str, name: str) -> None:
    (key,) = catalogue().named(name)
    assert (key.section, key.source) == (section, "page")
    assert "WSL 2.0.0" in key.since


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[wsl2]\nprocessors=010\n", 2, "octal number: 8. Write processors=10 or processors=8"),
        ("# limits\r[wsl2]\rmemory=8GB\r", 1, "a carriage return stands alone"),
        ("[wsl2]\nmemory=8GB # half\rprocessors=4\nswap=2GB\n", 2, "a carriage return stands alone"),
        ("[wsl2]\nswap=4096\n", 2, "Write swap=4096MB"),
        ("[wsl2]\nmemory=8\n", 2, "Write memory=8GB"),
        ("[wsl2]\nsparseVhd=true\n", 2, "creates no sparse disks for now, because data may be lost; delete the line"),
    ],
)
def test_what_a_blind_sample_found(text: str, line: int, said: str) -> None:
    (found,) = validate(decode(text.encode()))
    assert (found.line, found.harmless) == (line, False)
    assert said in found.message


@pytest.mark.parametrize("value", ["４GB", "٣GB", "3٣MB"])
def test_a_size_in_digits_that_wsl_does_not_read_is_reported(value: str) -> None:
    (found,) = validate(decode(f"[wsl2]\nmemory={value}\n".encode()))
    assert (found.line, found.harmless) == (2, False)
