"""How every benchmark writes down what it measured."""

import argparse
import json
import platform
import statistics
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
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
    """Print what was found, and what it was found by and on; keep it as JSON if there is a path."""
    others = {name: version(name) for name in ("torch", "clustpy") if find_spec(name) is not None}
    about = {
        "command": command,
        "revision": _revision(),
        "options": given(options),
        "versions": manifest.versions() | others,
        "device": manifest.device() | {"processor": _processor()},
    }
    text = json.dumps(about | found, indent=2)
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")


def _revision() -> str | None:
    """Return the commit of this code, "-dirty" after it where files are not as they are there."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _processor() -> str:
    """Return what this machine's processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
