#!/usr/bin/env python3
"""Draw what a terminal showed as an SVG picture: `tmux capture-pane -e -p | terminal-picture.py TITLE > FILE.svg`."""

from __future__ import annotations

import io
import re
import sys

from rich.console import Console
from rich.text import Text

shown = Text.from_ansi(sys.stdin.read().rstrip("\n"))
console = Console(record=True, width=max(len(line) for line in shown.plain.splitlines()) + 1, file=io.StringIO())
console.print(shown)
svg = console.export_svg(title=sys.argv[1])
# No web fonts: a picture in a document must not call anyone.
print(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))
