"""A sweep of hyperparameters: every setting a lane of one computation, against PyTorch one after the other.

    .venv/bin/python benchmarks/sweep.py --out benchmarks/results/sweep.json

64 settings by default (4 learning rates x 4 noise variances x 4 weight decays) of the paper's pretraining, as
`throughput.py` times it, from one seed, with the same rows held out: losses are given setting by setting.
What is left out on both sides is what `jvade.sweep` does besides: fine-tuning, the start of the mixture, the
ranking. PyTorch stacked is no candidate: its fused optimizer takes one learning rate for all. One that is
compiled is: it is compiled anew for every noise variance.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import programs
import report
import throughput
from programs import Task
from visits import matrix

from jvade.core.settings import Training
from jvade.paper.settings import PaperSettings
from jvade.sweeps import combinations

OVER = {
    "learning_rate": (1e-3, 3e-4, 1e-4, 3e-3),
    "noise_variance": (0.03, 0.1, 0.3, 1.0),
    "weight_decay": (0.0, 1e-5, 1e-4, 1e-3),
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="A sweep as lanes, and as a loop in PyTorch.")
    parser.add_argument("--visits", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--values", type=int, default=4, help="of each setting, at most 4")
    names = [name for name in programs.NAMES if name != "stacked"]
    parser.add_argument("--programs", nargs="+", choices=names, default=["jvade", "tuned", "idiomatic"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    x = np.asarray(matrix(PaperSettings(n_visits=options.visits, seed=0)))
    over = {name: values[: options.values] for name, values in OVER.items()}
    each = combinations(PaperSettings().model, over)
    task = Task(x, Training().split_sizes(len(x))[0], "pretraining", list(product([0], each)), options.epochs)
    agreement = throughput.check(options.programs, [task.stage], x.shape[1], [each[0].latent_dim])
    results = throughput.measure([(name, task) for name in options.programs], options.repeats)
    ours = next((one["seconds"]["median"] for one in results if one["program"] == "jvade"), None)
    for one in results:
        one["times_ours"] = None if ours is None else one["seconds"]["median"] / ours
    found = {"agreement": agreement, "settings": len(each), "results": results}
    report.write("benchmarks/sweep.py", options, found, options.out)


if __name__ == "__main__":
    main()
