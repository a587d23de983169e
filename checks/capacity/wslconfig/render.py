"""The text of a .wslconfig: the example with its presets, one computed for a machine, an existing one updated.

What is written is ASCII: it reads the same in whatever encoding an editor on Windows takes it for.
"""

from __future__ import annotations

from checks.capacity.wslconfig.keys import catalogue
from checks.capacity.wslconfig.lines import Section, Setting, Unreadable, read
from checks.capacity.wslconfig.plan import GB, Machine, Plan, plan, spoken

PRESETS = {1: 6 * GB, 2: 10 * GB, 4: 20 * GB}
"""The example's presets: containers, and MiB of memory. For 4 the formula's 18 GB are rounded up, for headroom."""

ACTIVE = 1
"""The preset that is not commented out: the one that asks least of a machine."""

_WHERE = """\
# .wslconfig: how much of a Windows machine WSL 2 gets, for nanoclaw's agents in their containers.
#
# Where it goes: %UserProfile%/.wslconfig on Windows, that is C:\\Users\\YOU\\.wslconfig
# (seen from inside WSL: /mnt/c/Users/YOU/.wslconfig). One file is for all WSL 2 distributions of
# a user; there is none until somebody makes it.
#
"""

_EXAMPLE = """\
# This is an example, rendered by `invoke wslconfig`. For a machine at hand:
#     invoke wslconfig --containers 2 --host-memory 32GB --host-cpus 16
"""

_NOTES = """\
#
# What to know:
# - It requires `wsl --shutdown` to take effect, which ends every running distribution.
# - Memory is not returned to Windows until then: plan as if all of memory= were gone from Windows.
#   What has changed: since Windows build 19013 WSL gives back memory that is no longer in use, and
#   since WSL 2.0.0 memory that only caches files (autoMemoryReclaim, below). What the agents use
#   stays taken.
# - The default is 50 % of the host's RAM, whatever the agents need: set memory= if you run agents.
# - `invoke wslconfig --validate FILE` says what WSL would ignore or misread in a file.
#
# What each key means: {page}
# (Microsoft's documentation as of {date}; it recommends the app "WSL Settings" over editing.)
"""

_FORMULA = """\
# The formula, for N containers at once:
#     memory     = N x {each} GB + 2 GB    {why}
#     processors = N x 2 + 2
#     swap       = N + 1 GB, from 2 GB to 4 GB    (a file on Windows' disk)
"""

_PRESETS = """\
#
# Active is the preset for 1 container, which asks least of a machine. For another one, put a # in
# front of its three lines and take the # from the other's: of two equal keys WSL keeps the first.
"""

_NETWORK = """\
# How WSL is on the network; without the line "nat". Since WSL 2.0.0 (September 2023) there is
# "mirrored", for Windows 11 22H2 and later. It was set under [experimental] then, and is here now.
# A "nat" that fails becomes "virtioproxy" since WSL 2.3.25; "bridged" is deprecated since WSL 2.4.5.
#     https://learn.microsoft.com/windows/wsl/networking
#networkingMode=mirrored
"""

_EXPERIMENTAL = """\
[experimental]

# Since WSL 2.0.0 (September 2023): memory that only caches files goes back to Windows, "gradual"
# slowly, "dropCache" at once. Without the line it was "disabled" then; now it is "dropCache".
#     https://learn.microsoft.com/windows/wsl/wsl-config#experimental-settings
#autoMemoryReclaim=dropCache

# Since WSL 2.0.0 (September 2023): disks of new distributions are sparse, so that space which is no
# longer used goes back to Windows. Better left out: WSL {version} makes none for now, sparse disks
# being suspected of losing data.
#     {sparse}
#sparseVhd=true
"""


def example() -> str:
    """examples/wslconfig.example."""
    presets = "\n".join(_preset(containers) for containers in PRESETS)
    formula = _formula(browser=True)
    return f"{_WHERE}{_EXAMPLE}{_notes()}\n[wsl2]\n\n{formula}{_PRESETS}\n{presets}\n{_NETWORK}\n{_experimental()}"


def computed(wanted: Plan, machine: Machine) -> str:
    """A file for a number of containers on a machine."""
    browser = "" if wanted.browser else ", agents without a browser"
    made = (
        f"# Computed by `invoke wslconfig` for {_containers(wanted.containers)} at once{browser},\n"
        f"# on a machine with {spoken(machine.memory)} of memory and {machine.processors} processors.\n"
    )
    settings = _formula(browser=wanted.browser) + _settings(wanted.settings())
    return f"{_WHERE}{made}{_notes()}\n[wsl2]\n\n{settings}\n{_NETWORK}\n{_experimental()}"


def updated(text: str, wanted: Plan, line_end: str) -> str:
    """The text with the plan's settings in it, and everything else as it was.

    Each of them is set where [wsl2] has it, also twice; one that is missing is put under the section's header.
    """
    missing = wanted.settings()
    edits: list[tuple[int, int, str]] = []
    section, below = "", -1
    for line in read(text):
        if isinstance(line, Section):
            section = line.name.lower()
            if section == "wsl2" and below < 0:
                below = _end_of_line(text, line.line)
        elif isinstance(line, Unreadable) and line.why == "header":
            section = ""
        elif isinstance(line, Setting) and section == "wsl2":
            key = line.key.lower()
            value = wanted.settings().get(key)
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
    by_formula = plan(containers)
    settings = {**by_formula.settings(), "memory": f"{PRESETS[containers] // GB}GB"}
    heading = f"# {_containers(containers)}"
    if PRESETS[containers] != by_formula.memory:
        heading += f": the formula's {spoken(by_formula.memory)} rounded up, for headroom"
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
    return _NOTES.format(page=catalogue().page, date=catalogue().page_date)


def _experimental() -> str:
    return _EXPERIMENTAL.format(version=catalogue().version, sparse=catalogue().sparse)
