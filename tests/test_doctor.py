"""The doctor: what a look tells, and what follows from it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.errors import Exit, HostProblem
from checks.core.paths import FIXTURES
from checks.guide import catalogue, doctor, snapshot
from checks.guide.diagnosis import LOOKS, findings
from checks.guide.snapshot import HostSnapshot, look, parse
from tests.fakes import FakeHost

ENTRIES = catalogue.load()
NOW = 1_800_000_000
CONF = "/home/me/.config/containers/containers.conf.d/50-nanoclaw.conf"
SOUND = f"""
user=me
uid=1500
home=/home/me
now={NOW}
init=systemd
kernel=6.12
changed={NOW - 100}
docker=/usr/bin/docker
podman=/usr/bin/podman
newuidmap=/usr/bin/newuidmap
newgidmap=/usr/bin/newgidmap
pasta=/usr/bin/pasta
docker_version=Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.
docker_version=podman version 5.4.2
cgroups=v2
controllers=cpuset cpu io memory pids
linger=yes
bus=yes
root_mount=shared
free=9000000 /home/me
free=9000000 /var/tmp
subuid=me:100000:65536
subgid=me:100000:65536
conf={CONF}
conf:{CONF}=[containers]
conf:{CONF}=userns = "keep-id"
info={{"store": {{"graphDriverName": "overlay"}}}}
info_ok=yes
"""


def looked(text: str) -> HostSnapshot:
    return HostSnapshot(parse(text), NOW + 1.5)


def named(text: str) -> list[str]:
    return [each.entry.id for each in findings(looked(text), ENTRIES)]


def without(*keys: str) -> str:
    return "".join(line for line in SOUND.splitlines(keepends=True) if line.partition("=")[0] not in keys)


def instead(old: str, new: str) -> str:
    assert old in SOUND
    return SOUND.replace(old, new)


def test_a_sound_host_has_no_findings() -> None:
    assert named(SOUND) == []


def test_every_look_is_for_an_entry() -> None:
    assert set(LOOKS) <= set(ENTRIES)


FAULTS = {
    "podman-info-says-rootless-false": [instead("uid=1500", "uid=0")],
    "docker-command-not-found": [without("docker", "docker_version") + "podman_version=podman version 5.4.2\n"],
    "docker-is-not-the-shim": [
        instead("docker_version=podman version 5.4.2", "docker_version=Docker version 26.1.5, build a72d7cd"),
        without("docker_version") + "podman_version=podman version 5.4.2\n",
    ],
    "newuidmap-is-missing": [without("newuidmap"), without("newgidmap")],
    "there-are-not-enough-ids-for-an-image": [without("subuid"), without("subgid"), without("subuid", "subgid")],
    "podman-6-refuses-cgroup-v1": [instead("5.4.2", "6.1.1").replace("cgroups=v2", "cgroups=v1")],
    "cgroups-in-hybrid-mode-are-not-supported": [instead("cgroups=v2", "cgroups=hybrid")],
    "a-network-helper-is-missing": [without("pasta"), instead("5.4.2", "4.9.3")],
    "slirp4netns-support-has-been-removed": [
        instead("5.4.2", "6.1.1") + f'conf:{CONF}=[network]\nconf:{CONF}=default_rootless_network_cmd = "slirp4netns"\n'
    ],
    "docker-info-fails": [without("info_ok") + "info_error=Error: it broke\n"],
    "no-space-left-on-device": [instead("free=9000000 /var/tmp", "free=900000 /var/tmp")],
    "the-clock-is-wrong-after-a-resume": [
        instead(f"now={NOW}", f"now={NOW - 9000}"),
        instead(f"now={NOW}", f"now={NOW + 9000}"),
        instead(f"changed={NOW - 100}", f"changed={NOW + 9000}"),
    ],
    "permission-denied-in-the-workspace": [
        without("conf"),
        instead("keep-id", "auto"),
        SOUND + "env=PODMAN_USERNS=host\n",
    ],
    "there-is-no-systemd-user-session": [without("bus")],
    "agents-stop-when-the-user-logs-out": [without("linger")],
    "limits-are-accepted-and-ignored": [instead("cgroups=v2", "cgroups=v1")],
    "the-cgroup-controller-cpu-is-not-available": [instead("cpuset cpu io memory pids", "memory pids")],
    "a-line-of-containersconf-has-no-effect": [
        instead("=[containers]", "=[engine]"),
        instead("=[containers]", "="),
        SOUND + f"conf:{CONF}=[engine]\nconf:{CONF}=default_capabilities = []\n",
    ],
    "a-hook-that-is-missing-hardens-nothing": [SOUND + "hooks_missing=/home/me/hooks.d\n"],
    "containers_conf-widens-the-capabilities": [SOUND + "env=CONTAINERS_CONF=/home/me/mine.conf\n"],
    "docker_opts-and-docker_default_opts-do-nothing": [SOUND + "env=DOCKER_OPTS=--cap-drop=ALL\n"],
    "host-gateway-is-an-invalid-ip-address": [instead("5.4.2", "4.3.1") + "slirp4netns=/usr/bin/slirp4netns\n"],
    "host-gateway-has-no-address": [instead("5.4.2", "5.2.1")],
    "docker-ps---format-does-not-know-label": [instead("5.4.2", "4.9.3") + "slirp4netns=/usr/bin/slirp4netns\n"],
    "a-bind-mount-is-empty-inside-the-container": [instead("root_mount=shared", "root_mount=private")],
    "a-proxy-on-the-hosts-loopback-is-not-reached": [SOUND + "proxy=http_proxy\n"],
    "containers-start-slowly-and-the-disk-fills-up": [instead('"overlay"', '"vfs"')],
    "a-killed-client-leaves-its-container": [SOUND + "unwatched=nanoclaw-main-1\n"],
    "npm-ci-fails": [SOUND + "node_version=v18.19.0\n"],
}


@pytest.mark.parametrize(("id_", "text"), [(id_, text) for id_, texts in FAULTS.items() for text in texts])
def test_a_fault_is_named_first(id_: str, text: str) -> None:
    assert named(text)[:1] == [id_]


def test_every_look_has_a_fault_that_it_tells() -> None:
    assert set(FAULTS) == set(LOOKS)


@pytest.mark.parametrize(
    "text",
    [
        SOUND + "node_version=v22.1.0\n",
        instead("userns", "#userns") + "env=PODMAN_USERNS=keep-id\n",
        instead("5.4.2", "5.2.1")
        + f'slirp4netns=/x\nconf:{CONF}=[network]\nconf:{CONF}=default_rootless_network_cmd = "slirp4netns"\n',
        SOUND + f"proxy=http_proxy\nconf:{CONF}=http_proxy = false\n",
        without("info", "info_ok"),
        SOUND.replace(f"changed={NOW - 100}", "changed=?"),
    ],
)
def test_what_only_looks_like_a_fault_is_none(text: str) -> None:
    assert named(text) == []


def test_what_podman_complains_of_is_looked_up() -> None:
    said = "info_error=Error: cannot set up namespace: cgroups in hybrid mode not supported, drop all controllers\n"
    assert named(without("info_ok") + said)[0] == "cgroups-in-hybrid-mode-are-not-supported"


def test_the_worst_comes_first() -> None:
    assert named(instead('"overlay"', '"vfs"').replace("newuidmap=/usr", "gone=/usr").replace("linger=", "x=")) == [
        "newuidmap-is-missing",
        "agents-stop-when-the-user-logs-out",
        "containers-start-slowly-and-the-disk-fills-up",
    ]


def test_a_setting_that_podman_does_not_read_is_no_setting() -> None:
    old = instead("5.4.2", "3.0.1") + "slirp4netns=/usr/bin/slirp4netns\n"
    assert named(old)[:2] == ["a-line-of-containersconf-has-no-effect", "permission-denied-in-the-workspace"]


def test_a_path_with_an_equals_sign_is_read() -> None:
    assert parse("conf:/a=b/x.conf=k = 1\n") == {"conf:/a=b/x.conf": ["k = 1"]}


@pytest.mark.parametrize(
    "lines", ["env=no-sign\n", f"docker_version=podman version {'9' * 5000}.{'9' * 5000}\n", f"free={'9' * 5000} /\n"]
)
def test_what_no_sound_host_prints_is_looked_at(lines: str) -> None:
    findings(looked(lines + SOUND), ENTRIES)
    findings(looked(SOUND + lines), ENTRIES)


@given(st.text())
def test_whatever_a_host_prints_is_looked_at(text: str) -> None:
    findings(HostSnapshot(parse(text), 0.0), ENTRIES)


@given(st.dictionaries(st.sampled_from(sorted({line.partition("=")[0] for line in SOUND.split()})), st.text()))
def test_whatever_stands_in_a_line_is_looked_at(values: dict[str, str]) -> None:
    text = SOUND + "".join(f"{key}={value}\n" for key, value in values.items())
    findings(looked(text), ENTRIES)
    findings(looked("".join(f"{key}={value}\n" for key, value in values.items())), ENTRIES)


PROGRAMS = {
    "docker": "echo podman version 5.4.2",
    "podman": """case $1 in
--version) echo podman version 5.4.2 ;;
info) echo "{}"; echo careful >&2 ;;
esac""",
}


def test_a_look_sees_the_hosts_own_programs_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    drop_ins = home / ".config/containers/containers.conf.d"
    drop_ins.mkdir(parents=True)
    (drop_ins / "50-x.conf").write_text('[engine]\nhooks_dir = ["/no/such/directory", "/usr"]\n')
    (home / ".local/share/containers/storage").mkdir(parents=True)
    for key, value in {"HOME": str(home), "DOCKER_OPTS": "--x", "HTTPS_PROXY": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(key, value)
    for key in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(key, raising=False)
    watcher = 'case "$*" in *conmon) echo 7 conmon -c ID -n nanoclaw-x --exit-dir /x ;; *) exit 1 ;; esac'
    identity = 'case "$*" in -u) echo 1500 ;; *) echo me ;; esac'
    host = FakeHost(tmp_path, {**PROGRAMS, "id": identity, "pgrep": watcher})
    done = look(host)
    assert done.one("docker").endswith("/bin/docker")
    assert done.version == (5, 4)
    assert done.all("hooks_missing") == ["/no/such/directory"]
    assert done.setting("engine", "hooks_dir") == ["/no/such/directory", "/usr"]
    assert done.environment["DOCKER_OPTS"] == "--x"
    assert list(done.all("proxy")) == ["HTTPS_PROXY"]
    assert (done.one("info"), done.one("info_ok"), done.text("info_error")) == ("{}", "yes", "careful")
    assert list(done.all("unwatched")) == ["nanoclaw-x"]


def test_podman_is_not_asked_where_it_was_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    told = f"echo asked >>{tmp_path}/asked; {PROGRAMS['podman']}"
    host = FakeHost(tmp_path, {"podman": told, "docker": "echo Docker version 26.1.5", "id": "echo 1500"})
    done = look(host)
    assert "info" not in done.seen
    assert (tmp_path / "asked").read_text() == "asked\n"  # for its version alone
    assert list(home.iterdir()) == []


def test_a_podman_that_hangs_is_a_finding_and_no_hanging_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.local/share/containers/storage").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(snapshot, "_EACH_BOUND", 0.5)
    host = FakeHost(tmp_path, {"podman": "exec sleep 60", "docker": "exec sleep 60", "id": "echo 1500"})
    begun = time.monotonic()
    found = [each.entry.id for each in findings(look(host), ENTRIES)]
    assert time.monotonic() - begun < 20
    assert "docker-info-fails" in found


@pytest.mark.parametrize("where", ["docker --version", "podman --version", "podman info", "podman info >&2", "node"])
def test_no_program_of_the_host_fills_the_memory(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the shell's, which keeps a line as well as what it substitutes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".local" / "share" / "containers" / "storage").mkdir(parents=True)
    program, _, rest = where.partition(" ")
    flood = f"head -c 300000000 /dev/zero | tr '\\0' x {'>&2' if '>&2' in rest else ''}; exit 1"
    programs = {
        "id": "echo 1500",
        "docker": "echo other",
        "podman": "echo podman version 5.4.2",
        "node": "echo v22.1.0",
    }
    asked = rest.removesuffix(">&2").strip()
    programs[program] = f'case "$*" in "{asked}"*) {flood} ;; *) {programs[program]} ;; esac'
    host = FakeHost(tmp_path, programs)
    script = (FIXTURES / "doctor" / "look.sh").read_text()
    limited = ["sh", "-c", 'ulimit -v 200000; exec "$@"', "sh", "sh", "-c", script, "look.sh", "60"]  # KiB
    done = host.run(limited, timeout=120)
    assert done.returncode == 0, done.stderr[-300:]
    assert "info_ok" not in parse(done.stdout) or "info" not in asked
    assert len(done.stdout_bytes) < 2 << 20


def test_a_host_that_can_not_be_looked_at_is_an_error_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(HostProblem, match="failed with status"):
        look(FakeHost(tmp_path, {"sh": "exit 5"}))


def test_the_report_has_what_was_seen_the_fix_and_the_link(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(snapshot, "look", lambda _: looked(without("newuidmap", "linger")))
    assert doctor.doctor() is Exit.CASE_FAILED
    told = capsys.readouterr().out
    assert "me (uid 1500), podman version 5.4.2\n2 entries of the guide apply, the worst first:\n" in told
    assert "newuidmap is missing\n  Seen: there is no newuidmap\n  Fix:  install `uidmap`\n" in told
    assert "  More: docs/TROUBLESHOOTING.md#newuidmap-is-missing" in told
    monkeypatch.setattr(snapshot, "look", lambda _: looked(SOUND))
    assert doctor.doctor("local") is Exit.OK
    assert "Nothing was found" in capsys.readouterr().out


def test_wrong_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.doctor("local", explain="docker: command not found") is Exit.WRONG_USAGE
    assert doctor.doctor("local", profile="stock") is Exit.WRONG_USAGE
    assert doctor.doctor("nowhere") is Exit.WRONG_USAGE
    assert "one at a time" in capsys.readouterr().err


def test_the_look_changes_nothing() -> None:
    script = (FIXTURES / "doctor" / "look.sh").read_text()
    assert " >/" not in script.replace(">/dev/null", "")
    assert "mktemp" not in script
