"""The shell scripts that people type, in a copy of the project without an environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checks.core.paths import ROOT

PIP = 'case "$*" in *"-m pip"*) exit "${PIP_STATUS-0}" ;; esac'


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The scripts, what they read, and programs of the test's own first on PATH: no package is installed."""
    directory = tmp_path / "copy"
    shutil.copytree(ROOT / "scripts", directory / "scripts")
    (directory / "tests").mkdir()
    for name in ("tests/smoke.sh", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, directory / name)
    (directory / "tasks.py").write_text("import os, sys\nprint(os.getcwd(), *sys.argv)\n")
    # A python3 whose venv contains a fake python.
    program(
        tmp_path / "bin" / "python3",
        f"""case "$*" in
*"-m venv"*) for directory; do :; done; set -- "$directory"
    mkdir -p "$1/bin" && printf '#!/bin/sh\\n{PIP}\\nexec {sys.executable} "$@"\\n' >"$1/bin/python"
    chmod +x "$1/bin/python" ;;
*) exec {sys.executable} "$@" ;;
esac""",
    )
    program(tmp_path / "bin" / "dpkg-query", "exit 1")
    program(tmp_path / "bin" / "sudo", '"$@"')
    program(tmp_path / "bin" / "apt-get", "echo 'E: Could not get lock /var/lib/dpkg/lock-frontend.' >&2; exit 100")
    return directory


def program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(copy: Path, typed: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Type it in a directory that is not the project's."""
    environment = {**os.environ, "PATH": f"{copy.parent / 'bin'}:{os.environ['PATH']}", **settings}
    return subprocess.run(
        ["sh", "-c", typed.replace("COPY", str(copy))], cwd=copy.parent, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("COPY/scripts/verify-podman-compat.sh --help", "--install"),
        ("COPY/scripts/verify-podman-compat.sh --install --host x -h", "--install"),
        ("COPY/scripts/test.sh --install --help", "--install"),
        ("COPY/scripts/install.sh guest --help", "install.sh guest"),
        ("COPY/tests/smoke.sh --help", "--nanoclaw DIR"),
        ("COPY/tests/smoke.sh -h", "--nanoclaw DIR"),
        ("COPY/tests/smoke.sh --read-only --help", "--nanoclaw DIR"),
    ],
)
def test_help_is_printed_and_nothing_else_is_done(typed: str, named: str, copy: Path) -> None:
    done = run(copy, typed)
    assert (done.returncode, done.stderr) == (0, "")
    assert named in done.stdout
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize(
    "typed",
    [
        "COPY/scripts/install.sh guest",
        "COPY/scripts/verify-podman-compat.sh --install",
        "COPY/scripts/test.sh --install",
    ],
)
def test_apt_that_is_locked_is_status_3_with_one_line_of_ours(typed: str, copy: Path) -> None:
    done = run(copy, typed)
    assert done.returncode == 3
    assert "apt-get update failed with status 100" in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith(("E:", "Installing"))]) == 1


def test_what_else_fails_in_a_script_is_status_3(copy: Path) -> None:
    assert run(copy, "COPY/scripts/invoke.sh hosts", PIP_STATUS="1").returncode == 3
    (copy / "scripts" / "install.sh").write_text("#!/bin/sh\nexit 1\n")
    done = run(copy, "COPY/scripts/test.sh --install")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "a step of test.sh exited with status 1" in done.stderr


def test_invoke_works_from_any_directory_and_keeps_the_callers_and_its_options(copy: Path) -> None:
    assert (
        run(copy, "COPY/scripts/invoke.sh inject --install").stdout
        == f"{copy.parent} {copy}/tasks.py inject --install\n"
    )
    again = run(copy, "ln -s COPY/.venv/bin/invoke link; PATH=COPY/.venv/bin:$PATH; invoke a; inv b; ./link c")
    assert again.stdout == "".join(f"{copy.parent} {copy}/tasks.py {word}\n" for word in "abc")
    assert again.stderr == ""


@pytest.mark.parametrize("name", ["PYTHONIOENCODING", "PYTHONHOME"])
def test_a_variable_that_no_python_starts_with_is_no_matter(name: str, copy: Path) -> None:
    done = run(copy, "COPY/scripts/invoke.sh hosts", **{name: "/no/such:nonsense"})
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr


def test_an_environment_is_renewed_after_its_clone_moved_or_its_python_went(copy: Path) -> None:
    assert run(copy, "COPY/scripts/invoke.sh a").returncode == 0
    moved = copy.rename(copy.parent / "moved clone")
    again = run(moved, "'COPY/.venv/bin/invoke' a")
    assert "Creating a Python environment" in again.stderr
    assert again.stdout == f"{copy.parent} {moved}/tasks.py a\n"
    assert run(moved, "'COPY/.venv/bin/invoke' a").stderr == ""
    (moved / ".venv" / "bin" / "python").unlink()
    assert run(moved, "'COPY/.venv/bin/invoke' a").stdout == again.stdout


def test_an_environment_that_others_can_write_is_not_used(copy: Path) -> None:
    assert run(copy, "umask 0; COPY/scripts/invoke.sh a").returncode == 0
    assert [each for each in (copy / ".venv").rglob("*") if each.lstat().st_mode & 0o22 and not each.is_symlink()] == []
    (copy / ".venv" / "bin" / "python").chmod(0o775)
    again = run(copy, "COPY/scripts/invoke.sh a")
    assert (again.returncode, again.stderr.count("Creating a Python environment")) == (0, 1)
    assert run(copy, "COPY/scripts/invoke.sh a").stderr == ""


def test_a_file_system_without_modes_is_named_once_and_keeps_the_environment(copy: Path) -> None:
    program(copy.parent / "bin" / "chmod", 'case "$*" in *go-w*) ;; *) exec /bin/chmod "$@" ;; esac')
    python = copy.parent / "bin" / "python3"
    python.write_text(python.read_text().replace('chmod +x "$1/bin/python"', 'chmod 777 "$1/bin/python"'))
    first, again = run(copy, "COPY/scripts/invoke.sh a"), run(copy, "COPY/scripts/invoke.sh a")
    assert (first.returncode, again.returncode) == (0, 0)
    assert "Other accounts can write" in first.stderr
    assert again.stderr == ""


def test_first_calls_at_once_make_one_environment(copy: Path) -> None:
    python = (
        (copy.parent / "bin" / "python3").read_text().replace("mkdir -p", 'printf . >>"$1.made"; sleep 1; mkdir -p')
    )
    (copy.parent / "bin" / "python3").write_text(python)
    done = run(copy, "for word in a b c; do COPY/scripts/invoke.sh $word & done; wait")
    assert sorted(done.stdout.splitlines()) == [f"{copy.parent} {copy}/tasks.py {word}" for word in "abc"]
    assert (copy / ".venv.made").read_text() == "."


def test_an_environment_is_not_rebuilt_while_a_command_runs_in_it(copy: Path) -> None:
    (copy / "tasks.py").write_text("import sys, time\ntime.sleep(float(sys.argv[1]))\nprint(*sys.argv[1:])\n")
    script = "COPY/scripts/invoke.sh 0; COPY/scripts/invoke.sh 2 & sleep 0.7; echo '# changed' >>COPY/requirements.txt"
    done = run(copy, f"{script}; COPY/scripts/invoke.sh 0.1; wait")
    assert done.stdout == "0\n2\n0.1\n"
    assert done.stderr.count("waiting …") == 1
    assert done.stderr.count("Creating") == 2


def test_an_environment_without_its_packages_is_not_kept(copy: Path) -> None:
    (copy / "requirements.txt").write_text("no-such-package~=1.0\n")
    done = run(copy, "COPY/scripts/invoke.sh a")
    assert done.returncode == 3
    assert "no-such-package" in done.stderr
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize("module", ["venv", "ensurepip", "pip", "sysconfig"])
def test_no_module_of_the_current_directory_is_imported(copy: Path, tmp_path: Path, module: str) -> None:
    # Any account may have put one into a directory that all accounts share.
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / f"{module}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (tmp_path / "bin" / "python3").unlink()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    subprocess.run(
        [copy / "scripts" / "verify-podman-compat.sh", "--list"],
        cwd=shared,
        capture_output=True,
        check=False,
        env={**os.environ, "PATH": path, "PIP_NO_INDEX": "1", "HOME": str(tmp_path)},
    )
    assert not (tmp_path / "ran").exists()


def only(copy: Path, *names: str) -> str:
    """A PATH with a few programs of this machine, and those of the test that are named."""
    directory = copy.parent / "only"
    directory.mkdir()
    tools = ["sh", "env", "dirname", "sed", "id", "grep", "head", "cut", "cat", "cksum", "readlink", "ls"]
    for name in tools:
        (directory / name).symlink_to(str(shutil.which(name)))
    for name in names:
        program(directory / name, f'echo "{name} $*" >>"{copy.parent}/log"')
    program(directory / "sudo", '"$@"')
    return str(directory)


@pytest.mark.parametrize(
    ("manager", "first"),
    [
        ("dnf", "dnf install -y podman crun shadow-utils"),
        ("pacman", "pacman -S --needed --noconfirm podman crun shadow"),
        ("zypper", "zypper --non-interactive install podman crun shadow"),
        ("apk", "apk add podman crun shadow-subids"),
    ],
)
def test_other_package_managers_install_podman_and_the_shim_and_are_said_to_be_untested(
    manager: str, first: str, copy: Path
) -> None:
    done = run(copy, "COPY/scripts/install.sh podman", PATH=only(copy, manager))
    assert done.returncode == 0, done.stderr
    lines = [line for line in (copy.parent / "log").read_text().splitlines() if "docker" in line or "crun" in line]
    assert lines[0].startswith(first)
    assert lines[-1].endswith(" podman-docker")
    assert f"Not tested with {manager}: " in done.stderr


def test_a_set_that_is_known_for_debian_only_is_status_3_and_named(copy: Path) -> None:
    done = run(copy, "COPY/scripts/install.sh python guest", PATH=only(copy, "dnf"))
    assert done.returncode == 3
    assert "The package set 'guest' is known for Debian only" in done.stderr
    assert not (copy.parent / "log").exists()


def test_without_a_package_manager_the_packages_are_named(copy: Path) -> None:
    done = run(copy, "COPY/scripts/install.sh podman", PATH=only(copy))
    assert done.returncode == 3
    assert "podman-docker" in done.stderr


def test_a_docker_of_another_package_is_not_replaced(copy: Path) -> None:
    path = only(copy, "apt-get")
    program(
        Path(path) / "dpkg-query", 'case "$*" in -S*) echo docker.io: /usr/bin/docker ;; *) echo ok installed ;; esac'
    )
    program(Path(path) / "docker", "echo Docker version 26.1.5")
    done = run(copy, "COPY/scripts/install.sh podman", PATH=path)
    assert done.returncode == 0, done.stderr
    assert "/usr/bin/docker belongs to the package docker.io" in done.stderr
    assert not (copy.parent / "log").exists()


def test_a_docker_that_stays_first_on_path_is_named_with_the_ways_to_change_that(copy: Path) -> None:
    path = only(copy, "apt-get")
    program(Path(path) / "dpkg-query", 'case "$*" in *podman-docker | -S*) exit 1 ;; *) echo ok installed ;; esac')
    program(Path(path) / "docker", "echo Docker version 26.1.5")
    done = run(copy, "COPY/scripts/install.sh podman", PATH=path)
    assert "podman-docker" in (copy.parent / "log").read_text()
    assert f"mv {path}/docker {path}/docker.not-podman" in done.stderr


def test_what_podman_only_recommends_is_installed_where_podman_is_there_without_it(copy: Path) -> None:
    path = only(copy, "apt-get")
    program(Path(path) / "dpkg-query", 'case "$*" in *slirp4netns | *passt) exit 1 ;; *) echo ok installed ;; esac')
    program(Path(path) / "apt-cache", 'case "$*" in *passt) exit 100 ;; *) echo Package ;; esac')
    program(Path(path) / "docker", "echo podman version 4.3.1")
    done = run(copy, "COPY/scripts/install.sh podman", PATH=path)
    assert done.returncode == 0, done.stderr
    assert (copy.parent / "log").read_text().splitlines()[-1].endswith("install -y --no-install-recommends slirp4netns")


def test_a_shim_that_is_there_is_left(copy: Path) -> None:
    path = only(copy, "apt-get")
    program(Path(path) / "dpkg-query", "echo ok installed")
    program(Path(path) / "docker", "echo podman version 5.4.2")
    done = run(copy, "COPY/scripts/install.sh podman", PATH=path)
    assert (done.returncode, done.stderr) == (0, "Installed. docker is Podman's: podman version 5.4.2.\n")
