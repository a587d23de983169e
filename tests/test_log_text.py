"""A message is found whatever shell, wrapper, terminal or encoding it went through."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checks.documents import troubleshooting
from checks.guide import catalogue, log_text, records
from checks.guide.explain import find_entries

ENTRIES = catalogue.load()
REPRODUCED = records.load(ENTRIES)
TEXTS = [
    (entry.id, error.text)
    for entry in ENTRIES.values()
    for error in troubleshooting.errors(entry, REPRODUCED.get(entry.id, ()))
]


def prefixed(prefix: str) -> Callable[[str], str]:
    return lambda text: "\n".join(f"{prefix}{line}" for line in text.split("\n"))


def json_field(name: str) -> Callable[[str], str]:
    return lambda text: json.dumps({"level": "error", name: text, "time": "2026-01-01T00:00:00Z"})


DISGUISES: dict[str, Callable[[str], str]] = {
    "carriage returns": lambda text: text.replace("\n", "\r\n") + "\r\n",
    "erased lines": lambda text: f"\x1b[2K\r\x1b[1G{text}\x1b[K",
    "a colour for each word": lambda text: " ".join(f"\x1b[1;31m{word}\x1b[0m" for word in text.split(" ")),
    "colours as cat -v shows them": lambda text: f"^[[31m{text}^[[0m",
    "links": lambda text: " ".join(f"\x1b]8;;https://x.org/1\x1b\\{word}\x1b]8;;\x07" for word in text.split(" ")),
    "typographic quotes": lambda text: text.replace('"', "“").replace("'", "’").replace("`", "‘"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "zero-width spaces": "\u200b".join,
    "indented": lambda text: "\n".join(f"    {line}" for line in text.split("\n")),
    "a quotation": prefixed("> "),
    "compose": prefixed("nanoclaw-agent-1  | "),
    "journald": prefixed("Jan 01 00:00:00 host nanoclaw[1234]: "),
    "logrus": lambda text: f"time=\"2026-01-01T00:00:00Z\" level=error msg={json.dumps(text)}",
    "klog": prefixed("E0101 00:00:00.000000    1234 pod_workers.go:190] "),
    "kubectl": prefixed("[pod/agent-0/agent] "),
    "pino": json_field("msg"),
    "JSON in JSON": lambda text: json_field("log")(json_field("err")(text)),
    "JSON in JSON in JSON": lambda text: json_field("a")(json_field("b")(json_field("c")(text))),
    "JSON of ASCII": lambda text: json.dumps(text, ensure_ascii=True),
    "HTML": html.escape,
    "a fenced block": lambda text: f"```\n{text}\n```",
    "a long log": lambda text: "\n".join([*(f"line {at} of a log" for at in range(900)), text, "the end"]),
}  # fmt: skip
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "UTF-8": str.encode,
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 as PowerShell writes it": lambda text: f"\ufeff{text}\r\n".encode("utf-16-le"),
    "UTF-16 as wsl.exe writes it": lambda text: f"{text}\r\n".encode("utf-16-le"),
    "UTF-16 big-endian": lambda text: f"\ufeff{text}".encode("utf-16-be"),
    "Windows-1252": lambda text: f"für {text}".encode("cp1252", errors="replace"),
}


def missed(disguise: Callable[[str], str]) -> list[tuple[str, str, list[str]]]:
    """The texts whose disguise does not find their entry first."""
    found = []
    for wanted, text in TEXTS:
        disguised = disguise(text)
        ids = [entry.id for entry in find_entries(disguised, ENTRIES)]
        if ids[:1] != [wanted]:
            found.append((wanted, disguised, ids))
    return found


@pytest.mark.parametrize("disguise", list(DISGUISES))
def test_every_text_is_found_in_disguise(disguise: str) -> None:
    assert not missed(DISGUISES[disguise])


@pytest.mark.parametrize("encoding", list(ENCODINGS))
def test_every_text_is_found_in_every_encoding(encoding: str) -> None:
    assert not missed(lambda text: log_text.decode(ENCODINGS[encoding](text)))


def wrapped(text: str, width: int) -> str:
    return "\n".join(line[at : at + width] for line in text.split("\n") for at in range(0, len(line), width))


@pytest.mark.parametrize("width", [30, 35, 40, 60, 72, 80, 100, 132])
def test_every_text_is_found_if_a_terminal_wraps_it(width: int) -> None:
    assert not missed(lambda text: wrapped(text, width))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(TEXTS),
    st.integers(min_value=30, max_value=200),
    st.sampled_from(list(DISGUISES)),
    st.sampled_from(["carriage returns", "erased lines", "typographic quotes", "no-break spaces", "compose", "pino"]),
)
@example(TEXTS[0], 60, "JSON in JSON", "compose")
def test_disguises_can_be_combined(each: tuple[str, str], width: int, inner: str, outer: str) -> None:
    wanted, text = each
    for disguised in (DISGUISES[outer](DISGUISES[inner](text)), wrapped(DISGUISES["typographic quotes"](text), width)):
        assert [entry.id for entry in find_entries(disguised, ENTRIES)][:1] == [wanted]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_the_form_of_a_text_in_one_form_does_not_change(text: str) -> None:
    formed = log_text.one_form(log_text.one_form(text))
    assert log_text.one_form(formed) == formed


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_can_be_explained(data: bytes) -> None:
    find_entries(log_text.decode(data), ENTRIES)
