"""``docs/SECURITY.md``: prose in a template; the flags, their verdicts and the recommended line from evidence."""

from __future__ import annotations

from checks.problems import Exit


def render_security(*, check: bool = False) -> Exit:
    raise NotImplementedError
