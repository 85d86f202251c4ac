"""What each part of the robust configuration brings, by measures that need no labels.

    .venv/bin/python benchmarks/ablation.py --out benchmarks/results/ablation.json
    .venv/bin/python benchmarks/ablation.py --visits FILE --mapping FILE --rows 200000 \
        --variants robust "paper, six runs of 40 epochs" --out benchmarks/results/ablation_real.json

Every variant but the last changes one setting of `clustering.ROBUST` and clusters the same visits twice, from
seeds that share nothing: two consensuses of as many runs. Judged are how far the single runs agree, how far
the two consensuses do, and how many clusters hold a thousandth of the visits: runs that lose their clusters
agree too. Where the visits are simulated, the agreement with the planted types is printed last; it was seen
while we explored. Visits are those of a district that `quality.py` does not report on.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import quality
import report
from sklearn.metrics import adjusted_rand_score
from visits import matrix

from jvade import clustering, health
from jvade.analysis import stability
from jvade.clustering import PAPER, ROBUST, Configuration
from jvade.core.settings import Block, joined
from jvade.data.variables import STUDY_INPUTS, Variable
from jvade.paper.settings import PaperSettings

MODEL, TRAINING, MIXTURE = ROBUST.model, ROBUST.training, ROBUST.mixture
VARIANTS: dict[str, Configuration] = {
    "robust": ROBUST,
    "no input hidden": replace(ROBUST, training=replace(TRAINING, input_dropout=0.0)),
    "a quarter hidden": replace(ROBUST, training=replace(TRAINING, input_dropout=0.25)),
    "three quarters hidden": replace(ROBUST, training=replace(TRAINING, input_dropout=0.75)),
    "noise variance 0.05": replace(ROBUST, model=MODEL._replace(noise_variance=0.05)),
    "noise variance 0.2": replace(ROBUST, model=MODEL._replace(noise_variance=0.2)),
    "2 latents": replace(ROBUST, model=MODEL._replace(latent_dim=2)),
    "8 latents": replace(ROBUST, model=MODEL._replace(latent_dim=8)),
    "7 clusters a run": replace(ROBUST, model=MODEL._replace(n_clusters=7)),
    "25 clusters a run": replace(ROBUST, model=MODEL._replace(n_clusters=25)),
    "mixture started on means": replace(ROBUST, mixture=replace(MIXTURE, latents="means")),
    "KL weight 0.5": replace(ROBUST, model=MODEL._replace(kl_weight=0.5)),
    "KL warm-up of 10 epochs": replace(ROBUST, model=MODEL._replace(warmup_epochs=10)),
    "four cycles of annealing": replace(ROBUST, model=MODEL._replace(warmup_epochs=5, annealing_cycles=4)),
    "low-KL pretraining": replace(ROBUST, model=MODEL._replace(pretraining_kl_weight=0.1)),
    "occupancy floor": replace(ROBUST, model=MODEL._replace(occupancy_floor=0.1)),
    "repulsion": replace(ROBUST, model=MODEL._replace(repulsion=1.0)),
    "responsibilities by quadrature": replace(ROBUST, responsibilities="quadrature"),
    "mixture at a tenth of the rate": replace(ROBUST, model=MODEL._replace(mixture_rate=0.1)),
    "mixture at ten times the rate": replace(ROBUST, model=MODEL._replace(mixture_rate=10.0)),
    "noise variance learned": replace(ROBUST, noise="learned"),
    "noise variance learned by column": replace(ROBUST, noise="by-column"),
    "likelihood by kind": replace(ROBUST, likelihood="by-kind"),
    "likelihood by kind, noise learned by column": replace(ROBUST, likelihood="by-kind", noise="by-column"),
    "paper, six runs of 40 epochs": replace(
        PAPER, training=replace(PAPER.training, max_epochs=TRAINING.max_epochs), n_runs=6
    ),
}


def kinds(inputs: Sequence[Variable], x: np.ndarray) -> tuple[Block, ...]:
    """Return the likelihoods of the columns by kind: 0/1 columns of a group that exclude one another as one.

    That is, neighbours of which no row has two: codes of one variable, such as the diagnosis.
    """
    found: list[Block] = []
    group, taken = "", np.zeros(len(x), bool)
    for place, variable in enumerate(inputs):
        if variable.kind == "numeric":
            found.append(Block("gaussian", 1))
            group = ""
            continue
        mine = x[:, place] > 0
        if variable.group == group and not (mine & taken).any():
            found[-1] = Block("categorical", found[-1].width + 1)
            taken |= mine
        else:
            found.append(Block("bernoulli", 1))
            group, taken = variable.group, mine
    return joined(found)


def measure(
    x: np.ndarray, types: np.ndarray | None, configuration: Configuration, blocks: Sequence[Block]
) -> dict[str, Any]:
    """Return what two independent clusterings by a configuration have in common."""
    both = [clustering.cluster(x, quality.N_CLUSTERS, seed, configuration, blocks=blocks) for seed in (1, 2)]
    runs = np.concatenate([one.runs for one in both])
    pairs = stability.agreements(list(runs))
    alive = [health.alive(run) for run in runs]
    answers = [one.labels for one in both]
    shares = [np.bincount(labels) / len(labels) for labels in answers]
    found: dict[str, Any] = {
        "runs": len(runs),
        "failed": sum(len(one.failures) for one in both),
        "run_agreement": float(pairs.mean()),
        "run_alive": [min(alive), max(alive)],
        "agreement": float(adjusted_rand_score(*answers)),
        "alive": [health.alive(labels) for labels in answers],
        "largest_share": [float(one.max()) for one in shares],
    }
    if types is not None:
        found["run_ari"] = float(np.mean([adjusted_rand_score(types, run) for run in runs]))
        found["ari"] = [float(adjusted_rand_score(types, labels)) for labels in answers]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What each part of the robust configuration brings.")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--cohort", type=int, default=101, help="seed of the simulated district")
    parser.add_argument("--visits", type=Path)
    parser.add_argument("--mapping", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.visits:
        settings = PaperSettings(visits=options.visits, mapping=options.mapping)
        x, types, inputs = np.asarray(matrix(settings)), None, ()
        if any(VARIANTS[name].likelihood != "gaussian" for name in options.variants):
            parser.error("--variants: likelihoods by kind are for the simulated district")
        x = x[np.random.default_rng(0).permutation(len(x))[: options.rows]]
    else:
        cohort = quality.draw(options.rows, options.cohort)
        x, types, inputs = cohort.x, cohort.frame["planted_type"].to_numpy(), STUDY_INPUTS
    found, blocks = {}, kinds(inputs, x)
    for name in options.variants:
        found[name] = measure(x, types, VARIANTS[name], blocks)
        print(name, found[name], flush=True)
    report.write("benchmarks/ablation.py", options, {"rows": len(x), "variants": found}, options.out)


if __name__ == "__main__":
    main()
