"""``python -m checks.nanoclaw.images [CHECKOUT]``: build an agent image and write it to a disk, like a first run.

Without a nanoclaw checkout, it is the stub agent's.
"""

from __future__ import annotations

import sys
from pathlib import Path

from checks.core.entry_point import entering, leave
from checks.core.errors import Exit
from checks.core.outcome import run_and_report

with entering():
    from checks.core.progress import Progress
    from checks.core.run_directories import new_run
    from checks.core.terminal import say
    from checks.hosts.recipe import Account
    from checks.nanoclaw import agent
    from checks.nanoclaw.contract import AgentProtocol
    from checks.nanoclaw.images import disks

    _ACCOUNTS = {"agent": Account(1500, 100_000)}
    """One account: a disk for another one takes another minute."""

    def _main() -> Exit:
        of = (
            agent.of_checkout(Path(sys.argv[1]).absolute())
            if sys.argv[1:]
            else agent.stub_agent()[AgentProtocol.STREAMS]
        )
        source = disks.ImageSource(of.slug, of.name, f"localhost/{of.image}", of.context, of.root)
        with new_run() as run:
            made = disks.ready(source, _ACCOUNTS, run, Progress())
        say(f"{made.tag}: {made.base}")
        return Exit.OK

    leave(run_and_report(_main, lambda line: say(line, error=True)))
