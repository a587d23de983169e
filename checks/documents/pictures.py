"""The screenshots of the page of evidence, and whether they are up to date.

``invoke render --pictures`` takes them, and records in ``docs/images/pictures.json`` what they show. The record shows
their age without a browser.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from checks.core import files, version
from checks.core.errors import HostProblem
from checks.core.paths import FIXTURES, ROOT
from checks.documents.evidence import PAGE

DIRECTORY = ROOT / "docs" / "images"
RECORD = DIRECTORY / "pictures.json"
NAMES = ("evidence-light.png", "evidence-dark.png", "evidence-phone.png")

_TEMPLATES = ("evidence.html.j2", "evidence.css", "evidence.js")


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """What the pictures show."""

    project: str
    """The project's version."""
    templates: str
    """The digest of the page's templates."""
    pictures: Mapping[str, str]
    """The digest of each picture, by its name."""


def take() -> Sequence[Path]:
    """Take all pictures of the rendered page. Raises HostProblem if Chromium or playwright is missing."""
    try:
        camera: Any = importlib.import_module("checks.documents.screenshots")
    except ImportError as error:
        raise HostProblem(
            f"The Python package {error.name} is not installed.", "Run: pip install -r requirements-dev.txt"
        ) from error
    pictures: Mapping[str, bytes] = camera.shoot(PAGE)
    for name, picture in pictures.items():
        files.replace(DIRECTORY / name, picture)
    record = Record(version.number(), _templates(), {name: _digest(picture) for name, picture in pictures.items()})
    files.replace_json(RECORD, msgspec.to_builtins(record))
    return [*(DIRECTORY / name for name in pictures), RECORD]


def outdated(directory: Path = DIRECTORY) -> Iterator[str]:
    """Why pictures must be taken again, a reason each."""
    try:
        record = msgspec.json.decode((directory / RECORD.name).read_bytes(), type=Record)
    except FileNotFoundError:
        yield f"{RECORD.name} is missing"
        return
    except ValueError as error:
        yield f"{RECORD.name} is not valid: {error}"
        return
    if record.project != version.number():
        yield f"the pictures are of version {record.project}, and the project has version {version.number()}"
    if record.templates != _templates():
        yield "the templates of the page have changed"
    for name in NAMES:
        picture = directory / name
        if not picture.is_file() or _digest(picture.read_bytes()) != record.pictures.get(name):
            yield f"{name} is not the picture that was taken"


def _templates() -> str:
    return _digest(b"".join((FIXTURES / "templates" / name).read_bytes() for name in _TEMPLATES))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
