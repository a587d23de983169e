"""Control characters are never printed, from any source and on any stream."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from checks.cli import tasks
from checks.core import files, terminal
from checks.core.paths import ROOT
from checks.core.process import Completed
from checks.core.progress import Console, Progress, plain_console
from checks.core.terminal import clean, say
from checks.engine.docker import Record
from checks.evidence.run import CaseResult, Evidence
from checks.matrix import page as matrix_page
from checks.matrix.expectations import Expectations
from checks.matrix.run import Job, State
from checks.runner.report import Report
from tests.evidence import case, stored
from tests.fakes import FACTS

OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\u200b\u2028\x7f\r\ud800"


def obeyed(text: str) -> list[str]:
    return [
        each for each in text if each in "\ufffe\uffff" or (unicodedata.category(each) in OBEYED and each not in "\n\t")
    ]


def test_the_list_is_what_unicode_has() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert obeyed(clean(everything)) == []
    kept = [each for each in everything if unicodedata.category(each) not in (*OBEYED, "Cn")]
    assert clean("".join(kept)) == "".join(kept)


@given(st.text(st.characters(categories=None)))
def test_what_was_cleaned_is_harmless_and_is_not_changed_again(text: str) -> None:
    got = clean(text)
    assert obeyed(got) == []
    assert clean(got) == got
    if not obeyed(text):
        assert got == text


def test_lines_and_columns_stay() -> None:
    assert clean("a\tb\r\nc\rd") == "a\tb\nc\\rd"


@given(st.text(st.characters(categories=None)))
def test_no_console_shows_what_a_terminal_obeys(text: str) -> None:
    out = io.StringIO()
    shown = plain_console(file=out)
    shown.print(text)
    shown.out(text)
    Progress(shown).say(text)
    with Progress(shown).step(text):
        pass
    evidence = Evidence(text, text, FACTS, agent=text)
    ran = Completed(("docker", text), 1, text.encode("utf-8", "replace"), text.encode("utf-8", "replace"), 1.0)
    failed = CaseResult("id", text, text, "failed", 1.0, Record([ran]), expected=text, got=text, fix=text)
    report = Report(shown)
    report.host(evidence)
    report.case(failed)
    report.end(evidence)
    report.note(text)
    assert obeyed(out.getvalue()) == []


def test_a_spinner_on_a_terminal_shows_only_its_own_control_sequences() -> None:
    out = io.StringIO()
    shown = Console(file=out, force_terminal=True)
    with Progress(shown).step(f"docker {HOSTILE}"):
        pass
    for each in ("\x1b]0", "\x1b[2J\x9b", "\x07", "\x9b", "\u202e", "\u200b"):
        assert each not in out.getvalue()


def test_lines_are_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    say(HOSTILE, error=True)
    got = capsys.readouterr()
    assert obeyed(got.out) == obeyed(got.err) == []
    assert "\\x1b]0;title\\x07" in got.out


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_others_print_is_cleaned_once_the_streams_are_guarded(encoding: str) -> None:
    script = (
        "import sys; from checks.core import progress, terminal; terminal.guard(); terminal.guard()\n"
        "text = '\\x1b]0;x\\x07\\u202e'\n"
        "print(text + '\\x1b[2J é'); sys.stderr.write(text + '\\x9b'); sys.stderr.writelines([text])\n"
        "progress.plain_console().print(text); raise SystemExit(text)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "1" if encoding == "utf-8" else "0"},
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert obeyed(done.stdout + done.stderr) == []
    assert "Traceback" not in done.stderr


@given(st.recursive(st.text(st.characters(categories=None)), st.lists))
def test_evidence_keeps_what_it_holds_and_is_harmless_to_print(value: object) -> None:
    text = terminal.json_escaped(json.dumps(value, ensure_ascii=False))
    assert obeyed(text) == []
    assert json.loads(text) == value


def test_a_file_of_json_can_hold_any_text(tmp_path: Path) -> None:
    files.replace_json(tmp_path / "a", {"text": HOSTILE})
    text = (tmp_path / "a").read_text()
    assert obeyed(text) == []
    assert json.loads(text) == {"text": HOSTILE}


ELSEWHERE = str(ROOT / "scripts" / "invoke.sh")


@pytest.mark.parametrize(
    ("program", "directory", "text", "printed"),
    [
        ("/home/me/.venv/bin/invoke", ROOT, "To undo: invoke doctor --undo", "To undo: invoke doctor --undo"),
        ("nanoclaw-podman", ROOT, "To undo: invoke doctor --undo", "To undo: nanoclaw-podman doctor --undo"),
        (ROOT / "tasks.py", ROOT, "To undo: invoke doctor --undo", "To undo: ./scripts/invoke.sh doctor --undo"),
        (ROOT / "tasks.py", Path("/"), "See: invoke --help verify.", f"See: {ELSEWHERE} --help verify."),
        (ROOT / "tasks.py", ROOT, "Run “invoke hosts”", "Run “./scripts/invoke.sh hosts”"),
        (ROOT / "tasks.py", ROOT, "  # Made by `invoke inject`", "  # Made by `invoke inject`"),
        (ROOT / "tasks.py", ROOT, "fix: `invoke inject --install`", "fix: `./scripts/invoke.sh inject --install`"),
        (ROOT / "tasks.py", ROOT, "they invoke a program", "they invoke a program"),
        (ROOT / "tasks.py", ROOT, ".venv/bin/invoke verify", ".venv/bin/invoke verify"),
    ],
)
def test_a_command_in_a_message_can_be_typed_as_it_is(
    program: Path | str, directory: Path, text: str, printed: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.chdir(directory)
    say(text)
    assert capsys.readouterr().out == f"{printed}\n"


def test_the_content_of_a_file_is_printed_as_it_is_written() -> None:
    program = "from checks.core import terminal; terminal.guard(); terminal.say_file(b'Run invoke inject\\n\\x1b[2J')"
    renamed = f"import sys; sys.argv[0] = {str(ROOT / 'tasks.py')!r}; {program}"
    done = subprocess.run([sys.executable, "-c", renamed], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Run invoke inject\n\\x1b[2J", "")


def test_the_commands_in_messages_are_the_tasks() -> None:
    assert set(terminal.TASKS) == {name.partition("-")[0] for name in tasks.TASKS}


def test_a_rendered_document_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stored("debian-13", case("a", "failed", got=HOSTILE, out=HOSTILE.encode(errors="replace").decode()))
    run.cases[0].label = HOSTILE
    page = matrix_page.page([Job("debian-13", "recommended", State.DONE, evidence=run)], Expectations())
    assert "\\x1b]0;title" in page
    assert obeyed(page) == []


def modules() -> list[Path]:
    """All but the helper itself, and what prepares the streams that it guards."""
    return [
        path
        for path in (ROOT / "checks").rglob("*.py")
        if path.name not in ("terminal.py", "progress.py", "entry_point.py")
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_prints_past_the_helper(path: Path) -> None:
    """print(), sys.stdout and rich's own console would print text unchanged."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                found.append("print()")
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" | "__stdout__" | "__stderr__"):
                found.append(f"sys.{node.attr}")
            case ast.ImportFrom(module="sys", names=names):
                found += [f"sys.{each.name}" for each in names if each.name.strip("_") in ("stdout", "stderr")]
            case ast.ImportFrom(module="rich.console" | "rich" as module, names=names):
                found += [f"{module}.{each.name}" for each in names if each.name in ("Console", "print", "get_console")]
            case ast.Attribute(value=ast.Name(id="traceback"), attr=name) if name.startswith("print"):
                found.append(f"traceback.{name}")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="write"), args=[ast.Constant(), *_]):
                found.append("os.write()")
    assert found == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_says_several_lines_at_once(path: Path) -> None:
    """say() prints one line: a newline that is not at its beginning would appear as \\n."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="say"), args=[ast.JoinedStr() | ast.Constant() as text, *_]):
                assert "\n" not in literal(text).lstrip("\n"), f"line {node.lineno}"


def literal(text: ast.JoinedStr | ast.Constant) -> str:
    """The text with an x for each value in it."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts)


def test_invoke_itself_prints_by_a_guarded_stream() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "compare", "a", "b", "--\x1b]0;x\x07"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode != 0
    assert obeyed(done.stdout + done.stderr) == []


@given(st.text(st.characters(categories=None)))
@example("\u202e\u2028\x85\ufffe\uffff")
def test_xml_that_was_cleaned_is_well_formed(text: str) -> None:
    ET.fromstring(clean(f"<a>{escape(text)}</a>"))  # noqa: S314 - our own
