"""What the study leaves open, each reading tried: how far it lands from the published tables.

Nothing is tuned to reach them: the settings of the other stages are those of `PaperSettings`, whatever this
stage finds.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jvade.analysis import association, profiles
from jvade.analysis.comparison import agreement, number_by_cross_rate
from jvade.analysis.indices import Scorer, draw_subset
from jvade.core import fit, lanes
from jvade.core.epoch import named_key
from jvade.data import published
from jvade.data.matrix import to_matrix
from jvade.data.variables import OUTCOME
from jvade.paper.stage import Outcome, Stage, Study
from jvade.paper.stages import cohort, training
from jvade.paper.stages import profiles as profiling
from jvade.report.figures import readings as figures

GAP, BEFORE = "days_since_last_visit", "crossed_before"
#: Readings of the inputs by name, in words.
INPUTS = {
    "ours": "earlier visits only; a first visit has the mean gap",
    "inclusive": "crossed_before counts the visit itself (its outcome leaks into an input)",
    "longest gap": "a first visit has the longest gap there is",
}


def matrices(study: Study, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs of some visits under every reading that their columns allow."""
    visits = cohort.load(study)
    frame = visits.table.frame.iloc[rows]
    found = {"ours": visits.matrix[rows]}
    if BEFORE in visits.table.names:
        counted = frame[BEFORE].to_numpy(bool) | frame[OUTCOME].to_numpy(bool)
        found["inclusive"] = to_matrix(frame.assign(**{BEFORE: counted.astype(np.uint8)}), visits.scaling)
    if GAP in visits.table.names:
        longest = visits.table.frame[GAP].max()
        found["longest gap"] = to_matrix(frame.assign(**{GAP: frame[GAP].fillna(longest)}), visits.scaling)
    return found


def compute(study: Study) -> Outcome:
    """Train VaDE under every reading of the inputs with every noise variance, lanes of one program."""
    settings, visits = study.settings, cohort.load(study)
    key = named_key(jax.random.key(settings.seed), "readings")
    rows = np.sort(np.asarray(fit.subset(key, len(visits.matrix), settings.readings.n_rows)))
    variances = tuple(sorted({*settings.readings.noise_variances, settings.model.noise_variance}))
    each = [settings.model._replace(noise_variance=variance) for variance in variances]
    stack, sizes = lanes.stack([settings.seed] * len(each), each), training.architecture(study)
    lines, base = [], None
    inputs = matrices(study, rows)
    for name, matrix in inputs.items():
        x = jnp.asarray(matrix)
        result = fit.fit(
            x,
            stack,
            sizes,
            settings.training,
            settings.mixture,
            study.told("-".join(["readings", *name.split()])),
        )
        sound = np.asarray(result.sound)
        for i, variance in enumerate(variances):
            reading = {"inputs": name, "noise_variance": variance}
            if not sound[i]:
                lines.append(reading | {"clusters": 0})
                continue
            placed = training.place(x, result, stack, i, sizes)
            lines.append(reading | measure(study, rows, placed))
            if name == "ours" and variance == settings.model.noise_variance:
                base = placed
    return Outcome(
        {"readings": pd.DataFrame(lines), "readings_index_rows": by_rows(study, base)},
        {
            "n_rows": len(rows),
            "inputs": {name: INPUTS[name] for name in inputs},
            "noise_variance": settings.model.noise_variance,
        },
    )


def measure(study: Study, rows: np.ndarray, placed: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return what a reading leads to, and its distance from the published tables."""
    settings, visits = study.settings, cohort.load(study)
    crossed = visits.table.outcome[rows]
    patients = None if visits.patients is None else visits.patients[rows]
    labels = number_by_cross_rate(placed["clusters"], crossed)
    few = draw_subset(len(rows), settings.index_rows, settings.seed)
    (indices,) = study.derived("scorer", Scorer).score(placed["latents"][few], [labels[few]])
    rates = profiles.cross_rates(labels, crossed, patients, settings.min_patients)
    clusters = rates.drop(index="overall")
    whole, printed = profiling.described(study)
    table = profiles.profile(whole.iloc[rows], printed, labels, patients, settings.min_patients)
    matching = association.match_profiles(table, published.load("table7_profiles"))
    found = {"clusters": int(labels.max())} | indices._asdict()
    found |= {
        "highest_cross_rate": float(clusters.loc[:, "cross_rate"].max()),
        "times_overall": float(clusters.loc[:, "ratio"].max()),
        "distance_table7": float(matching.loc[:, "distance"].mean()),
    }
    if visits.planted is not None:
        found["ari_planted"] = agreement(labels, visits.planted[rows])[0]
    return found


def by_rows(study: Study, placed: Mapping[str, np.ndarray] | None) -> pd.DataFrame:
    """Return the indices of one clustering on subsets of several sizes."""
    columns = pd.Index(["index_rows", *published_indices()])
    if placed is None:
        return pd.DataFrame([], columns=columns)
    lines = []
    for size in study.settings.readings.index_rows:
        few = draw_subset(len(placed["clusters"]), size, study.settings.seed)
        scores = study.derived("scorer", Scorer).score(placed["latents"][few], [placed["clusters"][few]])
        lines.append({"index_rows": len(few)} | scores[0]._asdict())
    return pd.DataFrame(lines, columns=columns)


def published_indices() -> dict[str, float]:
    """Return the mean of each index over the published seeds (Table 6)."""
    table = published.load("table6_stability").set_index("seed")
    names = ("silhouette", "davies_bouldin", "calinski_harabasz")
    runs = table.loc[[str(name).isdigit() for name in table.index]]
    return {name: float(runs[name].astype(float).mean()) for name in names}


def draw(study: Study, found: Outcome) -> Mapping[str, Figure]:
    """Draw where each reading lands, the published value beside."""
    return {"readings": figures.readings(found.tables["readings"], published_indices())}


STAGE = Stage(
    "readings",
    "what the study leaves open",
    ("cohort",),
    (*training.TRAINED_BY, "mixture", "readings", "index_rows", "min_patients"),
    compute,
    draw,
)
