from pathlib import Path

from checks.core.cache_manifest import is_complete, write


def sealed(directory: Path) -> Path:
    (directory / "disk").write_bytes(b"x" * 100)
    (directory / "state").write_bytes(b"y" * 50)
    write(directory)
    return directory


def test_a_sealed_directory_is_whole(tmp_path: Path) -> None:
    assert is_complete(sealed(tmp_path))


def test_a_directory_that_was_never_sealed_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"x")
    assert not is_complete(tmp_path)
    assert not is_complete(tmp_path / "missing")


def test_a_file_that_was_cut_short_or_is_gone_breaks_the_seal(tmp_path: Path) -> None:
    directory = sealed(tmp_path)
    (directory / "state").write_bytes(b"y" * 49)
    assert not is_complete(directory)
    (directory / "state").unlink()
    assert not is_complete(directory)


def test_a_seal_that_was_cut_short_is_none(tmp_path: Path) -> None:
    directory = sealed(tmp_path)
    text = (directory / "sealed.json").read_text()
    (directory / "sealed.json").write_text(text[:-3])
    assert not is_complete(directory)
