"""What a person sees while a run works, and at its end: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jvade import interrupts

#: Seconds between two plain lines of one part, so that a log stays readable.
PLAIN_SECONDS = 5.0


class Terminal:
    """Prints progress and tables; on a terminal, the step at work is redrawn in place.

    Args:
        console: where to; None means standard output, 160 characters wide where it is no terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 160)
        self.seconds: dict[str, float] = {}
        self._live: Live | None = None
        self._part_begin = self._said = time.perf_counter()

    def say(self, text: str = "", style: str = "") -> None:
        """Print one line."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time one step of a run, from its first word to its last."""
        begin = time.perf_counter()
        if self.console.is_terminal:
            with Live(Text(f"… {title}"), console=self.console, transient=True, refresh_per_second=4) as live:
                self._live = live
                try:
                    yield
                finally:
                    self._live = None
        else:
            yield
        self.seconds[title] = time.perf_counter() - begin
        self.say(f"✓ {title}  {self.seconds[title]:.1f} s", "green")

    def progress(self, part: str, done: int, total: int, words: str = "", begun: int = 0) -> None:
        """Say how far one part of the step is; `done` equal to `begun` begins it.

        The time left assumes that the part goes on to its end at the pace since then.

        Raises:
            KeyboardInterrupt: ctrl-C got lost before; see `interrupts`.
        """
        interrupts.check()
        now = time.perf_counter()
        if done == begun:
            self._part_begin = self._said = now
        elapsed = now - self._part_begin
        left = f", at most {elapsed / (done - begun) * (total - done):.0f} s left" if done > begun else ""
        line = f"{part}: {done}/{total} {words} ({elapsed:.0f} s{left})"
        if self._live is not None:
            self._live.update(Text(f"… {line}"))
        elif done == total or now - self._said > PLAIN_SECONDS:
            self._said = now
            self.say(f"  {line}")

    def table(self, title: str, frame: pd.DataFrame) -> None:
        """Print a table of words and numbers that are already text."""
        self.say(title, "bold")
        table = Table(box=None, padding=(0, 2, 0, 0))
        for i, name in enumerate(frame.columns):
            table.add_column(str(name), justify="left" if i == 0 else "right", no_wrap=i == 0)
        for row in frame.itertuples(index=False):
            table.add_row(*map(str, row))
        self.console.print(table)
