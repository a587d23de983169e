"""Every task of ``invoke --list``. The options and the help of each are declared by the function that it calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from invoke import Collection

from checks.capacity.command import parallel
from checks.capacity.wslconfig.command import wslconfig
from checks.cli.task import make_task
from checks.core.errors import Exit
from checks.core.terminal import say
from checks.documents.render import DOCUMENTS, render
from checks.guide.doctor import doctor
from checks.guide.reproduce import reproduce
from checks.hardening.command import harden, harden_all, harden_each
from checks.hardening.injection.command import inject
from checks.hosts import table
from checks.matrix.command import matrix
from checks.matrix.compare import compare
from checks.mutation.command import sabotage
from checks.mutation.faults.command import faults
from checks.nanoclaw.discovery.patterns import patterns
from checks.nanoclaw.fetch import nanoclaw
from checks.runner.cleanup import clean
from checks.runner.verify import verify


def hosts() -> Exit:
    """List the known hosts: the version of Podman, whether the host is built, and whether it can run here."""
    say(table.table())
    return Exit.OK


def _render_alias(name: str) -> Callable[..., Exit]:
    def alias(
        check: Annotated[bool, "write nothing; exit with status 1 if the document is out of date"] = False,
    ) -> Exit:
        return render([name], check=check)

    alias.__name__, alias.__doc__ = f"render_{name}", f"The same as `invoke render {name}`."
    return alias


TASKS = (
    verify, matrix, compare, hosts, clean,
    patterns, nanoclaw,
    harden, harden_each, harden_all, inject,
    parallel, wslconfig,
    doctor, reproduce,
    sabotage, faults,
    render, *map(_render_alias, DOCUMENTS),
)  # fmt: skip

namespace = Collection(*map(make_task, TASKS))
