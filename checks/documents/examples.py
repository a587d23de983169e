"""The files under examples/injection and examples/session-driver: as they would be installed, and a patch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from checks.core.paths import ROOT
from checks.hardening.injection import configuration, driver
from checks.hardening.injection.configuration import settings_directory
from checks.hardening.injection.settings import command_line, recommended

DIRECTORY = ROOT / "examples" / "injection"
DRIVER_DIRECTORY = ROOT / "examples" / "session-driver"
_HOME = "/home/YOU"
_DROP_INS = "containers.conf.d/"


def files() -> Mapping[Path, str]:
    """Each file with its text."""
    ours = {DRIVER_DIRECTORY / Path(file.path).name: file.data.decode() for file in driver.files(_HOME)}
    return {DIRECTORY / name: text for name, text in rendered().items()} | ours


def rendered() -> Mapping[str, str]:
    """The text of each file by its name."""
    required = recommended()
    options = command_line()
    ours = configuration.files(settings_directory(_HOME), "5", required)
    return {
        **{each.path.partition("/containers/")[2].removeprefix(_DROP_INS): each.data.decode() for each in ours},
        "docker": configuration.wrapper(options),
        **{name: configuration.patch(name, options) for name in configuration.PATCHES},
    }
