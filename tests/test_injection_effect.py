"""What Podman applies of an installation is asked before and after: what has no effect is not installed."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from checks.core.errors import Exit, HostProblem
from checks.core.paths import FIXTURES, ROOT
from checks.engine import probe_container
from checks.hardening.injection import configuration, install
from checks.hardening.injection.state import competing_settings, problems, read_account, require_account
from checks.hosts.local import LocalHost
from tests.fakes import FakeHost
from tests.injection import here, plain, settings, snapshot, tree, write


def test_containers_conf_in_the_environment_is_a_problem(home: Path) -> None:
    install.install(LocalHost(), dry_run=False)
    assert any("CONTAINERS_CONF is set" in each for each in problems(here(own=("CONTAINERS_CONF=/x.conf",))))
    assert any("CONTAINERS_CONF is set" in each for each in problems(here(services=("CONTAINERS_CONF=/x.conf",))))


# What only Podman can tell.

NOT_APPLIED = {
    "a later file without hooks": ("containers.conf.d/99-local.conf", "[engine]\nhooks_dir = []\n", "capabilities"),
    "a later file without userns": ("containers.conf.d/99-local.conf", "[containers]\nuserns = ''\n", "user namespace"),
    "another user is kept": (
        "containers.conf.d/99-local.conf", "[containers]\nuserns = 'keep-id:uid=1000,gid=1000'\n", "user namespace",
    ),
    "no filter of system calls": (
        "containers.conf.d/99-local.conf", "[containers]\nseccomp_profile = 'unconfined'\n", "filter of system calls",
    ),
    "keys of another case": ("containers.conf.d/zz.conf", "[Engine]\nHOOKS_DIR = []\n", "read-only root"),
    "no table": ("containers.conf", "engine = 'x'\n", "reading system config"),
    "no TOML": ("containers.conf", "[engine\n", "reading system config"),
    "no UTF-8": ("containers.conf", "\xff", "reading system config"),
    "a byte order mark": ("containers.conf", "\xef\xbb\xbf[engine]\n", "reading system config"),
    "a table twice": ("containers.conf", "[engine]\n[engine]\n", "reading system config"),
}  # fmt: skip


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("why", NOT_APPLIED)
def test_what_podman_does_not_apply_is_not_installed(home: Path, why: str, dry_run: bool) -> None:
    name, text, message = NOT_APPLIED[why]
    file = write(home, name, text)
    before = snapshot(home)
    with pytest.raises(HostProblem) as problem:
        install.install(LocalHost(), dry_run=dry_run)
    assert message in str(problem.value)
    assert str(file) in str(problem.value)
    assert "/tmp.conf" not in str(problem.value)
    assert snapshot(home) == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_directory_in_place_of_a_file_is_podmans_to_judge(home: Path, dry_run: bool) -> None:
    (settings(home) / "containers.conf").mkdir(parents=True)
    before = snapshot(home)
    with pytest.raises(HostProblem, match="Is a directory"):
        install.install(LocalHost(), dry_run=dry_run)
    assert snapshot(home) == before


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("variable", ["CONTAINERS_CONF_OVERRIDE", "PODMAN_USERNS"])
def test_a_variable_that_overrides_it_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, dry_run: bool
) -> None:
    override = tmp_path / "override.conf"
    override.write_text("[engine]\nhooks_dir = []\n")
    monkeypatch.setenv(variable, str(override) if variable.endswith("OVERRIDE") else "host")
    with pytest.raises(HostProblem, match=f"Also set by: {variable}"):
        install.install(LocalHost(), dry_run=dry_run)
    assert tree(home) == set()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("userns = 'host'", "userns"), ('userns="keep-id:uid=1000,gid=1000"', "userns"), ("userns = ''", "userns"),
        ('userns = "keep-id"', ""), ("userns='keep-id' # wanted", ""), ("hooks_dir = []", "hooks_dir"),
        ("env = ['PODMAN_USERNS=host']", "env"), ("  'A=b', \"PODMAN_USERNS=host\",", "env"), ("env = ['A=b']", ""),
        ("# env = ['PODMAN_USERNS=host']", ""),
    ],
)  # fmt: skip
def test_the_files_that_set_something_else_are_named_and_no_others(home: Path, line: str, named: str) -> None:
    write(home, "containers.conf.d/99-mine.conf", f"[containers]\n{line}\n")
    found = read_account(LocalHost())
    assert [each.rpartition(" ")[2] for each in competing_settings(found)] == ([f"({named})"] if named else [])


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("variable", ["CONTAINERS_CONF_OVERRIDE", "PODMAN_USERNS"])
def test_what_only_a_variable_of_this_shell_sets_is_not_installed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, dry_run: bool
) -> None:
    """nanoclaw's service has no such variable: it would run its agents by what the files set."""
    write(home, "containers.conf.d/99-mine.conf", "[containers]\nuserns = ''\n")
    override = tmp_path / "override.conf"
    override.write_text("[containers]\nuserns = 'keep-id'\n")
    monkeypatch.setenv(variable, str(override) if variable.endswith("OVERRIDE") else "keep-id")
    before = snapshot(home)
    with pytest.raises(HostProblem, match=f"without {variable} of this environment: not in force: user namespace"):
        install.install(LocalHost(), dry_run=dry_run)
    assert snapshot(home) == before


def test_a_preview_shows_what_is_written_then(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "tasks.py")])  # as which messages name another command
    monkeypatch.chdir(ROOT)
    assert install.install(LocalHost(), dry_run=True) == Exit.OK
    preview = capsys.readouterr().out
    assert snapshot(home) == {}
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    written = [
        f"{name} (mode {stat.S_IMODE(mode):o})\n{data.decode()}"
        for name, (mode, data) in snapshot(home).items()
        if stat.S_ISREG(mode)
    ]
    assert written
    assert [text for text in written if text not in preview] == []


def test_a_file_that_is_read_earlier_is_no_obstacle(home: Path) -> None:
    write(home, "containers.conf.d/10-mine.conf", "[engine]\nhooks_dir = []\n[containers]\nuserns = ''\n")
    assert install.install(LocalHost(), dry_run=False) == Exit.OK


@pytest.mark.parametrize("older", [False, True])
def test_what_has_no_effect_once_it_is_in_place_is_taken_back(
    home: Path, monkeypatch: pytest.MonkeyPatch, older: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the byte: an older version of ours, its mode and the user's own files are there again, and nothing else is."""
    write(home, "containers.conf.d/50-mine.conf", "[containers]\nuserns = 'keep-id'\n")
    if older:
        for file in configuration.files(str(settings(home)), "5.4.2", here().settings.within(["pids"])):
            write(home, file.path.removeprefix(f"{settings(home)}/"), file.data).chmod(0o700)
    before = snapshot(home)
    monkeypatch.setenv("FAKE_PODMAN", "only-copies")
    with pytest.raises(HostProblem, match=r"no-new-privileges \(NoNewPrivs 0\).*previous files were restored"):
        install.install(LocalHost(), dry_run=False)
    assert snapshot(home) == before
    assert "In force" not in capsys.readouterr().out


def replace_docker(home: Path, script: str) -> None:
    (home.parent / "bin" / "docker").write_text(f"#!/bin/sh\n{script}\n")


def test_a_docker_that_reads_another_configuration_is_not_in_force(home: Path, tmp_path: Path) -> None:
    replace_docker(home, f'XDG_CONFIG_HOME={tmp_path} exec "${{0%/*}}/podman" "$@"')
    with pytest.raises(HostProblem, match=r"through .*/docker"):
        install.install(LocalHost(), dry_run=False)
    assert not list(settings(home).rglob("*.conf"))


@pytest.mark.parametrize(
    ("subcommand", "changed", "lacking"),
    [
        ("run", '--hooks-dir /tmp "$@"', "capabilities"),
        ("run", 'run --userns=host "$@"', "user namespace"),
    ],
)
def test_a_docker_that_adds_options_to_a_subcommand_is_not_in_force(
    home: Path, subcommand: str, changed: str, lacking: str
) -> None:
    first = "shift\n" if changed.startswith("run") else ""
    replace_docker(
        home,
        f'podman="${{0%/*}}/podman"\n[ "$1" = {subcommand} ] || exec "$podman" "$@"\n{first}exec "$podman" {changed}',
    )
    with pytest.raises(HostProblem, match=rf"through .*/docker {subcommand}: not in force: .*{lacking}"):
        install.install(LocalHost(), dry_run=False)
    assert not list(settings(home).rglob("*.conf"))


def test_another_docker_is_not_claimed_to_be_hardened(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace_docker(home, 'echo "Docker version 26.1.5"')
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    output = capsys.readouterr().out
    assert "Not checked through docker, which nanoclaw calls" in output
    assert "In force from the next container of podman on" in output


def test_installed_and_no_longer_in_force_is_not_reported_as_in_force(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    assert re.search("In force from the next container of .*/docker on", capsys.readouterr().out)
    write(home, "containers.conf.d/99-mine.conf", "[engine]\nhooks_dir = []\n")
    for dry_run in (True, False):
        with pytest.raises(HostProblem, match="left unchanged"):
            install.install(LocalHost(), dry_run=dry_run)
    assert "In force" not in capsys.readouterr().out


def test_hardening_that_lets_no_container_start_is_not_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PODMAN", "no-hardened")
    with pytest.raises(HostProblem, match="no container starts: Error: crun: nothing starts here"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()


def test_where_no_container_starts_anyway_the_runtimes_configuration_tells(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_PODMAN", "no-runtime")
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    printed = capsys.readouterr().out
    assert "No container starts on this host" in printed
    assert "capabilities: CapBnd 0000000000000000" in printed
    assert "Not seen in force" in printed
    write(home, "containers.conf.d/99-mine.conf", "[engine]\nhooks_dir = []\n")
    with pytest.raises(HostProblem, match="not in force: capabilities"):
        install.install(LocalHost(), dry_run=False)


def test_the_environment_of_services_is_asked_too(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nanoclaw's service is started by the user's systemd, which may have variables that no terminal has."""
    runner = tmp_path / "bin" / "systemd-run"
    runner.write_text('#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nPODMAN_USERNS=host exec "$@"\n')
    runner.chmod(0o755)
    with_services = lambda host: plain(read_account(host), services=("PODMAN_USERNS=host",))  # noqa: E731
    monkeypatch.setattr(install, "read_account", with_services)
    with pytest.raises(HostProblem, match="as a service of the user's systemd: not in force: user namespace"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()


RUNNER = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do
    case $1 in --setenv=*) export "${1#--setenv=}" ;; esac
    shift
done
exec "$@"
"""


def unit_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    """Let the account have a unit nanoclaw-v2-x.service with that Environment=."""
    runner, systemctl = tmp_path / "bin" / "systemd-run", tmp_path / "bin" / "systemctl"
    runner.write_text(RUNNER)
    listed = "list-unit-files) echo nanoclaw-v2-x.service enabled enabled ;;"
    shown = f"show) cat <<'EOF'\nEnvironment={environment}\nEOF\n;;"
    options = 'while [ "${1#--}" != "$1" ]; do shift; done'
    systemctl.write_text(f"#!/bin/sh\n{options}\ncase $1 in\n{listed}\n{shown}\n*) exit 1 ;;\nesac\n")
    runner.chmod(0o755)
    systemctl.chmod(0o755)


@pytest.mark.parametrize(
    ("variable", "lacking"),
    [
        ("PODMAN_USERNS=host", "user namespace"),
        ("CONTAINERS_CONF={home}/own.conf", "capabilities"),
        ('"CONTAINERS_CONF_OVERRIDE={home}/own.conf"', "capabilities"),
        ("XDG_CONFIG_HOME={home}/else", "capabilities"),
    ],
)
def test_a_variable_of_nanoclaws_unit_that_goes_round_the_hook_is_found(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, lacking: str
) -> None:
    (tmp_path / "own.conf").write_text("[engine]\nhooks_dir = []\n")
    unit_of(tmp_path, monkeypatch, f"KEY=sk-secret {variable.format(home=tmp_path)}")
    with pytest.raises(HostProblem, match=f"as nanoclaw-v2-x.service: not in force: .*{lacking}"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == {".config"} or tree(home) == set()


def test_only_what_podman_reads_of_a_units_environment_is_kept(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit_of(
        tmp_path,
        monkeypatch,
        '"ANTHROPIC_API_KEY=sk-secret" CONTAINER_TOKEN=sk-secret "PODMAN_USERNS=keep id" PATH=/a:/b TZ=UTC',
    )
    assert here().units["nanoclaw-v2-x.service"].variables == ("PODMAN_USERNS=keep id", "PATH=/a:/b")


def test_a_unit_with_another_docker_is_named_and_not_checked(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "docker").write_text("#!/bin/sh\necho Docker version 28.2.2\n")
    (other / "docker").chmod(0o755)
    unit_of(tmp_path, monkeypatch, f"PATH={other}:/usr/bin:/bin")
    assert install.install(LocalHost(), dry_run=False) == Exit.OK
    printed = capsys.readouterr().out
    assert f"Not checked as nanoclaw-v2-x.service: {other}/docker is not Podman's shim" in printed


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_the_host_has_no_means_for_must_be_accepted(
    home: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "read_account", lambda host: here(controllers=("pids",)))
    with pytest.raises(HostProblem, match=r"memory, cpus can't be set.*--accept-missing"):
        install.install(LocalHost(), dry_run=dry_run)
    assert tree(home) == set()
    shown = capsys.readouterr().out.count("==> ")
    assert (shown > 3) == dry_run, "the changes are printed all the same"
    assert install.install(LocalHost(), dry_run=dry_run, accept_missing=True) == Exit.OK
    assert "Not set: memory, cpus. local does not delegate" in capsys.readouterr().out


def test_a_limit_that_is_not_enforced_must_be_accepted(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_PODMAN", "no-limits")
    with pytest.raises(HostProblem, match=r"pids \(pids.max max\).*--accept-missing"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()
    assert install.install(LocalHost(), dry_run=False, accept_missing=True) == Exit.OK
    assert re.search(r"Not set: .*memory.*\. Podman accepts these limits on local", capsys.readouterr().out)


@pytest.mark.parametrize(
    "printed", ["error\\tA\\n", "created\\teWVzCg==\\nerror\\tabcde\\n", "started\\t=\\303\\251\\n"]
)
def test_what_the_probe_printed_and_can_not_be_decoded_is_the_hosts_problem(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    fixtures = tmp_path / "fixtures"
    fixtures.mkdir()
    (fixtures / "probe-container.sh").write_text(f"printf '{printed}'\n")
    monkeypatch.setattr(probe_container, "FIXTURES", fixtures)
    with pytest.raises(HostProblem, match="asking Podman what it applies printed something unexpected"):
        install.install(LocalHost(), dry_run=False)
    assert tree(home) == set()


@pytest.mark.parametrize("name", ["CORP\\bob", "CORP\\user", 'a"b', "a'b", "a]b#", "ü$(x)`y`", "a\tb"])
def test_the_drop_in_names_the_hooks_directory_whatever_the_home_is_called(name: str) -> None:
    directory = f"/home/{name}/.config/containers"
    conf = tomllib.loads(configuration.drop_in(directory).decode())
    assert conf == {"containers": {"userns": "keep-id"}, "engine": {"hooks_dir": [f"{directory}/nanoclaw-hardening"]}}


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "\udcff"])
def test_a_home_that_no_file_can_name_is_refused(home: Path, name: str) -> None:
    with pytest.raises(HostProblem, match="can't contain"):
        require_account(here(home=f"/home/{name}"))


@pytest.mark.parametrize("length", [48, 49])
def test_a_directory_that_is_too_long_for_podman_is_named(length: int) -> None:
    directory = "/" + "d" * (length - 1)
    script = FIXTURES / "probe-container.sh"
    done = subprocess.run(["sh", str(script), directory, "", "true"], capture_output=True, text=True, check=False)
    assert done.returncode == 1  # neither exists
    assert ("more than 48 characters" in done.stderr) == (length == 49)


def test_the_version_is_known_whatever_podman_thinks_of_a_broken_file(home: Path, tmp_path: Path) -> None:
    directory = tmp_path / "programs"
    directory.mkdir()
    broken = '[ "$CONTAINERS_CONF" = /dev/null ] && echo podman version 5.4.2 || exit 1'
    assert read_account(FakeHost(directory, {"podman": broken})).version == "5.4.2"


def test_a_variable_of_the_shell_does_not_stand_for_a_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "containers.conf.d/99-later.conf", b'[containers]\nuserns = ""\n')
    monkeypatch.setenv("PODMAN_USERNS", "keep-id")
    with pytest.raises(HostProblem, match="without PODMAN_USERNS of this environment: not in force: user"):
        install.install(LocalHost(), dry_run=False)
