"""How the cost of training grows with rows, lanes, clusters and latents.

    .venv/bin/python benchmarks/growth.py --out benchmarks/results/growth.json

Fine-tuning of the paper's model, timed as in `throughput.py`, one thing changed at a time. Every size is a
program of its own, in a process of its own; the sizes of one kind take turns.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import programs
import report
import throughput
from programs import Task
from visits import matrix

from jvade.core.settings import Hyperparameters, Training
from jvade.paper.settings import PaperSettings

SIZES = {
    "rows": (1, 2, 4, 8),  # times --visits
    "lanes": (1, 2, 4, 8, 16, 32, 64),
    "n_clusters": (2, 7, 15, 30),
    "latent_dim": (2, 5, 10, 15, 20, 25, 30),
}


def task_of(kind: str, size: int, x: np.ndarray, visits: int, epochs: int) -> Task:
    """Return the fine-tuning with one thing of this size, all else as in the study."""
    rows = x[: visits * size] if kind == "rows" else x[:visits]
    settings = Hyperparameters()
    if kind in ("n_clusters", "latent_dim"):
        settings = settings._replace(**{kind: size})
    each = [(seed, settings) for seed in range(size if kind == "lanes" else 1)]
    return Task(rows, Training().split_sizes(len(rows))[0], "fine-tuning", each, epochs)


def measure(kind: str, options: argparse.Namespace, x: np.ndarray) -> list[dict[str, Any]]:
    """Return a line for each size: seconds, and how many times those of the first size."""
    tasks = [task_of(kind, size, x, options.visits, options.epochs) for size in SIZES[kind]]
    found = throughput.measure([("jvade", task) for task in tasks], options.repeats)
    first = found[0]["seconds"]["median"]
    lines = []
    for size, task, one in zip(SIZES[kind], tasks, found, strict=True):
        n = len(task.x) if kind == "rows" else size
        times = one["seconds"]["median"] / first
        measured = {name: one[name] for name in ("seconds", "peak_memory_gb")}
        lines.append({kind: n, "times_first": times} | measured)
        print(f"{kind} {n}: {one['seconds']['median']:.2f} s, {times:.2f} x", flush=True)
    return lines


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Growth of the cost of training.")
    parser.add_argument("--visits", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    most = max(SIZES["rows"]) if "rows" in options.kinds else 1
    # The kept visits are a little fewer than the simulated.
    x = np.asarray(matrix(PaperSettings(n_visits=int(options.visits * most * 1.05), seed=0)))
    found = {kind: measure(kind, options, x) for kind in options.kinds}
    report.write("benchmarks/growth.py", options, {"stage": programs.STAGES[1], "growth": found}, options.out)


if __name__ == "__main__":
    main()
