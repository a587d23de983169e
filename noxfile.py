"""Sessions that pin environments: `nox --list`."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["tests", "lint", "types", "docs"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False

NOT_TESTED = 4  # exit status of invoke matrix
NIGHTLY = tomllib.loads(Path("fixtures/nightly.toml").read_text())["run"]
CODE = ("checks", "benchmarks", "tests", "tasks.py", "noxfile.py")


def _install(session: nox.Session) -> None:
    session.install("-q", "-r", "requirements-dev.txt", "-c", "constraints.txt")


def _invoke(session: nox.Session, *words: str) -> None:
    """A task, in the project's own environment: one for every host, made once."""
    session.run("sh", "-c", ". scripts/lib.sh && ensure_venv", "scripts/lib.sh", external=True)
    session.run(".venv/bin/invoke", *words, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """The project's own tests; they need no host."""
    _install(session)
    workers = (os.cpu_count() or 1) + 1  # one more than can run: many a test waits
    session.run("pytest", "-n", str(workers), "--dist", "loadfile", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff over the Python, shellcheck over the shell."""
    _install(session)
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    scripts = session.run("git", "ls-files", "*.sh", ".ci/run", "fixtures/hardening/docker", silent=True, external=True)
    session.run("shellcheck", "-x", *str(scripts).split())


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    _install(session)
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Rendered documents are what their sources say."""
    _install(session)
    session.run("invoke", "render-parallel", "--check")
    session.run("invoke", "render-compatibility", "--check")
    session.run("invoke", "wslconfig", "--check")
    session.run("invoke", "render-injection", "--check")
    session.run("invoke", "render-troubleshooting", "--check")
    session.run("invoke", "render-security", "--check")
    session.run("invoke", "render-trust", "--check")
    session.run("invoke", "render-schema", "--check")


@nox.session(venv_backend="none")
def sabotage(session: nox.Session) -> None:
    """The cases against a docker that misbehaves, on debian-13. Needs scripts/install.sh guest."""
    _invoke(session, "sabotage", "--host", "debian-13", *session.posargs)


@nox.session(venv_backend="none")
@nox.parametrize("run", [nox.param(each["command"], id=each["name"]) for each in NIGHTLY])
def nightly(session: nox.Session, run: list[str]) -> None:
    """A task on a throwaway host, as fixtures/nightly.toml has it. Needs scripts/install.sh guest."""
    program, *words = run
    if program == "invoke":
        _invoke(session, *words, *session.posargs)
    else:
        session.run(program, *words, *session.posargs, external=True)


@nox.session(venv_backend="none")
@nox.parametrize("host", sorted(recipe.stem for recipe in Path("fixtures/hosts").glob("*.toml")))
def integration(session: nox.Session, host: str) -> None:
    """The verification on one throwaway host, judged by what is known of it. Needs scripts/install.sh guest."""
    try:
        _invoke(session, "matrix", "--host", host, "--at-once", "2", *session.posargs)
    except CommandFailed as failed:
        if failed.return_code == NOT_TESTED:
            session.skip(f"{host} is unproven: the archive of its distribution can't be reached from here")
        raise
