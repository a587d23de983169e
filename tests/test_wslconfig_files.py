from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.capacity.wslconfig import file, render
from checks.capacity.wslconfig.command import WslconfigOptions, wslconfig
from checks.capacity.wslconfig.file import Setting, decode, line_end, parse, resolve
from checks.capacity.wslconfig.plan import Machine, plan
from checks.core import files
from checks.core.errors import Exit, WrongUsage

WANTED = plan(2)
SETTINGS = {"memory": "10GB", "swap": "3GB", "processors": "6"}

LINES = st.sampled_from(
    [
        "", "# a comment", "[wsl2]", "[WSL2] # again", "[experimental]", "[someday]", "[wsl 2]", "memory=1GB",
        "Memory = 2GB # mine", "swap=", "processors = \\", "8", "memory 6GB", "memory=6 GB", 'swap="1GB" ',
        "kernel=C:\\\\a\\\\b", 'kernel="C:\\temp\\x"', "colour = red # and so on", "memory=\"open", "x=\\", "; y",
        "networkingMode=mirrored",
    ]
)  # fmt: skip
TEXTS = (
    st.tuples(st.lists(LINES, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
    .map(lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] else ""))
    .filter(lambda text: not text.endswith("\\"))  # which joins whatever is appended
)


def write(path: Path, *, update: bool = False, force: bool = False) -> Exit:
    return wslconfig(WslconfigOptions("2", "32GB", "16", output=str(path), update=update, force=force))


def settings(text: str) -> list[tuple[str, str, str]]:
    section, found = "", []
    for line in parse(text):
        if isinstance(line, Setting):
            found.append((section, line.key.lower(), line.value))
        else:
            section = getattr(line, "name", section if getattr(line, "reason", "") != "header" else "").lower()
    return found


def test_a_new_file_is_written_and_an_existing_one_not_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".wslconfig"
    assert write(path) == Exit.OK
    assert capsys.readouterr().out == (
        f"Wrote {path}: memory=10GB, swap=3GB, processors=6.\nIt takes effect after `wsl --shutdown`.\n"
    )
    assert path.read_text() == render.computed(WANTED, Machine(32 * 1024, 16))
    path.write_text("mine")
    assert write(path) == Exit.WRONG_USAGE
    assert path.read_text() == "mine"
    assert capsys.readouterr().err == (
        f"Wrong usage: {path} exists and was not changed. --update changes memory, swap and processors and "
        "keeps the rest; --force overwrites the file.\n"
    )
    assert write(path, force=True) == Exit.OK
    assert path.read_text() == render.computed(WANTED, Machine(32 * 1024, 16))
    assert [each.name for each in tmp_path.iterdir()] == [".wslconfig"]


def test_a_file_that_does_not_fit_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / ".wslconfig"
    assert wslconfig(WslconfigOptions("2", "8GB", "16", output=str(path))) == Exit.WRONG_USAGE
    assert not path.exists()


def test_an_update_keeps_unknown_lines(tmp_path: Path) -> None:
    path = tmp_path / ".wslconfig"
    path.write_bytes(
        b"# mine\r\n[wsl2]\r\nMemory = 4GB   # enough?\r\nfuture = yes\r\n"
        b"kernel=C:\\\\k\r\n\r\n[custom]\r\nmemory=1\r\n"
    )
    assert write(path, update=True) == Exit.OK
    assert path.read_bytes() == (
        b"# mine\r\n[wsl2]\r\nswap=3GB\r\nprocessors=6\r\nMemory = 10GB   # enough?\r\nfuture = yes\r\n"
        b"kernel=C:\\\\k\r\n\r\n[custom]\r\nmemory=1\r\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[wsl2]\nmemory=10GB\nswap=3GB\nprocessors=6\n"),
        ("[experimental]\nx=1", "[experimental]\nx=1\n\n[wsl2]\nmemory=10GB\nswap=3GB\nprocessors=6\n"),
        ("[wsl2]", "[wsl2]\nmemory=10GB\nswap=3GB\nprocessors=6\n"),
        ("[wsl2]\nmemory=\nswap=1GB\n", "[wsl2]\nprocessors=6\nmemory=10GB\nswap=3GB\n"),
        ("[wsl2]\n[wsl 2]\nmemory=1GB\n", "[wsl2]\nmemory=10GB\nswap=3GB\nprocessors=6\n[wsl 2]\nmemory=1GB\n"),
        (
            "[wsl2]\nmemory=1GB\nmemory=2GB\nswap=1GB\nprocessors=1\n",
            "[wsl2]\nmemory=10GB\nmemory=10GB\nswap=3GB\nprocessors=6\n",
        ),
    ],
)
def test_an_update_adds_missing_keys(before: str, after: str) -> None:
    assert render.updated(before, WANTED, "\n") == after


@given(TEXTS)
def test_an_update_sets_the_three_keys_and_nothing_else(text: str) -> None:
    after = render.updated(text, WANTED, "\n")
    found = settings(after)
    for key, value in SETTINGS.items():
        assert {each for section, name, each in found if (section, name) == ("wsl2", key)} == {value}

    def others(of: str) -> list[tuple[str, str, str]]:
        return [each for each in settings(of) if each[0] != "wsl2" or each[1] not in SETTINGS]

    assert others(after) == others(text)
    assert render.updated(after, WANTED, "\n") == after


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_an_update_keeps_a_byte_order_mark(tmp_path: Path, bom: bytes) -> None:
    path = tmp_path / ".wslconfig"
    path.write_bytes(bom + b"[wsl2]\n")
    assert write(path, update=True) == Exit.OK
    assert path.read_bytes() == bom + b"[wsl2]\nmemory=10GB\nswap=3GB\nprocessors=6\n"


def test_an_update_keeps_utf_16(tmp_path: Path) -> None:
    path = tmp_path / ".wslconfig"
    path.write_bytes("\ufeff[wsl2]\r\n# ü\r\n".encode("utf-16-le"))
    assert write(path, update=True) == Exit.OK
    expected = "\ufeff[wsl2]\r\nmemory=10GB\r\nswap=3GB\r\nprocessors=6\r\n# ü\r\n"
    assert path.read_bytes().decode("utf-16-le") == expected


@pytest.mark.parametrize("data", [b"# f\xfcr\n[wsl2]\n", "[wsl2]\n".encode("utf-16-le"), b"\xfe\xff\0#"])
def test_an_update_of_an_unreadable_file_is_refused(
    tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".wslconfig"
    path.write_bytes(data)
    assert write(path, update=True) == Exit.WRONG_USAGE
    assert path.read_bytes() == data
    assert "WSL reads the file as UTF-8: save it as UTF-8." in capsys.readouterr().err


def test_an_update_of_a_value_that_has_the_next_line_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".wslconfig"
    path.write_text("[wsl2]\nmemory=4GB\\\nguiApplications=false\n")
    assert write(path, update=True) == Exit.WRONG_USAGE
    assert "line 2: the backslash" in capsys.readouterr().err
    assert "guiApplications=false" in path.read_text()


@pytest.mark.parametrize("text", ["[wsl2]\rmemory=8GB\r", "[wsl2]\rmemory=8GB\n", "[wsl2]\n#\rmemory=8GB\r\n"])
def test_an_update_of_a_file_with_a_single_carriage_return_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / ".wslconfig"
    path.write_bytes(text.encode())
    assert write(path, update=True) is Exit.WRONG_USAGE
    assert "a carriage return stands alone" in capsys.readouterr().err
    assert path.read_bytes() == text.encode()


def test_an_update_needs_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none"
    assert write(path, update=True) == Exit.WRONG_USAGE
    assert capsys.readouterr().err == (f"Wrong usage: {path} does not exist. To create it, omit --update.\n")
    assert not path.exists()


def test_an_update_reports_other_problems_and_an_unchanged_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".wslconfig"
    path.write_text("[wsl2]\nmemory=10GB\nswap=3GB\nprocessors=6\nmemroy=1GB\n")
    assert write(path, update=True) == Exit.OK
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{path} is up to date: memory=10GB, swap=3GB, processors=6.\n")
    assert printed.err == (f"WSL ignores other lines of the file. To list them: invoke wslconfig --validate {path}\n")


def test_an_update_keeps_links_and_modes(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_text("[wsl2]\n")
    real.chmod(0o600)
    link = tmp_path / ".wslconfig"
    link.symlink_to(real)
    assert write(link, update=True) == Exit.OK
    assert link.is_symlink()
    assert real.read_text() == "[wsl2]\nmemory=10GB\nswap=3GB\nprocessors=6\n"
    assert real.stat().st_mode & 0o777 == 0o600


def test_on_a_windows_drive_lines_end_with_crlf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MOUNTS", tmp_path / "mnt")
    home = tmp_path / "mnt/c/Users/me"
    home.mkdir(parents=True)
    assert write(home / ".wslconfig") == Exit.OK
    data = (home / ".wslconfig").read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") > 10
    assert data.replace(b"\r\n", b"\n").decode() == render.computed(WANTED, Machine(32 * 1024, 16))
    assert wslconfig(WslconfigOptions("2", "32GB", "16", output="C:\\Users\\me\\other")) == Exit.OK
    assert (home / "other").read_bytes() == data
    assert wslconfig(WslconfigOptions(validate="c:/Users/me/other")) == Exit.OK
    (home / "empty").touch()
    assert write(home / "empty", update=True) == Exit.OK
    assert (home / "empty").read_bytes() == b"[wsl2]\r\nmemory=10GB\r\nswap=3GB\r\nprocessors=6\r\n"


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/mnt/c/Users/me/.wslconfig", "\r\n"),
        ("/mnt/d/x", "\r\n"),
        ("/mnt/c", "\r\n"),
        ("/mnt/../mnt/c/x", "\r\n"),
        ("/mnt/data/x", "\n"),
        ("/home/me/.wslconfig", "\n"),
        ("/srv/mnt/c/x", "\n"),
    ],
)
def test_paths_on_windows_drives(path: str, end: str) -> None:
    assert line_end(Path(path)) == end


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Q:\\x", "--output is “Q:\\x”, a Windows path, but"),
        ("%UserProfile%/.wslconfig", "--output is “%UserProfile%/.wslconfig”, which only Windows can resolve."),
        ("\\\\wsl.localhost\\x", "which only Windows can resolve."),
    ],
)
def test_a_path_that_only_windows_can_resolve_is_refused(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "MOUNTS", tmp_path)
    with pytest.raises(WrongUsage) as refused:
        resolve("--output", name)
    assert message in str(refused.value)


@pytest.mark.parametrize("path", ["~nosuchuser/x", "a" * 300])
def test_a_path_that_is_none_is_wrong_usage(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert write(Path(path)) == Exit.WRONG_USAGE
    assert re.search("can't be (expanded|opened)", capsys.readouterr().err)


def test_a_full_disk_is_a_problem_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", full)
    for force in (False, True):
        assert write(tmp_path / "a", force=force) == Exit.HOST_UNUSABLE
        assert "No space left" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []


def test_a_directory_and_a_missing_directory_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write(tmp_path) == Exit.WRONG_USAGE
    assert f"{tmp_path} is a directory. Pass a file: --output {tmp_path}/.wslconfig" in capsys.readouterr().err
    for force in (False, True):
        assert write(tmp_path / "no/file", force=force) == Exit.WRONG_USAGE
        assert "can't be written: No such file or directory." in capsys.readouterr().err


@given(st.binary(max_size=60))
def test_any_bytes_can_be_decoded_and_a_complete_file_encodes_to_the_same_bytes(data: bytes) -> None:
    source = decode(data)
    if source.complete:
        assert source.encode(source.text) == data
