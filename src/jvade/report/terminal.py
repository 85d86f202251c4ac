"""What a person sees while a run works, and at its end: a live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text


class Terminal:
    """Prints progress and tables; on a terminal, the step at work is redrawn in place.

    Args:
        console: where to; None means standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.seconds: dict[str, float] = {}
        self._live: Live | None = None
        self._title = ""
        self._begin = 0.0

    def say(self, text: str = "", style: str = "") -> None:
        """Print one line."""
        self.console.print(Text(text, style=style))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time one step of a run, from its first word to its last."""
        self._title, self._begin = title, time.perf_counter()
        if self.console.is_terminal:
            with Live(Text(f"… {title}"), console=self.console, transient=True, refresh_per_second=4) as live:
                self._live = live
                try:
                    yield
                finally:
                    self._live = None
        else:
            yield
        self.seconds[title] = time.perf_counter() - self._begin
        self.say(f"✓ {title}  {self.seconds[title]:.1f} s", "green")

    def progress(self, done: int, total: int, words: str) -> None:
        """Say how far the step is; the time left assumes that it goes on at this pace to the end."""
        elapsed = time.perf_counter() - self._begin
        left = elapsed / max(done, 1) * (total - done)
        line = f"{self._title}: {done}/{total}  {words}  {elapsed:.0f} s, at most {left:.0f} s left"
        if self._live is not None:
            self._live.update(Text(f"… {line}"))
        else:
            self.say(f"  {line}")

    def table(self, title: str, frame: pd.DataFrame, formats: dict[str, str] | None = None) -> None:
        """Print a table; blanks as "–"."""
        formats = formats or {}
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for i, name in enumerate(frame.columns):
            table.add_column(str(name), justify="left" if i == 0 else "right")
        for row in frame.itertuples(index=False):
            table.add_row(*_cells(row, frame.columns, formats))
        self.console.print(table)


def _cells(row: Sequence[Any], columns: Any, formats: dict[str, str]) -> list[str]:
    return [
        "–" if value is None or value != value else format(value, formats.get(str(name), ""))
        for name, value in zip(columns, row, strict=True)
    ]
