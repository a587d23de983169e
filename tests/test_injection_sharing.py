"""Files are placed only where no other account can change or replace them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from checks.core import owned_paths
from checks.core.errors import Exit, HostProblem
from checks.engine import placement
from checks.hardening.injection import install
from checks.hardening.injection.configuration import HOOK, PROGRAM
from checks.hosts.local import LocalHost
from tests.injection import settings, tree


def test_no_other_account_can_write_what_is_made_whatever_the_umask_is(home: Path) -> None:
    before = os.umask(0)
    try:
        assert install.install(LocalHost(), dry_run=False) == Exit.OK
    finally:
        os.umask(before)
    assert {path: mode for path in home.rglob("*") if (mode := path.stat().st_mode) & 0o022} == {}


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
@pytest.mark.parametrize("name", [".", ".config", ".config/containers/containers.conf.d"])
def test_nothing_is_placed_where_another_account_could_replace_it(home: Path, name: str, mode: int) -> None:
    directory = home / name
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(mode)
    before = tree(home)
    with pytest.raises(HostProblem, match="other accounts can write"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == before


@pytest.mark.parametrize(
    ("group", "accounts", "refused"),
    [
        ("own:x:{gid}:", "", False),
        ("own:x:{gid}:other", "", True),
        ("own:x:{gid}:", "other:x:1:{gid}::/:/bin/sh", True),
        ("", "", True),
    ],
)
def test_a_group_that_others_are_in_can_not_replace_it(
    home: Path, tmp_path: Path, group: str, accounts: str, refused: bool
) -> None:
    directory = home / ".config"
    directory.mkdir()
    directory.chmod(0o775)
    gid = directory.stat().st_gid
    answers = f"case $1 in group) echo '{group.format(gid=gid)}' ;; *) echo '{accounts.format(gid=gid)}' ;; esac"
    getent = tmp_path / "bin" / "getent"
    getent.write_text(f"#!/bin/sh\n{answers if group else 'exit 2'}\n")
    getent.chmod(0o755)
    if refused:
        with pytest.raises(HostProblem, match="other accounts can write"):
            install.install(LocalHost(), dry_run=False)
        assert tree(home) == {".config"}
    else:
        assert install.install(LocalHost(), dry_run=False) == Exit.OK


@pytest.mark.parametrize("name", [HOOK, PROGRAM, "nanoclaw-hardening"])
def test_an_installation_that_others_can_change_is_not_in_force(
    home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install.install(LocalHost(), dry_run=False)
    (settings(home) / name).chmod(0o777)
    capsys.readouterr()
    with pytest.raises(HostProblem, match=r"other accounts can write .*chmod go-w"):
        install.install(LocalHost(), dry_run=False)
    assert "In force" not in capsys.readouterr().out


def test_nobody_is_an_account_where_its_uid_is_mapped(home: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or owned_paths.unmapped() != -1:
        pytest.skip("needs root, and all uids")
    (tmp_path / "nobody" / "config").mkdir(parents=True)
    os.chown(tmp_path / "nobody", 65534, 65534)
    (home / ".config").symlink_to(tmp_path / "nobody" / "config")
    with pytest.raises(HostProblem, match="belongs to another account"):
        install.install(LocalHost(), dry_run=False)


def test_an_acl_that_lets_another_account_write_is_seen(home: Path) -> None:
    directory = home / ".config"
    directory.mkdir()
    # Of the owner, of uid 4242, of the group; the mask; of others. See acl(5).
    entries = ((1, 7, -1), (2, 7, 4242), (4, 5, -1), (0x10, 7, -1), (0x20, 5, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *each) for each in entries)
    try:
        os.setxattr(directory, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("needs a file system with ACLs")
    assert owned_paths.others_can_write(directory.stat(), directory)
    with pytest.raises(HostProblem, match="other accounts can write"):
        install.install(LocalHost(), dry_run=False)


def test_no_link_leads_through_a_directory_that_others_can_write(home: Path, tmp_path: Path) -> None:
    (tmp_path / "shared" / "config").mkdir(parents=True)
    (tmp_path / "shared").chmod(0o777)
    (home / ".config").symlink_to(tmp_path / "shared" / "config")
    with pytest.raises(HostProblem, match=r"other accounts can write .*/shared: "):
        install.install(LocalHost(), dry_run=False)
    assert tree(tmp_path / "shared") == {"config"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make directories of another account")
def test_no_link_leads_through_a_directory_of_another_account(home: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs" / "config").mkdir(parents=True)
    os.chown(tmp_path / "theirs", 4242, 4242)
    (home / ".config").symlink_to(tmp_path / "theirs" / "config")
    with pytest.raises(HostProblem, match="belongs to another account"):
        install.install(LocalHost(), dry_run=False)
    assert tree(tmp_path / "theirs") == {"config"}


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_no_link_lies_in_a_directory_where_others_could_exchange_it(home: Path, tmp_path: Path, mode: int) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "link").symlink_to("../own")
    (tmp_path / "shared").chmod(mode)
    (home / ".config").symlink_to(tmp_path / "shared" / "link")
    if mode & 0o1000:  # nobody else can exchange what is there
        assert install.install(LocalHost(), dry_run=False) == Exit.OK
    else:
        with pytest.raises(HostProblem, match=r"other accounts can write .*/shared: "):
            install.install(LocalHost(), dry_run=False)
        assert tree(tmp_path / "own") == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links of another account")
def test_no_link_of_another_account_is_followed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (home / ".config").symlink_to(tmp_path / "own")
    os.chown(home / ".config", 4242, 4242, follow_symlinks=False)
    with pytest.raises(HostProblem, match=r"/\.config belongs to another account \(uid 4242\)"):
        install.install(LocalHost(), dry_run=False)


def test_links_that_lead_nowhere_are_no_endless_loop(home: Path) -> None:
    (home / ".config").symlink_to(".config")
    with pytest.raises(HostProblem):
        install.install(LocalHost(), dry_run=False)


def test_the_lock_is_never_a_link_that_another_account_has_put_there(home: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    home.chmod(0o777)
    (home / ".nanoclaw-verify.lock").symlink_to(program)
    with pytest.raises(HostProblem, match="other accounts can write the home directory"), placement.locked(LocalHost()):
        pass
    assert program.stat().st_mode & 0o777 == 0o755
