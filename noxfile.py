"""Sessions that pin environments: `nox --list`."""

from __future__ import annotations

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False

CODE = ("checks", "tests", "tasks.py", "noxfile.py")


def _install(session: nox.Session) -> None:
    session.install("-q", "-r", "requirements-dev.txt", "-c", "constraints.txt")


@nox.session
def tests(session: nox.Session) -> None:
    """The project's own tests; they need no host."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff over the Python, shellcheck over the shell."""
    _install(session)
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    scripts = session.run("git", "ls-files", "*.sh", ".ci/run", silent=True, external=True)
    session.run("shellcheck", "-x", *str(scripts).split())


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    _install(session)
    session.run("mypy")


@nox.session(venv_backend="none")
def integration(session: nox.Session) -> None:
    """The verification itself, on the throwaway host debian-13."""
    session.run("invoke", "verify", "--host", "debian-13", *session.posargs, external=True)
