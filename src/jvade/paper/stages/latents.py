"""What the latents mean (section 2.5, Table 4, Fig 2), and where the clusters lie on them."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jvade.analysis import latents as analysis
from jvade.core import model
from jvade.data import published
from jvade.data.matrix import from_matrix
from jvade.data.variables import CROSS_DISTRICT
from jvade.paper.stage import Outcome, Stage, Study
from jvade.paper.stages import cohort, training
from jvade.report.figures import latents as figures

#: Values of one latent that are decoded, -3 to 3 in steps of a half.
STEPS = 13
#: What a hexagon shows beside its clusters, where the visits have it: column, title, factor.
MEASURES = (
    ("age", "Age", 1.0),
    ("cost", "Cost of the visit", 1.0),
    ("visits_this_year", "Earlier visits this year", 1.0),
    (CROSS_DISTRICT.name, CROSS_DISTRICT.label, 100.0),
)


def compute(study: Study) -> Outcome:
    """Correlate, traverse and map the latents of the fine-tuned model."""
    visits = cohort.load(study)
    tuned = study.outcome("fine-tuning")
    latents, frame = tuned.arrays["latents"], visits.table.frame
    inputs = frame.loc[:, visits.table.names]

    table = analysis.correlations(latents, inputs)
    theirs = published.load("table4_latent_correlation")
    matched = analysis.match(table, theirs)

    points, values = analysis.traversal_points(latents, STEPS)
    sizes, params = training.architecture(study), training.parameters(tuned.arrays, "model/")

    def decode(points: np.ndarray) -> pd.DataFrame:
        flat = jnp.asarray(points.reshape(-1, points.shape[-1]), jnp.float32)
        decoded = np.asarray(model.decode(params, flat, sizes, sizes.latent_dim))
        original = from_matrix(decoded, visits.scaling).to_numpy()
        shape = (*points.shape[:2], -1)
        return analysis.traversal(values, decoded.reshape(shape), original.reshape(shape), visits.table.names)

    labels = tuned.arrays["labels"]
    around = [
        decode(analysis.traversal_points(latents[labels == cluster], STEPS)[0]).assign(cluster=cluster)
        for cluster in np.unique(labels).tolist()
        if enough(visits.patients, labels == cluster, study.settings.min_patients)
    ]
    moved = decode(points)

    tables = {
        "table4_correlations": table,
        "table4_beside_published": analysis.beside(table, matched, theirs),
        "fig2_traversal": moved,
    }
    if around:
        tables["cluster_traversal"] = pd.concat(around, ignore_index=True)
    found = {
        "threshold": analysis.THRESHOLD,
        "order": matched.order,
        "signs": matched.signs,
        "agreement": None if np.isnan(matched.agreement) else matched.agreement,
        "base": [float(value) for value in latents.mean(axis=0, dtype=np.float64)],
    }
    if latents.shape[1] > 1:
        tables["latent_map"], tables["latent_ellipses"], found["share_drawn"] = plane(study)
    return Outcome(tables, found)


def enough(patients: np.ndarray | None, part: np.ndarray, min_patients: int) -> bool:
    """Return whether a part of the visits is of so many patients that its mean may be told."""
    return int(part.sum() if patients is None else len(np.unique(patients[part]))) >= min_patients


def plane(study: Study) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Return the hexagons of the latents, the mixture's ellipses, and the percent of visits drawn."""
    visits, tuned = cohort.load(study), study.outcome("fine-tuning")
    points, axes, offset = analysis.plane(tuned.arrays["latents"])
    frame = visits.table.frame
    measures = {
        name: factor * frame[name].to_numpy(np.float32) for name, _, factor in MEASURES if name in frame
    }
    table, share = analysis.hexagons(
        points, measures, tuned.arrays["labels"], visits.patients, study.settings.min_patients
    )
    mixture = training.parameters(tuned.arrays, "model/").mixture
    assert mixture is not None
    assert mixture.shears is None  # the study's clusters are diagonal
    weights = np.exp(np.asarray(mixture.logits) - np.logaddexp.reduce(np.asarray(mixture.logits)))
    ellipses = analysis.ellipses(
        weights, np.asarray(mixture.means), np.exp(np.asarray(mixture.log_variances)), axes, offset
    )
    numbers = tuned.arrays["numbers"].astype(float)
    return table, ellipses.assign(label=np.where(numbers < 0, np.nan, numbers)), share


def draw(study: Study, found: Outcome) -> Mapping[str, Figure]:
    """Draw the traversals and the maps."""
    inputs = study.outcome("cohort").values["inputs"]
    labels = {one["name"]: one["label"] for one in inputs}
    numeric = {one["name"]: one["unit"] for one in inputs if one["kind"] == "numeric"}
    moved = found.tables["fig2_traversal"]
    drawn = {
        "fig2_traversal": figures.traversal(moved, labels),
        "fig2_traversal_units": figures.traversal_units(moved, numeric, labels),
    }
    if "latent_map" in found.tables:
        table, share, least = (
            found.tables["latent_map"],
            found.values["share_drawn"],
            study.settings.min_patients,
        )
        flat = study.settings.model.latent_dim == 2
        names = ("z1", "z2") if flat else ("first principal axis", "second principal axis")
        ellipses = found.tables["latent_ellipses"]
        drawn["latent_map"] = figures.latent_map(table, ellipses, share, least, names)
        units = numeric | {CROSS_DISTRICT.name: "% of visits"}
        measures = [(name, title, units[name]) for name, title, _ in MEASURES if name in table]
        drawn["latent_measures"] = figures.latent_measures(table, measures, share, least, names)
    return drawn


STAGE = Stage(
    "latents",
    "sections 2.5 and 3.2, Table 4, Fig 2",
    ("cohort", "fine-tuning"),
    ("min_patients",),
    compute,
    draw,
)
