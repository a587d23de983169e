"""The tasks: `invoke --list` names them, `invoke --help TASK` explains one. checks/cli/tasks.py lists their functions.

Run as a program, this file is `invoke` itself, from any directory (scripts/invoke.sh).
"""

from __future__ import annotations

import sys

from checks.core.entry_point import entering

with entering():
    from checks.cli import program

    if __name__ == "__main__":
        program.main()
    program.take_over()

    from checks.cli.tasks import collection

    namespace = collection(sys.argv[1:])
