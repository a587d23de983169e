"""The task around WSL 2."""

from __future__ import annotations

from invoke import Context, Exit, task


@task(
    auto_shortflags=False,
    help={
        "containers": "how many agents run at once; without it, examples/wslconfig.example is rendered",
        "host_memory": "of the Windows machine, e.g. 32GB; needed inside WSL, which does not see it",
        "host_cpus": "logical processors of the Windows machine",
        "browser": "whether agents use a browser: 4 GB a container, else 2 GB",
        "output": "write the file here instead of printing it; an existing one is left alone",
        "update": "change memory, swap and processors in the existing file, and keep the rest",
        "force": "overwrite the existing file",
        "validate": "look through this .wslconfig for what WSL ignores or misreads",
        "check": "only say whether examples/wslconfig.example is as it would be rendered",
    },
)
def wslconfig(
    _: Context,
    containers: str = "",
    host_memory: str = "",
    host_cpus: str = "",
    browser: bool = True,
    output: str = "",
    update: bool = False,
    force: bool = False,
    validate: str = "",
    check: bool = False,
) -> None:
    """Render, compute or check a .wslconfig, for agents in WSL 2 on Windows.

    Exit status: 0 done, 1 findings or a stale example, 2 wrong usage.
    """
    from checks.capacity.wslconfig.command import WslconfigOptions as WslOptions
    from checks.capacity.wslconfig.command import wslconfig as run_wslconfig

    options = WslOptions(containers, host_memory, host_cpus, browser, output, update, force, validate, check)
    raise Exit(code=run_wslconfig(options))
