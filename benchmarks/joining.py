"""By which linkage a consensus joins its runs: what is taken without labels, and what labels say of it.

    .venv/bin/python benchmarks/joining.py --out benchmarks/results/joining.json

The same runs joined by average linkage and by Ward's: how much either keeps of runs that it has not seen
(`consensus.kept`, by which `linkage="best"` goes), and how it agrees with what is planted. Small tables of
`likeness.py`, round groups of `plain.py`, simulated districts, and scikit-learn's digits as `mnist.py` has
them: its small ones, and with `--deformed` those at 28 x 28 pixels.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import likeness
import mnist
import numpy as np
import plain
import quality
import report
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from jvade import ensemble
from jvade.analysis import consensus
from jvade.clustering import ROBUST, Configuration, cluster
from jvade.core.settings import Block
from jvade.data.variables import STUDY_INPUTS
from jvade.paper.stages import robust


class Task(NamedTuple):
    """Rows to cluster, what is planted in them, and how."""

    table: str
    x: np.ndarray
    types: np.ndarray
    n_clusters: int
    blocks: Sequence[Block]
    configuration: Configuration
    seed: int


def tasks(options: argparse.Namespace) -> Iterator[Task]:
    """Draw what was asked for."""
    for kind in "ABCD":
        for likelihood in likeness.LIKELIHOODS:
            for seed in options.small:
                one = likeness.small(kind, seed, 4_000)
                how = replace(ROBUST, likelihood=likelihood, training=ROBUST.training.for_rows(len(one.x)))
                types = np.asarray(one.types)
                yield Task(f"{one.name}, {likelihood}", one.x, types, 3, one.blocks, how, 1)
    for kind in ("single", "shared"):
        for seed in options.plain:
            x, groups = plain.draw(kind, seed, 3_000)
            how = replace(ROBUST, training=ROBUST.training.for_rows(len(x)))
            blocks, n_clusters = [Block("gaussian", x.shape[1])], len(np.unique(groups))
            yield Task(f"round groups, {kind}", x, groups, n_clusters, blocks, how, seed)
    for seed in options.cohorts:
        one = quality.draw(options.rows, seed)
        types = one.frame["planted_type"].to_numpy()
        yield Task(f"district {seed}", one.x, types, 7, robust.blocks(STUDY_INPUTS), ROBUST, 1)
    pixels, digits = map(np.asarray, load_digits(return_X_y=True))
    images = {"digits": ((pixels / 16).astype(np.float32), digits, mnist.SHORT_DIGITS, options.digits)}
    if options.deformed:
        images["digits, deformed"] = (*mnist.deformed(), mnist.SHORT_DEFORMED, [0])
    for name, (x, labels, settings, seeds) in images.items():
        for seed in seeds:
            blocks = [Block("bernoulli", x.shape[1])]
            yield Task(name, x, labels, mnist.N_CLUSTERS, blocks, mnist.configuration(settings), seed)


def measure(task: Task) -> dict[str, Any]:
    """Return what either linkage keeps of other runs, and its ARI with what is planted."""
    found = cluster(task.x, task.n_clusters, task.seed, task.configuration, blocks=task.blocks)
    runs, hidden = list(found.runs), task.configuration.training.input_dropout
    votes = list(ensemble.likeness(found.ensemble, task.x, found.runs, hidden, task.seed))
    how = {"likeness": votes, "n_labels": task.configuration.model.n_clusters}
    ways = {}
    for way in consensus.WAYS:
        labels = consensus.agree(runs, task.n_clusters, task.seed, linkage=way, **how).labels
        ways[way] = {
            "kept": consensus.kept(runs, task.n_clusters, task.seed, linkage=way, **how).tolist(),
            "ari": float(adjusted_rand_score(task.types, labels)),
        }
    return {"table": task.table, "taken": found.linkage, **ways}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Linkages of a consensus, and which is taken.")
    parser.add_argument("--small", type=int, nargs="*", default=[91, 92], help="seeds of the small tables")
    parser.add_argument("--plain", type=int, nargs="*", default=[10, 11, 12], help="seeds of round groups")
    parser.add_argument("--cohorts", type=int, nargs="*", default=[101, 102, 103], help="of districts")
    parser.add_argument("--rows", type=int, default=100_000, help="of a district")
    parser.add_argument("--digits", type=int, nargs="*", default=[0, 1, 2], help="seeds of small digits")
    parser.add_argument("--deformed", action="store_true", help="the deformed digits too: ten minutes")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []
    for task in tasks(options):
        lines.append(measure(task))
        print(lines[-1], flush=True)
    report.write("benchmarks/joining.py", options, {"results": lines}, options.out)


if __name__ == "__main__":
    main()
