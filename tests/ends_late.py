"""A process that runs until it is interrupted, and leaves a file where it has cleaned up."""

import sys
import time
from pathlib import Path

from checks.core.errors import Interrupted
from checks.core.signals import raising

with raising():
    try:
        print("ready", flush=True)
        time.sleep(600)
    except Interrupted:
        Path(sys.argv[1]).touch()
