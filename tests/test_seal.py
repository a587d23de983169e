from pathlib import Path

from checks.core.cache_manifest import write, is_complete


def sealed(folder: Path) -> Path:
    (folder / "disk").write_bytes(b"x" * 100)
    (folder / "state").write_bytes(b"y" * 50)
    write(folder)
    return folder


def test_a_sealed_folder_is_whole(tmp_path: Path) -> None:
    assert is_complete(sealed(tmp_path))


def test_a_folder_that_was_never_sealed_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"x")
    assert not is_complete(tmp_path)
    assert not is_complete(tmp_path / "missing")


def test_a_file_that_was_cut_short_or_is_gone_breaks_the_seal(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    (folder / "state").write_bytes(b"y" * 49)
    assert not is_complete(folder)
    (folder / "state").unlink()
    assert not is_complete(folder)


def test_a_seal_that_was_cut_short_is_none(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    text = (folder / "sealed.json").read_text()
    (folder / "sealed.json").write_text(text[:-3])
    assert not is_complete(folder)
