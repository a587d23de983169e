"""Which settings files a Podman reads, as it was measured on hosts with these versions."""

from __future__ import annotations

import pytest

from checks.guide.settings_files import Version, ignored, in_order

USR, ETC, OWN = "/usr/share/containers", "/etc/containers", "/home/me/.config/containers"
ALL = [
    f"{USR}/containers.conf", f"{ETC}/containers.conf", f"{OWN}/containers.conf",
    f"{USR}/containers.conf.d/20-usr.conf", f"{ETC}/containers.conf.d/90-etc.conf",
    f"{OWN}/containers.conf.d/.10-hidden.conf", f"{OWN}/containers.conf.d/50-own.conf",
    f"{ETC}/containers.rootless.conf", f"{ETC}/containers.rootless.conf.d/40-rootless.conf",
    f"{ETC}/containers.rootless.conf.d/1500/30-account.conf",
]  # fmt: skip
MAIN = ALL[:3]


@pytest.mark.parametrize(
    ("version", "read"),
    [
        ((3, 0), MAIN),
        ((4, 3), [*ALL[:2], ALL[4], ALL[2], *ALL[5:7]]),
        ((5, 4), [*ALL[:2], ALL[4], ALL[2], *ALL[5:7]]),
        ((5, 8), [*ALL[:2], ALL[4], *ALL[7:10], ALL[2], *ALL[5:7]]),
        ((6, 1), [ALL[2], ALL[5], ALL[3], ALL[9], ALL[8], ALL[6], ALL[4]]),
    ],
)
def test_a_podman_reads_its_files_in_its_order(version: Version, read: list[str]) -> None:
    assert in_order(ALL, version, ()) == read
    assert in_order(ALL[::-1], version, ()) == read
    replaced = set(MAIN) if version >= (6, 0) else set()
    assert {path for path, _ in ignored(ALL, version, ())} == set(ALL) - set(read) - replaced


def test_podman_6_reads_of_drop_ins_with_one_name_the_accounts() -> None:
    both = [f"{ETC}/containers.conf.d/50-x.conf", f"{OWN}/containers.conf.d/50-x.conf"]
    assert in_order(both, (6, 1), ()) == both[1:]
    assert in_order(both, (5, 8), ()) == both


@pytest.mark.parametrize(("version", "follows"), [((4, 3), False), ((5, 4), False), ((5, 8), True), ((6, 1), True)])
def test_a_directory_of_drop_ins_that_is_a_link_is_followed_by_newer_ones(version: Version, follows: bool) -> None:
    path = f"{OWN}/containers.conf.d/50-own.conf"
    assert in_order([path], version, [f"{OWN}/containers.conf.d"]) == [path] * follows
    assert [why for _, why in ignored([path], version, [f"{OWN}/containers.conf.d"]) if "is a link" in why] or follows


def test_of_an_unknown_version_nothing_is_called_ignored() -> None:
    assert list(ignored(ALL, (0, 0), ALL)) == []
    assert set(in_order(ALL, (0, 0), ALL)) == set(ALL)
