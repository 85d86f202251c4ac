"""How fast a lane trains, as a share of what the machine's matrix product can do.

    .venv/bin/python benchmarks/throughput.py --out benchmarks/results/throughput.json

The two stages are timed on the paper's model (38 inputs, 256, 2 latents, 7 clusters, batch 1024). A repeat
times both stages and the matrix product one after the other, so that a busy machine slows all of them;
medians and ranges are of the repeats. Compilation is timed apart.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import report
from visits import matrix

from jvade.core import fit, lanes
from jvade.core.settings import Architecture, Hyperparameters, Training
from jvade.paper.settings import PaperSettings

#: A training row of the paper's model, forward 42 and backward 64 thousand operations; a validation row 42.
FLOP_TRAIN, FLOP_VALIDATE = 106e3, 42e3


def timed(function: Any, *args: Any) -> float:
    """Return the seconds until the result is there."""
    begin = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - begin


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Training throughput against the matrix product.")
    parser.add_argument("--visits", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    x = matrix(PaperSettings(n_visits=options.visits, seed=0))
    architecture = Architecture(x.shape[1])
    training = Training(max_epochs=options.epochs, block_epochs=options.epochs)
    n_train, n_validation = training.split_sizes(len(x))

    square = jnp.ones((2048, 2048))
    product = jax.jit(lambda a: a @ a @ a @ a)
    timed(product, square)
    programs: dict[str, Any] = {}
    for n_lanes in options.lanes:
        # Patience beyond the epochs: every lane does the same work.
        stack = lanes.stack(list(range(n_lanes)), Hyperparameters(patience=options.epochs + 1))
        params = lanes.init(stack, architecture)
        start = fit.start_mixtures(params, x, stack, architecture, training, fit.MixtureStart())
        stages = {"pretraining": params, "fine-tuning": params._replace(mixture=fit.mixtures(start))}
        for stage, begin in stages.items():

            def run(begin: Any = begin, stack: Any = stack, stage: str = stage) -> Any:
                return lanes.train(x, begin, stack, stage, architecture, training)

            programs[f"{stage}, {n_lanes} lane{'s' * (n_lanes > 1)}"] = (run, n_lanes, timed(run))

    seconds: dict[str, list[float]] = {name: [] for name in programs}
    rates = []
    for _ in range(options.repeats):
        rates.append(3 * 2 * 2048**3 / timed(product, square))
        for name, (run, _, _) in programs.items():
            seconds[name].append(timed(run))

    rate = statistics.median(rates)
    results = []
    for name, (_, n_lanes, first) in programs.items():
        median = statistics.median(seconds[name])
        epochs = n_lanes * options.epochs
        results.append(
            {
                "program": name,
                "training_rows_per_second": epochs * n_train / median,
                "seconds": report.spread(seconds[name]),
                "compile_seconds": first - median,
                "share_of_matrix_product": epochs
                * (n_train * FLOP_TRAIN + n_validation * FLOP_VALIDATE)
                / median
                / rate,
            }
        )
    gflops = report.spread([one / 1e9 for one in rates])
    found = {"matrix_product_gflops": gflops, "results": results}
    report.write("benchmarks/throughput.py", options, found, options.out)


if __name__ == "__main__":
    main()
