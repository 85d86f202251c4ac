"""Methods side by side on the same visits (section 3.3, Table 5)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jvade.analysis import comparison, concentration, indices
from jvade.analysis.comparison import Clustering
from jvade.analysis.profiles import cross_rates
from jvade.core import gmm
from jvade.core.epoch import named_key
from jvade.core.layout import take_lane
from jvade.data import published
from jvade.paper.stage import Outcome, Stage, Study
from jvade.paper.stages import cohort, grid, training
from jvade.report.figures import clusters
from jvade.report.figures import concentration as lorenz_figures

VADE, ROBUST = "two-stage VaDE", "robust VaDE"


def methods(study: Study) -> dict[str, Clustering]:
    """Cluster all visits by each method; clusters numbered by falling cross rate."""
    settings, visits = study.settings, cohort.load(study)
    latents, tuned = training.encode(study, settings.model.latent_dim), study.outcome("fine-tuning")
    labels: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def cluster(name: str, points: np.ndarray, found: np.ndarray) -> None:
        labels[name] = points, comparison.number_by_cross_rate(found, visits.table.outcome)
        study.terminal.progress("comparison", len(labels), 5, "methods")

    study.terminal.progress("comparison", 0, 5, "methods")
    cluster(
        "K-Means", visits.matrix, comparison.kmeans(visits.matrix, settings.kmeans_clusters, settings.seed)
    )
    cluster("VAE + K-Means", latents, comparison.kmeans(latents, settings.vae_kmeans_clusters, settings.seed))
    cluster("VAE + GMM", latents, mixture(study, latents))
    cluster(VADE, tuned.arrays["latents"], tuned.arrays["labels"])
    # Its runs have latents of their own each: the space that all share is the inputs.
    cluster(ROBUST, visits.matrix, study.outcome("robust").arrays["labels"])
    return {name: Clustering(*found) for name, found in labels.items()}


def mixture(study: Study, latents: np.ndarray) -> np.ndarray:
    """Return the clusters of a mixture on the pretrained latents, fitted as that of VaDE starts, on means."""
    settings = study.settings
    rows = grid.subset(study, settings.mixture.n_rows)
    key = named_key(jax.random.key(settings.seed), "VAE + GMM")
    start = gmm.fit(
        key,
        jnp.asarray(latents[rows]),
        [settings.model.n_clusters],
        settings=settings.mixture,
        layout=settings.training.layout,
    )
    return grid.assign(latents, take_lane(start, 0))


def compute(study: Study) -> Outcome:
    """Compare the methods: indices, cross rates, concentration, agreement with planted types."""
    settings, visits = study.settings, cohort.load(study)
    found = methods(study)
    subsets = indices.draw_subsets(
        len(visits.matrix), settings.index_rows, settings.index_subsets, settings.seed
    )
    table = comparison.compare(found, visits.matrix, subsets, study.derived("scorer", indices.Scorer))
    rates = {
        name: cross_rates(method.labels, visits.table.outcome, visits.patients, settings.min_patients)
        for name, method in found.items()
    }
    curves = {name: concentration.lorenz(one) for name, one in rates.items()}
    above = {name: concentration.above_overall(one) for name, one in rates.items()}
    table["gini"] = [concentration.gini(curves[name]) for name in table["method"]]
    table["visits_above_overall"] = [above[name][0] for name in table["method"]]
    table["crossing_above_overall"] = [above[name][1] for name in table["method"]]
    if visits.planted is not None:
        agreement = {name: comparison.agreement(one.labels, visits.planted) for name, one in found.items()}
        table["ari_planted"] = [agreement[name][0] for name in table["method"]]
        table["nmi_planted"] = [agreement[name][1] for name in table["method"]]
    theirs = published.load("table5_comparison").set_index("method")
    theirs = theirs[["n_clusters", "silhouette", "davies_bouldin"]].add_suffix("_published")
    by_method = pd.concat(rates, names=["method"]).reset_index()
    return Outcome(
        {
            "table5_comparison": table.merge(theirs, on="method", how="left"),
            "table5_cross_rates": by_method,
            "table5_lorenz": pd.concat(curves, names=["method"]).reset_index(level=0),
        }
    )


def rates_of(by_method: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return one method's rows of the table of cross rates, by cluster."""
    one = by_method[by_method["method"] == method].drop(columns="method").set_index("cluster")
    return one.set_axis([name if name == "overall" else int(name) for name in one.index])


def published_cross_rates() -> pd.DataFrame:
    """Return the study's shares and cross rates in the shape of `profiles.cross_rates`."""
    table = published.load("table7_profiles").set_index("variable")
    columns = [f"cluster{i}" for i in range(1, 8)] + ["overall"]
    shares, rates = table.loc[["share_of_visits", "cross_district"], columns].to_numpy(float)
    return pd.DataFrame(
        {"visits": np.nan, "share": shares, "cross_rate": rates, "ratio": rates / rates[-1]},
        index=pd.Index([*range(1, 8), "overall"], dtype=object, name="cluster"),
    )


def draw(study: Study, found: Outcome) -> Mapping[str, Figure]:
    """Draw the cross rates of VaDE's clusters and the Lorenz curves of all methods."""
    simulated = study.settings.visits is None
    by_method, curves = found.tables["table5_cross_rates"], found.tables["table5_lorenz"]
    table: Any = found.tables["table5_comparison"]
    return {
        "cross_rates": clusters.cross_rates(
            rates_of(by_method, VADE),
            published_cross_rates() if simulated else None,
            "care outside the home area",
        ),
        "table5_lorenz": lorenz_figures.lorenz(
            {str(name): one.drop(columns="method") for name, one in curves.groupby("method", sort=False)},
            dict(zip(table["method"], table["gini"], strict=True)),
        ),
    }


STAGE = Stage(
    "comparison",
    "section 3.3, Table 5",
    ("cohort", "pretraining", "fine-tuning", "robust"),
    (
        "seed",
        "kmeans_clusters",
        "vae_kmeans_clusters",
        "mixture",
        "index_rows",
        "index_subsets",
        "min_patients",
    ),
    compute,
    draw,
)
