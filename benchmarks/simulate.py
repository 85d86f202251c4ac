"""What simulating a district costs: seconds, memory and bytes.

    .venv/bin/python benchmarks/simulate.py --out benchmarks/results/simulate.json

Each district is written by a process of its own, so that its peak memory is its own; the folder is removed.
The wanted limit is 30 s and 4 GB for the study's 3.65 million visits on two cores.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import report

from jvade import manifest
from jvade.data.district import tables


def measure(n_visits: int, seed: int) -> dict[str, float | None]:
    """Write one district and return what it cost."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        written = tables.write(Path(folder) / "district", n_visits, round(n_visits * 57 / 365), seed)
        seconds = time.perf_counter() - begin
        sizes = {path.name: path.stat().st_size for path in Path(folder).rglob("*.parquet")}
    parts = [size for name, size in sizes.items() if name.startswith("part-")]
    return {
        "visits": written.visits,
        "patients": written.patients,
        "seconds": seconds,
        "peak_memory_gb": manifest.peak_memory_gb(),
        "parts": written.parts,
        "visits_mb": sum(parts) / 1e6,
        "largest_part_mb": max(parts) / 1e6,
        "truth_mb": sizes["truth.parquet"] / 1e6,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Cost of simulating a district.")
    parser.add_argument("--visits", type=int, nargs="+", default=[3_650_000, 36_500_000])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = []
    for n_visits in options.visits:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(measure, (n_visits, options.seed)))
    report.write("benchmarks/simulate.py", options, {"districts": found}, options.out)


if __name__ == "__main__":
    main()
