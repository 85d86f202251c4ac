"""Seconds and memory from raw visits to features, Parquet to Parquet, as the table grows.

    .venv/bin/python benchmarks/features.py --times 1 10 --memory 1GB 2GB \
        --out benchmarks/results/features.json

A district is simulated for each size. Then, in rounds, for sizes take turns on a machine that is not always
equally fast, a fresh process turns each into features, with each limit on DuckDB's memory. Its first time is
cold (imports, and Ibis's own warming up), the others warm; ten times the visits are taken cold, once a round.
Figures are medians; the ratio is of a size to the first one. Peak memory is that of the process.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report

from jvade import manifest
from jvade.data.district import tables


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
    warm = seconds[1:] or seconds
    print(
        json.dumps(
            {
                "rows": [account.rows_read],
                "kept": [account.kept],
                "cold": [seconds[0][0]],
                "seconds": [one[0] for one in warm],
                "cpu": [one[1] for one in warm],
                "peak_gb": [manifest.peak_memory_gb()],
                "out_mb": [out.stat().st_size / 1e6],
            }
        )
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Raw visits to features.")
    parser.add_argument("--visits", type=int, default=3_650_000)
    parser.add_argument("--patients", type=int, default=570_000)
    parser.add_argument("--times", type=int, nargs="+", default=[1])
    parser.add_argument("--memory", nargs="+", default=["1GB"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.memory[0], options.repeats)
        return
    found: dict[tuple[int, str], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="jvade-") as temp:
        districts = {times: Path(temp) / str(times) / "district" for times in options.times}
        for times, district in districts.items():
            tables.write(district, options.visits * times, options.patients * times, seed=42)
        for memory, _, times in itertools.product(options.memory, range(options.rounds), options.times):
            command = [sys.executable, __file__, "--measure", str(districts[times]), "--memory", memory]
            command += ["--repeats", str(options.repeats // times)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            one = json.loads(done.stdout.splitlines()[-1])
            runs = found.setdefault((times, memory), {name: [] for name in one})
            for name, values in one.items():
                runs[name] += values
    lines = []
    for (times, memory), runs in found.items():
        row = {name: round(statistics.median(values), 3) for name, values in runs.items()}
        first = statistics.median(found[options.times[0], memory]["seconds"])
        ratio, each = round(row["seconds"] / first, 2), [round(one, 2) for one in runs["seconds"]]
        lines.append({"times": times, "memory": memory, "ratio": ratio, **row, "runs": each})
    report.write("benchmarks/features.py", options, {"runs": lines}, options.out)


if __name__ == "__main__":
    main()
