"""One recommended set: fixtures/hardening/flags. Whatever shows a set as options of docker run shows that one."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from checks.core.paths import ROOT
from checks.documents.examples import DIRECTORY
from checks.engine import flags
from checks.hardening.injection.configuration import PATCHES
from checks.hardening.injection.settings import recommended
from tests.patience import PATIENCE

SET = flags.load().recommended()
FULL = ["--userns=keep-id", *SET]


def test_the_wrapper_adds_the_recommended_set() -> None:
    line = re.search(r'exec "\$real" "\$subcommand" (.*) "\$@"', (DIRECTORY / "docker").read_text())
    assert line
    assert shlex.split(line[1]) == FULL


@pytest.mark.parametrize("name", PATCHES)
def test_the_patch_adds_the_recommended_set(name: str) -> None:
    text = (DIRECTORY / name).read_text()
    assert re.findall(r"^\+    '(.*)',$", text, re.MULTILINE) == FULL


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ([], ["--cpus=2", "--memory=4g", "--pids-limit=256"]),
        (["--pids-limit", "2048"], ["--pids-limit", "256", "--cpus=2", "--memory=4g"]),
        (["--memory", "512m", "--cpus", "0.5"], ["--memory", "512m", "--cpus", "0.5", "--pids-limit=256"]),
        (["--memory", "9g", "--cpus", "0"], ["--memory", "4g", "--cpus", "2", "--pids-limit=256"]),
    ],
)
@pytest.mark.parametrize("name", PATCHES)
def test_of_two_limits_in_a_patched_nanoclaw_the_stricter_one_counts(
    name: str, own: list[str], wanted: list[str]
) -> None:
    added = re.findall(r"^\+(?!\+\+)(.*)$", (DIRECTORY / name).read_text(), re.MULTILINE)
    code = "\n".join(added).replace(": Record<string, number>", "").replace("(text: string)", "(text)")
    given = ["run", "--cap-drop=ALL", *own]
    script = f"const args = {json.dumps(given)};\n{code}\nconsole.log(JSON.stringify(args));"
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True, timeout=PATIENCE)
    words = json.loads(done.stdout)
    limits = re.compile("--(cpus|memory|pids-limit)")
    at = [place for place, word in enumerate(words) if limits.match(word)]
    assert [each for place in at for each in words[place : place + 1 + ("=" not in words[place])]] == wanted
    assert [word for word in words if word.startswith("--cap-drop")] == ["--cap-drop=ALL"]
    assert [word for word in FULL if not limits.match(word) and word not in words] == []
    assert words.count("--tmpfs") == FULL.count("--tmpfs")


def test_the_document_shows_the_recommended_set_alone() -> None:
    text = (ROOT / "docs" / "SECURITY.md").read_text()
    block = re.search(r"^docker run \\\n(.*?)^  …$", text, re.MULTILINE | re.DOTALL)
    assert block
    assert shlex.split(block[1].replace("\\\n", " ")) == SET
    assert f"\n{' '.join(FULL)}\n" in text


def test_the_hook_sets_the_recommended_set_without_what_only_a_browser_needs() -> None:
    known = flags.load()
    left_out = [
        word
        for flag in known.enabled
        for each in flag.workarounds_for(flags.Subject.BROWSER)[:1]
        for word in each.options
    ]
    left_out += [word for flag in known.enabled if not flag.hook for word in flag.options]
    assert list(recommended().options) == [word for word in SET if word not in left_out]


def test_no_other_example_has_a_set_of_its_own() -> None:
    assert "--cap-drop" not in (ROOT / "examples" / "run-nanoclaw.sh").read_text()


# A podman that starts a container. Its mount can be written where the last file that sets userns maps the user.
PODMAN = """
echo 'WARN: "/" is not a shared mount' >&2
[ ! -e "$HOME/fails" ] || { cat "$HOME/fails" >&2; exit 125; }
case " $* " in
*" info "*) echo true ;;
*" start "*)
    printf '%s\n' "$2" >"$HOME/probed"
    [ "${#4}" -le 50 ] || { echo "Error: the specified runroot is longer than 50 characters" >&2; exit 125; }
    last=$(sed -n 's/^userns = //p' "$HOME"/.config/containers/containers.conf.d/*.conf 2>/dev/null | tail -n 1)
    [ "${PODMAN_USERNS:-$last}" != '"keep-id"' ] || : >"$2/../mount/written"
    ;;
esac
"""


@pytest.fixture(params=["a home", "an 'other' \"home\"", "$(HOME) `id`"])
def starter(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a fresh account whose podman prints a warning with everything."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "podman": PODMAN,
        "docker": "echo podman version 5.4.2",
        "node": "exit 0",
        "id": "echo 1500",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    home = tmp_path / str(request.param)
    (home / ".config" / "containers" / "containers.conf.d").mkdir(parents=True)
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    return {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "TMPDIR": str(scratch)}


def start(starter: dict[str, str]) -> str:
    """What the starter prints as missing; it leaves nothing behind."""
    script = ["sh", str(ROOT / "examples" / "run-nanoclaw.sh")]
    done = subprocess.run(script, env=starter, capture_output=True, check=False)
    assert done.returncode == 3
    assert list(Path(starter["TMPDIR"]).iterdir()) == []
    probed = Path(starter["HOME"]) / "probed"
    assert not probed.exists() or not Path(probed.read_text().strip()).parent.exists()
    return done.stderr.decode()


def test_a_copy_without_the_project_says_what_it_lacks(starter: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_bytes((ROOT / "examples" / "run-nanoclaw.sh").read_bytes())
    done = subprocess.run(["sh", str(tmp_path / "run.sh")], env=starter, capture_output=True, text=True, check=False)
    assert (done.returncode, "probe-container.sh; run this script where it is" in done.stderr) == (3, True)
    (tmp_path / "link.sh").symlink_to(ROOT / "examples" / "run-nanoclaw.sh")
    asked = ["sh", str(tmp_path / "link.sh"), "--help"]
    done = subprocess.run(asked, env=starter, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("run-nanoclaw.sh [NANOCLAW_DIRECTORY]")


def drop_in(starter: dict[str, str], name: str, text: str) -> None:
    (Path(starter["HOME"]) / ".config" / "containers" / "containers.conf.d" / name).write_text(text)


def test_podman_gets_a_short_directory_however_long_that_of_temporary_files_is(starter: dict[str, str]) -> None:
    assert len(starter["TMPDIR"]) > 50
    assert "runroot" not in start(starter)
    assert (Path(starter["HOME"]) / "probed").exists()


def test_a_warning_of_podman_is_no_part_of_its_answer(starter: dict[str, str]) -> None:
    assert "rootless Podman" not in start(starter)


def test_the_copy_hint_works_on_a_fresh_account(starter: dict[str, str]) -> None:
    hint = next(line.strip() for line in start(starter).splitlines() if "cp " in line)
    subprocess.run(["sh", "-c", hint], env=starter, check=True, cwd="/")
    assert "userns" not in start(starter)


@pytest.mark.parametrize("later", ['[containers]\nuserns = ""\n', '[containers]\nuserns = "auto"\n'])
def test_keep_id_that_a_later_file_undoes_is_missing(starter: dict[str, str], later: str) -> None:
    drop_in(starter, "50-nanoclaw.conf", '[containers]\nuserns = "keep-id"\n')
    assert "userns" not in start(starter)
    drop_in(starter, "60-mine.conf", later)
    assert 'Missing: userns = "keep-id" in effect' in start(starter)


def test_keep_id_that_the_environment_undoes_is_missing(starter: dict[str, str]) -> None:
    drop_in(starter, "50-nanoclaw.conf", '[containers]\nuserns = "keep-id"\n')
    assert 'Missing: userns = "keep-id" in effect' in start({**starter, "PODMAN_USERNS": "host"})


def test_a_docker_that_prints_without_end_is_missing(starter: dict[str, str]) -> None:
    program = Path(starter["PATH"].partition(":")[0]) / "docker"
    program.write_text("#!/bin/sh\nexec yes docker\n")
    assert "Missing: a docker that works; docker --version exits with status" in start(starter)


def test_a_broken_configuration_of_podman_is_named_and_not_taken_for_another_docker(starter: dict[str, str]) -> None:
    drop_in(starter, "50 mine.conf", "[containers")
    file = f"{starter['HOME']}/.config/containers/containers.conf.d/50 mine.conf"
    message = f'level=error msg="reading: decode configuration {file}: toml: x"'
    (Path(starter["HOME"]) / "fails").write_text(message)
    shim = Path(starter["PATH"].partition(":")[0]) / "docker"
    shim.write_text('#!/bin/sh\nexec podman "$@"\n')
    printed = start(starter)
    assert "another docker" not in printed
    assert re.search("Missing: a Podman that works; podman info prints: .*level=error", printed)
    assert "Missing: a docker" not in printed
    if '"' not in file:  # the end of a name, where a message quotes it
        (hint,) = re.findall(r"correct the file (.*), or move it away; see docs", printed)
        assert shlex.split(hint) == [file]


@pytest.mark.parametrize(
    ("docker", "told"),
    [
        ("echo Docker version 28.2.2, build e6534b4", "docker is Docker's own client"),
        ("echo hello", "docker is another docker; it prints: hello"),
        ("echo no >&2; exit 7", "Missing: a docker that works; docker --version exits with status 7 and prints: no"),
    ],
)
def test_what_docker_is_instead_of_the_shim_is_told(starter: dict[str, str], docker: str, told: str) -> None:
    (Path(starter["PATH"].partition(":")[0]) / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    assert told in start(starter)


def test_what_podman_prints_can_do_nothing_to_the_terminal(starter: dict[str, str]) -> None:
    hostile = b"\x1b[2J\x1b]0;x\x07\xc2\x9b31m\xe2\x80\xae\r" + b"y" * 1_000_000 + b"\nError: the end\n"
    (Path(starter["HOME"]) / "fails").write_bytes(hostile)
    for text in (hostile, b"\x1b[31m\xc2\x9b\xe2\x80\xae\rError: the end\n"):
        (Path(starter["HOME"]) / "fails").write_bytes(text)
        printed = start(starter)
        assert printed.replace("\n", "").isascii()
        assert printed.replace("\n", "").isprintable()
        assert "Error: the end" in printed
        assert len(printed) < 4000


def checkout(directory: Path, *files: str) -> Path:
    """A checkout of nanoclaw with these files, not built."""
    for name in ("src/container-runner.ts", *files):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    return directory


@pytest.mark.parametrize(("lock", "build"), [("package-lock.json", "npm ci"), ("pnpm-lock.yaml", "pnpm install")])
def test_a_checkout_is_built_by_its_own_package_manager(
    starter: dict[str, str], tmp_path: Path, lock: str, build: str
) -> None:
    starter["NANOCLAW_DIR"] = str(checkout(tmp_path / "nanoclaw", lock))
    assert f"&& {build} &&" in start(starter)


def test_what_nanoclaw_2_needs_is_named_until_it_is_there(starter: dict[str, str], tmp_path: Path) -> None:
    starter["NANOCLAW_DIR"] = str(checkout(tmp_path / "nanoclaw", "pnpm-lock.yaml"))
    said = start(starter)
    assert "invoke inject --install --driver" in said
    assert "no ONECLI_URL" in said
    docker = Path(starter["HOME"]) / ".local" / "share" / "nanoclaw-docker" / "docker"
    docker.parent.mkdir(parents=True)
    docker.touch(mode=0o755)
    (tmp_path / "nanoclaw" / ".env").write_text("ONECLI_URL=http://127.0.0.1:10254\n")
    said = start(starter)
    assert "inject --install --driver" not in said
    assert "ONECLI_URL" not in said


@pytest.mark.parametrize("words", [["-nc"], ["--frob"], ["a", "--help"], ["a", "b"]])
def test_nanoclaw_is_not_started_with_words_that_are_no_directory(words: list[str]) -> None:
    script = ["sh", str(ROOT / "examples" / "run-nanoclaw.sh"), *words]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (2, "usage: run-nanoclaw.sh [NANOCLAW_DIRECTORY]\n")
