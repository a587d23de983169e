"""The directories of this checkout, or of the installed package."""

from __future__ import annotations

from pathlib import Path

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
