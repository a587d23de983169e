"""A checkout for the tests of the discovery, and what is found in it."""

from pathlib import Path

from checks.nanoclaw.discovery.discover import discover


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(directory: Path, name: str, text: str, **others: str) -> list[str]:
    """What is found in the file of a project; a question mark stands before what could not be followed."""
    write(directory, **{name: text}, **others)
    return [each.text if each.form else f"? {each.text}" for each in discover(directory) if each.file == name]
