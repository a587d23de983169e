"""Installing and taking away, on this machine's own files: nothing of the user's is lost, nothing of ours is left."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from checks.hosts.local import LocalHost
from checks.injection import configuration, examples, install, state
from checks.injection.configuration import DROP_IN, HOOK, HOOK_JSON, OLD_FILE, REFUSAL, Whose, whose
from checks.injection.state import Found, look, obstacles, problems, require_account
from checks.problems import Exit, HostProblem, WrongUsage
from tests.fakes import FakeHost


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose user is no root, has Podman 5 and all controllers, whoever runs the tests on whatever machine."""
    folder = tmp_path / "a home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("XDG_CONFIG_HOME", "CONTAINERS_CONF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(install, "look", lambda host: plain(look(host)))
    return folder


def plain(found: Found, **more: object) -> Found:
    ours = {path: data for path, data in found.files.items() if path.startswith(found.home)}
    usual = {"uid": 1500, "user": "someone", "owner": "1500 someone", "version": "5.4.2", "replaced": "", "locked": ""}
    values = {**usual, "controllers": ("cpu", "memory", "pids"), "files": ours, **more}
    return dataclasses.replace(found, **values)  # type: ignore[arg-type]


def here(**more: object) -> Found:
    return plain(look(LocalHost()), **more)


def tree(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*")}


def settings(home: Path) -> Path:
    return home / ".config" / "containers"


def test_it_is_installed_once_and_removed_without_a_trace(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert tree(settings(home)) == {
        "containers.conf.d", DROP_IN, "nanoclaw-hardening", HOOK, HOOK_JSON,
    }  # fmt: skip
    assert (settings(home) / HOOK).stat().st_mode & 0o777 == 0o755
    assert problems(here()) == []
    capsys.readouterr()
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert "installed already" in capsys.readouterr().out
    (settings(home) / REFUSAL).write_text("nanoclaw hardening: the container was not started: x.\n")
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert tree(home) == {".config"}
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK


def test_a_dry_run_prints_exactly_what_would_be_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install.install(LocalHost(), dry_run=True) == Exit.OK
    printed = capsys.readouterr().out
    assert tree(home) == set()
    for file in here().wanted:
        assert f"==> {file.path} (mode {file.mode:o})\n{file.data.decode()}" in printed
    install.install(LocalHost(), dry_run=False)
    before = tree(home)
    assert install.uninstall(LocalHost(), dry_run=True) == Exit.OK
    assert tree(home) == before


@pytest.mark.parametrize("name", [DROP_IN, HOOK, HOOK_JSON])
def test_a_file_of_the_users_is_never_overwritten(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = settings(home) / name
    file.parent.mkdir(parents=True)
    file.write_text("# mine\n")
    before = tree(home)
    assert install.install(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert f"{file} is there already and is not ours" in capsys.readouterr().out
    assert (tree(home), file.read_text()) == (before, "# mine\n")
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert file.read_text() == "# mine\n"


def test_a_file_of_ours_that_was_changed_is_the_users(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    file = settings(home) / HOOK
    file.write_text(file.read_text().replace("pids='256'", "pids='512'"))
    before = tree(home)
    assert install.install(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert tree(home) == before
    assert "pids='512'" in file.read_text()
    assert any("changed by hand" in each for each in problems(here()))


def test_an_older_file_of_ours_is_brought_up_to_date(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    older = configuration.files(str(home), "5.4.2", here().settings.within(["pids"]))[0]
    (settings(home) / HOOK).write_bytes(older.data)
    assert any("another version" in each for each in problems(here()))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert problems(here()) == []


@pytest.mark.parametrize("name", [DROP_IN, HOOK, HOOK_JSON])
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[engine\n", "is broken"),
        ("\xff", "is broken"),
        ("[engine]\nhooks_dir = ['/x']\n", "hook folders of its own"),
        ("[containers]\nuserns = 'host'\n", "sets userns"),
    ],
)
def test_a_file_that_ours_does_not_go_with_stops_it(home: Path, text: str, said: str) -> None:
    mine = settings(home) / "containers.conf.d" / "99-mine.conf"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(text.encode("latin-1"))
    assert install.install(LocalHost(), dry_run=False) == Exit.CASE_FAILED
    assert mine.read_bytes() == text.encode("latin-1")
    assert not (settings(home) / HOOK).exists()
    assert any(said in each for each in obstacles(here()))
    assert any(said in each for each in problems(here()))


def test_containers_conf_in_the_environment_is_a_problem(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    assert any("CONTAINERS_CONF is set" in each for each in problems(here(replaced="/x.conf")))


def test_before_podman_4_the_drop_in_is_the_only_file_that_is_read(home: Path) -> None:
    paths = [file.path for file in here(version="3.0.1").wanted]
    assert paths[-1] == f"{settings(home)}/{OLD_FILE}"


def test_what_was_installed_under_podman_3_goes_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "look", lambda host: here(version="3.0.1"))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    monkeypatch.setattr(install, "look", lambda host: here(version="4.3.1"))
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert problems(here()) == []
    assert install.uninstall(LocalHost(), dry_run=False) == Exit.OK
    assert tree(home) == {".config"}


def test_root_is_refused(home: Path) -> None:
    with pytest.raises(WrongUsage, match="plain user"):
        require_account(here(uid=0))


def test_another_users_home_is_refused(home: Path) -> None:
    with pytest.raises(WrongUsage, match=r"belongs to other and not to someone"):
        require_account(here(owner="1600 other"))


def test_a_home_that_is_not_there_is_refused(home: Path) -> None:
    with pytest.raises(HostProblem, match="is not there"):
        require_account(here(owner=""))


def test_another_folder_of_settings_is_refused(home: Path) -> None:
    with pytest.raises(WrongUsage, match="XDG_CONFIG_HOME"):
        require_account(here(elsewhere="/elsewhere/containers"))


def test_a_folder_that_can_not_be_written_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "look", lambda host: here(locked=str(home)))
    with pytest.raises(HostProblem, match="nothing was installed"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()


def test_an_interrupted_write_leaves_no_half_of_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive ends in the middle of the last file: none of them takes its place."""
    files = here().wanted
    real = LocalHost.must

    def cut(self: LocalHost, argv: list[str], *, stdin: bytes = b"", timeout: float = 20, doing: str = "") -> object:
        return real(self, argv, stdin=stdin[: len(stdin) // 3], timeout=timeout, doing=doing)

    monkeypatch.setattr(LocalHost, "must", cut)
    with pytest.raises(HostProblem, match="writing the configuration"):
        install.place(LocalHost(), files)
    assert not [name for name in tree(home) if (home / name).is_file()]


def test_a_digest_tells_whose_a_file_is(home: Path) -> None:
    for file in here().wanted:
        assert whose(file.data) is Whose.OURS
        assert whose(file.data + b"\n") is Whose.EDITED
    assert whose(b"") is Whose.THEIRS
    assert state.look(LocalHost()).home == str(home)


def test_the_shipped_examples_are_what_is_installed() -> None:
    for name, text in examples.rendered().items():
        assert (examples.FOLDER / name).read_text() == text, f"{name} is stale: invoke render-injection"


def test_the_patch_of_a_fork_puts_the_options_before_the_image(tmp_path: Path) -> None:
    runner = tmp_path / "src" / "container-runner.ts"
    runner.parent.mkdir()
    body = "  args.push('-e', `TZ=${TIMEZONE}`);\n\n  args.push(CONTAINER_IMAGE);\n\n  return args;\n}\n"
    runner.write_text(
        f"import fs from 'fs';\n\nfunction buildContainerArgs() {{\n  const args = ['run'];\n{body}// end\n"
    )
    patch = examples.FOLDER / "container-runner.patch"
    done = subprocess.run(["git", "apply", str(patch)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = runner.read_text()
    assert text.index("TZ=") < text.index("'--cap-drop=ALL'") < text.index("CONTAINER_IMAGE")


def test_the_version_is_known_whatever_podman_thinks_of_a_broken_file(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    broken = '[ "$CONTAINERS_CONF" = /dev/null ] && echo podman version 5.4.2 || exit 1'
    assert look(FakeHost(folder, {"podman": broken})).version == "5.4.2"
