"""Progress of long steps on standard error: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import IO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment

from checks.core import terminal


class Console(RichConsole):
    """A console that cleans all text before it reaches the screen."""

    prepared: Callable[[str], str] = staticmethod(terminal.clean)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else self.prepared(text), style, control)


class _PlainConsole(Console):
    prepared = staticmethod(terminal.shown)


def plain_console(*, error: bool = False, file: IO[str] | None = None) -> Console:
    """A console for plain lines, without wrapping and markup: standard output, standard error or ``file``."""
    return _PlainConsole(stderr=error, file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)


def counted(progress: Progress, label: str, number: int, total: int) -> AbstractContextManager[None]:
    """A step that says which of how many it is; on a terminal only, because a report of the cases follows."""
    return progress.step(f"{label} ({number} of {total})") if progress.live else contextlib.nullcontext()


class Progress:
    """Reports steps that take time.

    On a terminal, a step is a spinner that disappears at its end; elsewhere, a line when it starts.
    """

    def __init__(self, shown: Console | None = None) -> None:
        self._console = shown or plain_console(error=True)
        self._bars: Bars | None = None

    @property
    def live(self) -> bool:
        """Whether steps are shown as spinners."""
        return self._console.is_terminal

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Report a step until the block ends. Steps may nest."""
        if not self.live:
            self.say(f"{what} …")
            yield
            return
        outermost = self._bars is None
        bars = self._bars = self._bars or self._new_bars()
        task = bars.add_task(what)
        try:
            yield
        finally:
            bars.remove_task(task)
            if outermost:
                bars.stop()
                self._bars = None

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line)

    def _new_bars(self) -> Bars:
        # Without redirecting stdout: the report may go elsewhere.
        bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        bars.start()
        return bars
