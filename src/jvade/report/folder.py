"""A run's folder: every file appears whole or not at all, and the manifest comes last."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import BboxBase

from jvade import atomic
from jvade.report.figures.style import STYLE

MANIFEST = "run.json"


def save(figure: Figure, kind: str, metadata: dict[str, None], box: BboxBase, path: Path) -> None:
    """Save what lies in a box (inches) of a figure under the one style, as whichever kind of file."""
    with mpl.rc_context(STYLE):
        figure.savefig(path, format=kind, metadata=metadata, bbox_inches=box)


class RunFolder:
    """Writes a run's tables and figures atomically; without a manifest a folder is no finished run.

    Args:
        path: the folder; made, and an older manifest removed, when the first file is written. So a run that
            ends early cannot pass for a finished one, and one that cannot begin changes nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: list[str] = []

    def file(self, name: str, write: Callable[[Path], Any]) -> Path:
        """Let `write` make a file; see `atomic.write`."""
        if not self.written:
            (self.path / MANIFEST).unlink(missing_ok=True)
        target = atomic.write(self.path / name, write)
        self.written.append(name)
        return target

    def table(self, name: str, table: pd.DataFrame, index: bool = False) -> Path:
        """Write a table as CSV; numbers keep ten digits, blanks stay empty."""
        return self.file(f"{name}.csv", lambda path: table.to_csv(path, index=index, float_format="%.10g"))

    def figure(self, name: str, figure: Figure) -> None:
        """Write a figure as PNG and SVG, the same bytes for the same figure."""
        with mpl.rc_context(STYLE):
            figure.draw_without_rendering()
            # Laid out and measured once, not for each kind of file.
            figure.set_layout_engine(None)
            box = figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            self.file(f"{name}.{kind}", partial(save, figure, kind, metadata, box))

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
