from __future__ import annotations

import io
import re
import sys
import tomllib
from pathlib import Path

import pytest

from checks.core.errors import Exit, WrongUsage
from checks.core.paths import FIXTURES
from checks.core.process import Completed
from checks.core.progress import Progress
from checks.documents import troubleshooting
from checks.documents.render import render
from checks.engine.docker import Record
from checks.evidence.run import CaseResult
from checks.guide import catalogue, records
from checks.guide.catalogue import Entry, Section
from checks.guide.doctor import doctor
from checks.guide.explain import find_entries
from checks.runner.plugin import VerificationPlugin
from checks.runner.report import Report

ROOT = Path(__file__).parents[1]
ENTRIES = catalogue.load()
REPRODUCED = records.load(ENTRIES)

MINIMAL = """
title = "It breaks"
section = "podman"
likelihood = 5
quick_fix = "repair it"
cause = "it was brittle"
fix = [{ text = "repair it" }]
"""
FIXABLE = MINIMAL.replace('{ text = "repair it" }', '{ user = "root", run = ["repair"] }')
REPRODUCE = """
[reproduce]
host = "debian-13"
break = [{ user = "root", run = ["rm /usr/bin/newuidmap"] }]
undo = [{ run = ["true"] }]
[reproduce.symptom]
run = ["docker info"]
exit_status = 125
pattern = "newuidmap"
"""
GATEWAY = 'invalid IP address in add-host: "host-gateway"'
SHIM = "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg."

# Messages that are not in the catalogue: from other users' reports, and this project's own.
REPORTED = {
    "Error: could not find pasta, the network namespace can't be configured: "
    'exec: "pasta": executable file not found in $PATH': "a-network-helper-is-missing",
    "Error: copying system image from manifest list: writing blob: processing tar file(potentially "
    "insufficient UIDs or GIDs available in user namespace (requested 0:42 for /etc/shadow): Check /etc/subuid and "
    "/etc/subgid if configured locally": "there-are-not-enough-ids-for-an-image",
    'command required for rootless mode with multiple IDs: exec: "newuidmap": executable file not found in $PATH':
    "newuidmap-is-missing",
    "Error: stats is not supported in rootless mode without cgroups v2": "podman-stats-shows-0-cpu",
    "bash: line 1: docker: command not found": "docker-command-not-found",
    "Error: spawn docker ENOENT": "docker-command-not-found",
    "Container exited with code 1: npm ERR! ENOSPC: no space left on device, write": "no-space-left-on-device",
    "E: Unable to locate package podman-docker": "debian-11-has-no-package-podman-docker",
    "E: Unable to locate package podman": "ubuntu-has-no-package-podman",
    "tar: write error: No space left on device": "no-space-left-on-device",
    "--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons":
    "claude-code-refuses-to-run-as-root",
    'time="2026-01-01T00:00:00Z" level=warning msg="\\"/\\" is not a shared mount, this could cause issues"':
    "a-bind-mount-is-empty-inside-the-container",
    "The host can’t be used: `docker` on PATH is Docker's client, not the podman-docker shim.":
    "docker-is-not-the-shim",
    "expected an answer from the agent, got no answer; docker exited with status 1": "the-agent-does-not-answer",
    "got none of host.containers.internal, 169.254.1.2, 10.0.2.2, gateway, 10.0.2.15 works (network: pasta)":
    "a-container-does-not-reach-the-host",
}  # fmt: skip


def written(directory: Path, text: str, name: str = "it-breaks") -> Path:
    (directory / f"{name}.toml").write_text(text)
    return directory


def entry(directory: Path, text: str) -> Entry:
    return catalogue.load(written(directory, text))["it-breaks"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (MINIMAL.replace('title = "It breaks"', ""), "“title” is missing"),
        (MINIMAL.replace("It breaks", "It breaks!?"), ""),
        (MINIMAL.replace("It breaks", "Another"), "“title” has the anchor “another”"),
        (MINIMAL.replace('"podman"', '"kitchen"'), "“section” is “kitchen”; it must be one of podman, nanoclaw"),
        (MINIMAL.replace("5", "10"), "“likelihood” must be <= 9"),
        (MINIMAL.replace("5", '"often"'), "“likelihood” must be a whole number"),
        (MINIMAL.replace('"repair it"\ncause', '"a | b"\ncause'), "“quick_fix” must be one line"),
        (MINIMAL.replace('fix = [{ text = "repair it" }]', ""), "“fix” is missing"),
        (MINIMAL.replace('[{ text = "repair it" }]', "[]"), "“fix” must be a list that is not empty"),
        (MINIMAL.replace("text =", "words ="), "fix 1: “words” is not a key here"),
        (MINIMAL.replace('{ text = "repair it" }', "{ }"), "fix 1: “text” is missing"),
        (MINIMAL.replace('"repair it" }', '"x", run = ["a"], show = "b" }'), "“show” can't be combined with “run”"),
        (MINIMAL.replace('"repair it" }', '"x", run = ["a"], user = "me" }'), "fix 1: “user” is “me”"),
        (MINIMAL.replace('"repair it" }', '"x", run = "a" }'), "fix 1: “run” must be a list"),
        (MINIMAL.replace('"it was brittle"', "1"), "“cause” must be a text"),
        (MINIMAL + "colour = 1\n", "“colour” is not a key here"),
        (MINIMAL + 'warning = "yes"\n', "“warning” must be true or false"),
        (MINIMAL + 'matches = ["("]\n', "matches 1: has “\\(”, which is not a regular expression"),
        (MINIMAL + 'matches = ["a?"]\n', "matches 1: has “a\\?”, which can't be used"),
        (MINIMAL + 'error = [{ text = "x" }]\n', "“matches” is missing"),
        (MINIMAL + 'matches = ["xyz"]\nerror = [{ text = "a", observed = [{ host = "y" }] }]\n', "“podman” is missing"),
        (MINIMAL + 'links = [{ text = "x", url = "http://y" }]\n', "links 1: “url” must begin with"),
        (MINIMAL + 'links = [{ text = "x", url = "#nowhere" }]\n', "the link “#nowhere” has no entry"),
        (MINIMAL + 'prevention = "[x](#nowhere)"\n', "the link “#nowhere” has no entry"),
        (MINIMAL + 'reproduced = [{ host = "debian-13", podman = "5.4.2" }]\n', "“reproduced” is not a key here"),
        (MINIMAL + REPRODUCE, "“reproduce” needs a fix with commands"),
        (MINIMAL + 'not_reproduced = "no"\n' + REPRODUCE, "“not_reproduced” contradicts"),
        (FIXABLE + REPRODUCE.replace("debian-13", "debian-99"), "reproduce: “host” is “debian-99”"),
        (FIXABLE + REPRODUCE.replace('user = "root"', 'user = "windows"'), "break 1: “user” is windows"),
        (FIXABLE + REPRODUCE.replace("exit_status = 125", ""), "symptom: “exit_status” is missing"),
        (FIXABLE + REPRODUCE.replace('run = ["docker info"]', ""), "symptom: “run” is missing"),
        (FIXABLE + REPRODUCE.replace('pattern = "newuidmap"', 'pattern = ".*"'), "“pattern” has"),
        (FIXABLE + REPRODUCE + "[reproduce.fixed]\nexit_status = 300\n", "fixed: “exit_status” must be <= 255"),
        (FIXABLE + REPRODUCE + "[reproduce.variables]\npath = 1\n", "variables: “path” must be a text"),
        ("title = ", "can't be read"),
    ],
)  # fmt: skip
def test_a_malformed_entry_is_refused_with_file_key_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    if not reason:  # what the anchor leaves out is no fault
        assert entry(tmp_path, text)
        return
    with pytest.raises(WrongUsage, match=reason) as refused:
        catalogue.load(written(tmp_path, text))
    assert "it-breaks.toml" in str(refused.value)


def test_an_empty_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="has no entries"):
        catalogue.load(tmp_path)


def test_a_reproduction_is_read(tmp_path: Path) -> None:
    how = entry(tmp_path, FIXABLE + REPRODUCE + '[reproduce.fixed]\nexit_status = 3\npattern = "well"\n').reproduce
    assert how
    assert (how.host, how.profile) == ("debian-13", "recommended")
    assert how.breaking[0].run == ("rm /usr/bin/newuidmap",)
    assert how.symptom.matches(125, "exec: newuidmap")
    assert not how.symptom.matches(0, "exec: newuidmap")
    assert not how.symptom.matches(125, "another error")
    assert how.fixed.matches(3, "all is well")
    assert not how.fixed.matches(0, "all is well")
    assert how.undo[0].user == "account"


def test_a_fix_that_is_not_tested_needs_no_commands(tmp_path: Path) -> None:
    text = REPRODUCE.replace("host =", 'not_fixed = "it needs another kernel"\nhost =')
    assert entry(tmp_path, MINIMAL + text).reproduce


def test_the_document_is_current() -> None:
    current = troubleshooting.DOCUMENT.read_text() == troubleshooting.text(ENTRIES, REPRODUCED)
    assert current, "run: invoke render troubleshooting"


def test_check_reports_a_stale_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(troubleshooting, "DOCUMENT", tmp_path / "guide.md")
    assert render(["troubleshooting"], check=True) is Exit.CASE_FAILED
    assert render(["troubleshooting"]) is Exit.OK
    assert render(["troubleshooting"], check=True) is Exit.OK
    (tmp_path / "guide.md").write_text("typed by hand")
    assert render(["troubleshooting"], check=True) is Exit.CASE_FAILED
    assert "is out of date. Run: invoke render troubleshooting" in capsys.readouterr().out


def test_the_headings_follow_the_plan() -> None:
    headings = re.findall(r"^##? (.*)$", troubleshooting.DOCUMENT.read_text(), re.MULTILINE)
    assert headings == ["Troubleshooting", "Quick reference table", *(section.heading for section in Section)]
    assert len(ENTRIES) >= 30
    assert {each.section for each in ENTRIES.values()} == set(Section)


def test_the_quick_table_has_every_entry_most_likely_first() -> None:
    rows = re.findall(r"^\| (.*) \| .* \| \[More\]\(#(.*)\) \|$", troubleshooting.DOCUMENT.read_text(), re.MULTILINE)
    assert {id_: title for title, id_ in rows} == {each.id: each.title for each in ENTRIES.values()}
    likelihoods = [ENTRIES[id_].likelihood for _, id_ in rows]
    assert likelihoods == sorted(likelihoods, reverse=True)


def test_every_entry_follows_the_plans_template() -> None:
    parts = re.split(r"^### ", troubleshooting.DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    assert len(parts) == len(ENTRIES)
    for part in parts:
        labels = re.findall(r"^\*\*(Error|Cause|Fix|Prevention):\*\*", part, re.MULTILINE)
        assert [*(["Error"] if "Error" in labels else []), "Cause", "Fix"] == labels[: 3 if "Error" in labels else 2]
        assert len(labels) == len(set(labels))
        assert (
            len(re.findall(r"^(Not reproduced[: .]|Reproduced on |Seen on [\w-]+ \(Podman)", part, re.MULTILINE)) == 1
        )


def test_commands_are_printed_unchanged_with_their_user(tmp_path: Path) -> None:
    fix = """fix = [{ user = "root", run = ['printf "a  b" >/x', "true"] }]"""
    printed = troubleshooting.text(
        {"it-breaks": entry(tmp_path, MINIMAL.replace('fix = [{ text = "repair it" }]', fix))}, {}
    )
    assert '**Fix:** As root:\n\n```\nprintf "a  b" >/x\ntrue\n```\n' in printed


def test_every_link_resolves() -> None:
    guide = troubleshooting.DOCUMENT.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", guide):
        if not target.startswith(("https:", "#")):
            assert (troubleshooting.DOCUMENT.parent / target).exists(), target
    others = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    linked = [anchor for each in others for anchor in re.findall(r"TROUBLESHOOTING\.md#([^)\s]+)\)", each.read_text())]
    assert {*re.findall(r"\]\(#([^)]+)\)", guide), *linked} <= set(ENTRIES)


def test_a_command_that_is_run_has_nothing_to_fill_in() -> None:
    for each in ENTRIES.values():
        for command in (line for step in each.fix for line in step.run):
            assert not re.search(r"\b(NAME|USER|YOU|PATH|IMAGE|DIR|FILE|GROUP|ACCOUNT)\b", command), each.id


ERRORS = [
    (each.id, error.text)
    for each in ENTRIES.values()
    for error in troubleshooting.errors(each, REPRODUCED.get(each.id, ()))
]


@pytest.mark.parametrize(("id_", "text"), [*ERRORS, *((id_, text) for text, id_ in REPORTED.items())])
def test_an_error_finds_its_entry(id_: str, text: str) -> None:
    assert find_entries(text, ENTRIES)[0].id == id_


@pytest.mark.parametrize(("id_", "text"), ERRORS)
def test_an_error_finds_its_entry_in_a_log_in_colour_and_broken_by_a_terminal(id_: str, text: str) -> None:
    middle = text.find(" ", len(text) // 2)
    broken = f"{text[:middle]}\n{text[middle:]}" if middle > 0 else text
    for log in (f"{SHIM}\n2026-01-01 \x1b[31mERROR\x1b[0m {text}\nbye\n", broken):
        assert find_entries(log, ENTRIES)[0].id == id_


@pytest.mark.parametrize(
    "text", ["hello", "Segmentation fault", "Successfully tagged localhost/agent:latest", "permission denied", "Error:"]
)
def test_unrelated_text_has_no_entry(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(explain=text) is Exit.CASE_FAILED
    assert "No troubleshooting entry" in capsys.readouterr().out


def test_a_line_of_many_megabytes_is_searched() -> None:
    assert not find_entries("touch: /workspace/" * 1_000_000, ENTRIES)


def test_explaining_prints_title_fix_and_link(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(explain='Error: invalid IP address in add-host: "host-gateway"') is Exit.OK
    printed = capsys.readouterr().out
    assert printed.startswith("host-gateway is an invalid IP address\n")
    assert "Fix: Use Podman 4.7 or newer" in printed
    assert "docs/TROUBLESHOOTING.md#host-gateway-is-an-invalid-ip-address" in printed


@pytest.mark.parametrize("option", ["-", True])
def test_a_log_is_read_from_standard_input(
    option: str | bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = b"\xff noise\nError: statfs /no/such: no such file or directory\n" + SHIM.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(log)))
    assert doctor(explain=option) is Exit.OK
    printed = capsys.readouterr().out
    assert printed.startswith("A path of the host that does not exist can't be mounted\n")
    assert "The text also matches: Every docker command prints" in printed


@pytest.mark.parametrize("option", ["", False, "  \n"])
def test_without_a_text_nothing_is_explained(option: str | bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(explain=option) is Exit.WRONG_USAGE
    assert "text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("got", "commands", "wanted"),
    [
        ("exit status 125", [(125, GATEWAY)], "host-gateway-is-an-invalid-ip-address"),
        ("EROFS: read-only file system, open '/home/node/.claude.j'", [], "--read-only-makes-the-agent-fail-silently"),
        ("nothing", [(0, GATEWAY)], ""),
        ("nothing", [(125, "statfs /x: no such file or directory"), (0, "")], ""),
        ("nothing", [(125, SHIM)], ""),
    ],
)
def test_a_failed_case_is_linked_by_its_output(got: str, commands: list[tuple[int, str]], wanted: str) -> None:
    plugin = VerificationPlugin(lambda: pytest.fail("no host is needed"), Report(), Progress())
    record = Record([Completed(("docker", "run"), status, b"", err.encode(), 1.0) for status, err in commands])
    assert plugin._entry_for(CaseResult("id", "Group", "Label", "failed", 1.0, record, got=got)) == wanted


def test_a_fix_makes_the_directory_that_it_writes_into() -> None:
    # A new account has no ~/.config/containers. One entry is about a line of a file that is there already.
    missing = []
    for path in sorted((FIXTURES / "troubleshooting").glob("*.toml")):
        for fix in tomllib.loads(path.read_text()).get("fix", []):
            commands = "\n".join(fix.get("run", []))
            written = re.findall(r"(?:>|\bcp .*|\bmv .*|\btee )\s*(~/\.config/\S+)/[^/\s]+", commands)
            missing += [path.stem for directory in written if f"mkdir -p {directory}" not in commands]
    assert missing == ["a-line-of-containersconf-has-no-effect"]
