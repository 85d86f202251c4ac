"""Whether the restart of the best held-out ELBO is the one to take: of several runs, ranked without labels.

    .venv/bin/python benchmarks/restarts.py --out benchmarks/results/restarts.json

Single runs of `robust` (15 clusters each) and of the study's settings (7, up to 40 epochs) on a simulated
district, from seeds that share nothing. Every run is scored on the visits of patients that no run saw: mean
ELBO, clusters alive, agreement with the planted types (seen while exploring: the district is for choosing).
Of every six runs the one of the best ELBO is taken: do these agree better than any two runs do, and is more
alive in them?
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import quality
import report
from sklearn.metrics import adjusted_rand_score

from jvade import clustering, ensemble, health
from jvade.analysis import stability
from jvade.clustering import PAPER, ROBUST, Configuration
from jvade.data.variables import STUDY_INPUTS
from jvade.paper.stages import robust

#: Runs of which one is taken.
RESTARTS = 6


def measure(cohort: quality.Cohort, configuration: Configuration, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Return what the runs of a configuration have in common, and those that are taken."""
    seen, new = cohort.x[~cohort.test], cohort.x[cohort.test]
    types = cohort.frame.loc[cohort.test, "planted_type"].to_numpy()
    elbos, labels = [], []
    for seed in seeds:
        found = clustering.cluster(
            seen, quality.N_CLUSTERS, seed, configuration, blocks=robust.blocks(STUDY_INPUTS)
        )
        for run in range(len(found.sound)):
            alone = found.ensemble.alone(run)
            elbos.append(float(ensemble.bounds(alone, new).mean()))
            labels.append(ensemble.place(alone, new)[0])
    alive = [health.alive(one) for one in labels]
    aris = [float(adjusted_rand_score(types, one)) for one in labels]
    groups = np.arange(len(elbos) // RESTARTS * RESTARTS).reshape(-1, RESTARTS)
    taken = [int(group[np.argmax(np.asarray(elbos)[group])]) for group in groups]

    def said(which: list[int]) -> dict[str, float]:
        return {
            "runs": len(which),
            "elbo": float(np.mean([elbos[i] for i in which])),
            "agreement": float(stability.agreements([labels[i] for i in which]).mean()),
            "alive": float(np.mean([alive[i] for i in which])),
            "ari": float(np.mean([aris[i] for i in which])),
        }

    return {
        "all": said(list(range(len(elbos)))),
        "taken": said(taken),
        "rank_correlation_of_elbo": {
            name: pd.Series(elbos).corr(pd.Series(values), method="spearman")
            for name, values in {"alive": alive, "ari": aris}.items()
        },
        "elbos": elbos,
        "alive": alive,
        "aris": aris,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Restarts ranked by held-out ELBO.")
    parser.add_argument("--visits", type=int, default=100_000)
    parser.add_argument("--cohort", type=int, default=101, help="seed of the simulated district")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of 24 runs each")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cohort, found = quality.draw(options.visits, options.cohort), {}
    paper = replace(PAPER, training=replace(PAPER.training, max_epochs=40), n_runs=ROBUST.n_runs)
    for name, configuration in {"robust": ROBUST, "paper, 40 epochs": paper}.items():
        found[name] = measure(cohort, configuration, tuple(options.seeds))
        print(name, {key: found[name][key] for key in ("all", "taken", "rank_correlation_of_elbo")})
    report.write("benchmarks/restarts.py", options, {"configurations": found}, options.out)


if __name__ == "__main__":
    main()
