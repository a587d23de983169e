from pathlib import Path

from checks.core.cache_manifest import is_complete, write


def complete(directory: Path) -> Path:
    (directory / "disk").write_bytes(b"x" * 100)
    (directory / "state").write_bytes(b"y" * 50)
    write(directory)
    return directory


def test_a_directory_with_a_manifest_is_complete(tmp_path: Path) -> None:
    assert is_complete(complete(tmp_path))


def test_a_directory_without_a_manifest_is_incomplete(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"x")
    assert not is_complete(tmp_path)
    assert not is_complete(tmp_path / "missing")


def test_a_directory_with_a_truncated_or_missing_file_is_incomplete(tmp_path: Path) -> None:
    directory = complete(tmp_path)
    (directory / "state").write_bytes(b"y" * 49)
    assert not is_complete(directory)
    (directory / "state").unlink()
    assert not is_complete(directory)


def test_a_directory_with_a_truncated_manifest_is_incomplete(tmp_path: Path) -> None:
    directory = complete(tmp_path)
    text = (directory / "manifest.json").read_text()
    (directory / "manifest.json").write_text(text[:-3])
    assert not is_complete(directory)
