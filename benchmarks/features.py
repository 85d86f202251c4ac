"""Seconds and memory from raw visits to features, Parquet to Parquet, as the table grows.

    .venv/bin/python benchmarks/features.py --times 1 10 --json benchmarks/results/features.json

A district is simulated for each size; then a fresh process turns it into features several times. The first
time is cold (imports, and Ibis's own warming up), the others warm; the median is of the warm ones. Peak
memory is that of the process.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jvade.data.district import tables
from jvade.paper import manifest


def measure(district: Path, memory: str, repeats: int) -> None:
    """Print, as JSON, the seconds of each repeat and the peak memory of this process."""
    from jvade.data.engines import EngineSettings
    from jvade.data.features import write_features
    from jvade.data.mapping import read_mapping

    mapping, out = read_mapping(district / "mapping.toml"), district.parent / "features.parquet"
    settings = EngineSettings(memory=memory, temp=district.parent)
    seconds, account = [], None
    for _ in range(repeats + 1):
        begin, cpu = time.perf_counter(), time.process_time()
        account = write_features(district / "visits", mapping, out, settings=settings).account
        seconds.append((time.perf_counter() - begin, time.process_time() - cpu))
    assert account is not None
    print(
        json.dumps(
            {
                "rows": account.rows_read,
                "kept": account.kept,
                "cold": seconds[0][0],
                "warm": [one[0] for one in seconds[1:]],
                "cpu": [one[1] for one in seconds[1:]],
                "peak_gb": manifest.peak_memory_gb(),
                "out_mb": out.stat().st_size / 1e6,
            }
        )
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Raw visits to features.")
    parser.add_argument("--visits", type=int, default=3_650_000)
    parser.add_argument("--patients", type=int, default=570_000)
    parser.add_argument("--times", type=int, nargs="+", default=[1])
    parser.add_argument("--memory", default="850MB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.memory, options.repeats)
        return
    found = []
    for times in options.times:
        with tempfile.TemporaryDirectory(prefix="jvade-") as temp:
            district = Path(temp) / "district"
            tables.write(district, options.visits * times, options.patients * times, seed=42)
            repeats = max(1, options.repeats // times)
            command = [sys.executable, __file__, "--measure", str(district), "--memory", options.memory]
            done = subprocess.run(
                [*command, "--repeats", str(repeats)], check=True, stdout=subprocess.PIPE, text=True
            )
        one = json.loads(done.stdout.splitlines()[-1])
        found.append({"times": times} | one)
        warm, cpu = one["warm"], statistics.median(one["cpu"])
        print(
            f"{one['rows']:>12,} visits: warm {statistics.median(warm):6.1f} s "
            f"({min(warm):.1f} to {max(warm):.1f}; {cpu:.1f} s of CPU), "
            f"cold {one['cold']:6.1f} s, peak {one['peak_gb']:.2f} GB",
            flush=True,
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {"cpus": os.cpu_count(), "system": platform.platform(), "memory": options.memory}
        report = {"machine": machine, "versions": manifest.versions(), "runs": found}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
