"""How fast the distances of the silhouette are measured, against SciPy, on as many threads.

    .venv/bin/python benchmarks/distances.py --out benchmarks/results/distances.json

A repeat times both, one after the other, for each number of columns.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import report
from scipy.spatial.distance import cdist

from jvade.analysis.indices import THREADS, measure_distances


def scipy_distances(points: np.ndarray, distances: np.ndarray) -> None:
    """Measure the distances in bands of rows, one for each thread."""
    edges = np.linspace(0, len(points), THREADS + 1).astype(int).tolist()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda a, b: cdist(points[a:b], points, out=distances[a:b]), edges, edges[1:]))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Distances of all pairs: ours and SciPy's.")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--columns", type=int, nargs="+", default=[2, 5, 10, 20, 38])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    memory = np.ones((options.points, options.points))
    results = []
    for n_columns in options.columns:
        points = np.random.default_rng(0).normal(size=(options.points, n_columns))
        seconds: dict[str, list[float]] = {"ours": [], "scipy": []}
        for _ in range(options.repeats):
            for name, measure in (("ours", measure_distances), ("scipy", scipy_distances)):
                begin = time.perf_counter()
                measure(points, memory)
                seconds[name].append(time.perf_counter() - begin)
        results.append({"columns": n_columns} | {name: report.spread(one) for name, one in seconds.items()})
    report.write("benchmarks/distances.py", options, {"seconds": results}, options.out)


if __name__ == "__main__":
    main()
