"""A run's folder: every file appears whole or not at all, and the manifest comes last."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jvade import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANIFEST = "run.json"


class RunFolder:
    """Writes a run's tables and figures atomically; without a manifest a folder is no finished run.

    Args:
        path: the folder; made, and an older manifest removed, when the first file is written. So a run that
            ends early cannot pass for a finished one, and one that cannot begin changes nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: list[str] = []

    def begin(self) -> None:
        """Remove an older manifest: until its end this is no finished run. The first file does it too."""
        (self.path / MANIFEST).unlink(missing_ok=True)

    def file(self, name: str, write: Callable[[Path], Any], private: bool = False) -> Path:
        """Let `write` make a file; see `atomic.write`."""
        if not self.written:
            self.begin()
        target = atomic.write(self.path / name, write, private)
        self.written.append(name)
        return target

    def table(self, name: str, table: pd.DataFrame, index: bool = False) -> Path:
        """Write a table as CSV; numbers keep ten digits, blanks stay empty."""
        return self.file(f"{name}.csv", lambda path: table.to_csv(path, index=index, float_format="%.10g"))

    def figure(self, name: str, figure: "Figure") -> None:
        """Write a figure as PNG and SVG, the same bytes for the same figure."""
        from jvade.report.figures.style import writers  # matplotlib takes a second to load

        for kind, write in writers(figure).items():
            self.file(f"{name}.{kind}", write)

    def text(self, name: str, text: str) -> Path:
        """Write a text."""
        return self.file(name, lambda path: path.write_text(text, encoding="utf-8"))

    def finish(self, manifest: dict[str, Any], files: Sequence[str] | None = None) -> Path:
        """Write the manifest, with the files of the run; from here on the folder is a finished run.

        Args:
            manifest: everything else it says.
            files: names; those written by this folder if not given.
        """
        files = self.written if files is None else files
        text = json.dumps(manifest | {"files": list(files)}, indent=2, ensure_ascii=False) + "\n"
        return self.text(MANIFEST, text)
