"""What each stage of the study takes.

    .venv/bin/python benchmarks/stages.py --out benchmarks/results/stages.json

Runs `jvade paper` anew, each time as a process of its own in an empty folder without a compilation cache, and
reports seconds by stage (with the compilation of their programs) and the peak memory. With `--of RUN`, of a
finished run that is there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import report


def run(preset: str) -> dict[str, Any]:
    """Return the manifest of one run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        code = "from jvade.cli import main; main()"
        environment = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
        subprocess.run(
            [sys.executable, "-c", code, "paper", "--preset", preset, "--out", str(out)],
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return manifest(out)


def manifest(out: Path) -> dict[str, Any]:
    """Return what a run says of itself."""
    return json.loads((out / "run.json").read_text(encoding="utf-8"))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Seconds of each stage of the study.")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--of", type=Path, metavar="RUN", help="folder of a finished run, in place of new ones"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs = [manifest(options.of)] if options.of else [run(options.preset) for _ in range(options.repeats)]
    seconds = {name: report.spread([one["seconds"][name] for one in runs]) for name in runs[0]["seconds"]}
    memory = report.spread([one["peak_memory_gb"] for one in runs])
    if options.of:
        options.preset, options.repeats = runs[0]["settings"]["preset"], 1
    # What a run says itself that it was made by and on.
    ran = {name: runs[0][name] for name in ("began", "versions", "device")}
    found = {"run": ran, "seconds": seconds, "peak_memory_gb": memory}
    report.write("benchmarks/stages.py", options, found, options.out)


if __name__ == "__main__":
    main()
