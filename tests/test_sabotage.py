"""The mutations themselves, against a docker that prints what it is asked."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.errors import WrongUsage
from checks.mutation import catalogue, wrapped
from checks.mutation.catalogue import NO_FAULT, Mutation
from checks.mutation.command import part_of
from checks.mutation.faults.catalogue import FAULTS
from checks.runner.plugin import CaseInfo
from tests.fakes import FakeHost
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[1]
KNOWN = {each.name: each for each in catalogue.load()}
# Its output is what it was asked; its exit status is 3, so that a status that gets lost is seen.
DOCKER = '#!/bin/sh\nprintf "%s\\0" "$@"\necho printed >&2\nexit 3\n'


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wrappers, as they are on a host, beside a docker."""
    base = tmp_path_factory.mktemp("wrappers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("checks.hosts.base.SHARED", str(base))
        directory = Path(wrapped.upload(FakeHost(base), "run", [NO_FAULT, *KNOWN.values()]))
    (directory / "bin").mkdir()
    (directory / "bin" / "docker").write_text(DOCKER)
    (directory / "bin" / "docker").chmod(0o755)
    return directory


def asked(directory: Path, name: str, *argv: str, stdin: bytes = b"") -> tuple[list[str], int]:
    """What the real docker was asked under a mutation, and the exit status."""
    path = f"{directory / name}:{directory / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["docker", *argv], env={**os.environ, "PATH": path}, input=stdin,
        capture_output=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    return done.stdout.decode().split("\0")[:-1], done.returncode


WORDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
OPTIONS = st.sampled_from(["-i", "-it", "--rm", "--name", "-e", "-v", "--memory=4g", "--cpus=2", "-a", "-f", "-t", ""])


@given(st.sampled_from(["run", "build", "stop", "rm", "ps", "image", "info", "--version"]), st.data())
def test_without_a_fault_every_word_arrives(directory: Path, subcommand: str, data: st.DataObject) -> None:
    argv = [subcommand, *data.draw(st.lists(OPTIONS | WORDS, max_size=8))]
    assert asked(directory, NO_FAULT.name, *argv) == (argv, 3)


RUN = [
    "run",
    "-i",
    "--rm",
    "--name",
    "n",
    "-e",
    "TZ=a b",
    "--user",
    "1:2",
    "-v",
    "/a:/b:ro",
    "image",
    "-e",
    "-v",
    "/a:/b:ro",
]


@pytest.mark.parametrize(
    ("name", "argv", "wanted"),
    [
        ("mount-ro-dropped", RUN, [*RUN[:10], "/a:/b", *RUN[11:]]),
        ("environment-ignored", RUN, [*RUN[:5], *RUN[7:]]),
        ("rm-ignored", RUN, [*RUN[:2], *RUN[3:]]),
        ("name-ignored", RUN, [*RUN[:3], *RUN[5:]]),
        ("group-ignored", RUN, [*RUN[:8], "1", *RUN[9:]]),
        ("network-none", RUN, ["run", "--network=none", *RUN[1:]]),
        ("network-none", ["ps", "-a"], ["ps", "-a"]),
        ("words-split", ["run", "image", "two words"], ["run", "image", "two", "words"]),
        ("empty-words-lost", ["run", "image", "", "x"], ["run", "image", "x"]),
        ("cpus-rounded-up", ["run", "--cpus=0.5", "i"], ["run", "--cpus=1", "i"]),
        ("cpus-rounded-up", ["run", "--cpus=2", "i"], ["run", "--cpus=2", "i"]),
        ("memory-halved", ["run", "--memory=4g", "i"], ["run", "--memory=2g", "i"]),
        ("limits-one-alone", ["run", "--cpus=2", "--pids-limit=9", "i"], ["run", "--pids-limit=9", "i"]),
        ("limits-one-alone", ["run", "--cpus=2", "i"], ["run", "--cpus=2", "i"]),
        ("labels-lost", ["run", "--label", "nanoclaw-verify=1", "--label", "a=b", "i"],
         ["run", "--label", "nanoclaw-verify=1", "i"]),
        ("gateway-astray", ["run", "--add-host=h:host-gateway", "i"], ["run", "--add-host=h:127.0.0.1", "i"]),
        ("build-arg-dropped", ["build", "-t", "x", "--build-arg", "A=b", "."], ["build", "-t", "x", "."]),
        ("build-file-ignored", ["build", "-t", "x", "-f", "F", "."], ["build", "-t", "x", "."]),
        ("inspect-format-ignored", ["image", "inspect", "x", "--format", "{{.Size}}"], ["image", "inspect", "x"]),
        ("ps-prefix-match", ["ps", "--filter", "name=a-", "--format", "f"],
         ["ps", "--filter", "name=^a-", "--format", "f"]),
        ("ps-label-by-key", ["ps", "--filter", "label=a=b"], ["ps", "--filter", "label=a"]),
        ("ps-label-column-empty", ["ps", "--format", '{{.Names}}|{{.Label "s"}}'], ["ps", "--format", "{{.Names}}|"]),
        ("stop-time-ignored", ["stop", "-t", "1", "n"], ["stop", "n"]),
        ("stop-hasty", ["stop", "n"], ["stop", "-t", "1", "n"]),
        ("stop-hasty", ["stop", "-t", "5", "n"], ["stop", "-t", "5", "n"]),
        ("rm-force-ignored", ["rm", "-f", "n"], ["rm", "n"]),
        ("mount-in-a-mount-lost", ["run", "-v", "/a:/w", "-v", "/b:/w/c:ro", "-v", "/d:/x", "i"],
         ["run", "-v", "/a:/w", "-v", "/d:/x", "i"]),
        ("mount-spaces-collapsed", ["run", "-v", "/a  b:/c", "i", "x  y"], ["run", "-v", "/a b:/c", "i", "x  y"]),
        ("terminal-always", ["run", "-i", "i", "-i"], ["run", "-it", "i", "-i"]),
    ],
)  # fmt: skip
def test_a_mutation_changes_what_it_says_and_nothing_else(
    directory: Path, name: str, argv: Sequence[str], wanted: Sequence[str]
) -> None:
    assert asked(directory, name, *argv) == (list(wanted), 3)


@pytest.mark.parametrize(
    ("name", "status"),
    [("status-always-0", 0), ("status-125-for-any", 125), ("stdout-cut-1mb", 3), ("one-more-pipe", 3), ("banner", 3)],
)
def test_the_exit_status_is_lost_only_where_that_is_the_fault(directory: Path, name: str, status: int) -> None:
    assert asked(directory, name, "run", "image")[1] == status


def test_two_containers_at_once_get_each_others_output(directory: Path) -> None:
    path = f"{directory / 'outputs-swapped'}:{directory / 'bin'}:{os.environ['PATH']}"
    started = [
        subprocess.Popen(["docker", "run", each], env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True)
        for each in ("one", "two")
    ]
    assert [each.communicate(timeout=PATIENCE)[0].split("\0")[1] for each in started] == ["two", "one"]
    assert [each.returncode for each in started] == [3, 3]
    assert asked(directory, "outputs-swapped", "run", "three") == (["run", "three"], 3)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("mutation", [NO_FAULT, *KNOWN.values()], ids=lambda each: each.name)
def test_every_script_is_sound(mutation: Mutation) -> None:
    whole = f"#!/bin/sh\n{catalogue.LIBRARY.read_text()}\n{mutation.script}"
    checked = subprocess.run(
        ["shellcheck", "-e", "SC2317,SC2034,SC2329", "-"], input=whole, capture_output=True, text=True, check=False
    )
    assert checked.stdout == ""


@pytest.mark.parametrize("mutation", KNOWN.values(), ids=lambda each: each.name)
def test_every_script_calls_functions_that_exist(directory: Path, mutation: Mutation) -> None:
    path = f"{directory / mutation.name}:{directory / 'bin'}:{os.environ['PATH']}"
    for words in (["no-such-subcommand"], [mutation.description.partition(" ")[0].strip("“”"), "--help"]):
        with (directory / "printed").open("w+b") as printed:
            with contextlib.suppress(subprocess.TimeoutExpired):  # some wait, and that is their fault
                subprocess.run(
                    ["docker", *words], env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=printed, check=False, timeout=3, cwd=directory,
                )  # fmt: skip
            printed.seek(0)
            missing = re.findall(r"([\w.-]+): not found", printed.read().decode(errors="replace"))
            assert [name for name in missing if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None] == []


def test_every_failure_is_sought_in_a_message_as_it_is_written() -> None:
    assert [each.name for each in KNOWN.values() if each.failure and re.search(r", got\b", each.failure.pattern)] == []


def test_every_mutation_names_cases_that_exist(cases: list[CaseInfo]) -> None:
    assert list(catalogue.unknown_cases(list(KNOWN.values()), [case.id for case in cases])) == []


_LONE = ("-i", "-it", "--rm", "-a", "-q", "-aq", "--no-cache")  # options without a value


def flags(argv: Sequence[str]) -> set[str]:
    """The options of a docker command line, each with its subcommand."""
    words = list(argv[argv.index("docker") + 1 :])
    if words[0].startswith("-"):
        return {words[0]}
    found, at = set(), 1
    while at < len(words):
        word = words[at]
        if not word.startswith("-"):
            if words[0] in ("run", "create", "exec"):
                break  # the image or the container; what follows is the container's
        else:
            found.add(f"{words[0]} {word.split('=')[0]}")
            lone = "=" in word or word in _LONE or (words[0], word) == ("rm", "-f")
            at += 0 if lone else 1
        at += 1
    return found


def test_every_option_that_cases_pass_is_tampered_with() -> None:
    used: set[str] = set()
    for file in (ROOT / "evidence").glob("debian-13-*.json"):
        for case in json.loads(file.read_text())["cases"]:
            if case["outcome"] == "passed":  # no mutation can make a case fail that fails here without one
                used |= {flag for command in case["commands"] for flag in flags(command["argv"])}
    used -= {"run -d", "build --no-cache", "info --format"}  # of evidence from when a case still passed it
    assert used - {flag for each in KNOWN.values() for flag in each.flags} == set()
    assert len(used) > 20


def messages() -> str:
    """Every string of the project outside the mutations, a line each; a value in a string is a NUL."""
    found = []
    for path in sorted((ROOT / "checks").rglob("*.py")):
        if path.parent != Path(catalogue.__file__).parent:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def test_patterns_quote_messages_that_the_project_has() -> None:
    """A reworded message would otherwise show only on a guest, as a mutation that failed for another reason."""
    text = messages()
    patterns = {each.name: each.failure.pattern for each in KNOWN.values() if each.failure}
    patterns |= {each.name: each.message for each in FAULTS}
    unknown = [
        (name, words)
        for name, pattern in patterns.items()
        for alternative in pattern.split("|")
        for words in re.findall(
            r"[A-Za-z][A-Za-z' ]{7,}[A-Za-z]", alternative.removeprefix("expected ").split("; got ")[0].split(" '")[0]
        )
        if " " in words
        and words.split(" ", 1)[1] not in text  # its first word may be a value in the message
        and words != "no space left"  # which the kernel prints
    ]
    assert unknown == []


def test_there_are_forty_and_each_has_its_words() -> None:
    faults = [each for each in KNOWN.values() if not each.equivalent]
    assert len(faults) >= 40
    assert [each.name for each in KNOWN.values() if each.equivalent and len(each.equivalent) < 20] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"', "“description” is missing"),
        ('name = "X y"\ndescription = "d"\nscript = "s"\ncases = ["c"]', "“name” must match"),
        (
            'name = "no-fault"\ndescription = "d"\ncases = ["c"]\nfailure = "t"\nscript = "s"',
            "which another mutation has",
        ),
        (
            'name = "x"\ndescription = "d"\ncases = []\nfailure = "t"\nscript = "s"',
            "“cases” must be a list that is not empty",
        ),
        ('name = "x"\ndescription = "d"\ncases = ["c"]\nscript = "s"', "it needs either “failure” or “equivalent”"),
        ('name = "x"\ndescription = "d"\ncases = ["c"]\nfailure = "a?"\nscript = "s"', "matches any text"),
        ('name = "x"\ndescription = "d"\ncases = ["c"]\nfailure = "t"\nscript = "s"\nmore = 1', "is not a key here"),
    ],
)
def test_an_invalid_catalogue_is_reported_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(f"[[mutation]]\n{text}\n")
    with pytest.raises(WrongUsage, match=re.escape(message)):
        catalogue.load(tmp_path)


def test_the_real_docker_is_found_where_path_has_no_wrapper(directory: Path) -> None:
    """systemd gives a service its own PATH, and the wrapper is called by its whole name."""
    env = {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        [directory / NO_FAULT.name / "docker", "info"], env=env, capture_output=True, check=False, timeout=PATIENCE
    )
    assert done.stdout == b"info\0"


@given(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), unique=True), st.integers(1, 9))
def test_the_parts_together_are_all_cases_each_once(cases: list[str], parts: int) -> None:
    found = [case for number in range(1, parts + 1) for case in part_of(f"{number}/{parts}", cases)]
    assert sorted(found) == sorted(cases)


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "1/0", "-1/2", "1/2/3", "a/b", "1/1000"])
def test_what_is_not_a_part_is_refused(part: str) -> None:
    with pytest.raises(WrongUsage, match="is not a part"):
        part_of(part, ["one"])
