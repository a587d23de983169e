import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core import files
from checks.core.errors import WrongUsage
from checks.core.output_paths import require_directory, require_file
from checks.core.owned_paths import opened_directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@given(first=st.binary(), second=st.binary())
def test_a_file_holds_what_was_written_last_and_nothing_lies_beside_it(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes
) -> None:
    directory = tmp_path_factory.mktemp("files")
    for data in (first, second):
        files.replace(directory / "a", data)
        assert (directory / "a").read_bytes() == data
        assert names(directory) == ["a"]


def test_a_new_file_can_be_read_by_all_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "a"
    files.replace(file, b"new")
    assert file.stat().st_mode & 0o777 == 0o644
    file.chmod(0o600)
    files.replace(file, b"newer")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    for data in (b"one", b"two"):
        files.replace(tmp_path / "link", data)
        assert (tmp_path / "link").readlink() == Path("target")
        assert (tmp_path / "target").read_bytes() == data


def test_what_is_no_file_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    files.replace(pipe, b"through")
    reader.join(10)
    assert got == [b"through"]
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_what_can_not_be_written_whole_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(OSError, match="No space left on device"):
        files.replace(tmp_path / "a", b"after")
    assert (tmp_path / "a").read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


def test_a_new_file_that_can_not_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", full)
    with pytest.raises(OSError, match="No space left on device"):
        files.create(tmp_path / "a", b"data")
    assert names(tmp_path) == []


@pytest.mark.parametrize("check", [require_file, require_directory])
def test_a_name_that_is_too_long_is_wrong_usage(tmp_path: Path, check: Callable[[str, str], None]) -> None:
    for path in ("a" * 300, f"{'a' * 300}/b"):
        with pytest.raises(WrongUsage, match="too long"):
            check("--json", str(tmp_path / path))


def test_json_is_written_for_people_too(tmp_path: Path) -> None:
    files.replace_json(tmp_path / "a", {"text": "größer"})
    assert (tmp_path / "a").read_text() == '{\n "text": "größer"\n}\n'


def test_a_file_that_can_not_be_written_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongUsage, match=r"^--json: the directory \S+/none does not exist\.$"):
        require_file("--json", str(tmp_path / "none" / "a"))
    with pytest.raises(WrongUsage, match=r"^--json: \S+ is a directory; name a file in it\.$"):
        require_file("--json", str(tmp_path))
    refused: list[Path] = []

    def access(path: Path, mode: int) -> bool:
        refused.append(path)
        return False

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(WrongUsage, match=r"^--json: \S+ is not writable\.$"):
        require_file("--json", str(tmp_path / "a"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WrongUsage, match=r"^--json: \S+/pipe is not writable\.$"):
        require_file("--json", str(tmp_path / "pipe"))
    assert refused == [tmp_path, tmp_path / "pipe"]


@pytest.mark.parametrize("path", ["", "/dev/null"])
def test_no_file_and_a_device_are_fine(path: str) -> None:
    require_file("--json", path)


def test_a_terminal_that_the_process_has_not_is_told_before_the_run() -> None:
    asked = "from checks.core.output_paths import require_file; require_file('--json', '/dev/tty')"
    command = [sys.executable, "-c", asked]
    done = subprocess.run(command, check=False, capture_output=True, text=True, start_new_session=True)
    assert done.stderr.splitlines()[-1] == (
        "checks.core.errors.WrongUsage: --json: /dev/tty can't be opened: No such device or address."
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another account")
@pytest.mark.parametrize("kind", ["link", "link to a link", "pipe"])
def test_what_another_account_put_there_is_neither_followed_nor_written(tmp_path: Path, kind: str) -> None:
    own, path = tmp_path / "own", tmp_path / "evidence.json"
    own.write_text("mine")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(own)
    os.chown(path, 65534, 65534, follow_symlinks=False)
    if kind == "link to a link":
        path = tmp_path / "mine.json"
        path.symlink_to("evidence.json")
    with pytest.raises(PermissionError, match="belongs to another account"):
        files.replace(path, b"new")
    with pytest.raises(WrongUsage, match="belongs to another account"):
        require_file("--json", str(path))
    assert own.read_text() == "mine"


def test_a_link_exchanged_for_the_file_at_any_moment_is_never_followed(tmp_path: Path) -> None:
    """In a directory that others can write, such as /tmp: whatever lies there is replaced, not what it leads to."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    shared.mkdir()
    shared.chmod(0o1777)
    own.write_text("mine")
    path, link = shared / "evidence.json", shared / "link"
    ended = threading.Event()

    def exchange() -> None:
        while not ended.is_set():
            link.symlink_to(own)
            link.replace(path)

    attacker = threading.Thread(target=exchange)
    attacker.start()
    try:
        for _ in range(300):
            files.replace(path, b"new")
    finally:
        ended.set()
        attacker.join()
    assert own.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another account")
@pytest.mark.parametrize("account", ["root", "another account"])
def test_a_file_of_another_account_in_a_sticky_directory_is_refused_for_root_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    file = shared / "evidence.json"
    file.write_text("theirs")
    if account == "root":
        os.chown(file, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(WrongUsage, match="belongs to another account"):
        require_file("--json", str(file))
    with pytest.raises(PermissionError, match="belongs to another account"):
        files.replace(file, b"new")
    assert file.read_text() == "theirs"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another account")
def test_a_file_that_replaces_that_of_another_account_does_not_take_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("theirs")
    os.chown(file, 65534, 65534)
    file.chmod(0o4777)
    files.replace(file, b"new")
    assert (file.stat().st_uid, file.stat().st_mode & 0o7777) == (0, 0o644)


def test_a_file_never_keeps_a_mode_that_runs_it(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    file.chmod(0o6775)
    files.replace(file, b"new")
    assert file.stat().st_mode & 0o7777 == 0o664


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another account")
@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_directory_that_is_a_link_of_another_account_is_not_followed(tmp_path: Path, below: str) -> None:
    own, link = tmp_path / "own", tmp_path / "link"
    (own / below).mkdir(parents=True, exist_ok=True)
    link.symlink_to(own)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    directory = link / below
    with pytest.raises(PermissionError, match="link that belongs to another account"):
        files.replace(directory / "a", b"new")
    with pytest.raises(PermissionError, match="link that belongs to another account"):
        files.create(directory / "a", b"new")
    with pytest.raises(WrongUsage, match=r"^--json: \S+ leads through a link that belongs to another account"):
        require_file("--json", str(directory / "a"))
    for path in (directory, directory / "new"):
        with pytest.raises(WrongUsage, match=r"^--evidence: \S+ leads through a link that belongs to another account"):
            require_directory("--evidence", str(path))
    with (
        pytest.raises(PermissionError, match="link that belongs to another account"),
        opened_directory(directory / "new" / "newer", make=True),
    ):
        pass
    assert names(own / below) == ([] if below else names(own))
    assert not (own / "a").exists()
    assert not (own / below / "new").exists()


def test_links_of_this_account_are_followed_to_a_directory(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(tmp_path / "own")
    with opened_directory(tmp_path / "first" / "new" / "newer", make=True):
        files.create(tmp_path / "first" / "new" / "newer" / "a", b"new")
    assert (tmp_path / "own" / "new" / "newer" / "a").read_bytes() == b"new"


def test_links_without_an_end_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    for path in (tmp_path / "link", tmp_path / "link" / "a"):
        with pytest.raises(OSError, match="too many links"):
            files.replace(path, b"new")


def test_a_relative_path_is_written_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.replace(Path("a"), b"new")
    files.replace(Path("../b"), b"new")
    assert (tmp_path / "a").read_bytes() == (tmp_path.parent / "b").read_bytes() == b"new"


def test_an_open_pipe_is_written_to_by_its_name_below_dev(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    path = f"/dev/fd/{writing}"
    require_file("--json", path)
    files.replace(Path(path), b"through")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"through"


@pytest.mark.usefixtures("alarm")
def test_a_pipe_that_no_program_reads_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_READER_TIMEOUT", 0.2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no program reads this pipe"):
        files.replace(tmp_path / "pipe", b"new")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0, 0o644), (0o777, 0o600)])
def test_a_new_file_has_the_rights_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        files.replace(tmp_path / "a.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o7777 == mode


def test_a_link_to_what_is_open_is_written_only_where_that_is_no_file(tmp_path: Path) -> None:
    """A file would be replaced by another one of its name, with what the shell has written to it lost."""
    mine = tmp_path / "mine"
    mine.write_text("kept")
    with mine.open("a") as file:
        path = Path(f"/proc/self/fd/{file.fileno()}")
        with pytest.raises(WrongUsage, match="name the file itself"):
            require_file("--json", str(path))
        with pytest.raises(OSError, match="name the file itself"):
            files.replace(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    assert mine.read_text() == "kept"
