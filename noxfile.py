"""The development sessions, each with a pinned environment: `nox --list`."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["tests", "lint", "types", "docs"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False

NOT_TESTED = 4  # an exit status of invoke matrix
WITHOUT_SUFFIX = ("fixtures/hardening/docker", "fixtures/injection/harden")  # shell scripts
WITHOUT_AGENT = ("cgroup-v1", "docker-engine", "wsl2-like")  # nanoclaw's whole app needs systemd and Podman
NIGHTLY = tomllib.loads(Path("fixtures/nightly.toml").read_text())["run"]
CODE = ("checks", "benchmarks", "tests", "tasks.py", "noxfile.py", "fixtures/injection", "fixtures/session-driver")


def _install(session: nox.Session) -> None:
    session.install("-q", "-r", "requirements-dev.txt", "-c", "constraints.txt")


def _invoke(session: nox.Session, *arguments: str) -> None:
    """Run a task in .venv, which the sessions for all hosts share."""
    session.run("sh", "-c", ". scripts/lib.sh && ensure_venv", "scripts/lib.sh", external=True)
    session.run(".venv/bin/invoke", *arguments, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the project's own tests. They need no host."""
    _install(session)
    workers = (os.cpu_count() or 1) + 1  # one more than there are CPUs, because many tests wait
    session.run("pytest", "-n", str(workers), "--dist", "loadfile", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the Python with Ruff and the shell scripts with ShellCheck."""
    _install(session)
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    if branchy := session.run("radon", "cc", "--min", "D", "--show-complexity", *CODE, silent=True):
        session.error(f"These functions have too many branches:\n{branchy}")
    scripts = session.run("git", "ls-files", "*.sh", ".ci/run", *WITHOUT_SUFFIX, silent=True, external=True)
    session.run("shellcheck", "-x", *str(scripts).split())


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy."""
    _install(session)
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Check that the rendered documents are up to date."""
    _install(session)
    session.run("invoke", "render", "--check")


@nox.session(venv_backend="none")
def sabotage(session: nox.Session) -> None:
    """Run the mutation tests on debian-13. Run `scripts/install.sh guest` first."""
    _invoke(session, "sabotage", "--host", "debian-13", *session.posargs)


@nox.session(venv_backend="none")
@nox.parametrize("run", [nox.param(each["command"], id=each["name"]) for each in NIGHTLY])
def nightly(session: nox.Session, run: list[str]) -> None:
    """Run a task of fixtures/nightly.toml on a throwaway host. Run `scripts/install.sh guest` first."""
    program, *arguments = run
    if program == "invoke":
        _invoke(session, *arguments, *session.posargs)
    else:
        session.run(program, *arguments, *session.posargs, external=True)


@nox.session(venv_backend="none")
@nox.parametrize("host", sorted(recipe.stem for recipe in Path("fixtures/hosts").glob("*.toml")))
def integration(session: nox.Session, host: str) -> None:
    """Run the verification on a throwaway host, with its expected failures. Run `scripts/install.sh guest` first.

    With $NANOCLAW_DIR, also the cases that start an agent, with the agent of that nanoclaw checkout.
    """
    checkout = os.environ.pop("NANOCLAW_DIR", "")
    try:
        _invoke(session, "matrix", "--host", host, "--at-once", "2", *session.posargs)
        if checkout and host not in WITHOUT_AGENT:
            _invoke(session, "matrix", "--host", host, "--nanoclaw", checkout, *session.posargs)
    except CommandFailed as failed:
        if failed.return_code == NOT_TESTED:
            session.skip(f"{host} was not tested: the package archive of its distribution is unreachable")
        raise
