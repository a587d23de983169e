"""Package mirrors of this machine: the settings of its apt and npm, for builds."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from checks.core import run_directories, tools
from checks.core.lines import lines_of

_APT_CARRIED_OVER = re.compile(r'Acquire::(http|https|Check-Valid-Until|Check-Date|Retries)(::[\w.:/-]+)? "(?!")')
_CERTIFICATES = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
_SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def mirror(archive: str = "debian") -> list[str]:
    """The mirror of ``archive`` in this machine's apt configuration; empty if there is none."""
    wanted = archive.capitalize()
    listed = _output(
        "apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages"
    )
    for line in lines_of(listed):
        origin, label, component, uri = line.split("|", 3)
        if (origin, label, component) == (wanted, wanted, "main") and uri.startswith(("http://", "https://")):
            return [uri]
    return []


def apt_settings() -> list[str]:
    """The settings that this machine's apt needs for its mirror (proxies, retries, expired Release files)."""
    return [line for line in lines_of(_output("apt-config", "dump")) if _APT_CARRIED_OVER.match(line)]


def npm_settings() -> list[str]:
    """The registry of this machine's npm, as a line of an npmrc; empty without npm."""
    with tempfile.TemporaryDirectory(dir=run_directories.cache()) as cache:  # npm would leave a log in the home
        registry = _output("npm", "config", "get", "registry", "--cache", cache).strip()
    return [f"registry={registry}"] if registry.startswith(("http://", "https://")) else []


def certificates() -> bytes:
    """The certificates that this machine trusts, in PEM; empty if none are found."""
    named = [os.environ[name] for name in _CERTIFICATES if os.environ.get(name)]
    for path in (*named, _SYSTEM_CERTIFICATES):
        if Path(path).is_file():
            return Path(path).read_bytes()
    return b""


def _output(*argv: str) -> str:
    return tools.run(argv).stdout if shutil.which(argv[0]) else ""
