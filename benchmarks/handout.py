"""Time, memory and size of the report that is handed on, from a run of the study's size.

    .venv/bin/python benchmarks/handout.py --out benchmarks/results/handout.json

A run of few visits is made first, for all that a report needs beside the visits. The visits and clusters of a
simulated district (its planted types) then take the place of its own: how well they are clustered changes
nothing of the time. The command is a process of its own, from its start to its end.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import report
from predict import jvade

from jvade.analysis import latents
from jvade.data.district import tables
from jvade.data.features import read_visits
from jvade.data.mapping import read_mapping


def enlarge(run: Path, district: Path) -> None:
    """Put the visits of a district, their planted types and a map of them in the place of a run's own."""
    table = read_visits(district / "visits", read_mapping(district / "mapping.toml"))
    types = pq.read_table(district / "truth.parquet")["planted_type"].to_numpy()
    labels = types[table.frame["row"].to_numpy() - 1].astype(np.int64)
    table.frame.to_parquet(run / "private" / "visits.parquet", index=False)
    points = np.random.default_rng(0).normal(size=(len(labels), 2)) + labels[:, None]
    np.savez(run / "private" / "fine-tuning.npz", labels=labels, latents=points.astype(np.float32))
    patients = table.frame["patient"].to_numpy()
    latents.hexagons(points, {}, labels, patients, 8)[0].to_csv(run / "latent_map.csv", index=False)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Time, memory and size of jvade report.")
    parser.add_argument("--visits", type=int, default=3_650_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jvade-") as temp:
        run, district = Path(temp) / "run", Path(temp) / "district"
        jvade("paper", "--preset", "smoke", "--out", run, "--only", "stability", "profiles", "latents")
        tables.write(district, options.visits, round(options.visits * 57 / 365), seed=42)
        enlarge(run, district)
        lines = []
        for _ in range(options.repeats):
            seconds, memory = jvade("report", run, "--lang", "both")
            size = (run / "report" / "report.html").stat().st_size / 1e6
            lines.append({"seconds": seconds, "peak_memory_gb": memory, "page_mb": size})
            print(f"{seconds:.1f} s, {memory:.2f} GB, page {size:.2f} MB")
        found = {name: report.spread([line[name] for line in lines]) for name in lines[0]}
    report.write("benchmarks/handout.py", options, {"report": found}, options.out)


if __name__ == "__main__":
    main()
