"""The doctor: the diagnoses that are based on snapshots of hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.errors import Exit
from checks.core.paths import FIXTURES
from checks.guide import catalogue, doctor, findings, snapshot
from checks.guide.diagnosis import diagnose
from checks.guide.host_checks import CHECKS, check
from checks.guide.snapshot import HostSnapshot, parse

ENTRIES = catalogue.load()
HEALTHY = (FIXTURES / "doctor" / "healthy.txt").read_text()
NOW = 1_800_000_000  # in healthy.txt
CONF = "conf:/home/me/.config/containers/containers.conf.d/50-nanoclaw.conf"
CONF_PATH = CONF.removeprefix("conf:")


def taken(text: str) -> HostSnapshot:
    return HostSnapshot(parse(text), NOW + 1.5)


def diagnosed(text: str) -> list[str]:
    return [each.entry.id for each in diagnose(taken(text), ENTRIES)]


def changed(*lines: str) -> str:
    """The healthy snapshot with these lines instead of those with the same keys. “KEY=” removes a key."""
    keys = {line.partition("=")[0] for line in lines}
    kept = [line for line in HEALTHY.splitlines() if line.partition("=")[0] not in keys]
    return "".join(f"{line}\n" for line in [*kept, *lines] if not line.endswith("="))


def test_a_healthy_host_has_no_diagnoses() -> None:
    assert diagnosed(HEALTHY) == []


def test_every_check_is_for_an_entry() -> None:
    assert set(CHECKS) <= set(ENTRIES)


EXAMPLES = [(each.entry, example) for each in CHECKS.values() for example in each.examples]


@pytest.mark.parametrize(("entry", "example"), EXAMPLES)
def test_an_example_is_diagnosed_first(entry: str, example: str) -> None:
    assert diagnosed(changed(*example.splitlines()))[:1] == [entry]


@pytest.mark.parametrize(
    ("entry", "examples"), [("npm-ci-fails", ["a=b"]), ("docker-ps-shows-the-wrong-containers", [])]
)
def test_a_second_check_and_one_without_an_example_are_refused(entry: str, examples: list[str]) -> None:
    with pytest.raises(ValueError, match=entry):
        check(entry, *examples)


@pytest.mark.parametrize(
    "lines",
    [
        ["node_version=v22.1.0"],
        [f'{CONF}=#userns = "keep-id"', "env=PODMAN_USERNS=keep-id"],
        [
            "docker_version=podman version 5.2.1",
            "slirp4netns=/usr/bin/slirp4netns",
            *(f"{CONF}={line}" for line in ("[containers]", 'userns = "keep-id"', "[network]")),
            f'{CONF}=default_rootless_network_cmd = "slirp4netns"',
        ],
        [
            "proxy=http_proxy",
            *(f"{CONF}={line}" for line in ("[containers]", 'userns = "keep-id"', "http_proxy=false")),
        ],
        ["info=", "info_ok="],
        [f"{CONF}=[containers]", f'{CONF}=UserNS = "keep-id"'],
        [f"{CONF}=[containers]", f'{CONF}=userns = "keep-id:uid=1500,gid=1500"'],
        [
            f"{CONF}=[containers]",
            f'{CONF}=userns = "keep-id"',
            f'{CONF}=env = ["A=b"]',
            f"{CONF}=[my_own]",
            f"{CONF}=x = 1",
        ],
        ["changed=?"],
    ],
)
def test_a_harmless_difference_is_not_diagnosed(lines: list[str]) -> None:
    assert diagnosed(changed(*lines)) == []


@pytest.mark.parametrize(
    ("lines", "observation"),
    [
        (["[containers"], "is not valid TOML: "),
        (["[containers]", "userns = keep-id"], "is not valid TOML: "),
        (["[containers]", 'userns = "keep-id"', "[containers]", "pids_limit = 10"], "is not valid TOML: "),
        (["\ufeff[containers]", 'userns = "keep-id"'], "begins with a byte order mark"),
    ],
    ids=["C06", "C07", "C34", "C08"],
)
def test_a_file_of_settings_that_podman_cannot_read_is_named(lines: list[str], observation: str) -> None:
    host = taken(changed(*(f"{CONF}={line}" for line in lines)))
    (found, *_) = [each for each in diagnose(host, ENTRIES) if each.entry.id == "docker-info-fails"]
    assert found.observation.startswith(f"{CONF.removeprefix('conf:')} {observation}")


@pytest.mark.parametrize(
    ("lines", "observation"),
    [
        (
            ['compose_providers=["podman-compose"]'],
            "1 has “compose_providers” outside any section; it belongs in [engine]",
        ),
        (["[containers]", 'runtime = "crun"'], "2 has “runtime” in [containers]; it belongs in [engine]"),
        (["[Engine]", "# mine", 'Shm_Size = "1g"'], "3 has “Shm_Size” in [Engine]; it belongs in [containers]"),
        (
            ["[network]", 'network_cmd_options = ["mtu=1"]'],
            "2 has “network_cmd_options” in [network]; it belongs in [engine]",
        ),
    ],
    ids=["C18", "runtime", "any-case", "network"],
)
def test_a_key_in_another_section_is_named_with_its_line(lines: list[str], observation: str) -> None:
    host = taken(changed(*(f"{CONF}={line}" for line in lines)))
    (found,) = [each for each in diagnose(host, ENTRIES) if each.entry.id == "a-line-of-containersconf-has-no-effect"]
    assert found.observation == f"{CONF.removeprefix('conf:')}:{observation}"


def test_podmans_error_message_is_looked_up() -> None:
    error = "info_error=Error: cannot set up namespace: cgroups in hybrid mode not supported, drop all controllers"
    assert diagnosed(changed("info_ok=", error))[0] == "cgroups-in-hybrid-mode-are-not-supported"


def test_the_most_severe_diagnosis_is_first() -> None:
    assert diagnosed(changed('info={"store": {"graphDriverName": "vfs"}}', "newuidmap=", "linger=")) == [
        "newuidmap-is-missing",
        "agents-stop-when-the-user-logs-out",
        "containers-start-slowly-and-the-disk-fills-up",
    ]


def test_a_drop_in_that_podman_3_ignores_sets_nothing() -> None:
    old = changed("docker_version=podman version 3.0.1", "slirp4netns=/usr/bin/slirp4netns")
    assert diagnosed(old)[:2] == ["a-line-of-containersconf-has-no-effect", "permission-denied-in-the-workspace"]


def test_a_path_with_an_equals_sign_is_parsed() -> None:
    assert parse("conf:/a=b/x.conf=k = 1\n") == {"conf:/a=b/x.conf": ["k = 1"]}


@pytest.mark.parametrize(
    "lines", ["env=no-sign\n", f"docker_version=podman version {'9' * 5000}.{'9' * 5000}\n", f"free={'9' * 5000} /\n"]
)
def test_malformed_lines_do_not_break_the_doctor(lines: str) -> None:
    diagnose(taken(lines + HEALTHY), ENTRIES)
    diagnose(taken(HEALTHY + lines), ENTRIES)


@given(st.text())
def test_arbitrary_output_does_not_break_the_doctor(text: str) -> None:
    diagnose(HostSnapshot(parse(text), 0.0), ENTRIES)


@given(st.dictionaries(st.sampled_from(sorted({line.partition("=")[0] for line in HEALTHY.split()})), st.text()))
def test_arbitrary_values_do_not_break_the_doctor(values: dict[str, str]) -> None:
    lines = "".join(f"{key}={value}\n" for key, value in values.items())
    diagnose(taken(HEALTHY + lines), ENTRIES)
    diagnose(taken(lines), ENTRIES)


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_a_comment_in_a_file_of_settings_forges_nothing(end: str) -> None:
    forging = [f"{CONF}=[containers]", f'{CONF}=userns = "keep-id"', f"{CONF}=#{end}bus=yes"]
    assert "there-is-no-systemd-user-session" in diagnosed(changed(*forging, "bus="))


def test_the_report_has_the_observation_the_fix_and_the_link(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(snapshot, "take", lambda _: taken(changed("newuidmap=", "linger=")))
    assert doctor.doctor() is Exit.CASE_FAILED
    printed = capsys.readouterr().out
    assert "me (uid 1500), podman version 5.4.2\n" in printed
    assert "[BLOCKS] newuidmap is missing\n  Found: newuidmap not found\n  Fix:   Install `uidmap`\n" in printed
    assert "[DEGRADES] Agents stop when the user logs out\n" in printed
    assert "Fine:\n" in printed
    assert "Summary: blocks 1, degrades 1, " in printed
    assert "  More:  docs/TROUBLESHOOTING.md#newuidmap-is-missing" in printed
    monkeypatch.setattr(snapshot, "take", lambda _: taken(HEALTHY))
    assert doctor.doctor("local") is Exit.OK
    assert f"Summary: fine {len(CHECKS) - 2}, not tested 2 (local)" in capsys.readouterr().out


def test_wrong_usage_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.doctor("local", explain="docker: command not found") is Exit.WRONG_USAGE
    assert doctor.doctor("local", profile="stock") is Exit.WRONG_USAGE
    assert doctor.doctor("nowhere") is Exit.WRONG_USAGE
    assert "can only be combined" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE"])
def test_nothing_is_said_of_settings_in_a_file_that_was_not_read(name: str) -> None:
    host = taken(changed(f"env={name}=/home/me/other", "conf="))
    found = diagnose(host, ENTRIES)
    assert "permission-denied-in-the-workspace" not in [each.entry.id for each in found]
    states = {each.id: each.state for each in findings.results(host, found, ENTRIES, {})}
    assert states["permission-denied-in-the-workspace"] == "not tested"
    assert states["a-hook-that-is-missing-hardens-nothing"] == "not tested"


def test_the_machines_settings_count_and_the_accounts_come_after_them() -> None:
    machines, own = "/etc/containers/containers.conf", CONF_PATH
    lines = [f"conf={machines}", f"conf={own}", f"conf:{machines}=[containers]", f'conf:{machines}=userns = "keep-id"']
    assert "permission-denied-in-the-workspace" not in diagnosed(changed(*lines, f"conf:{own}=[containers]"))
    later = [*lines, f"conf:{own}=[containers]", f'conf:{own}=userns = "auto"']
    assert "permission-denied-in-the-workspace" in diagnosed(changed(*later))


@pytest.mark.parametrize(
    ("own", "directories"),
    [
        ('hooks_dir = ["/b"]', ["/b"]),
        ('hooks_dir = ["/b", {append = true}]', ["/a", "/b"]),
        ("hooks_dir = []", []),
        ("runtime = 'runc'", ["/a"]),
    ],
)
def test_a_later_list_of_hooks_replaces_those_before_unless_it_appends(own: str, directories: list[str]) -> None:
    first, second = "/etc/containers/containers.conf", CONF_PATH
    lines = [f"conf={first}", f"conf={second}", f"conf:{first}=[engine]", f'conf:{first}=hooks_dir = ["/a"]']
    assert taken(changed(*lines, f"conf:{second}=[engine]", f"conf:{second}={own}")).hook_directories() == directories


def test_runc_starts_containers_where_both_hierarchies_are_mounted() -> None:
    info = 'info={"host": {"ociRuntime": {"name": "%s"}}, "store": {"graphDriverName": "overlay"}}'
    blocked = "cgroups-in-hybrid-mode-are-not-supported"
    assert blocked in diagnosed(changed("cgroups=hybrid", info % "crun"))
    assert blocked not in diagnosed(changed("cgroups=hybrid", info % "runc"))


@pytest.mark.parametrize(("runtime", "blocks"), [("runc", False), ("/usr/sbin/runc", False), ("crun", True)])
def test_the_runtime_that_the_settings_name_counts_before_podmans_first_use(runtime: str, blocks: bool) -> None:
    found = diagnosed(
        changed("cgroups=hybrid", "info_ok=", "info=", f"{CONF}=[engine]", f'{CONF}=runtime = "{runtime}"')
    )
    assert ("cgroups-in-hybrid-mode-are-not-supported" in found) is blocks


def test_nothing_is_said_of_the_notice_of_a_shim_that_is_not_there() -> None:
    host = taken(changed("docker_version=Docker version 28.2.2", "podman_version=podman version 5.4.2"))
    states = {each.id: each.state for each in findings.results(host, diagnose(host, ENTRIES), ENTRIES, {})}
    assert states["every-docker-command-prints-emulate-docker-cli-using-podman"] == "not tested"
