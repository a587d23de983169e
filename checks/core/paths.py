"""The directories of this checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
EVIDENCE = ROOT / "evidence"
GUIDE = "docs/TROUBLESHOOTING.md"
DEFAULT_GUEST = "debian-13"
"""The default throwaway host."""
