"""What each part of the robust configuration brings, by measures that need no labels.

    .venv/bin/python benchmarks/ablation.py --out benchmarks/results/ablation.json
    .venv/bin/python benchmarks/ablation.py --earlier --visits FILE --mapping FILE \
        --variants robust "all columns Gaussian" "paper, six runs of 40 epochs" \
        --out benchmarks/results/ablation_real.json

A variant changes one setting of `clustering.ROBUST`, or with `--likelihood gaussian` of that with Gaussian
columns, or with `--earlier` of what it was (the last is the study's), and clusters the same visits twice, or
as often as `--consensuses` says, from seeds that share nothing: consensuses of as many runs. Judged are how
far the single runs agree, how far the consensuses do, how many clusters hold a thousandth of the visits (runs
that lose their clusters agree too), and how well the clusters lie apart in the inputs. Where the visits are
simulated, the highest cross rate of a cluster and the agreement with the planted types are printed last; they
were seen while we explored. Visits are those of a district that `quality.py` does not report on. What is
found is kept beside `--out` after every variant: the same command goes on after a stop.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import quality
import report
import visits
from sklearn.metrics import adjusted_rand_score

from jvade import clustering, health
from jvade.analysis import stability
from jvade.analysis.indices import Scorer, draw_subset
from jvade.clustering import PAPER, ROBUST, Configuration
from jvade.core.settings import Block, Training
from jvade.data.variables import OUTCOME, STUDY_INPUTS
from jvade.paper.settings import PaperSettings
from jvade.paper.stages import robust

#: What `robust` was before its runs were short and narrow: most of its settings were chosen so.
EARLIER = replace(
    ROBUST,
    training=Training(max_epochs=40, input_dropout=0.5),
    widths=PAPER.widths,
    n_runs=6,
    linkage="average",
)

#: Rows that the indices are taken on.
INDEX_ROWS = 10_000


def variants(base: Configuration) -> dict[str, Configuration]:
    """Return what to compare by name: `base`, what one other setting makes of it, and the study's."""
    model, training, mixture = base.model, base.training, base.mixture
    epochs, first = training.max_epochs, training.of_stage(pretraining=True).max_epochs
    runs = "six" if base.n_runs == EARLIER.n_runs else base.n_runs
    return {
        "robust": base,
        "half as long": replace(
            base, training=replace(training, max_epochs=epochs // 2, pretraining_epochs=first // 2)
        ),
        "twice as long": replace(
            base, training=replace(training, max_epochs=2 * epochs, pretraining_epochs=2 * first)
        ),
        "40 passes over the visits": replace(
            base, training=replace(training, pretraining_epochs=None, epoch_batches=None)
        ),
        "a pretraining as long": replace(base, training=replace(training, pretraining_epochs=None)),
        "a pretraining of 5 epochs": replace(base, training=replace(training, pretraining_epochs=5)),
        "six runs": replace(base, n_runs=6),
        "twelve runs": replace(base, n_runs=12),
        "16 hidden units": replace(base, widths=(16,)),
        "64 hidden units": replace(base, widths=(64,)),
        "256 hidden units": replace(base, widths=(256,)),
        "no input hidden": replace(base, training=replace(training, input_dropout=0.0)),
        "a quarter hidden": replace(base, training=replace(training, input_dropout=0.25)),
        "three quarters hidden": replace(base, training=replace(training, input_dropout=0.75)),
        "noise variance 0.05": replace(base, model=model._replace(noise_variance=0.05)),
        "noise variance 0.2": replace(base, model=model._replace(noise_variance=0.2)),
        "2 latents": replace(base, model=model._replace(latent_dim=2)),
        "8 latents": replace(base, model=model._replace(latent_dim=8)),
        "7 clusters a run": replace(base, model=model._replace(n_clusters=7)),
        "25 clusters a run": replace(base, model=model._replace(n_clusters=25)),
        "a shorter mixture start": replace(
            base, mixture=replace(mixture, n_init=10, n_continued=1, max_rows=20_000)
        ),
        "mixture started on means": replace(base, mixture=replace(mixture, latents="means")),
        "KL weight 0.5": replace(base, model=model._replace(kl_weight=0.5)),
        "KL warm-up of 10 epochs": replace(base, model=model._replace(warmup_epochs=10)),
        "four cycles of annealing": replace(base, model=model._replace(warmup_epochs=5, annealing_cycles=4)),
        "low-KL pretraining": replace(base, model=model._replace(pretraining_kl_weight=0.1)),
        "occupancy floor": replace(base, model=model._replace(occupancy_floor=0.1)),
        "balance 0.25": replace(base, model=model._replace(balance=0.25)),
        "balance 0.5": replace(base, model=model._replace(balance=0.5)),
        "balance 0.5, 25 clusters a run": replace(base, model=model._replace(balance=0.5, n_clusters=25)),
        "all variables alike": replace(base, model=model._replace(balance=1.0)),
        "repulsion": replace(base, model=model._replace(repulsion=1.0)),
        "responsibilities by quadrature": replace(base, responsibilities="quadrature"),
        "mixture at a tenth of the rate": replace(base, model=model._replace(mixture_rate=0.1)),
        "mixture at ten times the rate": replace(base, model=model._replace(mixture_rate=10.0)),
        "noise variance learned": replace(base, noise="learned"),
        "noise variance learned by column": replace(base, noise="by-column"),
        "full covariances": replace(base, covariance_type="full"),
        "average linkage": replace(base, linkage="average"),
        "Ward's linkage": replace(base, linkage="ward"),
        "all columns Gaussian": replace(base, likelihood="gaussian"),
        "likelihood by kind": replace(base, likelihood="by-kind"),
        "likelihood by kind, noise learned by column": replace(base, likelihood="by-kind", noise="by-column"),
        f"paper, {runs} runs of 40 epochs": replace(
            PAPER, training=replace(PAPER.training, max_epochs=40), n_runs=base.n_runs, linkage=base.linkage
        ),
    }


def measure(
    x: np.ndarray,
    district: pd.DataFrame | None,
    configuration: Configuration,
    blocks: Sequence[Block],
    n_consensuses: int = 2,
) -> dict[str, Any]:
    """Return what independent clusterings by a configuration have in common, and how good they are."""
    each = [
        clustering.cluster(x, quality.N_CLUSTERS, seed, configuration, blocks=blocks)
        for seed in range(1, n_consensuses + 1)
    ]
    runs = np.concatenate([one.runs for one in each])
    pairs = stability.agreements(list(runs))
    alive = [health.alive(run) for run in runs]
    found: dict[str, Any] = {
        "runs": len(runs),
        "failed": sum(len(one.failures) for one in each),
        "run_agreement": float(pairs.mean()),
        "run_alive": [min(alive), max(alive)],
    }
    if district is not None:
        types = district["planted_type"].to_numpy()
        found["run_ari"] = float(np.mean([adjusted_rand_score(types, run) for run in runs]))
    return found | judge(x, district, [one.labels for one in each])


def judge(x: np.ndarray, district: pd.DataFrame | None, answers: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return how far consensuses agree, and what each is worth by itself, and in a district by its types."""
    between = stability.agreements(answers)
    rows = draw_subset(len(x), INDEX_ROWS, 0)
    indices = Scorer().score(x[rows], [labels[rows] for labels in answers])
    found: dict[str, Any] = {
        "agreement": float(between.mean()),
        "agreement_least": float(between.min()),
        "alive": [health.alive(labels) for labels in answers],
        "largest_share": [float(np.bincount(labels).max() / len(labels)) for labels in answers],
    } | pd.DataFrame(indices).to_dict("list")
    if district is not None:
        types, crossed = district["planted_type"].to_numpy(), district[OUTCOME].to_numpy(float)
        found["highest_cross_ratio"] = [quality.highest_cross_ratio(labels, crossed) for labels in answers]
        found["ari"] = [float(adjusted_rand_score(types, labels)) for labels in answers]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What each part of the robust configuration brings.")
    names = list(variants(EARLIER) | variants(ROBUST))
    parser.add_argument("--variants", nargs="+", choices=names, help="all, if none is named")
    parser.add_argument(
        "--likelihood", choices=("by-kind", "gaussian"), default=ROBUST.likelihood, help="of `robust`"
    )
    parser.add_argument("--earlier", action="store_true", help="six runs of 40 passes, 256 hidden units")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--cohort", type=int, default=101, help="seed of the simulated district")
    parser.add_argument("--visits", type=Path)
    parser.add_argument("--mapping", type=Path)
    parser.add_argument("--consensuses", type=int, default=2, help="of each variant, from seeds of their own")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    each = variants(replace(EARLIER if options.earlier else ROBUST, likelihood=options.likelihood))
    # A setting that is the base's own changes nothing.
    known = [one for one in each if one == "robust" or each[one] != each["robust"]]
    chosen = options.variants or known
    if unknown := [one for one in chosen if one not in known]:
        parser.error(
            f"--variants: of these settings, {', '.join(unknown)} would be robust itself, or is none"
        )
    if options.visits:
        settings = PaperSettings(visits=options.visits, mapping=options.mapping)
        (x, inputs), district = visits.read(settings), None
        x = x[np.random.default_rng(0).permutation(len(x))[: options.rows]]
    else:
        cohort = quality.draw(options.rows, options.cohort)
        x, district, inputs = cohort.x, cohort.frame, STUDY_INPUTS
    kept = report.Kept(options)
    for name in [one for one in chosen if one not in kept.found]:
        kept.found[name] = measure(x, district, each[name], robust.blocks(inputs), options.consensuses)
        print(name, kept.found[name], flush=True)
        kept.write()
    report.write("benchmarks/ablation.py", options, {"rows": len(x), "variants": kept.found}, options.out)
    kept.remove()


if __name__ == "__main__":
    main()
