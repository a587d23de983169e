"""The files under examples/injection: as they would be installed, and the patch for a fork."""

from __future__ import annotations

from collections.abc import Mapping

from checks.core.errors import Exit
from checks.core.paths import ROOT
from checks.core.rendering import deliver
from checks.hardening.injection import configuration
from checks.hardening.injection.configuration import DROP_IN, HOOK, HOOK_JSON, settings_directory
from checks.hardening.injection.settings import command_line, recommended

DIRECTORY = ROOT / "examples" / "injection"
_HOME = "/home/YOU"


def rendered() -> Mapping[str, str]:
    """Each file's text, by its name there."""
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


def render_examples(*, check: bool) -> Exit:
    """Write them, or with ``check`` report whether they are stale."""
    told = []
    for name, text in rendered().items():
        path = DIRECTORY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        told.append(deliver(path, text, check=check, command="invoke render-injection"))
        if not check and text.startswith("#!"):
            path.chmod(0o755)
    return max(told)
