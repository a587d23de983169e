"""Every task that takes a host is run on one by something."""

from __future__ import annotations

import tomllib

from checks.cli.tasks import collection
from checks.core.paths import FIXTURES, ROOT
from checks.hosts import recipe

NAMESPACE = collection()
NIGHTLY = tomllib.loads((FIXTURES / "nightly.toml").read_text())
RUN = {each["name"]: each["command"] for each in NIGHTLY["run"]}


def test_every_task_that_takes_a_host_is_run_on_a_throwaway_one() -> None:
    takers = {
        name
        for name in NAMESPACE.task_names
        if any(argument.name == "host" for argument in NAMESPACE[name].get_arguments())
    }
    of_invoke = {command[1] for command in RUN.values() if command[0] == "invoke"}
    assert takers == of_invoke | NIGHTLY["sessions"].keys()


def test_what_is_run_at_night_names_a_throwaway_host() -> None:
    for name, command in RUN.items():
        if name != "reproduce":  # which has a host for each of its entries
            assert command[command.index("--host") + 1] in recipe.known()


def test_the_sessions_are_there() -> None:
    sessions = (ROOT / "noxfile.py").read_text()
    for session in (*NIGHTLY["sessions"].values(), "nightly"):
        assert f"\ndef {session}(session" in sessions


def test_the_workflow_runs_the_sessions_at_night() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "nox -s nightly --list --json" in workflow
    for session in NIGHTLY["sessions"].values():
        assert f"nox -s {session}" in workflow
