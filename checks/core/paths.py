"""The directories of this checkout, or of the installed package."""

from __future__ import annotations

import errno
from pathlib import Path

from checks.core.errors import WrongUsage

PACKAGES = Path(__file__).resolve().parents[2]
"""What contains the package ``checks``: the checkout, or site-packages."""
_DATA = PACKAGES / "checks" / "_data"
ROOT = _DATA if _DATA.is_dir() else PACKAGES
"""What contains fixtures, examples and documents."""
FIXTURES = ROOT / "fixtures"
EVIDENCE = ROOT / "evidence"
GUIDE = "docs/TROUBLESHOOTING.md"
DEFAULT_GUEST = "debian-13"
"""The default throwaway host."""
_THERE_IS_NONE = (errno.ENOENT, errno.ENOTDIR)


def expanded(typed: str) -> Path:
    """The path that a user typed; it need not exist. Raises WrongUsage if it can't be one."""
    try:
        path = Path(typed).expanduser()
    except RuntimeError as error:
        raise WrongUsage(f"{typed} can't be expanded: {error}", "Write the path without ~.") from error
    try:
        path.stat()
    except OSError as error:
        if error.errno not in _THERE_IS_NONE:
            raise WrongUsage(f"{typed} can't be opened: {error.strerror}.") from error
    return path
