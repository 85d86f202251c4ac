"""What simulating a district costs: seconds, memory and bytes.

    .venv/bin/python benchmarks/simulate.py --visits 3650000 36500000

Each district is written by a process of its own, so that its peak memory is its own; the folder is removed.
The wanted limit is 30 s and 4 GB for the study's 3.65 million visits on two cores.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import pandas as pd

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
        "visits wanted": n_visits,
        "visits": written.visits,
        "patients": written.patients,
        "seconds": seconds,
        "visits per second": written.visits / seconds,
        "peak memory, GB": manifest.peak_memory_gb(),
        "parts": written.parts,
        "visits table, MB": sum(parts) / 1e6,
        "largest part, MB": max(parts) / 1e6,
        "truth, MB": sizes["truth.parquet"] / 1e6,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Cost of simulating a district.")
    parser.add_argument("--visits", type=int, nargs="+", default=[3_650_000])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = []
    for n_visits in options.visits:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(measure, (n_visits, options.seed)))
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(pd.DataFrame(found).T.to_string(float_format=lambda value: f"{value:,.2f}", header=False))


if __name__ == "__main__":
    main()
