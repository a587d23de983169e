"""Reading a checkout's Dockerfile before it is built: its mounts stay within the build.

Buildah before 1.33.7 lets a mount of RUN read and write the files of the account that builds: ``from=`` and ``source=``
through a link (CVE-2024-1753), ``id=`` with “..” (CVE-2024-9675), a cache inside another one. What is not known to stay
within the build is refused. Readers join lines in different ways, so every way is looked at.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from checks.core.errors import WrongUsage
from checks.core.lines import lines_of
from checks.nanoclaw.checkout import read

NAMES = ("Dockerfile", "Containerfile")
"""The files that a build takes; Podman prefers the second."""

_COMMENT = re.compile(r"^[ \t]*#.*(?:\n|\Z)", re.MULTILINE)
_JOINED = tuple(re.compile(rf"[{ends}][ \t\r]*\n(?:[ \t\r]*\n)*") for ends in (r"\\", "`", r"\\`"))
"""The ends of lines that go on: at a backslash, or at what a line “# escape=” says."""
_UNCLEAR = re.compile(r"[\\`]{2}[ \t\r]*(?:\n|\Z)")
"""An end of a line that older readers join and newer ones don't."""
_DOCUMENT = re.compile(r"<<-?\s*(\w[\w.-]*)", re.ASCII)
_QUOTING = str.maketrans("", "", "\"'\\`")
_BASE = re.compile(r"FROM(?:\s+--platform=\S+)?\s+(\S+)(?:\s+AS\s+([\w.-]+))?", re.IGNORECASE | re.ASCII)
_NAMES = "alpine|busybox|buildpack-deps|debian|golang|node|python|rust|scratch|ubuntu"
_OFFICIAL = re.compile(rf"(?:docker\.io/)?(?:library/)?(?:{_NAMES})(?::[\w.-]+)?(?:@sha256:[0-9a-f]{{64}})?", re.ASCII)
"""Other short names may be of the account's own images."""
_COPIED = re.compile(r"(?<!\S)--from=(\S+)", re.ASCII)
_TARGETS = ("target", "dst", "destination")
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
                    f"{file}: {reason}: with an older Buildah, it could reach files of this account.",
                    "Remove it, or build the image yourself.",
                )


def escapes(dockerfile: str, context: Path) -> Iterator[str]:
    """What could leave the build, each with the reason."""
    if strange := sorted({each for each in dockerfile.replace("\r\n", "\n") if _is_strange(each)}):
        yield f"the character {strange[0]!r}, which not every reader takes for the same"
    text = _COMMENT.sub("", "\n".join(lines_of(dockerfile)))
    if _UNCLEAR.search(text):
        yield "a line that ends in two characters of continuation, which not every reader takes for the same"
    joined = [text, *(each.sub("", text) for each in _JOINED)]
    readings = dict.fromkeys([*joined, *map(_without_documents, joined)])
    yield from dict.fromkeys(reason for each in readings for reason in _escapes_of(each, context))


def _without_documents(text: str) -> str:
    """The text without here-documents, which older readers take for instructions."""
    kept, ends = [], deque[str]()
    for line in lines_of(text):
        if ends:
            if line.strip() == ends[0]:
                ends.popleft()
            continue
        kept.append(line)
        ends.extend(_DOCUMENT.findall(line.translate(_QUOTING)))
    return "\n".join(kept)


def _escapes_of(text: str, context: Path) -> Iterator[str]:
    """What could leave the build where lines are joined as in this text."""
    yield from _foreign_bases(text)
    plain = [found[1] for found in _PLAIN.finditer(text)]
    if text.translate(_QUOTING).lower().count(_FLAG) != len(plain):
        yield f"a {_FLAG} that is not written plainly, as in {_FLAG}=type=cache,target=/var/cache/apt"
    caches: set[tuple[str, ...]] = set()
    for words in plain:
        options = [(key.lower(), value) for key, _, value in (part.partition("=") for part in words.split(","))]
        if reason := _of_mount(options, context):
            yield f"{_FLAG}={words}: {reason}"
        if ("type", "cache") in options:
            named = dict(options)
            target = next((named[key] for key in _TARGETS if key in named), "")
            caches.add(PurePosixPath(f"/{named.get('id', target)}").parts[1:])
    for one in caches:
        # A build can leave a link in one, for the other to go through.
        if any(one != other and other[: len(one)] == one for other in caches):
            yield f"cache mounts one inside another, at /{'/'.join(one)}"


def _is_strange(character: str) -> bool:
    return character not in "\n\t " and (not character.isprintable() or character.isspace())


def _foreign_bases(text: str) -> Iterator[str]:
    """Images that are neither official ones nor stages: an image can have instructions for the build that uses it."""
    stages: set[str] = set()
    number = 0
    for line in lines_of(text):
        found_in = _COPIED.findall(line)
        if line.translate(_QUOTING).lower().count("--from") != len(found_in):
            yield "a --from that is not written plainly, as in --from=build"
        for each in found_in:
            if not (each.lower() in stages or (each.isdecimal() and int(each) < number) or _OFFICIAL.fullmatch(each)):
                yield f"--from={each[:80]}, which is neither a stage nor an official image"
        if line.split(maxsplit=1)[:1] and line.split(maxsplit=1)[0].upper() == "FROM":
            found = _BASE.fullmatch(line.strip())
            if not found or not (found[1].lower() in stages or _OFFICIAL.fullmatch(found[1])):
                yield f"“{line.strip()[:80]}”, which is no official image"
            elif found[2]:
                stages.add(found[2].lower())
            number += 1


def _of_mount(options: list[tuple[str, str]], context: Path) -> str:
    keys = [key for key, _ in options]
    kinds = [value for key, value in options if key == "type"] or ["bind"]
    allowed = _ALLOWED.get(kinds[0], set())
    if len(kinds) > 1 or len(set(keys)) < len(keys) or len(set(keys) & set(_TARGETS)) > 1:
        return "an option twice"
    if other := [key for key in keys if key not in allowed]:
        return f"“{other[0]}” of a mount of the type {kinds[0]}"
    for key, value in options:
        if key == "id" and not re.fullmatch(r"\w[\w.-]*", value, re.ASCII):
            return "an id that is not a name"
        if key in _TARGETS and (".." in PurePosixPath(value).parts or not value.startswith("/")):
            return "a target that is not a path from the root"
        if key in ("source", "src") and _leads_elsewhere(context, value):
            return "a source that goes through a link, or is not in the context"
    return ""


def _leads_elsewhere(context: Path, source: str) -> bool:
    parts = Path(source.lstrip("/")).parts
    steps = [context.joinpath(*parts[: number + 1]) for number in range(len(parts))]
    return ".." in parts or any(step.is_symlink() for step in steps) or not context.joinpath(*parts).exists()
