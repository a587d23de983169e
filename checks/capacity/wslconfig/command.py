"""``invoke wslconfig``: the example rendered, a file computed or brought up to date, a file checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from checks.capacity.wslconfig import files, render
from checks.capacity.wslconfig.files import ConfigText
from checks.capacity.wslconfig.lines import Setting, read
from checks.capacity.wslconfig.machine import known
from checks.capacity.wslconfig.plan import Machine, Plan, count_of, largest, plan, spoken
from checks.capacity.wslconfig.validate import validate
from checks.core.errors import Exit, Problem, WrongUsage
from checks.core.paths import ROOT
from checks.core.terminal import say

EXAMPLE = ROOT / "examples" / "wslconfig.example"


@dataclass(frozen=True)
class WslconfigOptions:
    """The options of ``invoke wslconfig``, as typed."""

    containers: Annotated[str, "how many agents run at once; without it, examples/wslconfig.example is rendered"] = ""
    host_memory: Annotated[str, "the memory of the Windows machine, such as 32GB; required inside WSL"] = ""
    host_cpus: Annotated[str, "the number of logical processors of the Windows machine"] = ""
    browser: Annotated[bool, "whether agents use a browser: 4 GB for each container, else 2 GB"] = True
    output: Annotated[str, "write to this file instead of standard output; an existing file is not changed"] = ""
    update: Annotated[bool, "change memory, swap and processors in the existing file, and keep the rest"] = False
    force: Annotated[bool, "overwrite the existing file"] = False
    validate: Annotated[str, "check this .wslconfig for settings that WSL ignores or misreads"] = ""
    check: Annotated[bool, "only report whether examples/wslconfig.example is up to date"] = False


def wslconfig(options: WslconfigOptions) -> Exit:
    """Render, compute or check a .wslconfig file, for agents in WSL 2 on Windows.

    Exit status: 0 done; 1 the file has problems, or the example is out of date; 2 wrong usage.
    """
    try:
        if options.validate:
            _alone(options, "--validate")
            return _validate(options.validate)
        if options.containers:
            _alone(options, "--containers")
            return _compute(options)
        _alone(options, "--check" if options.check else "")
        return _example(check=options.check)
    except Problem as problem:
        say(f"Wrong usage: {problem}", error=True)
        return problem.exit


def _alone(options: WslconfigOptions, what: str) -> None:
    """Raise WrongUsage where an option was given that does not go with what was asked for."""
    of_containers = {
        "--host-memory": options.host_memory, "--host-cpus": options.host_cpus, "--no-browser": not options.browser,
        "--output": options.output, "--update": options.update, "--force": options.force,
    }  # fmt: skip
    given = {"--containers": options.containers, **of_containers, "--validate": options.validate}
    given["--check"] = options.check
    allowed = {what, *of_containers} if what == "--containers" else {what}
    for option, value in given.items():
        if value and option not in allowed:
            if option in of_containers and what != "--validate":
                raise WrongUsage(
                    f"{option} needs --containers N.", "For how many containers at once is the file to be?"
                )
            raise WrongUsage(f"{option} does not go with {what}.", "Ask for one of the two.")
    if options.update and options.force:
        raise WrongUsage("--update keeps a file and --force overwrites it.", "Ask for one of the two.")
    for option in ("--update", "--force"):
        if given[option] and not options.output:
            raise WrongUsage(f"{option} needs --output FILE.", "Which file is it about?")


def _example(*, check: bool) -> Exit:
    text = render.example()
    where = EXAMPLE.relative_to(ROOT)
    if EXAMPLE.is_file() and EXAMPLE.read_bytes() == text.encode():
        say(f"{where} is up to date.")
        return Exit.OK
    if check:
        say(f"{where} is not what would be rendered. Render it: invoke wslconfig", error=True)
        return Exit.CASE_FAILED
    files.replace(EXAMPLE, text.encode())
    say(f"Wrote {where}.")
    return Exit.OK


def _validate(name: str) -> Exit:
    source = files.load(files.located("--validate", name))
    findings = validate(source)
    for each in findings:
        say(f"{name}:{each.line}: {'note: ' if each.harmless else ''}{each.message}")
    wrong = sum(not each.harmless for each in findings)
    if wrong:
        say(f"\n{wrong} {'finding' if wrong == 1 else 'findings'}.")
        return Exit.CASE_FAILED
    settings = sum(isinstance(line, Setting) for line in read(source.text))
    say(f"{name}: {settings} {'setting' if settings == 1 else 'settings'}, nothing wrong.")
    return Exit.OK


def _compute(options: WslconfigOptions) -> Exit:
    containers = count_of("--containers", options.containers)
    path = files.located("--output", options.output) if options.output else None
    host = known(options.host_memory, options.host_cpus)
    for assumption in host.assumed:
        say(assumption, error=True)
    wanted = plan(containers, browser=options.browser)
    if not wanted.fits(host.machine):
        raise _too_many(wanted, host.machine)
    if path is None:
        say(render.computed(wanted, host.machine), end="")
    else:
        _write(path, wanted, host.machine, options)
    if wanted.crowds(host.machine):
        left = spoken(host.machine.memory - wanted.memory)
        say(
            f"Warning: Windows is left {left} of {spoken(host.machine.memory)}, less than a quarter. "
            "It may get slow when the agents use all of theirs.",
            error=True,
        )
    return Exit.OK


def _too_many(wanted: Plan, machine: Machine) -> WrongUsage:
    number = "1 container needs" if wanted.containers == 1 else f"{wanted.containers} containers need"
    what = (
        f"{number} {spoken(wanted.memory)} of memory, beside 1 GB for Windows, and {wanted.processors} processors; "
        f"the machine has {spoken(machine.memory)} and {machine.processors}."
    )
    most = largest(machine, browser=wanted.browser)
    remedy = f"The most that fits: --containers {most}." if most else "Not even one fits."
    without = largest(machine, browser=False)
    if wanted.browser and without > most:
        remedy += f" Without a browser: --containers {min(without, wanted.containers)} --no-browser."
    return WrongUsage(what, remedy)


def _write(path: Path, wanted: Plan, machine: Machine, options: WslconfigOptions) -> None:
    if path.is_dir():
        raise WrongUsage(f"{path} is a directory.", f"Name the file in it: --output {path / '.wslconfig'}")
    if options.update:
        _update(path, wanted)
    else:
        data = render.computed(wanted, machine).replace("\n", files.line_end(path)).encode()
        (files.replace if options.force else files.create)(path, data)
        say(f"Wrote {path}: {_told(wanted)}.")
    say("It takes effect after `wsl --shutdown`.")


def _update(path: Path, wanted: Plan) -> None:
    if not path.exists():
        raise WrongUsage(f"There is no {path} to update.", "Leave --update out to write a new one.")
    source = files.load(path)
    if not source.sound:
        raise WrongUsage(f"{path} can't be updated:", " ".join(remark.message for remark in source.remarks))
    line_end = "\r\n" if "\r\n" in source.text else files.line_end(path) if "\n" not in source.text else "\n"
    text = render.updated(source.text, wanted, line_end)
    if text == source.text:
        say(f"{path} has that already: {_told(wanted)}.")
    else:
        files.replace(path, source.encode(text))
        say(f"Updated {path}: {_told(wanted)}. Everything else is as it was.")
    _mention_findings(path, ConfigText(text, source.encoding, source.bom, source.remarks))


def _mention_findings(path: Path, source: ConfigText) -> None:
    wrong = sum(not finding.harmless for finding in validate(source))
    if wrong:
        say(f"There is something else in it that WSL ignores: invoke wslconfig --validate {path}", error=True)


def _told(wanted: Plan) -> str:
    return ", ".join(f"{key}={value}" for key, value in wanted.settings().items())
