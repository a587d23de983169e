"""Cleaning everything that is printed, of secrets and of characters that control a terminal.

Output of docker, containers and hosts is in reports, errors and tables. A control sequence in it could rewrite lines or
set the clipboard; a bidirectional control could reorder text.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from checks.core import redaction

# Unicode's Cc, Cf, Cs, Zl and Zp except newline and tab, including zero-width characters, which make different names
# look alike; and U+FFFE and U+FFFF, which XML can't contain. A literal, because asking unicodedata for every character
# takes 0.2 s at each start.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)

TASKS = (
    "clean", "compare", "doctor", "faults", "harden", "hosts", "inject", "matrix", "nanoclaw", "parallel", "patterns",
    "render", "reproduce", "sabotage", "verify", "wslconfig",
)  # fmt: skip
"""The tasks whose names make “invoke NAME” in a message a command."""

INSTALLED = "nanoclaw-podman"
"""The program of the installed package, which has the same tasks."""

# GitHub Actions obeys a line that begins with “::”, even after white space, and “##[” anywhere in a line.
_WORKFLOW_COMMAND = re.compile(r"(?m)^([^\S\n]*):(?=:)|#(?=#\[)")


def clean(text: str) -> str:
    """The text with secrets masked, and control and format characters escaped (``\\x1b``).

    In a step of GitHub Actions, it contains no workflow commands either.
    """
    cleaned = _OBEYED.sub(_spelled, redaction.redacted_text(text.replace("\r\n", "\n")))
    return _WORKFLOW_COMMAND.sub(_harmless, cleaned) if os.environ.get("GITHUB_ACTIONS") == "true" else cleaned


def _harmless(found: re.Match[str]) -> str:
    return "#\\" if found[1] is None else f"{found[1]}\\:"


def workflow_command(kind: str, title: str, message: str) -> None:
    """Annotate the running step of GitHub Actions; ``kind`` is error, warning or notice."""
    escaped = clean(message).replace("%", "%25").replace("\n", "%0A")
    named = one_line(clean(title)).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    # Past the guard, which would disarm the command.
    stream = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    stream.write(f"::{kind} title={named}::{escaped}\n")
    stream.flush()


def one_line(text: str) -> str:
    """The text with newlines and tabs escaped too: a name in it can't begin a line of its own."""
    return text.replace("\n", "\\n").replace("\t", "\\t")


def json_escaped(text: str) -> str:
    """JSON text with such characters escaped: the same value, safe to print."""
    return _OBEYED.sub(_in_json, text)


def say(line: str = "", *, error: bool = False) -> None:
    """Print one line, after empty ones if it begins with newlines: a name in it can't begin a line of its own.

    It is cleaned and flushed; on standard error if ``error``.
    """
    body = line.lstrip("\n")
    say_text("\n" * (len(line) - len(body)) + one_line(body), error=error)


def say_text(text: str, *, error: bool = False, end: str = "\n") -> None:
    """Print a text of several lines, cleaned and flushed; on standard error if ``error``."""
    stream = sys.stderr if error else sys.stdout
    stream.write(shown(text) + end)
    stream.flush()


def say_file(data: bytes) -> None:
    """Print a file's content as it is, but for control characters: no command in it is rewritten."""
    stream = getattr(sys.stdout, "rich_proxied_file", sys.stdout)  # past the guard, which would rewrite it
    stream.write(clean(data.decode()))
    stream.flush()


def shown(text: str) -> str:
    """The text as it is printed: cleaned, and “invoke TASK” begins as the user's own command did.

    Who ran scripts/invoke.sh or the installed program may have no ``invoke`` on PATH.
    """
    return clean(_COMMAND.sub(_as_typed, text))


# Not in a comment: that is of a file, which is shown as it is written.
_COMMAND = re.compile(rf"(?m)^[^\S\n]*#.*|(?<![\w/.-])invoke(?= (?:--help|--list|{'|'.join(TASKS)})\b)")


def _as_typed(found: re.Match[str]) -> str:
    if found[0] != "invoke":
        return found[0]
    program = Path(sys.argv[0])
    if program.name == INSTALLED:
        return INSTALLED
    if program.name != "tasks.py":
        return found[0]
    script, here = program.resolve().parent / "scripts" / "invoke.sh", Path("scripts/invoke.sh")
    return "./scripts/invoke.sh" if here.exists() and here.samefile(script) else shlex.quote(str(script))


class _Guarded:
    """A stream that cleans output of the option parser, the interpreter and libraries."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream  # rich prints there: its own control sequences are needed
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        return self.rich_proxied_file.write(shown(text))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rich_proxied_file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def guard() -> None:
    """Clean everything that this process prints from now on, standard output and error."""
    if sys.stdout is sys.__stdout__ and sys.stdout:
        sys.stdout = cast("TextIO", _Guarded(sys.stdout))
    if sys.stderr is sys.__stderr__ and sys.stderr:
        sys.stderr = cast("TextIO", _Guarded(sys.stderr))


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {0x0D: "\\r"}.get(code) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _in_json(found: re.Match[str]) -> str:
    return "".join(
        f"\\u{int.from_bytes(unit, 'big'):04x}" for unit in _units(found[0].encode("utf-16-be", "surrogatepass"))
    )


def _units(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 2):
        yield data[at : at + 2]
