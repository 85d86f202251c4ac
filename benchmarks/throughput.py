"""How fast lanes train: ours and PyTorch's, and as a share of what the machine's matrix product can do.

    .venv/bin/python benchmarks/throughput.py --out benchmarks/results/throughput.json

Both stages of the paper's model (38 inputs, 256, batch 1024) at several numbers of lanes: seeds of 2 latents,
or, in multiples of 7, as many seeds of each of the study's 7 numbers of latents. Every program takes a lane
from the same weights through the same number of steps on the same visits, in an order and with noise of its
own, and scores as many validation rows after every epoch. Every program lives in a process of its own, and
they take turns, so that a busy machine slows all of them: medians and ranges are of the repeats. The first
call, which compiles, is timed apart. The share of the matrix product counts each lane's unpadded work.

PyTorch is not among the project's dependencies: `pip install torch`, or `--programs jvade`. Its programs are
in `benchmarks/baselines`, and what they compute is checked against ours before anything is timed.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import programs
import report
from programs import Task
from visits import matrix

from jvade.core.settings import Architecture, Training
from jvade.paper.settings import PaperSettings

LATENT_DIMS = (2, 5, 10, 15, 20, 25, 30)
WIDTH = Architecture.widths[0]

_run: Any = None  # the program of a worker


def lanes_of(n_lanes: int) -> list[tuple[int, int]]:
    """Return seed and number of latents of each lane."""
    dims = LATENT_DIMS if n_lanes % len(LATENT_DIMS) == 0 else LATENT_DIMS[:1]
    return [(seed, d) for d in dims for seed in range(n_lanes // len(dims))]


def flop(task: Task) -> float:
    """Return the operations of all lanes' products, those of the mixture left out.

    A row forward is 2 for each weight; backward is twice that, less the gradient of the inputs.
    """
    n_features = task.x.shape[1]
    forward = [2 * WIDTH * (2 * n_features + 3 * d) for _, d in task.each]
    backward = [2 * one - 2 * WIDTH * n_features for one in forward]
    return task.epochs * (len(task.x) * sum(forward) + task.n_train * sum(backward))


def prepare(name: str, task: Task) -> float:
    """Build a program in this process and call it once; return the seconds of that call."""
    global _run
    _run = programs.build(name, task)
    return call()[0]


def call() -> tuple[float, np.ndarray, float]:
    """Return the seconds and losses of one call of this process's program, and the peak memory in MB."""
    begin = time.perf_counter()
    losses = _run()
    seconds = time.perf_counter() - begin
    return seconds, losses, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(task: Task, names: list[str], repeats: int) -> list[dict[str, Any]]:
    """Return a line for each program: seconds, losses, memory, rows x lanes per second."""
    spawn = multiprocessing.get_context("spawn")
    workers = {name: ProcessPoolExecutor(1, mp_context=spawn) for name in names}
    first = {name: worker.submit(prepare, name, task).result() for name, worker in workers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    losses, memory = dict.fromkeys(names, np.empty(0)), dict.fromkeys(names, 0.0)
    for _ in range(repeats):
        for name, worker in workers.items():
            one, losses[name], memory[name] = worker.submit(call).result()
            seconds[name].append(one)
    for worker in workers.values():
        worker.shutdown()
    few = [i for i, (_, d) in enumerate(task.each) if d == LATENT_DIMS[0]]
    rows = len(task.each) * task.epochs * task.n_train
    return [
        {
            "program": name,
            "stage": task.stage,
            "lanes": len(task.each),
            "seconds": report.spread(seconds[name]),
            "rows_x_lanes_per_second": rows / statistics.median(seconds[name]),
            "gflop_per_second": flop(task) / statistics.median(seconds[name]) / 1e9,
            "first_call_seconds": first[name],
            "peak_memory_mb": memory[name],
            # Of the lanes of 2 latents: mean and standard deviation over the seeds.
            "loss": [float(np.mean(last)), float(np.std(last, ddof=int(len(few) > 1)))],
        }
        for name in names
        for last in [losses[name][few, -1]]
    ]


def product_rate(repeats: int) -> list[float]:
    """Return GFLOP/s of float32 products of 2048 x 2048 matrices."""
    square = jnp.ones((2048, 2048))
    product = jax.jit(lambda a: a @ a @ a @ a)
    jax.block_until_ready(product(square))
    rates = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(product(square))
        rates.append(3 * 2 * 2048**3 / (time.perf_counter() - begin) / 1e9)
    return rates


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description="Training throughput: ours, PyTorch's, the matrix product's."
    )
    parser.add_argument("--visits", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 5, 35])
    parser.add_argument("--stages", nargs="+", choices=programs.N_CLUSTERS, default=list(programs.N_CLUSTERS))
    parser.add_argument("--programs", nargs="+", choices=programs.NAMES, default=list(programs.NAMES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    x = np.asarray(matrix(PaperSettings(n_visits=options.visits, seed=0)))
    n_train, _ = Training().split_sizes(len(x))
    agreement: dict[str, Any] = {}
    if options.programs != ["jvade"]:
        from baselines.agreement import check

        agreement = {
            f"{stage}, {d} latents": check(x.shape[1], d, n_clusters)
            for stage, n_clusters in programs.N_CLUSTERS.items()
            for d in sorted({d for n_lanes in options.lanes for _, d in lanes_of(n_lanes)})
        }
    results, rates = [], []
    for n_lanes in options.lanes:
        for stage in options.stages:
            task = Task(x, n_train, stage, lanes_of(n_lanes), options.epochs)
            rates += product_rate(options.repeats)
            results += measure(task, options.programs, options.repeats)
            for one in results[-len(options.programs) :]:
                print(
                    f"{stage}, {n_lanes} lanes, {one['program']}: {one['seconds']['median']:.2f} s",
                    flush=True,
                )
    rate = statistics.median(rates)
    for one in results:
        one["share_of_matrix_product"] = one["gflop_per_second"] / rate
    found = {"agreement": agreement, "matrix_product_gflops": report.spread(rates), "results": results}
    report.write("benchmarks/throughput.py", options, found, options.out)


if __name__ == "__main__":
    main()
