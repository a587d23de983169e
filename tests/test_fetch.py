import shutil
import subprocess
from pathlib import Path

import pytest

from checks.core import strict_toml
from checks.core.errors import Exit, HostProblem, WrongUsage
from checks.nanoclaw import fetch

URL = "https://nanoclaw.example/nanoclaw"


def git(directory: Path, *args: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", "-C", str(directory), *identity, *args], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the tag v1, to which git redirects URL; and a private cache."""
    directory = tmp_path / "upstream"
    for name, value in {
        "GIT_CONFIG_GLOBAL": "/dev/null",  # ignore this account's settings, such as signing commits
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{directory}.insteadOf",
        "GIT_CONFIG_VALUE_0": URL,
        "GIT_ALLOW_PROTOCOL": "file",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    directory.mkdir()
    git(directory, "init", "--quiet", "--initial-branch", "main")
    (directory / "package.json").write_text('{"version": "1.0.0"}\n')
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "--message", "One")
    git(directory, "tag", "v1")
    git(directory, "config", "uploadpack.allowAnySHA1InWant", "true")  # as GitHub does
    return directory


def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str, default: str = "1.0") -> None:
    file = tmp_path / "pin.toml"
    table = f'[[pin]]\nname = "1.0"\ndescription = "d"\ncommit = "{commit}"\ndate = 2026-01-01\n'
    file.write_text(f'repository = "{URL}"\ndefault = "{default}"\n{table}')
    monkeypatch.setattr(fetch, "PINS", file)


def test_the_pinned_commit_is_cloned_once(upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(tmp_path, monkeypatch, git(upstream, "rev-parse", "v1"))
    directory = fetch.fetch()
    assert directory.is_relative_to(tmp_path / "cache")
    assert (directory / "package.json").read_text() == '{"version": "1.0.0"}\n'
    assert git(directory, "rev-parse", "HEAD") == git(upstream, "rev-parse", "v1")
    (directory / "mine").touch()
    assert fetch.fetch() == directory
    assert (directory / "mine").exists()


@pytest.mark.parametrize("pinned", [True, False])
def test_the_settings_of_a_user_of_windows_change_no_file(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    (upstream / "link").symlink_to("package.json")
    git(upstream, "add", ".")
    git(upstream, "commit", "--quiet", "--message", "Two")
    pin(tmp_path, monkeypatch, git(upstream, "rev-parse", "HEAD"))
    settings = tmp_path / "gitconfig"
    settings.write_text("[core]\n\tautocrlf = true\n\tsymlinks = false\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    directory = fetch.fetch("" if pinned else "main")
    assert (directory / "package.json").read_bytes() == b'{"version": "1.0.0"}\n'
    assert (directory / "link").is_symlink()


@pytest.mark.parametrize("there", ["nothing", "another commit"])
def test_a_directory_that_is_not_that_clone_is_not_printed_for_it(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    pin(tmp_path, monkeypatch, git(upstream, "rev-parse", "v1"))
    directory = fetch.fetch()
    if there == "nothing":
        shutil.rmtree(directory)
        directory.mkdir()
    else:
        git(directory, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "another")
    with pytest.raises(HostProblem, match=r"is not a clone of 1\.0"):
        fetch.fetch()


def test_a_pinned_commit_is_brought_whatever_branches_and_tags_are_now(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = git(upstream, "rev-parse", "v1")
    pin(tmp_path, monkeypatch, pinned)
    git(upstream, "commit", "--quiet", "--allow-empty", "--message", "Two")
    git(upstream, "tag", "--force", "v1")
    assert git(fetch.fetch("1.0"), "rev-parse", "HEAD") == pinned
    assert git(fetch.fetch("v1"), "rev-parse", "HEAD") != pinned


def test_a_pinned_commit_that_is_not_there_leaves_nothing_behind(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(tmp_path, monkeypatch, "1" * 40)
    with pytest.raises(HostProblem, match=r"git fetch failed: .*1{40}"):
        fetch.fetch()
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_default_that_is_not_pinned_is_refused(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(tmp_path, monkeypatch, "1" * 40, default="2.0")
    with pytest.raises(WrongUsage, match=r"“default” is not one of 1\.0"):
        fetch.fetch()


def test_each_generation_is_pinned_and_the_newest_is_the_default() -> None:
    pins = strict_toml.load(fetch.PINS, fetch.Pins)
    assert [each.name for each in pins.pin] == ["1.2.0", "2.0.64", "2.2.0"]
    assert pins.default == "2.2.0"


def test_a_ref_that_is_asked_for_need_not_be_the_pinned_commit(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(tmp_path, monkeypatch, "0" * 40)
    assert (fetch.fetch("main") / "package.json").is_file()


def test_a_ref_that_is_not_there_leaves_nothing_behind(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(tmp_path, monkeypatch, "0" * 40)
    with pytest.raises(HostProblem, match=r"git clone failed: .*v9"):
        fetch.fetch("v9")
    assert not list((tmp_path / "cache").rglob("package.json"))


@pytest.mark.parametrize(
    "ref",
    ["..", ".", "/", "a/../b", "../runs", "/etc", "a//b", "a/", ".hidden", "-x", "--upload-pack=x", "a b", "a\nb",
     "x" * 300, "a..b", "@{-1}", "v1.lock", "ref:other", "*"],
)  # fmt: skip
def test_a_ref_that_is_no_name_of_a_branch_or_tag_is_refused(
    ref: str, upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pin(tmp_path, monkeypatch, "0" * 40)
    with pytest.raises(WrongUsage, match="is not a valid name of a branch or tag"):
        fetch.fetch(ref)
    assert fetch.nanoclaw("fetch", ref) == Exit.WRONG_USAGE
    assert str(tmp_path) not in capsys.readouterr().out


def test_a_git_that_fails_is_not_a_wrong_ref(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".gitconfig").write_text("[core\nbroken\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch.nanoclaw("fetch", "1.2.0") is Exit.HOST_UNUSABLE
    assert "git check-ref-format failed: fatal: bad config line 1" in capsys.readouterr().err


def test_refs_that_differ_in_a_slash_have_directories_of_their_own(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(tmp_path, monkeypatch, "0" * 40)
    git(upstream, "branch", "a/b")
    git(upstream, "branch", "a_b")
    git(upstream, "branch", "a%2Fb")
    directories = {fetch.fetch(ref) for ref in ("a/b", "a_b", "a%2Fb")}
    assert len(directories) == 3
    assert {directory.parent for directory in directories} == {tmp_path / "cache" / "nanoclaw-verify" / "nanoclaw"}
    assert {path.name for path in (tmp_path / "cache" / "nanoclaw-verify" / "nanoclaw").iterdir()} == {
        directory.name for directory in directories
    }
