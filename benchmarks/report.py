"""How every benchmark writes down what it measured."""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jvade import atomic, manifest


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of repeats and their range."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options but the files among them."""
    return {name: value for name, value in vars(options).items() if not isinstance(value, Path | None)}


class Kept:
    """What a long benchmark has found so far, beside its `--out`: the same command goes on after a stop.

    Args:
        options: of the command; what was found under others counts for nothing. Code is not compared: remove
            the file after a change.

    Attributes:
        found: to be filled.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, out = given(options), options.out
        self._path = None if out is None else out.with_name(f".unfinished-{out.name}")
        self.found: dict[str, Any] = {}
        if self._path is not None and self._path.exists():
            before = json.loads(self._path.read_text(encoding="utf-8"))
            if before["options"] == self._options:
                self.found = before["found"]

    def write(self) -> None:
        """Keep it."""
        if self._path is not None:
            text = json.dumps({"options": self._options, "found": self.found})
            atomic.write(self._path, lambda file: file.write_text(text, encoding="utf-8"))

    def remove(self) -> None:
        """Remove it: the benchmark is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def write(command: str, options: argparse.Namespace, found: dict[str, Any], path: Path | None) -> None:
    """Print what was found, with command, versions and device, and keep it as JSON if there is a path."""
    about = {
        "command": command,
        "options": given(options),
        "versions": manifest.versions(),
        "device": manifest.device(),
    }
    text = json.dumps(about | found, indent=2)
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
