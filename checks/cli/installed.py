"""``nanoclaw-podman``: the tasks as one command of an installed package, without a checkout."""

from __future__ import annotations

import sys

from checks.core.entry_point import entering


def main() -> None:
    """Run the command line."""
    with entering():
        from checks.cli.program import run_installed  # noqa: PLC0415 - errors of imports are reported too
        from checks.cli.tasks import collection  # noqa: PLC0415

        run_installed(collection(sys.argv[1:]))
