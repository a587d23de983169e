"""How the tests run, and what many of them ask for."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from checks.core.errors import HostProblem
from checks.core.paths import ROOT
from checks.hosts import namespace
from checks.runner.collection import all_cases
from checks.runner.plugin import CaseInfo
from tests import injection
from tests.patience import PATIENCE

# Many examples start processes: on a busy machine that takes as long as it takes. In CI, the same commit gets the same
# result each time: new examples are searched for wherever else the tests run.
settings.register_profile(
    "any-machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def cases() -> list[CaseInfo]:
    """All cases, as ``invoke verify --list`` knows them."""
    return all_cases()


@pytest.fixture(scope="session", autouse=True)
def _clean_checkout() -> Iterator[None]:
    """Fail the run if its tests leave a file in the checkout's top directory."""
    before = set(ROOT.iterdir())
    yield
    left = [path.name for path in set(ROOT.iterdir()) - before if not path.name.startswith(".")]
    assert not left, f"the tests made {left} in the checkout"


@pytest.fixture(scope="session")
def _empty_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a podman and a docker that have nothing and do nothing."""
    directory = tmp_path_factory.mktemp("engine")
    for name in ("podman", "docker"):
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def _empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache_of_the_user_stays_as_it_is(_empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(_empty_cache))


@pytest.fixture(autouse=True)
def _engine_of_this_machine_is_hidden(_empty_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test depend on the Podman of the machine, which may be absent or broken."""
    monkeypatch.setenv("PATH", str(_empty_engine), prepend=os.pathsep)


@pytest.fixture
def podman_of_this_machine(_engine_of_this_machine_is_hidden: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test use the Podman of the machine; skip it where there is none."""
    monkeypatch.setenv("PATH", os.environ["PATH"].split(os.pathsep, 1)[1])
    if shutil.which("podman") is None:
        pytest.skip("needs podman")


@pytest.fixture
def alarm() -> Iterator[None]:
    """Fail a test that blocks."""

    def late(*_: object) -> None:
        pytest.fail(f"timed out after {PATIENCE:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(int(PATIENCE))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, into which the hardening can be installed."""
    return injection.make_home(tmp_path, monkeypatch)


@pytest.fixture
def needs_namespace() -> None:
    """Skip the test where this account can make no user namespace with mounts."""
    try:
        namespace.require()
    except HostProblem as problem:
        pytest.skip(str(problem))
