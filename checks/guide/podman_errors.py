"""Why Podman itself fails on a host: what it printed, and which settings files it can't read."""

from __future__ import annotations

from collections.abc import Sequence

from checks.core.lines import lines_of
from checks.guide import containers_conf
from checks.guide.snapshot import HostSnapshot


def podman_failure(host: HostSnapshot) -> str:
    """What Podman printed if it could not even print its version, with the files that it can't read; empty if not."""
    error = host.text("podman_error")
    if not error or host.podman:
        return ""
    unnamed = [path for path in malformed(host) if path not in error]
    named = f" (not valid TOML: {', '.join(unnamed)})" if unnamed else ""
    return f"podman --version: {last_line(error)}{named}"


def malformed(host: HostSnapshot) -> Sequence[str]:
    """The account's settings files that are not valid TOML."""
    return [path for path in host.settings_files if containers_conf.fault(host.text(f"conf:{path}"))]


def last_line(text: str) -> str:
    """The last line of what a program printed."""
    return lines_of(text.strip() or "no output")[-1]
