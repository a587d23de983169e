"""The text of a .wslconfig: the example with its presets, a computed file, or an updated one.

The text is ASCII, so that editors on Windows show it correctly in any encoding.
"""

from __future__ import annotations

from checks.capacity.wslconfig.catalogue import catalogue
from checks.capacity.wslconfig.file import Section, Setting, Unreadable, parse
from checks.capacity.wslconfig.plan import GB, PRESETS, Machine, Plan, plan, readable

ACTIVE = 1
"""The preset that is not commented out: the smallest."""

_WHERE = """\
# .wslconfig: how much of a Windows machine WSL 2 may use, for nanoclaw's agents in their containers.
#
# Path: %UserProfile%/.wslconfig on Windows, usually C:\\Users\\YOU\\.wslconfig
# (inside WSL: /mnt/c/Users/YOU/.wslconfig). It applies to all WSL 2 distributions of a user.
# It does not exist by default.
#
"""

_EXAMPLE = """\
# This is an example, rendered by `invoke wslconfig`. To compute a file for your machine:
#     invoke wslconfig --containers 2 --host-memory 32GB --host-cpus 16
"""

_NOTES = """\
#
# What to know:
# - It requires `wsl --shutdown` to take effect, which stops all running distributions.
# - Memory is not returned to Windows until then: plan as if Windows lost all of memory=.
#   Newer versions return some: unused memory since Windows build 19013, and file caches since
#   WSL 2.0.0 (autoMemoryReclaim, below). Memory that agents use stays in use.
# - The default is 50 % of the host's RAM, whatever the agents need: set memory= if you run agents.
# - `invoke wslconfig --validate FILE` reports what WSL would ignore or misread in a file.
#
# Meaning of each key: {page}
# (Microsoft's documentation as of {date}; it recommends the app "WSL Settings" over editing.)
"""

_FORMULA = """\
# The formula, for N containers at once:
#     memory     = N x {each} GB + 2 GB    {why}
#     processors = N x 2 + 2
#     swap       = N + 1 GB, at least 2 GB, at most 4 GB    (a file on Windows' disk)
"""

_PRESETS = """\
#
# The preset for 1 container is active, because it needs least. To use another one, comment out the
# three active lines and uncomment the others. If a key is repeated, WSL uses the first value.
"""

_NETWORK = """\
# How WSL connects to the network; by default "nat". WSL 2.0.0 (September 2023) added "mirrored" for
# Windows 11 22H2 and later, at first under [experimental]. If "nat" fails, WSL uses "virtioproxy"
# since 2.3.25. "bridged" is deprecated since 2.4.5.
#     https://learn.microsoft.com/windows/wsl/networking
#networkingMode=mirrored
"""

_EXPERIMENTAL = """\
[experimental]

# Since WSL 2.0.0 (September 2023): WSL returns file caches to Windows, slowly with "gradual", at once
# with "dropCache". The default was "disabled" then, and is "dropCache" now.
#     https://learn.microsoft.com/windows/wsl/wsl-config#experimental-settings
#autoMemoryReclaim=dropCache

# Not here: sparseVhd (since WSL 2.0.0), which makes the disks of new distributions sparse, to return unused
# space to Windows. WSL {version} creates none for now, because sparse disks may lose data.
#     {sparse}
"""


def example() -> str:
    """examples/wslconfig.example."""
    presets = "\n".join(_preset(containers) for containers in PRESETS)
    formula = _formula(browser=True)
    return f"{_WHERE}{_EXAMPLE}{_notes()}\n[wsl2]\n\n{formula}{_PRESETS}\n{presets}\n{_NETWORK}\n{_experimental()}"


def computed(needed: Plan, machine: Machine) -> str:
    """A file for a number of containers on a machine."""
    browser = "" if needed.browser else ", agents without a browser"
    origin = (
        f"# Computed by `invoke wslconfig` for {_containers(needed.containers)} at once{browser},\n"
        f"# on a machine with {readable(machine.memory)} of memory and {machine.processors} processors.\n"
    )
    settings = _formula(browser=needed.browser) + _settings(needed.settings())
    return f"{_WHERE}{origin}{_notes()}\n[wsl2]\n\n{settings}\n{_NETWORK}\n{_experimental()}"


def updated(text: str, needed: Plan, line_end: str) -> str:
    """Set the plan's settings in a text, and keep everything else.

    Existing keys in [wsl2] are changed, even if they are repeated. Missing keys are added below the section header.
    """
    missing = needed.settings()
    edits: list[tuple[int, int, str]] = []
    section, below = "", -1
    for line in parse(text):
        if isinstance(line, Section):
            section = line.name.lower()
            if section == "wsl2" and below < 0:
                below = _end_of_line(text, line.line)
        elif isinstance(line, Unreadable) and line.reason == "header":
            section = ""
        elif isinstance(line, Setting) and section == "wsl2":
            key = line.key.lower()
            value = needed.settings().get(key)
            if value is not None:
                edits.append((line.start, line.end, value))
                missing.pop(key, None)
    added = "".join(f"{key}={value}{line_end}" for key, value in missing.items())
    if added and below < 0:
        between = line_end if text.endswith("\n") else line_end * 2
        edits.append((len(text), len(text), f"{between if text else ''}[wsl2]{line_end}{added}"))
    elif added:
        edits.append((below, below, added if text[below - 1 : below] == "\n" else f"{line_end}{added}"))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _end_of_line(text: str, number: int) -> int:
    at = 0
    for _ in range(number):
        at = text.find("\n", at) + 1 or len(text)
    return at


def _preset(containers: int) -> str:
    formula_plan = plan(containers)
    settings = {**formula_plan.settings(), "memory": f"{PRESETS[containers] // GB}GB"}
    heading = f"# {_containers(containers)}"
    if PRESETS[containers] != formula_plan.memory:
        heading += f": the formula's {readable(formula_plan.memory)} rounded up, for headroom"
    return f"{heading}\n{_settings(settings, mark='' if containers == ACTIVE else '#')}"


def _formula(*, browser: bool) -> str:
    if browser:
        return _FORMULA.format(each=4, why="(2 GB for Linux, Podman, nanoclaw)")
    return _FORMULA.format(each=2, why="(without a browser: an estimate, not measured)")


def _settings(settings: dict[str, str], mark: str = "") -> str:
    return "".join(f"{mark}{key}={value}\n" for key, value in settings.items())


def _containers(number: int) -> str:
    return "1 container" if number == 1 else f"{number} containers"


def _notes() -> str:
    page = catalogue().sources["page"]
    return _NOTES.format(page=page.url, date=page.date)


def _experimental() -> str:
    sources = catalogue().sources
    return _EXPERIMENTAL.format(version=sources["code"].version, sparse=sources["sparse"].url)
