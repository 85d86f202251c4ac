"""The same model from other seeds (section 3.5, Table 6), and what the published table leaves out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jvade.analysis import profiles as profiling
from jvade.analysis import stability as analysis
from jvade.analysis.comparison import number_by_cross_rate
from jvade.analysis.indices import Scorer, draw_subset
from jvade.core import fit, lanes
from jvade.data import published
from jvade.data.variables import OUTCOME
from jvade.paper.stage import Outcome, Stage, Study
from jvade.paper.stages import cohort, comparison, profiles, training
from jvade.report.figures import stability as figures

#: Variables whose spread is drawn.
DRAWN = (OUTCOME, "age", "cost", "visits_this_year", "community", "respiratory")


def compute(study: Study) -> Outcome:
    """Train every seed as a lane of one computation, and measure how far the runs agree."""
    settings, visits = study.settings, cohort.load(study)
    seeds, sizes, x = settings.stability_seeds, training.architecture(study), visits.x
    stack = lanes.stack(list(seeds), settings.model)
    told, kept = study.told("stability"), study.checkpoints("stability")
    result = fit.fit(x, stack, sizes, settings.training, settings.mixture, told, kept)
    names = [f"seed {seed}" for seed in seeds]
    training.raise_failures(result, names)

    rows = draw_subset(len(visits.matrix), settings.index_rows, settings.seed)
    scorer, lines, runs = study.derived("scorer", Scorer), [], []
    for i, seed in enumerate(seeds):
        placed = training.place(x, result, stack, i, sizes)
        labels = number_by_cross_rate(placed["clusters"], visits.table.outcome)
        (indices,) = scorer.score(placed["latents"][rows], [labels[rows]])
        runs.append(labels)
        lines.append({"seed": seed} | indices._asdict())
    aligned = analysis.aligned(runs, settings.model.n_clusters)
    table = analysis.summarise(pd.DataFrame(lines))
    theirs = published.load("table6_stability").astype({"seed": str}).set_index("seed")
    ari = analysis.pairwise_ari(runs)
    moved = analysis.changes(aligned)
    frame, printed = profiles.described(study)
    each = [
        profiling.profile(frame, printed, labels, visits.patients, settings.min_patients)
        for labels in aligned
    ]
    of_vade = published.load("table5_comparison").set_index("method").loc[comparison.VADE]
    study_s = {"Table 5": of_vade[["silhouette", "davies_bouldin"]], "Table 6": theirs.loc["mean"]}
    tables = {
        "table6_distance": analysis.distances(pd.DataFrame(lines), study_s),
        "table6_stability": table.merge(theirs.add_suffix("_published"), on="seed", how="left"),
        "table6_runs": describe(result, runs, visits, study),
        "table6_agreement": pd.DataFrame(ari, columns=names).assign(seed=list(seeds)),
        "table6_spread": analysis.spread(each),
        "table6_kept": moved.kept.reset_index(),
    }
    off = ari[np.triu_indices(len(seeds), 1)]
    values = {
        "ari_mean": float(off.mean()) if len(off) else None,
        "ari_least": float(off.min()) if len(off) else None,
        "changed": moved.changed,
        "differ": moved.differ.tolist(),
        "reference": seeds[0],
        "epochs": {
            "pretraining": [int(n) for n in result.pretrained.n_epochs] if result.pretrained else [],
            "fine-tuning": [int(n) for n in result.finetuned.n_epochs],
        },
    }
    warnings = [
        f"seed {seed}: {text}"
        for seed, labels in zip(seeds, runs, strict=True)
        for text in training.died(labels, settings.model)
    ]
    return Outcome(tables, values, {"labels": np.array(runs, np.int16)}, warnings=tuple(warnings))


def describe(result: fit.Fit, runs: list[np.ndarray], visits: cohort.Cohort, study: Study) -> pd.DataFrame:
    """Return for each run its clusters with visits, the smallest, the highest cross rate, and its loss."""
    lines = []
    for i, (seed, labels) in enumerate(zip(study.settings.stability_seeds, runs, strict=True)):
        rates = profiling.cross_rates(
            labels, visits.table.outcome, visits.patients, study.settings.min_patients
        )
        clusters = rates.drop(index="overall")
        lines.append(
            {
                "seed": seed,
                "clusters": len(clusters),
                "smallest_share": float(clusters.loc[:, "share"].min()),
                "highest_cross_rate": float(clusters.loc[:, "cross_rate"].max()),
                "times_overall": float(clusters.loc[:, "ratio"].max()),
                "validation_loss": float(result.finetuned.best_loss[i]),
            }
        )
    return pd.DataFrame(lines)


def draw(study: Study, found: Outcome) -> Mapping[str, Figure]:
    """Draw the agreement of the runs and the spread of their profiles."""
    spread, agreement = found.tables["table6_spread"], found.tables["table6_agreement"]
    drawn = [name for name in DRAWN if name in spread["variable"].tolist()]
    return {
        "table6_agreement": figures.agreement(
            agreement.drop(columns="seed").to_numpy(float), agreement["seed"].tolist()
        ),
        "table6_spread": figures.spread(spread, drawn, profiles.words(study)),
    }


STAGE = Stage(
    "stability",
    "section 3.5, Table 6",
    ("cohort",),
    (*training.TRAINED_BY, "mixture", "stability_seeds", "index_rows", "min_patients"),
    compute,
    draw,
)
