"""``invoke wslconfig``: render the example, compute or update a file, or validate one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from checks.capacity.wslconfig import file, render
from checks.capacity.wslconfig.file import ConfigText, Setting, parse
from checks.capacity.wslconfig.plan import Machine, Plan, count_of, detect_machine, largest, plan, readable
from checks.capacity.wslconfig.validate import ALONE, lone_carriage_return, misnamed, required, validate
from checks.core.errors import Exit, Problem, WrongUsage
from checks.core.paths import ROOT
from checks.core.terminal import say, say_file

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
    """Raise WrongUsage for an option that can't be combined with the requested action."""
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
                raise WrongUsage(f"{option} requires --containers N.")
            raise WrongUsage(f"{option} can't be combined with {what}.")
    if options.update and options.force:
        raise WrongUsage("--update can't be combined with --force.")
    for option in ("--update", "--force"):
        if given[option] and not options.output:
            raise WrongUsage(f"{option} requires --output FILE.")


def _example(*, check: bool) -> Exit:
    text = render.example()
    where = EXAMPLE.relative_to(ROOT)
    if EXAMPLE.is_file() and EXAMPLE.read_bytes() == text.encode():
        say(f"{where} is up to date.")
        return Exit.OK
    if check:
        say(f"{where} is out of date. Run: invoke wslconfig", error=True)
        return Exit.CASE_FAILED
    file.replace(EXAMPLE, text.encode())
    say(f"Wrote {where}.")
    return Exit.OK


def _validate(name: str) -> Exit:
    path = file.resolve("--validate", name)
    source = file.load(path)
    diagnostics = [*misnamed(path.name), *validate(source)]
    for each in diagnostics:
        say(f"{name}:{each.line}: {'note: ' if each.harmless else ''}{each.message}")
    wrong = sum(not each.harmless for each in diagnostics)
    if wrong:
        say(f"\n{wrong} {'problem' if wrong == 1 else 'problems'}.")
        return Exit.CASE_FAILED
    settings = sum(isinstance(line, Setting) for line in parse(source.text))
    say(f"{name}: {settings} {'setting' if settings == 1 else 'settings'}, no problems.")
    for requirement in required(source):
        say(f"  {requirement}")
    return Exit.OK


def _compute(options: WslconfigOptions) -> Exit:
    containers = count_of("--containers", options.containers)
    path = file.resolve("--output", options.output) if options.output else None
    machine, assumed = detect_machine(options.host_memory, options.host_cpus)
    for message in assumed:
        say(message, error=True)
    needed = plan(containers, browser=options.browser)
    if not needed.fits(machine):
        raise _too_many(needed, machine)
    if path is None:
        say_file(render.computed(needed, machine).encode())
    else:
        _write(path, needed, machine, options)
    if needed.crowds(machine):
        left = readable(machine.memory - needed.memory)
        say(
            f"Warning: Windows keeps {left} of {readable(machine.memory)}, less than a quarter. "
            "It may get slow when the agents use all their memory.",
            error=True,
        )
    return Exit.OK


def _too_many(needed: Plan, machine: Machine) -> WrongUsage:
    number = "1 container needs" if needed.containers == 1 else f"{needed.containers} containers need"
    reason = (
        f"{number} {readable(needed.memory)} of memory, plus 1 GB for Windows, and {needed.processors} processors. "
        f"The machine has {readable(machine.memory)} and {machine.processors}."
    )
    most = largest(machine, browser=needed.browser)
    remedy = f"The largest number that fits: --containers {most}." if most else "Not even one fits."
    without = largest(machine, browser=False)
    if needed.browser and without > most:
        remedy += f" Without a browser: --containers {min(without, needed.containers)} --no-browser."
    return WrongUsage(reason, remedy)


def _write(path: Path, needed: Plan, machine: Machine, options: WslconfigOptions) -> None:
    if path.is_dir():
        raise WrongUsage(f"{path} is a directory.", f"Pass a file: --output {path / '.wslconfig'}")
    if options.update:
        _update(path, needed)
    else:
        data = render.computed(needed, machine).replace("\n", file.line_end(path)).encode()
        (file.replace if options.force else file.create)(path, data)
        say(f"Wrote {path}: {_listed(needed)}.")
    say("It takes effect after `wsl --shutdown`.")


def _update(path: Path, needed: Plan) -> None:
    if not path.exists():
        raise WrongUsage(f"{path} does not exist.", "To create it, omit --update.")
    source = file.load(path)
    if not source.complete:
        raise WrongUsage(f"{path} can't be updated:", " ".join(remark.message for remark in source.remarks))
    if at := lone_carriage_return(source.text):  # WSL may take other lines, or sections, than this project
        raise WrongUsage(f"{path}, line {at}: {ALONE}")
    for line in file.parse(source.text):
        if isinstance(line, file.Setting) and line.joined and line.key.lower() in needed.settings():
            raise WrongUsage(
                f"{path}, line {line.line}: the backslash at its end makes the next line a part of {line.key}'s value.",
                "Remove the backslash.",
            )
    line_end = "\r\n" if "\r\n" in source.text else file.line_end(path) if "\n" not in source.text else "\n"
    text = render.updated(source.text, needed, line_end)
    if text == source.text:
        say(f"{path} is up to date: {_listed(needed)}.")
    else:
        file.replace(path, source.encode(text))
        say(f"Updated {path}: {_listed(needed)}. Other lines did not change.")
    _mention_problems(path, ConfigText(text, source.encoding, source.bom, source.remarks))


def _mention_problems(path: Path, source: ConfigText) -> None:
    if any(not each.harmless for each in validate(source)):
        say(f"WSL ignores other lines of the file. To list them: invoke wslconfig --validate {path}", error=True)


def _listed(needed: Plan) -> str:
    return ", ".join(f"{key}={value}" for key, value in needed.settings().items())
