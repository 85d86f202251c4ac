"""How fast lanes train: ours and PyTorch's, and as a share of what the machine's matrix product can do.

    .venv/bin/python benchmarks/throughput.py --out benchmarks/results/throughput.json

Both stages of the paper's model (38 inputs, 256, batch 1024) at several numbers of lanes: seeds of 2 latents,
or, in multiples of 7, as many seeds of each of the study's 7 numbers of latents. Every program takes a lane
from the same weights through the same number of steps on the same visits, in an order and with noise of its
own, and scores as many validation rows after every epoch; the rows that PyTorch holds out are those of our
first lane. Every program lives in a process of its own, and they take turns, so that a busy machine slows all
of them: medians and ranges are of the repeats. What the first call takes longer than the median of the others
is compilation and warming up. The matrix product is measured before every round of turns; the share of it, of
those of a stage and number of lanes, counts each lane's unpadded work. Where there is CUDA, `--programs`
knows PyTorch recorded as CUDA graphs too. What is found is kept beside `--out`: the same command goes on
after a stop.

PyTorch is not among the project's dependencies: `pip install torch`, or `--programs jvade`. Its programs are
in `benchmarks/baselines`, and what they compute is checked against ours before anything is timed.
`--programs` knows the VaDE of ClustPy too, for whoever has installed that.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import programs
import report
from programs import Task
from visits import matrix

from jvade import manifest
from jvade.core.layout import part_cpu
from jvade.core.settings import Architecture, Hyperparameters, Training
from jvade.paper.settings import PaperSettings

LATENT_DIMS = (2, 5, 10, 15, 20, 25, 30)
WIDTH = Architecture.widths[0]

# Several workers share an accelerator: none may take its memory beforehand.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

_run: Any = None  # the program of a worker


def lanes_of(n_lanes: int) -> list[tuple[int, Hyperparameters]]:
    """Return seed and settings of each lane."""
    dims = LATENT_DIMS if n_lanes % len(LATENT_DIMS) == 0 else LATENT_DIMS[:1]
    return [(seed, Hyperparameters(latent_dim=d)) for d in dims for seed in range(n_lanes // len(dims))]


def flop(task: Task) -> float:
    """Return the operations of all lanes' products, those of the mixture left out.

    A row forward is 2 for each weight; backward is twice that, less the gradient of the inputs.
    """
    n_features = task.x.shape[1]
    forward = [2 * WIDTH * (2 * n_features + 3 * one.latent_dim) for _, one in task.each]
    backward = [2 * one - 2 * WIDTH * n_features for one in forward]
    return task.epochs * (len(task.x) * sum(forward) + task.n_train * sum(backward))


def prepare(name: str, task: Task) -> float:
    """Build a program in this process and call it once; return the seconds of that call."""
    global _run
    if name != programs.ONE_DEVICE:
        part_cpu()  # as our commands do
    _run = programs.build(name, task)
    return call()[0]


def call() -> tuple[float, np.ndarray, float | None]:
    """Return the seconds and losses of one call of this process's program, and the peak memory in GB."""
    begin = time.perf_counter()
    losses = _run()
    seconds = time.perf_counter() - begin
    return seconds, losses, manifest.peak_memory_gb()


def measure(
    runs: Sequence[tuple[str, Task]], repeats: int, rates: list[float] | None = None
) -> list[dict[str, Any]]:
    """Return a line for each program and its task: seconds, losses, memory, rows x lanes per second.

    Each lives in a process of its own, and they take turns.

    Args:
        runs: name and task of each.
        repeats: rounds of turns.
        rates: gets those of the matrix product, measured before each round.
    """
    spawn = multiprocessing.get_context("spawn")
    workers = [ProcessPoolExecutor(1, mp_context=spawn) for _ in runs]
    # One after the other: threads that wait for work in a loop, as PyTorch's do, keep others from theirs.
    first = [worker.submit(prepare, *run).result() for worker, run in zip(workers, runs, strict=True)]
    turns = []
    for _ in range(repeats):
        if rates is not None:
            rates += product_rate()
        turns.append([worker.submit(call).result() for worker in workers])
    for worker in workers:
        worker.shutdown()
    return [
        describe(*run, compiled, calls)
        for run, compiled, calls in zip(runs, first, zip(*turns, strict=True), strict=True)
    ]


def check(
    names: Sequence[str], stages: Sequence[str], n_features: int, latent_dims: Iterable[int]
) -> dict[str, dict[str, Any]]:
    """Return by how much the programs in PyTorch differ from ours, for each stage and number of latents.

    Raises:
        RuntimeError: by more than rounding; see `baselines.agreement`.
    """
    if set(names) <= {"jvade", programs.ONE_DEVICE}:
        return {}
    from baselines.agreement import check_all

    sizes = {
        f"{stage}, {d} latents": (
            n_features,
            d,
            0 if stage == "pretraining" else Hyperparameters().n_clusters,
        )
        for stage in stages
        for d in sorted(latent_dims)
    }
    # In a process that ends before anything is timed: what compiles leaves threads behind.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        return dict(zip(sizes, apart.map(check_all, *zip(*sizes.values(), strict=True)), strict=True))


def describe(
    name: str, task: Task, first: float, calls: Sequence[tuple[float, np.ndarray, float | None]]
) -> dict[str, Any]:
    """Return what the calls of one program show."""
    seconds, losses, memory = zip(*calls, strict=True)
    if not np.isfinite(losses).all():
        raise RuntimeError(f"{name}: a loss is not finite; a lane that stopped early did less than its work")
    few = [i for i, (_, one) in enumerate(task.each) if one.latent_dim == LATENT_DIMS[0]]
    last = losses[-1][few, -1] if few else losses[-1][:, -1]
    rows = len(task.each) * task.epochs * task.n_train
    # What ClustPy multiplies is not counted, and what it minimises is another thing.
    of_clustpy = {"gflop_per_second": None, "loss": None, "losses": None} if name == programs.CLUSTPY else {}
    return {
        "program": name,
        "stage": task.stage,
        "lanes": len(task.each),
        "epochs": task.epochs,
        "seconds": report.spread(seconds),
        "rows_x_lanes_per_second": rows / statistics.median(seconds),
        "gflop_per_second": flop(task) / statistics.median(seconds) / 1e9,
        "first_call_seconds": first,
        "peak_memory_gb": memory[-1],
        # Of the lanes of 2 latents, or of all if there are none: mean and standard deviation.
        "loss": [float(np.mean(last)), float(np.std(last, ddof=int(len(last) > 1)))],
        "losses": losses[-1][:, -1].tolist(),
    } | of_clustpy


@jax.jit
def _products(a: jax.Array) -> jax.Array:
    return a @ a @ a @ a


def product_rate(n_calls: int = 3) -> list[float]:
    """Return GFLOP/s of float32 products of 2048 x 2048 matrices, of each of some calls."""
    square = jnp.ones((2048, 2048))
    jax.block_until_ready(_products(square))
    rates = []
    for _ in range(n_calls):
        begin = time.perf_counter()
        jax.block_until_ready(_products(square))
        rates.append(3 * 2 * 2048**3 / (time.perf_counter() - begin) / 1e9)
    return rates


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description="Training throughput: ours, PyTorch's, the matrix product's."
    )
    names = [*programs.NAMES, *(programs.RECORDED if jax.default_backend() == "gpu" else ())]
    parser.add_argument("--visits", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, nargs="+", default=[12, 6, 3], help="for each of --lanes")
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 5, 35])
    parser.add_argument("--stages", nargs="+", choices=programs.STAGES, default=list(programs.STAGES))
    others = [programs.ONE_DEVICE, programs.CLUSTPY]
    parser.add_argument("--programs", nargs="+", choices=[*names, *others], default=names)
    parser.add_argument(
        "--alone",
        choices=[*names, *others],
        nargs="*",
        default=[],
        help="of these, time one lane only: the slow ones",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if len(options.epochs) != len(options.lanes):
        parser.error(f"--epochs: expected one for each of --lanes, got {options.epochs} for {options.lanes}")
    if programs.CLUSTPY in options.programs and find_spec("clustpy") is None:
        parser.error(f"--programs: {programs.CLUSTPY} is not installed; see baselines/clustpy.py")

    x = np.asarray(matrix(PaperSettings(n_visits=options.visits, seed=0)))
    n_train, _ = Training().split_sizes(len(x))
    dims = [one.latent_dim for n in options.lanes for _, one in lanes_of(n)]
    agreement = check(options.programs, options.stages, x.shape[1], {min(dims), max(dims)})
    kept = report.Kept(options)
    for n_lanes, epochs in zip(options.lanes, options.epochs, strict=True):
        for stage in options.stages:
            name = f"{stage}, {n_lanes} lanes"
            if name in kept.found:
                continue
            task = Task(x, n_train, stage, lanes_of(n_lanes), epochs)
            rates: list[float] = []
            chosen = [one for one in options.programs if n_lanes == 1 or one not in options.alone]
            measured = measure([(one, task) for one in chosen], options.repeats, rates)
            rate = statistics.median(rates)
            for one in measured:
                one["share_of_matrix_product"] = one["gflop_per_second"] and one["gflop_per_second"] / rate
                print(f"{name}, {one['program']}: {one['seconds']}", flush=True)
            kept.found[name] = {"rates": rates, "results": measured}
            kept.write()
    results = [one for part in kept.found.values() for one in part["results"]]
    all_rates = [one for part in kept.found.values() for one in part["rates"]]
    found = {"agreement": agreement, "matrix_product_gflops": report.spread(all_rates), "results": results}
    report.write("benchmarks/throughput.py", options, found, options.out)
    kept.remove()


if __name__ == "__main__":
    main()
