"""What the cut of the tree decides: groups of a larger or smaller share, one subset of the rows or several.

    .venv/bin/python benchmarks/linkage.py --out benchmarks/results/linkage.json

Runs of `clustering.ROBUST` on a simulated district that was seen while we explored, joined again and again
from the same runs: consensuses that share no run are compared with each other. Judged by what needs no label;
the agreement with the planted types and the highest cross rate of a cluster are printed last. What is found
is kept beside `--out` after every district: the same command goes on after a stop.
"""

import argparse
from pathlib import Path
from typing import Any

import ablation
import numpy as np
import pandas as pd
import quality
import report

from jvade import clustering, ensemble
from jvade.analysis import consensus
from jvade.analysis.indices import Indices
from jvade.clustering import ROBUST
from jvade.data.variables import STUDY_INPUTS
from jvade.paper.stages import robust

#: Ways to join: smallest share of a group, subsets that are linked.
WAYS: dict[str, dict[str, Any]] = {
    "0.1 %, five subsets": {"smallest_share": 0.001},
    "0.2 %, five subsets": {"smallest_share": 0.002},
    "0.4 %, five subsets": {},
    "0.8 %, five subsets": {"smallest_share": 0.008},
    "0.4 %, one subset": {"n_draws": 1},
}


def measure(
    cohort: quality.Cohort, runs: np.ndarray, likeness: np.ndarray, n_runs: int, how: dict[str, Any]
) -> dict[str, Any]:
    """Return what consensuses of so many runs each have in common, and how good they are."""
    answers = []
    for begin in range(0, len(runs), n_runs):
        some = slice(begin, begin + n_runs)
        found = consensus.agree(
            list(runs[some]),
            quality.N_CLUSTERS,
            begin,
            likeness=list(likeness[some]),
            linkage="average",
            n_labels=ROBUST.model.n_clusters,
            **how,
        )
        answers.append(found.labels)
    judged = ablation.judge(cohort.x, cohort.frame, answers)
    indices = pd.DataFrame({name: judged[name] for name in Indices._fields})
    return {
        "consensuses": len(answers),
        "agreement": judged["agreement"],
        "least": judged["agreement_least"],
        "clusters": [int(labels.max()) + 1 for labels in answers],
        "smallest_share": [float(np.bincount(labels).min() / len(labels)) for labels in answers],
        "mean": indices.mean().to_dict(),
        "cv": (indices.std(ddof=1) / indices.mean().abs()).to_dict(),
        "highest_cross_ratio": judged["highest_cross_ratio"],
        "ari": judged["ari"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What the cut of the consensus' tree decides.")
    parser.add_argument("--cohorts", type=int, nargs="+", default=[101, 104])
    parser.add_argument("--visits", type=int, default=200_000)
    parser.add_argument("--consensuses", type=int, default=5, help="that share no run")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    kept = report.Kept(options)
    for seed in options.cohorts:
        found = kept.found.setdefault(str(seed), {})
        if set(found) == set(WAYS):
            continue
        cohort = quality.draw(options.visits, seed)
        runs, likeness = [], []
        for one in range(options.consensuses):
            made = clustering.cluster(
                cohort.x, quality.N_CLUSTERS, 1 + one, ROBUST, blocks=robust.blocks(STUDY_INPUTS)
            )
            if len(made.sound) < ROBUST.n_runs:
                raise RuntimeError("; ".join(made.failures))
            runs.append(made.runs)
            dropout = ROBUST.training.input_dropout
            likeness.append(ensemble.likeness(made.ensemble, cohort.x, made.runs, dropout, 1 + one))
            print(f"district {seed}: runs of consensus {one + 1}", flush=True)
        for name, how in WAYS.items():
            found[name] = measure(cohort, np.concatenate(runs), np.concatenate(likeness), ROBUST.n_runs, how)
            print(name, found[name], flush=True)
        kept.write()
    report.write("benchmarks/linkage.py", options, {"cohorts": kept.found}, options.out)
    kept.remove()


if __name__ == "__main__":
    main()
