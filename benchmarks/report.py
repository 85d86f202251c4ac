"""How every benchmark writes down what it measured."""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jvade.paper import manifest


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median of repeats and their range."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def write(command: str, options: argparse.Namespace, found: dict[str, Any], path: Path | None) -> None:
    """Print what was found, with command, versions and device, and keep it as JSON if there is a path."""
    given = {name: value for name, value in vars(options).items() if not isinstance(value, Path | None)}
    about = {
        "command": command,
        "options": given,
        "versions": manifest.versions(),
        "device": manifest.device(),
    }
    text = json.dumps(about | found, indent=2)
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
