"""How long a test waits for what must happen, and the signals of what it starts."""

from __future__ import annotations

PATIENCE = 120.0
"""Seconds for what takes one on a quiet machine: under load, everything takes longer, and that is no failure."""
AT_ONCE = 50.0
"""Seconds within which something ends that would take a minute if it were wrong."""

DEFAULT_SIGNALS = ("env", "--default-signal=HUP,INT,TERM")
"""Before a command that a test sends signals: nohup, or a shell's “&”, may have made the tests ignore them."""
