"""How the tests run."""

from __future__ import annotations

from hypothesis import settings

# Many examples start processes: on a busy machine that takes as long as it takes.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
