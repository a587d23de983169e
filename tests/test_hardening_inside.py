from __future__ import annotations

import subprocess

import pytest

from checks.engine import container_state

HARDENED = """==status
Name:\tcat
CapBnd:\t0000000000040000
NoNewPrivs:\t1
Seccomp:\t2
==mounts
612 540 0:60 / / ro,relatime - overlay overlay rw,lowerdir=/a b:/c,upperdir=/d
613 612 0:63 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
620 612 0:70 / /tmp rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=524288k,uid=1500,inode64
==uid_map
         0          1       1500
      1500          0          1
==ids
0
0
==tmp
1777
==pids.max
256
==memory.max
4294967296
==memory.swap.max
4294967296
==cpu.max
200000 100000
==network
==end
"""


def test_what_is_in_force_is_read_off_what_the_container_says() -> None:
    found = container_state.parse(HARDENED)
    assert found.capabilities == 1 << 18
    assert (found.capability("SYS_CHROOT"), found.capability("MKNOD")) == (True, False)
    assert (found.no_new_privileges, found.seccomp) == (True, 2)
    assert found.root.read_only
    assert found.tmp == container_state.Mounted("tmpfs", read_only=False, size=512 << 20)
    assert (found.tmp_mode, found.pids, found.memory, found.cpus) == ("1777", 256, 4 << 30, 2.0)
    assert found.uid_map == ((0, 1, 1500), (1500, 0, 1))
    assert not found.unread
    assert found.tmpfs == {"/tmp": found.tmp}
    assert not found.endless_swap
    assert container_state.parse(
        HARDENED.replace("==memory.swap.max\n4294967296", "==memory.swap.max\nmax")
    ).endless_swap


def test_no_limit_is_told_from_one_that_cannot_be_read() -> None:
    text = HARDENED.replace("==pids.max\n256", "==pids.max\nmax").replace(
        "==memory.max\n4294967296\n", "==memory.max\n"
    )
    found = container_state.parse(text.replace("200000 100000", "max 100000"))
    assert (found.pids, found.memory, found.cpus, found.unread) == (None, None, None, ("memory.max",))


def test_of_two_mounts_on_one_point_the_last_is_seen() -> None:
    over = "621 620 0:71 / /tmp ro - tmpfs none ro\n==uid_map"
    assert container_state.parse(HARDENED.replace("==uid_map", over)).tmp == container_state.Mounted(
        "tmpfs", read_only=True, size=None
    )


def test_a_filesystem_that_is_read_only_itself_is_read_only() -> None:
    text = HARDENED.replace("/ / ro,relatime - overlay overlay rw,", "/ / rw,relatime - overlay overlay ro,")
    assert container_state.parse(text).root.read_only


@pytest.mark.parametrize("text", ["", "hello", HARDENED.replace("==end\n", ""), HARDENED.replace("CapBnd", "Cap")])
def test_what_is_no_whole_answer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="container"):
        container_state.parse(text)


def test_the_script_runs_in_a_posix_shell_and_its_output_is_understood() -> None:
    done = subprocess.run(container_state.argv(), capture_output=True, text=True, check=True)
    assert container_state.parse(done.stdout).uid_map
