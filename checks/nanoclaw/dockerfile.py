"""Reading a checkout's Dockerfile before it is built: its mounts stay within the build.

Buildah before 1.33.7 lets a mount of RUN read and write the files of the account that builds: ``from=`` and ``source=``
through a link (CVE-2024-1753), ``id=`` with “..” (CVE-2024-9675).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from checks.core.errors import WrongUsage
from checks.core.lines import lines_of
from checks.nanoclaw.checkout import read

NAMES = ("Dockerfile", "Containerfile")
"""The files that a build takes; Podman prefers the second."""

_COMMENT = re.compile(r"^[ \t]*#.*(?:\n|\Z)", re.MULTILINE)
_CONTINUED = re.compile(r"[\\`][ \t\r]*\n(?:[ \t\r]*\n)*")
_QUOTING = str.maketrans("", "", "\"'\\`")
_FLAG = "--mount"
_PLAIN = re.compile(r"(?<!\S)--mount=([\w./,=:@+-]+)(?!\S)", re.ASCII)
"""A mount without quotes, escapes and variables."""
_ALLOWED = {
    "cache": {"type", "target", "dst", "destination", "id", "sharing", "mode", "uid", "gid"},
    "bind": {"type", "target", "dst", "destination", "source", "src", "ro", "readonly"},
    "tmpfs": {"type", "target", "dst", "destination", "size"},
    "secret": {"type", "target", "dst", "destination", "id", "required", "mode", "uid", "gid"},
    "ssh": {"type", "target", "dst", "destination", "id", "required", "mode", "uid", "gid"},
}


def require_contained(context: Path, root: Path) -> None:
    """Raise WrongUsage if a Dockerfile of the directory has a mount that could leave the build."""
    for name in NAMES:
        file = context / name
        if file.exists():
            for reason in escapes(read(file, root).decode(errors="replace"), context):
                raise WrongUsage(
                    f"{file}: {reason}: older Buildah resolves such a mount on the host, with this account's rights.",
                    "Remove it, or build the image yourself.",
                )


def escapes(dockerfile: str, context: Path) -> Iterator[str]:
    """The mounts that could leave the build, each with the reason."""
    text = _CONTINUED.sub("", _COMMENT.sub("", "\n".join(lines_of(dockerfile))))
    plain = [found[1] for found in _PLAIN.finditer(text)]
    if text.translate(_QUOTING).lower().count(_FLAG) != len(plain):
        yield f"a {_FLAG} that is not written plainly, as in {_FLAG}=type=cache,target=/var/cache/apt"
    for words in plain:
        if reason := _escapes([part.partition("=")[::2] for part in words.split(",")], context):
            yield f"{_FLAG}={words}: {reason}"


def _escapes(options: list[tuple[str, str]], context: Path) -> str:
    keys = [key.lower() for key, _ in options]
    kinds = [value for key, value in options if key.lower() == "type"] or ["bind"]
    allowed = _ALLOWED.get(kinds[0], set())
    if len(kinds) > 1 or len(set(keys)) < len(keys):
        return "an option twice"
    if other := [key for key in keys if key not in allowed]:
        return f"“{other[0]}” of a mount of the type {kinds[0]}"
    for key, value in options:
        if key == "id" and not re.fullmatch(r"\w[\w.-]*", value, re.ASCII):
            return "an id that is not a name"
        if key in ("source", "src") and _leads_elsewhere(context, value):
            return "a source that goes through a link, or is not in the context"
    return ""


def _leads_elsewhere(context: Path, source: str) -> bool:
    parts = Path(source.lstrip("/")).parts
    steps = [context.joinpath(*parts[: number + 1]) for number in range(len(parts))]
    return ".." in parts or any(step.is_symlink() for step in steps) or not context.joinpath(*parts).exists()
