"""What two runs of the same case have in common: outputs without what is new in every run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BANNER = re.compile(r"^Emulate Docker CLI using podman\..*\n?", re.MULTILINE)
_REPLACED = (
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]"), ""),
    (re.compile(r"/var/tmp/nanoclaw-verify-[0-9a-f]+-([a-z0-9-]+?)-[A-Za-z0-9]{10}\b"), r"<directory>/\1"),  # noqa: S108 - read
    # As evidence of earlier runs has it: one directory for all cases.
    (re.compile(r"/var/tmp/nanoclaw-verify-[0-9a-f]+-work-\d+"), "<directory>"),  # noqa: S108 - read
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d)?( [A-Z]{3,4})?"), "<time>"),
    (re.compile(r"\bsha256:[0-9a-f]{12,64}\b"), "<id>"),
    # Names and secrets of a run: eight hexadecimal digits or more, with a digit among them.
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8,64}\b"), "<id>"),
    (re.compile(r"\b\d+(\.\d+)?(ms|s| seconds?| minutes?)\b"), "<time>"),
    (re.compile(r"(?<=host\.docker\.internal )\d{4,5}\b"), "<port>"),
)


_BEGINNING = 1800  # characters; a banner and a few ids less than what evidence keeps


def text(raw: str) -> str:
    """An output without the shim's banner, ids, names, times and directories of a run, and white space at line ends."""
    raw = _BANNER.sub("", raw)
    for pattern, replacement in _REPLACED:
        raw = pattern.sub(replacement, raw)
    return "\n".join(line.rstrip() for line in raw.replace("\r\n", "\n").split("\n")).strip("\n")


def argv(words: list[str]) -> list[str]:
    """A command line, each word as ``text`` has it."""
    return [text(word) for word in words]


def command(told: Mapping[str, Any]) -> dict[str, Any]:
    """One command of some evidence: what was asked, and all that came of it."""
    return {"status": told["status"], "stdout": _output(told["stdout"]), "stderr": _output(told["stderr"])}


def _output(told: Mapping[str, Any]) -> str:
    """An output; of one that the evidence has only the beginning of, as much as is there with a banner and without."""
    whole = told["bytes"] == len(told["text"].encode())
    return text(told["text"]) if whole else text(told["text"])[:_BEGINNING]


def observation(value: Any) -> Any:
    """An effect that was observed."""
    return text(value) if isinstance(value, str) else value
