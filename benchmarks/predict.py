"""Time and memory of `jvade predict`: a year of visits placed by a robust model, as a user runs it.

    .venv/bin/python benchmarks/predict.py --out benchmarks/results/predict.json

A simulated district is written once as raw visits. The model is fitted to a smaller one for a few epochs:
how well it clusters changes nothing of the time. Every repeat is a process of its own, from its start to its
end: from the features (a Parquet table, as `jvade features` writes it), and from the raw visits through the
mapping.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import report

from jvade.data.district import tables


def jvade(*words: str | Path) -> tuple[float, float]:
    """Run a command of jvade; return its seconds and its peak memory, GB (sampled)."""
    begin = time.perf_counter()
    code = "from jvade.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.DEVNULL)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if process.wait() != 0:
        raise SystemExit(f"jvade {words[0]} failed")
    return time.perf_counter() - begin, peak / 1e9


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Time and memory of jvade predict.")
    parser.add_argument("--visits", type=int, default=3_650_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jvade-") as temp:
        folder = Path(temp)
        for name, visits in (("small", 50_000), ("year", options.visits)):
            tables.write(folder / name, visits, round(visits * 57 / 365), seed=42)
        mapping = folder / "small" / "mapping.toml"
        jvade("fit", "--visits", folder / "small" / "visits", "--mapping", mapping, "--out", folder / "model",
              "--training.max-epochs", "2")  # fmt: skip
        year = ("--visits", folder / "year" / "visits", "--mapping", folder / "year" / "mapping.toml")
        jvade("features", *year, "--out", folder / "features")
        sources = {"features": ("--table", folder / "features" / "features.parquet"), "raw visits": year}
        found = {}
        for name, source in sources.items():
            command = ("predict", "--model", folder / "model", "--out", folder / "clusters.parquet", *source)
            runs = [jvade(*command) for _ in range(options.repeats)]
            found[name] = {
                "seconds": report.spread([seconds for seconds, _ in runs]),
                "peak_memory_gb": report.spread([peak for _, peak in runs]),
            }
            print(name, json.dumps(found[name]), flush=True)
    report.write("benchmarks/predict.py", options, {"from": found}, options.out)


if __name__ == "__main__":
    main()
