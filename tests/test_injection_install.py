"""Installing and taking away, on this machine's own files: nothing of the user's is lost, nothing of ours is left."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from checks.core.errors import Exit, HostProblem
from checks.documents import examples
from checks.engine import placement
from checks.hardening.injection import configuration, install, state
from checks.hardening.injection.configuration import (
    DROP_IN,
    HOOK,
    HOOK_JSON,
    OLD_FILE,
    PROGRAM,
    REFUSAL,
    SETTINGS,
    Author,
    author_of,
)
from checks.hardening.injection.state import Account, problems, read_account
from checks.hosts.local import LocalHost
from tests.injection import here, plain, settings, snapshot, tree, write
from tests.patience import AT_ONCE


def test_it_is_installed_once_and_removed_without_a_trace(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert tree(settings(home)) == {
        "containers.conf.d", DROP_IN, "nanoclaw-hardening", HOOK, HOOK_JSON, PROGRAM, SETTINGS,
    }  # fmt: skip
    assert (settings(home) / HOOK).stat().st_mode & 0o777 == 0o700
    assert problems(here()) == []
    capsys.readouterr()
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert "Already installed" in capsys.readouterr().out
    (settings(home) / REFUSAL).write_text("nanoclaw hardening: the container was not started: x.\n")
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert tree(home) == {".config"}
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK


def test_it_is_removed_after_podman_was_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    monkeypatch.setattr(install, "read_account", lambda host: plain(read_account(host), version=""))
    with pytest.raises(HostProblem, match="has no podman"):
        install.install(LocalHost(), dry_run=False)
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert tree(home) == {".config"}


def test_a_dry_run_prints_exactly_what_would_be_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install.install(LocalHost(), dry_run=True) == Exit.OK
    printed = capsys.readouterr().out
    assert tree(home) == set()
    for file in here().required:
        assert f"==> {file.path} (mode {file.placed_mode:o})\n{file.data.decode()}" in printed
    assert "In force" not in printed
    began = time.time() - 60
    install.install(LocalHost(), dry_run=False)
    assert all(Path(file.path).stat().st_mtime > began for file in here().required), "they are dated now"
    before = tree(home)
    assert install.uninstall(LocalHost(), dry_run=True) == Exit.OK
    assert tree(home) == before


@pytest.mark.parametrize("name", [DROP_IN, HOOK, HOOK_JSON, PROGRAM, SETTINGS])
def test_a_file_of_the_users_is_never_overwritten(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = settings(home) / name
    file.parent.mkdir(parents=True)
    file.write_text("# mine\n")
    before = tree(home)
    assert install.install(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert f"{file} already exists and is not ours" in capsys.readouterr().out
    assert (tree(home), file.read_text()) == (before, "# mine\n")
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert file.read_text() == "# mine\n"


def test_a_file_of_ours_that_was_changed_is_the_users(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    file = settings(home) / SETTINGS
    file.write_text(file.read_text().replace('"pids": 256', '"pids": 512'))
    before = tree(home)
    assert install.install(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert tree(home) == before
    assert '"pids": 512' in file.read_text()
    assert any("was edited" in each for each in problems(here()))


def test_an_older_file_of_ours_is_brought_up_to_date(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    older = configuration.files(str(settings(home)), "5.4.2", here().settings.within(["pids"]))[0]
    (settings(home) / SETTINGS).write_bytes(older.data)
    assert any("another version" in each for each in problems(here()))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert problems(here()) == []


@pytest.mark.parametrize("name", [DROP_IN, HOOK, HOOK_JSON, PROGRAM, SETTINGS])
def test_whatever_is_missing_is_noticed(home: Path, name: str) -> None:
    install.install(LocalHost(), dry_run=False)
    (settings(home) / name).unlink()
    assert [each for each in problems(here()) if f"{name} is missing" in each]
    assert here().installed


def test_the_users_other_files_stay(home: Path) -> None:
    mine = settings(home) / "containers.conf.d" / "50-mine.conf"
    mine.parent.mkdir(parents=True)
    mine.write_text("[containers]\nuserns = 'keep-id'\n")
    extra = settings(home) / "nanoclaw-hardening" / "notes"
    install.install(LocalHost(), dry_run=False)
    extra.write_text("x")
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert mine.is_file()
    assert extra.is_file()


def test_before_podman_4_the_drop_in_is_the_only_file_that_is_read(home: Path) -> None:
    paths = [file.path for file in here(version="3.0.1").required]
    assert paths[-1] == f"{settings(home)}/{OLD_FILE}"


# Several at a time, and broken off.


def test_installs_at_once_wait_for_each_other(home: Path) -> None:
    ends: list[Exit] = []
    threads = [
        threading.Thread(target=lambda: ends.append(install.install(LocalHost(), dry_run=False))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [Exit.OK] * 4
    assert problems(here()) == []
    assert not here().leftovers


def test_a_lock_is_given_up_by_whoever_dies(home: Path) -> None:
    with pytest.raises(KeyboardInterrupt), placement.locked(LocalHost()):
        raise KeyboardInterrupt
    with placement.locked(LocalHost()):
        pass
    assert tree(home) == set()


def test_another_account_that_can_read_the_home_cannot_hold_the_lock(home: Path) -> None:
    descriptor = os.open(home, os.O_RDONLY)  # all that another account can get of a home that is not its own
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        begun = time.monotonic()
        with placement.locked(LocalHost()):
            assert [path.stat().st_mode & 0o077 for path in home.iterdir()] == [0]
    finally:
        os.close(descriptor)
    assert time.monotonic() - begun < AT_ONCE
    assert tree(home) == set()


def test_a_lock_of_an_older_version_is_closed_to_other_accounts(home: Path) -> None:
    lock = home / ".nanoclaw-verify.lock"
    lock.touch(0o644)
    with placement.locked(LocalHost()):
        assert lock.stat().st_mode & 0o777 == 0o600
    assert tree(home) == set()


@pytest.mark.parametrize("name", [HOOK, HOOK_JSON, PROGRAM, SETTINGS, DROP_IN])
@pytest.mark.parametrize("suffix", [placement.PART_SUFFIX, placement.BACKUP_SUFFIX])
@pytest.mark.parametrize("act", ["install", "uninstall"])
def test_what_a_killed_write_left_is_cleaned(home: Path, name: str, suffix: str, act: str) -> None:
    half = next(file for file in here().required if file.path.endswith(name)).data[:200]
    left = write(home, f"{name}{suffix}", half)
    if act == "install":
        assert install.install(LocalHost(), dry_run=False) == Exit.OK
        assert problems(here()) == []
    else:
        assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
        assert tree(home) == {".config"}
    assert not left.exists()


def test_removed_is_printed_of_what_is_gone(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    capsys.readouterr()

    def half(host: LocalHost, found: Account, paths: Sequence[str]) -> str:
        (settings(home) / DROP_IN).unlink()
        raise HostProblem("the connection is gone")

    monkeypatch.setattr(install, "remove", half)
    with pytest.raises(HostProblem, match="connection"):
        install.uninstall(LocalHost(), dry_run=False)
    assert capsys.readouterr().out == f"Removed {settings(home) / DROP_IN}.\n"


def test_a_write_that_fails_leaves_everything_as_it_was(home: Path) -> None:
    """A directory stands where the last of the files belongs: those before it are taken back."""
    older = configuration.files(str(settings(home)), "5.4.2", here().settings.within(["pids"]))
    write(home, SETTINGS, older[0].data)
    (settings(home) / HOOK_JSON / "x").mkdir(parents=True)
    before = snapshot(home)
    files = here().required
    with pytest.raises(HostProblem, match="writing the configuration"):
        placement.place(LocalHost(), [files[0], files[2], dataclasses.replace(files[3], path=f"{files[3].path}/x")])
    assert snapshot(home) == before


def test_what_was_installed_under_podman_3_goes_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "read_account", lambda host: here(version="3.0.1"))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    monkeypatch.setattr(install, "read_account", lambda host: here(version="4.3.1"))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert problems(here()) == []
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert tree(home) == {".config"}


def test_an_interrupted_write_leaves_no_half_of_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive ends in the middle of the last file: none of them takes its place."""
    files = here().required
    real = LocalHost.ask

    def cut(self: LocalHost, argv: list[str], parse: Any, *, stdin: bytes = b"", doing: str = "") -> object:
        return real(self, argv, parse, stdin=stdin[: len(stdin) // 3], doing=doing)

    monkeypatch.setattr(LocalHost, "ask", cut)
    with pytest.raises(HostProblem, match="writing the configuration"):
        placement.place(LocalHost(), files)
    assert not [name for name in tree(home) if (home / name).is_file()]


def test_a_digest_tells_whose_a_file_is(home: Path) -> None:
    for file in here().required:
        assert author_of(file.data) is Author.OURS
        assert author_of(file.data + b"\n") is Author.EDITED
    assert author_of(b"") is Author.USER
    assert state.read_account(LocalHost()).home == str(home)


def test_the_shipped_examples_are_what_is_installed() -> None:
    for name, text in examples.rendered().items():
        assert (examples.DIRECTORY / name).read_text() == text, f"{name} is out of date. Run: invoke render injection"


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("container-runner.patch", "  args.push(CONTAINER_IMAGE);\n\n  return args;\n}\n"),
        (
            "container-runner-2.patch",
            "  args.push(imageTag);\n\n  args.push('-c', 'exec bun run /app/src/index.ts');\n\n",
        ),
    ],
)
def test_the_patch_of_a_fork_puts_the_options_before_the_image(tmp_path: Path, name: str, end: str) -> None:
    runner = tmp_path / "src" / "container-runner.ts"
    runner.parent.mkdir()
    body = f"  args.push('-e', `TZ=${{TIMEZONE}}`);\n\n{end}"
    runner.write_text(
        f"import fs from 'fs';\n\nfunction buildContainerArgs() {{\n  const args = ['run'];\n{body}// end\n"
    )
    patch = examples.DIRECTORY / name
    done = subprocess.run(["git", "apply", str(patch)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = runner.read_text()
    assert text.index("TZ=") < text.index("'--cap-drop=ALL'") < text.index(end)


@pytest.mark.parametrize("name", ["registries.conf.nanoclaw-before", "containers.conf.nanoclaw-part"])
def test_a_backup_of_the_users_own_stays(home: Path, name: str) -> None:
    backup = write(home, name, b"mine")
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert backup.read_bytes() == b"mine"


def test_what_a_killed_write_left_stays_where_nothing_is_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = write(home, f"{DROP_IN}{placement.PART_SUFFIX}", b"half")
    monkeypatch.setenv("FAKE_PODMAN", "no-hardened")
    with pytest.raises(HostProblem, match="Nothing was installed"):
        install.install(LocalHost(), dry_run=False)
    assert left.exists()
