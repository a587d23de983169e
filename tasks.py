"""The tasks that people type: `invoke --list`, `invoke --help TASK`. Each is defined in checks/cli/."""

from __future__ import annotations

from invoke import Collection, Task

from checks import terminal
from checks.cli import guide, hardening, injection, matrix, parallel, trust, verification, windows

terminal.guard()
namespace = Collection()
for module in (verification, matrix, hardening, injection, parallel, trust, guide, windows):
    for task in vars(module).values():
        if isinstance(task, Task):
            namespace.add_task(task)
