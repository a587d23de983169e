"""Secrets are masked however they are spelled, and however what is read is cut."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core import redaction
from checks.core.process import Kept, Process
from checks.core.redaction import Redactor, redacted

KEY = "sk-ant-api03-A1b2C3d4E5_f6G7h8-I9j0KkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz-0123456789AA"
RAW = KEY.encode()


@pytest.fixture(autouse=True)
def _protected() -> Iterator[None]:
    redaction.forget()
    redaction.protect(KEY)
    yield
    redaction.forget()


def shows(data: bytes) -> bool:
    """Whether nine characters of the secret in a row are there, its public head aside."""
    low, secret = data.lower(), RAW.lower()[13:]
    return any(secret[at : at + 9] in low for at in range(len(secret) - 8))


SPELLINGS = {
    "as it is": RAW,
    "a header": b"x-api-key: " + RAW + b"\r\n",
    "in lower case": RAW.lower(),
    "JSON": json.dumps({"ANTHROPIC_API_KEY": KEY}).encode(),
    "JSON, escaped": "".join(f"\\u{ord(each):04x}" for each in KEY).encode(),
    "JSON, its punctuation escaped": KEY.replace("-", "\\u002D").replace("_", "\\u005f").encode(),
    "URL": urllib.parse.quote(KEY, safe="").encode(),
    "URL, its punctuation escaped": KEY.replace("-", "%2D").replace("_", "%5F").encode(),
    "HTML": html.escape(KEY).encode(),
    "hexadecimal": RAW.hex().encode(),
    "hexadecimal, bytes apart": RAW.hex(":").upper().encode(),
    "hexadecimal, with dashes": RAW.hex("-").encode(),
    "a list of C": ", ".join(f"0x{byte:02X}" for byte in RAW).encode(),
    "a list of Python": str(list(RAW)).encode(),
    "a list of JSON": json.dumps({"type": "Buffer", "data": list(RAW)}, separators=(",", ":")).encode(),
    "an array of Node.js": ", ".join(f"{byte:3}" for byte in RAW).encode(),
    "octal escapes": "".join(f"\\{byte:03o}" for byte in RAW).encode(),
    "octal escapes, of its punctuation": KEY.replace("-", "\\055").replace("_", "\\137").encode(),
    "code points of JavaScript": "".join(f"\\u{{{byte:x}}}" for byte in RAW).encode(),
    "backwards": RAW[::-1],
    "repr": repr(RAW).encode(),
    "broken into lines": b"\r\n".join(RAW[at : at + 20] for at in range(0, len(RAW), 20)),
    "cut at its end": RAW[:40],
    "cut at its beginning": b"..." + RAW[-20:],
    "in UTF-8 that is broken": b"\xff" + RAW + b"\xfe",
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_is_masked(spelled: bytes) -> None:
    got = redacted(b"before " + spelled + b" after")
    assert not shows(got)
    assert redacted(b"before ") == b"before "
    assert got.startswith(b"before ")
    assert got.endswith(b" after")
    assert len(got) == len(spelled) + 13
    assert got.count(b"*") >= len(spelled) - 40  # the rest is what stands around the secret


@pytest.mark.parametrize("program", [["xxd"], ["od", "-c"], ["od", "-An", "-tx1"], ["rev"], ["base64", "-w", "30"]])
@pytest.mark.parametrize("before", [b"", b"x"])
def test_what_programs_make_of_it_is_masked(program: list[str], before: bytes) -> None:
    if not shutil.which(program[0]):
        pytest.skip(f"{program[0]} is not installed")
    plain = subprocess.run(program, input=before + RAW, capture_output=True, check=True).stdout
    got = redacted(plain)
    assert got.count(b"*") >= len(RAW)
    assert not shows(got)


DUMPS = [
    *(f"od -An -t{form}{size}" for form in "doux" for size in (1, 2, 4, 8)),
    *(f"od -An -tx{size} --endian=big" for size in (2, 4, 8)),
    *("od", "od -An -a", "od -An -b", "od -An -tx1z"),
    *(f"hexdump {form}" for form in ("-x", "-b", "-c", "-C", "-d", "-o", "-v")),
    *("xxd", "xxd -i", "xxd -u", "xxd -p", "xxd -c 32", "xxd -g1", "xxd -g4", "xxd -g8"),
    *("xxd -e", "xxd -e -g2", "xxd -e -g8"),
]


@pytest.mark.parametrize("dump", DUMPS)
def test_dumps_print_at_most_the_words_at_its_edges(dump: str) -> None:
    program, *_ = dump.split()
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    assert len(RAW) % 16 == 0  # without an offset, each line of a dump is full
    for offset in (0, 1, 3):
        plain = subprocess.run(dump.split(), input=b"x" * offset + RAW, capture_output=True, check=True).stdout
        got = redacted(plain).decode().splitlines()
        lines = list(filter(None, (re.sub("^[0-9a-f]{5,8}:? ?", "", line).strip(" ,") for line in got)))
        inner = lines[1:-1] if offset else lines
        assert {*"".join(inner)} <= {*"*<> |"}, lines


@pytest.mark.parametrize("before", range(3))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
def test_no_base64_of_a_text_with_it_decodes_to_it(before: int, encode: object) -> None:
    assert callable(encode)
    got = redacted(encode(b"x" * before + RAW + b"tail")).replace(b"*", b"A").replace(b"\n", b"")
    assert not shows(base64.urlsafe_b64decode(got.replace(b"+", b"-").replace(b"/", b"_")))


@given(st.lists(st.integers(0, 400), max_size=6), st.binary(max_size=150), st.binary(max_size=150))
def test_however_the_stream_is_cut_it_is_masked_as_a_whole(cuts: list[int], before: bytes, after: bytes) -> None:
    whole = before + RAW + after
    redactor = Redactor()
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [redactor.feed(whole[start:end]) for start, end in itertools.pairwise(edges)]
    got = b"".join([*pieces, redactor.end()])
    assert len(got) == len(whole)
    assert not shows(got)


@given(st.integers(0, len(RAW)))
def test_wherever_it_is_split_no_more_than_its_first_characters_pass(at: int) -> None:
    redactor = Redactor()
    first = redactor.feed(b"line: " + RAW[:at])
    assert len(first.removeprefix(b"line: ").replace(b"*", b"")) < 14  # “sk-ant-api03-” is in every key
    got = first + redactor.feed(RAW[at:] + b"\n") + redactor.end()
    assert not shows(got)
    assert len(got) == len(RAW) + 7


@pytest.mark.parametrize("prompt", [b"ready", b"name? ", b"---NANOCLAW_OUTPUT_END---\n", b"$ "])
def test_nothing_else_is_held_back(prompt: bytes) -> None:
    assert Redactor().feed(prompt) == prompt


@given(st.binary())
def test_without_a_secret_nothing_is_changed(data: bytes) -> None:
    redaction.forget()
    redactor = Redactor()
    assert redactor.feed(data) + redactor.end() == data == redacted(data)
    redaction.protect(KEY)


def test_what_a_process_prints_and_is_called_with_holds_no_secret() -> None:
    shown: list[str] = []
    script = 'printf "%s" "$1" | cut -c 1-30 | tr -d "\\n"; sleep 0.2; printf "%s\\n" "$1" | cut -c 31-; echo "$1" >&2'
    done = Process(["sh", "-c", script, "sh", KEY], echo=shown.append).wait(20)
    assert not shows(" ".join([*done.argv, *shown]).encode() + done.stdout_bytes + done.stderr_bytes)
    assert done.stdout_bytes == b"*" * len(RAW) + b"\n"


def test_a_secret_that_is_too_short_to_be_told_from_words_is_refused() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        redaction.protect("secret")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 8])
def test_a_secret_that_comes_in_pieces_of_a_few_bytes_is_not_in_the_output(size: int) -> None:
    redactor, kept = Redactor(), Kept()
    for start in range(0, len(RAW), size):
        kept.add(redactor.feed(RAW[start : start + size]))
    kept.add(redactor.end())
    value, _ = kept.value()
    assert not shows(value)
