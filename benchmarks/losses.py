"""Whether our lanes learn what PyTorch's do: losses after equal epochs, over seeds.

    .venv/bin/python benchmarks/losses.py --out benchmarks/results/losses.json

Of every seed, ours and tuned PyTorch (`baselines/tuned.py`) begin with the same weights, train on the same
rows and are scored on the same others; order and noise are their own. The stated test: that of Kolmogorov and
Smirnov, of two samples, does not tell the losses over the seeds apart at a level of 0.05. Also given, of the
differences seed by seed: the mean, and its interval of 95 %.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import programs
import report
from programs import Task
from scipy import stats
from visits import matrix

from jvade.core.settings import Hyperparameters, Training
from jvade.paper.settings import PaperSettings

LEVEL = 0.05


def train(x: np.ndarray, n_train: int, stage: str, seeds: int, epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of ours and of PyTorch after the last epoch, seed by seed."""
    each = [(seed, Hyperparameters()) for seed in range(seeds)]
    ours = programs.jvade(Task(x, n_train, stage, each, epochs))()[:, -1]
    alone = [Task(x, n_train, stage, [one], epochs) for one in each]
    return ours, np.array([programs.pytorch("tuned", one)()[0, -1] for one in alone])


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Return both distributions, how likely a distance like theirs is by chance, and the differences."""
    differences = ours - theirs
    interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    told: Any = stats.ks_2samp(ours, theirs)
    level = float(told.pvalue)
    return {
        "ours": [float(ours.mean()), float(ours.std(ddof=1))],
        "theirs": [float(theirs.mean()), float(theirs.std(ddof=1))],
        "level": level,
        "told_apart": level < LEVEL,
        "difference": [float(differences.mean()), float(interval.low), float(interval.high)],
        "losses": {"ours": ours.tolist(), "theirs": theirs.tolist()},
    }


def main() -> None:
    """Train, compare and write."""
    parser = argparse.ArgumentParser(description="Losses after equal epochs: ours and PyTorch's, over seeds.")
    parser.add_argument("--visits", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    x = np.asarray(matrix(PaperSettings(n_visits=options.visits, seed=0)))
    n_train, _ = Training().split_sizes(len(x))
    found = {
        stage: compare(*train(x, n_train, stage, options.seeds, options.epochs)) for stage in programs.STAGES
    }
    report.write("benchmarks/losses.py", options, found, options.out)


if __name__ == "__main__":
    main()
