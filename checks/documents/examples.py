"""The files under examples/injection and examples/session-driver: as they would be installed, and a patch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from checks.core.paths import ROOT
from checks.hardening.injection import configuration, driver
from checks.hardening.injection.configuration import DROP_IN, HOOK, HOOK_JSON, settings_directory
from checks.hardening.injection.settings import command_line, recommended

DIRECTORY = ROOT / "examples" / "injection"
DRIVER_DIRECTORY = ROOT / "examples" / "session-driver"
_HOME = "/home/YOU"


def files() -> Mapping[Path, str]:
    """Each file with its text."""
    ours = {DRIVER_DIRECTORY / Path(file.path).name: file.data.decode() for file in driver.files(_HOME)}
    return {DIRECTORY / name: text for name, text in rendered().items()} | ours


def rendered() -> Mapping[str, str]:
    """The text of each file by its name."""
    required = recommended()
    options = command_line()
    hook, hook_json, drop_in = configuration.files(settings_directory(_HOME), "5", required)
    return {
        DROP_IN.rpartition("/")[2]: drop_in.data.decode(),
        HOOK: hook.data.decode(),
        HOOK_JSON: hook_json.data.decode(),
        "docker": configuration.wrapper(options),
        "container-runner.patch": configuration.patch(options),
    }
