"""A .wslconfig on a disk: where it is, how it is encoded, how its lines end."""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass
from pathlib import Path

from checks.capacity.wslconfig.keys import catalogue
from checks.core import files
from checks.core.bounded import TooLarge, read
from checks.core.errors import WrongUsage

MOUNTS = Path("/mnt")
"""Where WSL shows Windows' drives, each by its letter, unless a distribution says otherwise."""

_DRIVE = re.compile(r"([A-Za-z]):[\\/](.*)")
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_LARGEST = 2**16  # bytes; a real one has a few hundred
_REMEDY = "WSL opens it as UTF-8: save it as that."


@dataclass(frozen=True)
class Remark:
    """Something about a file as a whole."""

    message: str
    harmless: bool


@dataclass(frozen=True)
class ConfigText:
    """A file that was read."""

    text: str
    encoding: str
    bom: bytes
    remarks: tuple[Remark, ...] = ()
    legible: bool = True
    """Whether there are lines to speak of; the text is empty where not."""

    @property
    def sound(self) -> bool:
        """Whether the text is the whole of what the file holds, so that it can be written back."""
        return all(remark.harmless for remark in self.remarks)

    def encode(self, text: str) -> bytes:
        """Another text as this file is encoded."""
        return self.bom + text.encode(self.encoding)


def decode(data: bytes) -> ConfigText:
    """A file's bytes as text, with what is to be said of its encoding.

    Microsoft documents no encoding of .wslconfig. What is said here follows from how WSL's source opens it and what
    Microsoft's C runtime documents for that (fixtures/wslconfig.toml, “encoding”).
    """
    bom = next((bom for bom in _BOMS if data.startswith(bom)), b"")
    encoding = _BOMS.get(bom, "utf-8")
    version = catalogue().version
    if not bom and b"\0" in data:
        return _illegible("the file has zero bytes, as UTF-16 without a byte order mark has")
    if bom == codecs.BOM_UTF16_BE:
        return _illegible("the file is big-endian UTF-16")
    remarks = []
    if bom == codecs.BOM_UTF8:
        mark = (
            f"the file begins with a byte order mark. WSL {version} skips it; in 2020 WSL was seen to stumble over it."
        )
        remarks.append(Remark(mark, harmless=True))
    elif bom:
        remarks.append(
            Remark(f"the file is UTF-16, which WSL {version} reads. UTF-8 is what it expects.", harmless=True)
        )
    data = data.removeprefix(bom)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        text = data.decode(encoding, errors="replace")
        line = data[: error.start].count(b"\n") + 1
        wrong = f"the file is not {encoding.upper()}: the first byte that does not fit is in line {line}. {_REMEDY}"
        remarks.append(Remark(wrong, harmless=False))
    return ConfigText(text, encoding, bom, tuple(remarks))


def _illegible(what: str) -> ConfigText:
    return ConfigText("", "utf-8", b"", (Remark(f"{what}. {_REMEDY}", harmless=False),), legible=False)


def located(option: str, name: str) -> Path:
    """The path that a user means, also where it is written as Windows has it.

    Raises WrongUsage where only Windows could tell which file that is.
    """
    if name == "-":
        raise WrongUsage(f"{option} - is not supported.", "Name a file.")
    drive = _DRIVE.fullmatch(name)
    if os.name == "nt":
        return Path(name)
    if drive:
        mount = MOUNTS / drive[1].lower()
        if mount.is_dir():
            return mount / drive[2].replace("\\", "/")
        raise WrongUsage(
            f"{option} is “{name}”, a Windows path, and there is no {mount} here.", "Name the file as seen from here."
        )
    if name.startswith(("%", "\\\\")):
        raise WrongUsage(
            f"{option} is “{name}”, which only Windows can resolve.",
            f"Name the file as seen from here, in WSL {MOUNTS}/c/Users/YOU/.wslconfig.",
        )
    return Path(name).expanduser()


def line_end(path: Path) -> str:
    """How a new file's lines end there: as Windows has them on Windows' drives, as Linux has them elsewhere."""
    if os.name == "nt" or re.match(rf"{re.escape(str(MOUNTS.resolve()))}/[A-Za-z](?:/|$)", str(path.resolve())):
        return "\r\n"
    return "\n"


def load(path: Path) -> ConfigText:
    """Read a file. Raises WrongUsage where that is not possible."""
    try:
        return decode(read(path, _LARGEST))
    except OSError as error:
        raise WrongUsage(f"{path} can't be read: {error.strerror}.") from error
    except TooLarge as error:
        raise WrongUsage(f"{path} is not a .wslconfig: {error}.") from error


def create(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet. Raises WrongUsage where it is, or where it can't be written."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise WrongUsage(
            f"{path} exists; it was left as it is.",
            "--update changes memory, swap and processors in it and keeps the rest; --force overwrites it.",
        ) from error
    except OSError as error:
        raise WrongUsage(f"{path} can't be written: {error.strerror}.") from error


def replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, whether it was there or not. Raises WrongUsage where that is not possible."""
    try:
        files.replace(path, data)
    except OSError as error:
        raise WrongUsage(f"{path} can't be written: {error.strerror}.") from error
