"""The tasks that people type: `invoke --list`, `invoke --help TASK`. Each is defined in checks/cli/.

Run as a program, this file is `invoke` itself, from whichever directory (scripts/invoke.sh).
"""

from __future__ import annotations

from checks.core.entry_point import entering

with entering():
    from invoke import Collection, Task

    from checks.cli import program

    if __name__ == "__main__":
        program.main()
    program.adopt()

    from checks.cli import guide, hardening, injection, matrix, parallel, trust, verification, windows

    namespace = Collection()
    for module in (verification, matrix, hardening, injection, parallel, trust, guide, windows):
        for task in vars(module).values():
            if isinstance(task, Task):
                namespace.add_task(task)
