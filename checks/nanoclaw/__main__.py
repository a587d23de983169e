"""What tests/smoke.sh runs."""

from __future__ import annotations

import sys

from checks.core.entry_point import entering, leave

with entering():
    from checks.nanoclaw.smoke import main

    leave(main(sys.argv[1:]))
